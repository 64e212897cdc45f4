import { hash } from "node:crypto";
import { Fault } from "../fault.ts";
import { type VerificationKey, verificationKey } from "../pki/algorithm.ts";
import { type Certificate, keyHash, keyIdentifier, parseCertificate } from "../pki/certificate.ts";
import type { CertId } from "../pki/ocsp.ts";
import { type Name, parseName } from "../pki/name.ts";
import { sameBytes } from "../pki/tbs-certificate.ts";
import type { KeyReference } from "../ports/hsm.ts";
import type { Authority } from "./authority.ts";
import type { Ca } from "./ca.ts";
import { issueFrom } from "./issue.ts";
import { readResponderKey } from "./responder-key.ts";
import { readResponderRecord } from "./responder-store.ts";

/** Who signs the answers for one authority: a key of its own in the authority's token, under a certificate of the authority's. */
export type Responder = {
  readonly authority: Authority;
  readonly key: KeyReference;
  readonly verificationKey: VerificationKey;
  /** SHA-1 of its subjectPublicKey, 20 octets: how answers name it (RFC 9919 §3.2.2). */
  readonly keyHash: Uint8Array;
  /** How requests name the authority. */
  readonly issuer: Readonly<Record<"sha1" | "sha256", IssuerHashes>>;
  /** Absent while the authority could not issue one, or the key is compromised: then nothing is signed. */
  readonly certificate: ResponderCertificate | undefined;
};

type IssuerHashes = Pick<CertId, "issuerNameHash" | "issuerKeyHash">;

/** The certificate that answers carry, so that a client needs no other (RFC 6960 §4.2.2.2). */
export type ResponderCertificate = Certificate & { readonly der: Uint8Array };

const profile = "ocsp-responder";
const principal = { id: "system", namespace: "/" };

/**
 * The responders of the issuing authorities by slug, each with the certificate that is recorded for it, if there is one. Roots have none:
 * no certificate of theirs names a place to ask.
 * @throws Fault `refusedToStart` when a key was never made.
 */
export async function readResponders(ca: Ca): Promise<Map<string, Responder>> {
  const responders = new Map<string, Responder>();
  for (const authority of ca.authorities.values()) {
    if (authority.kind === "issuing") responders.set(authority.slug, await readResponder(ca, authority));
  }
  return responders;
}

async function readResponder(ca: Ca, authority: Authority): Promise<Responder> {
  const pair = await readResponderKey(ca.database, authority.slug);
  if (!pair) throw new Fault("refusedToStart", `the key of the OCSP responder of ${authority.slug} was never made`);
  const bare: Responder = {
    authority,
    key: pair.reference,
    verificationKey: verificationKey(pair.spki),
    keyHash: keyIdentifier(pair.spki),
    issuer: { sha1: issuerHashes("sha1", authority), sha256: issuerHashes("sha256", authority) },
    certificate: undefined,
  };
  return { ...bare, certificate: (await standingCertificate(ca, bare)).certificate };
}

function issuerHashes(algorithm: "sha1" | "sha256", { issuer }: Authority): IssuerHashes {
  return { issuerNameHash: hash(algorithm, issuer.subject, "buffer"), issuerKeyHash: keyHash(algorithm, issuer.spki) };
}

/** Whether a request asks for a certificate of the responder's authority: name and key must both be the authority's (RFC 6960 §4.1.1). */
export function isOfAuthority({ issuer }: Responder, { hashAlgorithm, issuerNameHash, issuerKeyHash }: CertId): boolean {
  if (hashAlgorithm === undefined) return false;
  const own = issuer[hashAlgorithm];
  return sameBytes(own.issuerNameHash, issuerNameHash) && sameBytes(own.issuerKeyHash, issuerKeyHash);
}

/**
 * The responder with a certificate in the first half of its life: the one that is recorded, whichever instance asked for it, else a new one
 * under the same key, or under the key that was made since in place of a compromised one. Durable on return.
 * @throws Fault `hsmUnavailable`, `databaseUnavailable`, `busy`: to be repeated; the certificate that it had is good meanwhile
 * @throws Fault `lifetimeOutOfRange` when the authority ends too soon for another
 */
export async function renewResponder(ca: Ca, responder: Responder): Promise<Responder> {
  const { certificate, ended, compromised } = await standingCertificate(ca, responder);
  if (compromised) {
    const newest = await readResponder(ca, responder.authority);
    if (newest.key.ckaId !== responder.key.ckaId) return await renewResponder(ca, newest);
    ca.events.tell("error", "responder.compromised", { authority: responder.authority.slug });
    return { ...responder, certificate: undefined };
  }
  if (certificate && !isDue(ca, responder, certificate)) return { ...responder, certificate };
  const { authority, key, verificationKey: publicKey } = responder;
  const { certificate: issued } = await issueFrom(ca, authority, {
    door: "system",
    // The count is the same for every instance that sees the same certificates: however many renew at once, one certificate comes of it.
    key: `responder ${key.spkiSha256} ${ended + 1}`,
    principal,
    requestHash: hash("sha256", publicKey.spki, "buffer"),
    profile,
    subject: responderName(authority),
    names: [],
    publicKey,
    lifetimeSeconds: lifetimeSeconds(ca, authority),
  });
  const { serial, notAfter } = issued;
  ca.events.tell("info", "responder.renewed", { authority: authority.slug, serial, notAfter: notAfter.toISOString() });
  return { ...responder, certificate: readCertificate(issued.certificate) };
}

async function standingCertificate(
  ca: Ca,
  { authority, key }: Responder,
): Promise<{ certificate: ResponderCertificate | undefined; ended: number; compromised: boolean }> {
  const sought = { authority: authority.slug, spkiSha256: Buffer.from(key.spkiSha256, "hex") };
  const { ended, compromised, certificate: der } = await ca.database.read((sql) => readResponderRecord(sql, sought));
  if (!der || compromised) return { certificate: undefined, ended, compromised };
  return { certificate: readCertificate(der), ended, compromised };
}

function readCertificate(der: Uint8Array): ResponderCertificate {
  return { ...parseCertificate(der), der };
}

/** Due at half of its life; one that ends with its authority is the last. */
function isDue({ clock }: Ca, { authority }: Responder, { notBefore, notAfter }: ResponderCertificate): boolean {
  return notAfter < authority.issuer.notAfter && clock.now().getTime() >= (notBefore.getTime() + notAfter.getTime()) / 2;
}

/** The usual life; to the authority's end where no other certificate would fit between half of that life and the end. */
function lifetimeSeconds({ clock, profiles }: Ca, { issuer }: Authority): number | undefined {
  const frozen = profiles.get(profile)?.profile;
  if (!frozen) throw new Fault("internal", `there is no profile ${profile}`);
  const { default: usual, minimum } = frozen.lifetimeSeconds;
  const notBefore = Math.floor(clock.now().getTime() / 1000) - frozen.backdateSeconds;
  const left = Math.floor(issuer.notAfter.getTime() / 1000) - notBefore + 1;
  return left >= minimum && left < usual / 2 + minimum ? left : undefined;
}

/** Country and organization of the authority, and a common name that is no authority's. */
function responderName({ slug, issuer }: Authority): Name {
  const kept = parseName(issuer.subject).filter(({ type }) => type === "C" || type === "O");
  return [...kept, { type: "CN", value: `OCSP Responder ${slug}` }];
}
