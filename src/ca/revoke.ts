import { appendAudit } from "../audit/append.ts";
import { auditRow } from "../audit/entry.ts";
import type { Ca } from "./ca.ts";
import { reserveKey } from "./reserved-key-store.ts";
import { recordRevocation, recordRevocationsOfKey } from "./revocation-store.ts";

/** CRLReason of keyCompromise. @see RFC 5280 §5.3.1 */
const keyCompromise = 1;

/** What is to be revoked, why, and by whom. */
export type RevocationRequest = {
  readonly authority: string;
  readonly serial: Uint8Array;
  /** CRLReason. @see RFC 5280 §5.3.1 */
  readonly reason: number;
  readonly principal: { readonly id: string; readonly namespace: string };
  /** What the door calls this call of it. */
  readonly requestId: string;
  /** SHA-256 of the certificate's SubjectPublicKeyInfo, 32 octets, where whoever asks has shown that they hold its private key. */
  readonly provenKey?: Uint8Array | undefined;
};

/**
 * Revokes a certificate for good; durable with its audit record on return. A key that its holder says is compromised is in no certificate
 * any more: none is issued for it, and those that it has are revoked with this one.
 * @returns false when it was revoked before.
 */
export async function revoke(ca: Ca, request: RevocationRequest): Promise<boolean> {
  const { authority, serial, reason, principal, requestId, provenKey } = request;
  const revokedAt = new Date(Math.floor(ca.clock.now().getTime() / 1000) * 1000);
  return await ca.database.transact(async (tx) => {
    const revoked = await recordRevocation(tx, { authority, serial, reason, revokedAt });
    const compromised = reason === keyCompromise && provenKey !== undefined;
    if (compromised) await reserveKey(tx, { spkiSha256: provenKey, kind: "compromised", reservedAt: revokedAt });
    const others = compromised ? await recordRevocationsOfKey(tx, { spkiSha256: provenKey, reason, revokedAt }) : 0;
    if (!revoked && !compromised) return false;
    await appendAudit(
      tx,
      auditRow(
        {
          operation: "certificate.revoke",
          namespace: principal.namespace,
          principal: principal.id,
          outcome: "success",
          requestId,
          object: { authority, serial: Buffer.from(serial).toString("hex"), reason, ...(compromised && { keyBlocked: true, others }) },
        },
        ca,
      ),
    );
    ca.events.tell("info", "certificate.revoked", { authority, serial: Buffer.from(serial).toString("hex"), reason });
    return revoked;
  });
}
