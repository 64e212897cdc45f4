import { appendAudit } from "../audit/append.ts";
import { auditRow } from "../audit/entry.ts";
import type { Tx } from "../database/connect.ts";
import { wholeSeconds } from "../database/whole-seconds.ts";
import type { Ca } from "./ca.ts";
import { blockKey, listBlockedKeysInUse } from "./reserved-key-store.ts";
import { recordRevocation, recordRevocationsOfKey, type RevokedCertificate } from "./revocation-store.ts";

/** CRLReason of keyCompromise. @see RFC 5280 §5.3.1 */
const keyCompromise = 1;
/** Certificates of a compromised key that one transaction revokes; those that are left are the job's. */
const batch = 100;

/** What is to be revoked, why, and by whom. */
export type RevocationRequest = {
  readonly authority: string;
  readonly serial: Uint8Array;
  /** CRLReason. @see RFC 5280 §5.3.1 */
  readonly reason: number;
  /** As `AuditEntry` has it. */
  readonly principal: string;
  /** What the door calls this call of it. */
  readonly requestId: string;
  /** SHA-256 of the certificate's SubjectPublicKeyInfo, 32 octets, where whoever asks has shown that they hold its private key. */
  readonly provenKey?: Uint8Array | undefined;
};

/**
 * Revokes a certificate for good; durable with its audit record on return. A key that its holder says is compromised is in no certificate
 * any more: none is issued for it, and those that it has are revoked with this one, the hundredth and later ones by `revokeBlocked`.
 * @returns false when it was revoked before.
 */
export async function revoke(ca: Ca, request: RevocationRequest): Promise<boolean> {
  const { authority, serial, reason, provenKey } = request;
  const revokedAt = wholeSeconds(ca.clock.now());
  const { revoked, others } = await ca.database.transact(async (tx) => {
    // The key before any certificate: of those who revoke certificates of one key, each waits for the one before and for nobody else.
    const blocked = reason === keyCompromise && provenKey !== undefined ? await blockKey(tx, provenKey, revokedAt) : false;
    const own = await recordRevocation(tx, { authority, serial, reason, revokedAt });
    if (own) await record(ca, tx, own, { ...request, keyBlocked: blocked });
    const rest =
      reason === keyCompromise && provenKey !== undefined
        ? await revokeOfKey(ca, tx, provenKey, { ...request, revokedAt, keyBlocked: blocked })
        : [];
    return { revoked: own !== undefined, others: rest };
  });
  if (revoked) tell(ca, { authority, serial: Buffer.from(serial).toString("hex") }, reason);
  for (const other of others) tell(ca, other, reason);
  return revoked;
}

/**
 * Revokes what stands for compromised keys: certificates that were being signed when their key was blocked, and those that one transaction
 * did not take. A job's; to be repeated does no harm.
 * @returns how many were revoked.
 */
export async function revokeBlocked(ca: Ca): Promise<number> {
  let count = 0;
  for (const spkiSha256 of await ca.database.read((sql) => listBlockedKeysInUse(sql, ca.clock.now(), batch))) {
    const revokedAt = wholeSeconds(ca.clock.now());
    const revoked = await ca.database.transact(async (tx) => {
      await blockKey(tx, spkiSha256, revokedAt);
      return await revokeOfKey(ca, tx, spkiSha256, { principal: "system", revokedAt });
    });
    for (const certificate of revoked) tell(ca, certificate, keyCompromise);
    count += revoked.length;
  }
  return count;
}

type Because = Pick<RevocationRequest, "principal"> & { readonly requestId?: string; readonly keyBlocked?: boolean };

async function revokeOfKey(
  ca: Ca,
  tx: Tx,
  spkiSha256: Uint8Array,
  { revokedAt, ...because }: Because & { readonly revokedAt: Date },
): Promise<readonly RevokedCertificate[]> {
  const revoked = await recordRevocationsOfKey(tx, { spkiSha256, reason: keyCompromise, revokedAt, limit: batch });
  for (const certificate of revoked) await record(ca, tx, certificate, { ...because, reason: keyCompromise });
  return revoked;
}

/** One record for each certificate, in the namespace that it lies in: whose it is learns of it. */
async function record(
  ca: Ca,
  tx: Tx,
  { namespace, authority, serial }: RevokedCertificate,
  { principal, requestId, reason, keyBlocked }: Because & { readonly reason: number },
): Promise<void> {
  const object = { authority, serial, reason, ...(keyBlocked === true && { keyBlocked }) };
  const entry = { operation: "certificate.revoke", namespace, principal, outcome: "success", object } as const;
  await appendAudit(tx, auditRow({ ...entry, ...(requestId !== undefined && { requestId }) }, ca));
}

function tell(ca: Ca, { authority, serial }: Pick<RevokedCertificate, "authority" | "serial">, reason: number): void {
  ca.events.tell("info", "certificate.revoked", { authority, serial, reason });
}
