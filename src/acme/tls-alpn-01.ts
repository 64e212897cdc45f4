import { createHash, timingSafeEqual } from "node:crypto";
import { Fault } from "../fault.ts";
import { parseAlgorithmIdentifier, verificationKey, verifySignature } from "../pki/algorithm.ts";
import { bytesOf, contentOf, expectTag, fieldsOf, readDer, tag } from "../pki/der.ts";
import { readBitString } from "../pki/der-field.ts";
import { readGeneralNames } from "../pki/general-name.ts";
import { oid } from "../pki/oid.ts";
import { tbsFieldsOf } from "../pki/tbs-certificate.ts";
import { type ChallengeKind, unanswered, wrong } from "./challenge-kind.ts";
import type { Identifier } from "./problem.ts";

/** id-pe-acmeIdentifier. @see RFC 8737 §3 */
const acmeIdentifier = "1.3.6.1.5.5.7.1.31";

/** tls-alpn-01: a certificate that holds the digest of the key authorization, shown to whoever speaks `acme-tls/1`. @see RFC 8737, RFC 8738 §6 */
export const tlsAlpn01: ChallengeKind = async (validator, { tenant, identifier, keyAuthorization }) => {
  const { evidence, ...outcome } = await validator.tlsAlpn({ tenant, host: identifier.value });
  if ("failure" in outcome) return unanswered(evidence, outcome.failure);
  const { protocol, certificate } = outcome.answer;
  const where = `${identifier.value} at ${evidence.address ?? "an address unknown"}`;
  if (protocol !== "acme-tls/1") return wrong(evidence, `${where} did not agree to the protocol acme-tls/1`);
  const flaw = await certificateFlaw(certificate, identifier, createHash("sha256").update(keyAuthorization).digest());
  return flaw === undefined ? { evidence, outcome: "valid" } : wrong(evidence, `${where} showed a certificate ${flaw}`);
};

/** What is wrong with the certificate, as the end of a sentence. */
async function certificateFlaw(der: Uint8Array, identifier: Identifier, digest: Uint8Array): Promise<string | undefined> {
  try {
    const fields = fieldsOf(readDer(der, "the certificate"), "the certificate");
    const tbs = fields.next("tbsCertificate");
    const algorithm = fields.next("signatureAlgorithm");
    const signature = readBitString(fields.next("signatureValue"), "signatureValue");
    fields.end();
    const { extensions, issuer, subject, subjectPublicKeyInfo } = tbsFieldsOf(tbs);
    const only = (type: string) => {
      const found = extensions.filter((extension) => extension.oid === type);
      return found.length === 1 ? found[0] : undefined;
    };
    const subjectAltName = only(oid.subjectAltName);
    if (!subjectAltName) return "without one subjectAltName";
    const [name, ...more] = readGeneralNames(subjectAltName.value);
    if (name?.type !== identifier.type || name.value !== identifier.value || more.length > 0) {
      return "whose subjectAltName is not this one identifier";
    }
    const proof = only(acmeIdentifier);
    if (proof?.critical !== true) return "without one critical acmeIdentifier";
    const shown = contentOf(expectTag(proof.value, tag.octetString, "acmeIdentifier"));
    if (shown.length !== digest.length || !timingSafeEqual(shown, digest))
      return "whose acmeIdentifier is not the digest that is asked for";
    const signedBy = parseAlgorithmIdentifier(bytesOf(algorithm));
    const selfSigned =
      Buffer.from(bytesOf(issuer)).equals(bytesOf(subject)) &&
      signedBy !== undefined &&
      (await verifySignature(verificationKey(bytesOf(subjectPublicKeyInfo)), signedBy, bytesOf(tbs), signature));
    return selfSigned ? undefined : "that is not self-signed with a key and a hash that are taken here";
  } catch (error) {
    if (error instanceof Fault) return "that is not one in DER, or has another form";
    throw error;
  }
}
