import { contains } from "../access/namespace.ts";
import { readStoredCertificate, type StoredCertificate } from "../ca/certificates.ts";
import { revoke } from "../ca/revoke.ts";
import { Fault } from "../fault.ts";
import { decodeBase64url } from "../jose/base64url.ts";
import type { AccountKey } from "../jose/jwk.ts";
import type { JsonObject } from "../jose/json.ts";
import { parseCertificate } from "../pki/certificate.ts";
import { reasonCodes } from "../pki/crl-reason.ts";
import { type Account, principalOf } from "./account.ts";
import type { Acme } from "./acme.ts";
import { readAuthorizedIdentifiers } from "./authorization-store.ts";

/** Who asks: an account, or whoever holds the certificate's own key. */
export type Revoker = { readonly account: Account } | { readonly key: AccountKey };

const { keyCompromise } = reasonCodes;
/** CRLReasons that a client may give (RFC 5280 §5.3.1): unspecified, keyCompromise, affiliationChanged, superseded, cessationOfOperation. */
const allowedReasons: readonly number[] = [0, keyCompromise, 3, 4, 5];
const maximumOctets = 65_536;

/**
 * Revokes a certificate for the account that got it, for one of its namespace, or of one around it, that has valid authorizations for
 * all of its names, or for whoever holds its key, which is blocked when they say that it is compromised (RFC 8555 §7.6). keyCompromise takes the place of another reason that stands. Durable with its audit record on return.
 * @throws Fault `malformed` for a certificate that is none, `notFound` for one that is not ours; `badRevocationReason`; `unauthorized` for
 *   anybody else, and for a certificate that has expired; `alreadyRevoked`.
 */
export async function revokeCertificate(acme: Acme, by: Revoker, payload: JsonObject, requestId: string): Promise<void> {
  const certificate = await ourCertificate(acme, payload["certificate"]);
  const reason = readReason(payload["reason"]);
  const right = await rightOf(acme, by, certificate);
  if (right === undefined) throw new Fault("unauthorized", "the certificate is not this account's, nor this key's, to revoke");
  if (certificate.notAfter < acme.clock.now()) throw new Fault("unauthorized", "the certificate has expired");
  if (right === "names" && reason === keyCompromise) {
    throw new Fault("badRevocationReason", "keyCompromise is for the certificate's own account or key to say");
  }
  const { outcome } = await revoke(acme.ca, {
    authority: certificate.authority,
    serial: Buffer.from(certificate.serial, "hex"),
    reason,
    // The right to it has been shown, and is none of a namespace's.
    namespace: "/",
    // Whoever holds the certificate's key is nobody that we know.
    principal: "account" in by ? principalOf(by.account).id : `acme:key:${by.key.thumbprint}`,
    requestId,
    keyToBlock: right === "key" ? Buffer.from(certificate.spkiSha256, "hex") : undefined,
  });
  if (outcome === "alreadyRevoked") throw new Fault("alreadyRevoked", "the certificate is revoked already");
}

async function ourCertificate(acme: Acme, value: JsonObject[string] | undefined): Promise<StoredCertificate> {
  if (typeof value !== "string" || value.length > maximumOctets) throw new Fault("malformed", "certificate must be DER in base64url");
  const der = decodeBase64url(value, "certificate");
  const { serial } = parseCertificate(der);
  for (const { slug } of acme.ca.authorities.values()) {
    const stored = await readStoredCertificate(acme.ca, slug, Buffer.from(serial, "hex"));
    if (stored && Buffer.from(stored.certificate).equals(der)) return stored;
  }
  throw new Fault("notFound", "no such certificate was issued here");
}

function readReason(value: JsonObject[string] | undefined): number {
  if (value === undefined) return 0;
  if (typeof value === "number" && allowedReasons.includes(value)) return value;
  throw new Fault("badRevocationReason", `reason must be one of ${allowedReasons.join(", ")}`);
}

/** What gives the right to revoke: being who got it, holding its key, or standing for all of its names. */
async function rightOf(acme: Acme, by: Revoker, certificate: StoredCertificate): Promise<"own" | "key" | "names" | undefined> {
  if ("key" in by) return by.key.spkiSha256 === certificate.spkiSha256 ? "key" : undefined;
  if (certificate.principal === principalOf(by.account).id) return "own";
  // RFC 8555 asks it of one server; to us each namespace is one, and names mean nothing in another.
  if (!contains(by.account.namespace, certificate.namespace)) return undefined;
  const authorized = await acme.database.read((sql) => readAuthorizedIdentifiers(sql, by.account.id, acme.clock.now()));
  const all = certificate.names.length > 0 && certificate.names.every(({ type, value }) => authorized.has(`${type}:${value}`));
  return all ? "names" : undefined;
}
