import type { Principal } from "../access/principal.ts";
import { Fault } from "../fault.ts";
import { isReasonName, reasonCodes, type ReasonName, reasonNames } from "../pki/crl-reason.ts";
import { requireKeyProof } from "../pki/key-proof.ts";
import { requireBlockRight } from "./block-right.ts";
import type { Ca } from "./ca.ts";
import { readPrincipal } from "./certificate-store.ts";
import { type IssuedCertificate, readCertificate } from "./certificates.ts";
import type { RevocationRequestRow } from "./revocation-store.ts";
import { revoke } from "./revoke.ts";

/** What is asked of a certificate, in words that nothing has judged but their form. */
export type RevocationAsked = {
  /** 32 lower-case hex digits. */
  readonly serial: string;
  /** Name of a CRLReason. Absent: unspecified, where that is allowed. */
  readonly reason?: string | undefined;
  /** Since when the key is known to be compromised, whole seconds. */
  readonly revokedAt?: Date | undefined;
  /** DER of a PKCS#10 request by which the certificate's key shows itself: see `requireKeyProof`. */
  readonly proof?: Uint8Array | undefined;
  /** Block the key without a proof: for those who may say so of any key. */
  readonly blockKey?: true | undefined;
  /** The caller's own name for this request, and the hash of what it asks. */
  readonly repeatable?: RevocationRequestRow | undefined;
  readonly requestId: string;
};

/**
 * Revokes a certificate for a principal: an administrator of its namespace, or the requester that got it. Certificates of authorities are for
 * administrators of "/" alone. Durable with its audit record on return; with a proof, or where an administrator of "/" asks for it, its key is in
 * no certificate any more.
 * @returns the certificate as it is then.
 * @throws Fault `notFound` for one that the principal may not see; `policyDenied`; `certificateExpired`; `badRevocationReason` that lists what may
 *   be given; `malformed` for a time that cannot be; `badCSR` for a proof that is none; `alreadyRevoked`; those of `revoke`
 */
export async function requestRevocation(ca: Ca, principal: Principal, asked: RevocationAsked): Promise<IssuedCertificate> {
  const certificate = await readCertificate(ca, principal.namespace, asked.serial);
  if (!certificate) throw new Fault("notFound", `there is no certificate ${JSON.stringify(asked.serial)}`);
  const ofAuthority = ca.authorities.get(certificate.authority)?.kind === "root";
  await requireRight(ca, principal, certificate, ofAuthority);
  const reason = judgeReason(asked.reason, principal, ofAuthority);
  if (certificate.notAfter < ca.clock.now()) {
    throw new Fault("certificateExpired", `the certificate ended at ${certificate.notAfter.toISOString()}: there is nothing to revoke`);
  }
  judgeTime(ca, certificate, { ...asked, reason });
  if (asked.blockKey) judgeBlock(principal, { reason, ofAuthority });
  if (asked.proof) await requireKeyProof(asked.proof, certificate);

  const done = await revoke(ca, {
    authority: certificate.authority,
    serial: Buffer.from(certificate.serial, "hex"),
    reason: reasonCodes[reason],
    revokedAt: asked.revokedAt,
    namespace: principal.namespace,
    principal: principal.id,
    requestId: asked.requestId,
    repeatable: asked.repeatable,
    keyToBlock: asked.proof || asked.blockKey ? Buffer.from(certificate.spkiSha256, "hex") : undefined,
  });
  if (done.outcome === "alreadyRevoked") throw new Fault("alreadyRevoked", "the certificate is revoked already");
  // By the first of these requests, perhaps since it was read here.
  if (done.revokedAt === undefined) return (await readCertificate(ca, principal.namespace, asked.serial)) ?? certificate;
  return { ...certificate, status: "revoked", revocation: { revokedAt: done.revokedAt, reason } };
}

async function requireRight(ca: Ca, principal: Principal, certificate: IssuedCertificate, ofAuthority: boolean): Promise<void> {
  if (ofAuthority && (principal.role !== "admin" || principal.namespace !== "/")) {
    throw new Fault("policyDenied", "an authority's certificate is revoked by an administrator of the namespace / alone");
  }
  // Its own CRL would have to say it, which nobody could believe.
  if (ofAuthority && certificate.profile === "root") {
    throw new Fault("policyDenied", "a root is not revoked: those who trust it take it out of their trust stores");
  }
  if (principal.role === "admin") return;
  const { authority, serial } = certificate;
  const owner = await ca.database.read((sql) => readPrincipal(sql, authority, Buffer.from(serial, "hex")));
  if (owner !== principal.id) {
    throw new Fault("policyDenied", "a requester revokes certificates that its own token asked for; others are for administrators");
  }
}

/** Staff alone says that a right was withdrawn; of an authority's certificate verifiers are told why (CAB Forum BR 7.2.2). */
function judgeReason(given: string | undefined, { role }: Principal, ofAuthority: boolean): ReasonName {
  const allowed = reasonNames.filter(
    (name) => (name !== "privilegeWithdrawn" || role === "admin") && (name !== "unspecified" || !ofAuthority),
  );
  const reason = given ?? (ofAuthority ? "" : "unspecified");
  if (isReasonName(reason) && allowed.includes(reason)) return reason;
  throw new Fault("badRevocationReason", `reason must be one of ${allowed.join(", ")}`);
}

/** Without a proof the word of staff stands for every namespace: a key that a tenant names may be in another's certificates. */
function judgeBlock(principal: Principal, { reason, ofAuthority }: { reason: ReasonName; ofAuthority: boolean }): void {
  if (reason !== "keyCompromise") throw new Fault("malformed", "blockKey goes with keyCompromise alone");
  if (ofAuthority) throw new Fault("malformed", "the key of an authority is in no other certificate: there is nothing to block");
  requireBlockRight(principal);
}

function judgeTime(
  { timekeeper }: Ca,
  { notBefore }: IssuedCertificate,
  { reason, revokedAt, proof }: { reason: ReasonName; revokedAt?: Date | undefined; proof?: Uint8Array | undefined },
): void {
  if (proof && reason !== "keyCompromise") throw new Fault("malformed", "a proof goes with keyCompromise alone");
  if (!revokedAt) return;
  if (reason !== "keyCompromise")
    throw new Fault("malformed", "revokedAt goes with keyCompromise alone: otherwise it is the time of the request");
  if (revokedAt > timekeeper.recordingTime()) throw new Fault("malformed", "revokedAt is in the future");
  if (revokedAt < notBefore) throw new Fault("malformed", `revokedAt is before the certificate's notBefore, ${notBefore.toISOString()}`);
}
