import { Fault } from "../fault.ts";
import {
  algorithmIdentifier,
  parseAlgorithmIdentifier,
  type SignatureAlgorithm,
  spkiSha256,
  verificationKey,
  verifySignature,
} from "./algorithm.ts";
import { bytesOf, compareBytes, expectTag, fieldsOf, readDer } from "./der.ts";
import { readBitString, readSmallInteger } from "./der-field.ts";
import { bitString, type Der, encode, objectIdentifier, printableString, sequence, setOf, smallInteger, utf8String } from "./der-writer.ts";
import { oid } from "./oid.ts";

/** Longest proof taken, in octets: that of an RSA key of 4,096 bits has about 1,200. */
const maximumOctets = 4_096;

/** What a proof names as its subject: nobody signs that by accident, and a certificate request, which may be public, names something else. */
function commonName(serial: string): string {
  return `chancery key compromise ${serial}`;
}

/**
 * Whether a PKCS#10 request shows that whoever made it holds a certificate's key and means this certificate: the key of the request is the
 * certificate's, its signature verifies, and its subject is exactly CN=`chancery key compromise SERIAL`.
 * @param serial 32 lower-case hex digits.
 * @throws Fault `badCSR` that says what is wrong with it.
 * @see RFC 2986 §4
 */
export async function requireKeyProof(
  der: Uint8Array,
  { serial, spkiSha256: certified }: { readonly serial: string; readonly spkiSha256: string },
): Promise<void> {
  const { info, subject, spki, algorithm, signature } = readProof(der);
  if (![utf8String, printableString].some((text) => compareBytes(subject, nameOf(serial, text)) === 0)) {
    throw new Fault("badCSR", `the subject of the proof must be CN=${commonName(serial)} and nothing else`);
  }
  if (spkiSha256(spki) !== certified) throw new Fault("badCSR", "the key of the proof is not the certificate's");
  if (!(await verifySignature(verificationKey(spki), algorithm, info, signature))) {
    throw new Fault("badCSR", "the signature of the proof is not one that the certificate's key made over it");
  }
}

/** DER CertificationRequestInfo of a proof: what the certificate's key signs. @param spki DER SubjectPublicKeyInfo of the certificate. */
export function keyProofInfo(serial: string, spki: Uint8Array): Der {
  return sequence(smallInteger(0), nameOf(serial, utf8String), spki, encode(0xa0));
}

/** DER CertificationRequest of what `keyProofInfo` gave and its signature. @see RFC 2986 §4.2 */
export function sealKeyProof(info: Uint8Array, algorithm: SignatureAlgorithm, signature: Uint8Array): Der {
  return sequence(info, algorithmIdentifier(algorithm), bitString(signature));
}

function nameOf(serial: string, text: (value: string) => Der): Der {
  return sequence(setOf(sequence(objectIdentifier(oid.commonName), text(commonName(serial)))));
}

function readProof(der: Uint8Array) {
  if (der.length > maximumOctets) throw new Fault("tooLarge", `the proof has ${der.length} octets; at most ${maximumOctets} are taken`);
  try {
    const request = fieldsOf(readDer(der, "the proof"), "the proof");
    const info = request.next("certificationRequestInfo");
    const identifier = request.next("signatureAlgorithm");
    const signature = readBitString(request.next("signature"), "signature");
    request.end();
    const fields = fieldsOf(info, "certificationRequestInfo");
    const version = readSmallInteger(fields.next("version"), "version");
    if (version !== 0) throw new Fault("malformed", `version is ${version}; it must be 0`);
    const subject = bytesOf(fields.next("subject"));
    const spki = bytesOf(fields.next("subjectPKInfo"));
    expectTag(fields.next("attributes"), 0xa0, "attributes");
    fields.end();
    const algorithm = parseAlgorithmIdentifier(bytesOf(identifier));
    if (algorithm === undefined) throw new Fault("malformed", "the signature algorithm of the proof is not accepted");
    return { info: bytesOf(info), subject, spki, algorithm, signature };
  } catch (error) {
    throw error instanceof Fault && error.code === "malformed" ? new Fault("badCSR", error.detail, { cause: error }) : error;
  }
}
