import { stands } from "../access/store.ts";
import { appendAudit } from "../audit/append.ts";
import { auditRow } from "../audit/entry.ts";
import { transactCertainly } from "../database/certain.ts";
import type { Tx } from "../database/connect.ts";
import { Fault } from "../fault.ts";
import { reasonCodes } from "../pki/crl-reason.ts";
import type { Ca } from "./ca.ts";
import { blockKey, listBlockedKeysInUse } from "./reserved-key-store.ts";
import {
  readRevocation,
  readRevocationRequest,
  recordCompromise,
  recordCompromisesOfKey,
  recordRevocation,
  recordRevocationRequest,
  recordRevocationsOfKey,
  type RevocationRequestRow,
  type RevokedCertificate,
} from "./revocation-store.ts";

const { keyCompromise } = reasonCodes;
/** Certificates of a compromised key that one transaction revokes; those that are left are the job's. */
const batch = 100;

/** Compromised keys that are listed at once. */
const keysAtOnce = 100;

/** What is to be revoked, why, and by whom. */
export type RevocationRequest = {
  readonly authority: string;
  readonly serial: Uint8Array;
  /** CRLReason. @see RFC 5280 §5.3.1 */
  readonly reason: number;
  /** Since when the key is known to be compromised: whole seconds, not in the future. Absent: from now on. */
  readonly revokedAt?: Date | undefined;
  /** The certificate must lie in it or within it: "/" where another right than that of a namespace has been shown. */
  readonly namespace: string;
  /** As `AuditEntry` has it. */
  readonly principal: string;
  /** What the door calls this call of it. */
  readonly requestId: string;
  /** The caller's own name for this request: the same one with the same hash is answered as the first. */
  readonly repeatable?: RevocationRequestRow | undefined;
  /**
   * SHA-256 of the certificate's SubjectPublicKeyInfo, 32 octets, where with keyCompromise the key is to be blocked: whoever asks has shown that
   * they hold its private key, or has the right to say so of any key.
   */
  readonly keyToBlock?: Uint8Array | undefined;
};

/**
 * What became of a request: the certificate was `revoked`; it was revoked and has `changed`, its reason to keyCompromise or its key to one that
 * is blocked; either was done before under the same name, `repeated`; or nothing was done to it, since it is revoked already.
 */
export type RevocationOutcome =
  | { readonly outcome: "revoked" | "changed"; readonly revokedAt: Date }
  | { readonly outcome: "repeated" | "alreadyRevoked"; readonly revokedAt?: undefined };

/**
 * Revokes a certificate for good; durable with its audit record on return. keyCompromise takes the place of another reason that stands
 * (CAB Forum BR 7.2.2). A key that is blocked is in no certificate any more: none is issued for it, and those that it has
 * are revoked for it with this one, also those that were for another reason, the hundredth and later ones by `revokeBlocked`.
 * @throws Fault `idempotencyMismatch` when something else was asked under the same name; `unauthenticated` when the principal's token ended
 *   meanwhile; `databaseUnavailable` when it was not done, or nobody can say.
 */
export async function revoke(ca: Ca, request: RevocationRequest): Promise<RevocationOutcome> {
  const { revocation, others } = await transactCertainly(ca.database, (tx) => act(ca, tx, request));
  const { authority, reason } = request;
  const serial = Buffer.from(request.serial).toString("hex");
  if (revocation.outcome === "revoked" || revocation.outcome === "changed") tell(ca, { authority, serial }, reason);
  for (const other of others) tell(ca, other, reason);
  return revocation;
}

type Act = { readonly revocation: RevocationOutcome; readonly others: readonly RevokedCertificate[] };

async function act(ca: Ca, tx: Tx, request: RevocationRequest): Promise<Act> {
  const { authority, serial, reason, namespace, principal, repeatable, keyToBlock } = request;
  const now = ca.timekeeper.recordingTime();
  const revokedAt = request.revokedAt ?? now;
  if (principal.startsWith("token:") && !(await stands(tx.sql, principal, now))) {
    throw new Fault("unauthenticated", "the bearer token is not valid");
  }
  if (repeatable && (await wasAsked(tx, repeatable))) return { revocation: { outcome: "repeated" }, others: [] };
  const key = reason === keyCompromise ? keyToBlock : undefined;
  // The key before any certificate: of those who revoke certificates of one key, each waits for the one before and for nobody else.
  const keyBlocked = key ? await blockKey(tx, key, now) : false;
  const revoked = await recordRevocation(tx, { authority, serial, reason, revokedAt }, namespace);
  const changed =
    !revoked && reason === keyCompromise ? await recordCompromise(tx, { authority, serial, since: revokedAt }, namespace) : undefined;
  if (revoked) await record(ca, tx, revoked, { ...request, keyBlocked });
  // Of a revocation that says keyCompromise already, the block alone is new; it is recorded with it.
  const standing = keyBlocked && !revoked && !changed ? await readRevocation(tx, { authority, serial }, namespace) : undefined;
  const compromised = changed ?? standing;
  if (compromised) await record(ca, tx, compromised, { ...request, keyBlocked, operation: "certificate.compromise" });
  const others = key ? await revokeOfKey(ca, tx, key, { ...request, revokedAt, keyBlocked }) : [];
  const done = revoked ?? compromised;
  if (!done) {
    // A statement of its own sees what the insertion waited for.
    const repeated = repeatable !== undefined && (await wasAsked(tx, repeatable));
    return { revocation: { outcome: repeated ? "repeated" : "alreadyRevoked" }, others };
  }
  if (repeatable && !(await recordRevocationRequest(tx, repeatable, { authority, serial, recordedAt: now }))) {
    throw mismatch();
  }
  return { revocation: { outcome: revoked ? "revoked" : "changed", revokedAt: done.revokedAt }, others };
}

/** @throws Fault `idempotencyMismatch` */
async function wasAsked(tx: Tx, { requestId, requestHash }: RevocationRequestRow): Promise<boolean> {
  const standing = await readRevocationRequest(tx, requestId);
  if (standing && !Buffer.from(standing).equals(requestHash)) throw mismatch();
  return standing !== undefined;
}

function mismatch(): Fault {
  return new Fault("idempotencyMismatch", "this Idempotency-Key stands for another revocation");
}

/**
 * Revokes for keyCompromise what stands for compromised keys: certificates that were being signed when their key was blocked, and those that
 * one transaction did not take. Goes on until nothing is left or the signal aborts, a batch of each key in turn: none waits for another's end.
 * A job's; to be repeated does no harm.
 * @returns how many were revoked or have changed their reason.
 * @throws the first failure, when every other key was done with.
 */
export async function revokeBlocked(ca: Ca, signal: AbortSignal): Promise<number> {
  const failures = new Map<string, unknown>();
  let [count, more] = [0, true];
  while (more && !signal.aborted) {
    more = false;
    for await (const spkiSha256 of blockedKeysInUse(ca)) {
      if (signal.aborted) break;
      const key = Buffer.from(spkiSha256).toString("hex");
      if (failures.has(key)) continue;
      try {
        const revoked = await revokeBatchOf(ca, spkiSha256);
        count += revoked.length;
        more ||= revoked.length >= batch;
      } catch (cause) {
        failures.set(key, cause);
      }
    }
  }
  for (const cause of failures.values()) throw cause;
  return count;
}

/** Page by page: whatever becomes of those before, each has its turn. */
async function* blockedKeysInUse({ database, clock }: Ca): AsyncGenerator<Uint8Array, undefined> {
  let after: Uint8Array | undefined = new Uint8Array();
  while (after) {
    const page: Uint8Array[] = await listPage(after);
    yield* page;
    after = page.length === keysAtOnce ? page.at(-1) : undefined;
  }
  function listPage(from: Uint8Array): Promise<Uint8Array[]> {
    return database.read((sql) => listBlockedKeysInUse(sql, { now: clock.now(), after: from, limit: keysAtOnce }));
  }
}

async function revokeBatchOf(ca: Ca, spkiSha256: Uint8Array): Promise<readonly RevokedCertificate[]> {
  const revokedAt = ca.timekeeper.recordingTime();
  const revoked = await ca.database.transact(async (tx) => {
    await blockKey(tx, spkiSha256, revokedAt);
    return await revokeOfKey(ca, tx, spkiSha256, { principal: "system", revokedAt });
  });
  for (const certificate of revoked) tell(ca, certificate, keyCompromise);
  return revoked;
}

type Because = Pick<RevocationRequest, "principal"> & {
  readonly requestId?: string;
  readonly keyBlocked?: boolean;
  readonly operation?: "certificate.revoke" | "certificate.compromise";
};

async function revokeOfKey(
  ca: Ca,
  tx: Tx,
  spkiSha256: Uint8Array,
  { revokedAt, ...because }: Because & { readonly revokedAt: Date },
): Promise<readonly RevokedCertificate[]> {
  const now = ca.timekeeper.recordingTime();
  const which = { spkiSha256, now, limit: batch };
  const revoked = await recordRevocationsOfKey(tx, { ...which, reason: keyCompromise, revokedAt });
  for (const certificate of revoked) await record(ca, tx, certificate, { ...because, reason: keyCompromise });
  const changed = await recordCompromisesOfKey(tx, { ...which, since: revokedAt });
  for (const certificate of changed) {
    await record(ca, tx, certificate, { ...because, reason: keyCompromise, operation: "certificate.compromise" });
  }
  return [...revoked, ...changed];
}

/** One record for each certificate, in the namespace that it lies in: whose it is learns of it. */
async function record(
  ca: Ca,
  tx: Tx,
  { namespace, authority, serial, revokedAt }: RevokedCertificate,
  { principal, requestId, reason, keyBlocked, operation = "certificate.revoke" }: Because & { readonly reason: number },
): Promise<void> {
  const object = { authority, serial, reason, revokedAt: revokedAt.toISOString(), ...(keyBlocked === true && { keyBlocked }) };
  const entry = { operation, namespace, principal, outcome: "success", object } as const;
  await appendAudit(tx, auditRow({ ...entry, ...(requestId !== undefined && { requestId }) }, ca));
}

function tell(ca: Ca, { authority, serial }: Pick<RevokedCertificate, "authority" | "serial">, reason: number): void {
  ca.events.tell("info", "certificate.revoked", { authority, serial, reason });
}
