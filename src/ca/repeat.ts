import { setTimeout as wait } from "node:timers/promises";
import { Fault } from "../fault.ts";
import { parseTbsCertificate } from "../pki/certificate.ts";
import { type AttemptRow, holdsStill, type IntentRow, isReserved, readAttempt } from "./attempt-store.ts";
import type { SigningAuthority } from "./authority.ts";
import type { Ca } from "./ca.ts";
import { type IssuedCertificate, readCertificateOfRequest } from "./certificates.ts";
import { finish, isFresh, relint } from "./finish.ts";
import { refuseStoppedNow } from "./halt.ts";
import type { Door } from "./issue.ts";

/**
 * The certificate of the request that `intent` could not be recorded for, because an earlier attempt of it stands; one that is open and that
 * nobody is at work on is finished here.
 * @throws Fault `badCSR`, `policyDenied`: nothing stands, for this key or this caller may not
 * @throws Fault `issuanceHalted`, `issuerRevoked`: nothing stands, and nothing is begun
 * @throws Fault `idempotencyMismatch`: what stands is another request
 * @throws Fault `busy`: the attempt is being settled
 */
export async function repeat(
  ca: Ca,
  authority: SigningAuthority,
  { intent, door }: { readonly intent: IntentRow; readonly door: Door },
): Promise<IssuedCertificate> {
  const standing = await ca.database.read((sql) => readAttempt(sql, intent.requestId));
  if (!standing) {
    await ca.database.read((sql) => refuseStoppedNow(sql, intent));
    if (await ca.database.read((sql) => isReserved(sql, intent.spkiSha256))) {
      throw new Fault("badCSR", "the key may not be in a certificate: it is an account's, one of this service, or known to others");
    }
    if (await ca.database.read((sql) => holdsStill(sql, { ...intent, now: intent.createdAt }, ca.guard))) {
      throw new Fault("busy", "what spoke against this request a moment ago does so no more; ask again");
    }
    throw new Fault("policyDenied", "the caller may no longer ask for certificates");
  }
  if (!Buffer.from(standing.requestHash).equals(intent.requestHash)) {
    throw new Fault("idempotencyMismatch", "this Idempotency-Key stands for a request with another body");
  }
  const attempt = standing.ended ? standing : await awaitEnd(ca, standing, door);
  ca.events.tell("debug", "certificate.repeated", { authority: attempt.authority });
  if (attempt.certificate) return await readCertificateOfRequest(ca, attempt.requestId);
  if (attempt.ended)
    throw new Fault("policyDenied", "this request was closed without a certificate; ask again under another Idempotency-Key");
  const frozen = [...ca.profiles.values()].find(({ sha256 }) => Buffer.from(sha256).equals(attempt.profileSha256));
  const plan = parseTbsCertificate(attempt.tbs);
  if (!frozen || attempt.authority !== authority.slug || !isFresh(ca, plan, attempt)) {
    throw new Fault("busy", "an earlier attempt of this request is being settled; ask again");
  }
  if (relint(authority, frozen.profile, { tbs: attempt.tbs, plan, shard: attempt.shard }).length > 0) {
    throw new Fault("busy", "an earlier attempt of this request is being closed; ask again");
  }
  return await finish(ca, authority, frozen.profile, { ...attempt, plan });
}

/** How long an attempt that another instance opened is left to it before its bytes are signed here as well. */
const elsewhereMs = 1_000;
/**
 * The age up to which an attempt of an order is left to it: beyond the deadline of a signature, so that a slow token signs once. Its clients
 * look at the order meanwhile; callers of other doors wait for this answer.
 */
const orderElsewhereMs = 6_000;
/** The longest time between two looks. */
const lookMs = 500;

/** The attempt once it has ended; still open when nobody here is at work on it and nobody elsewhere has ended it in time. */
async function awaitEnd(ca: Ca, attempt: AttemptRow, door: Door): Promise<AttemptRow> {
  await ca.finishing.get(Buffer.from(attempt.serial).toString("hex"));
  const patienceMs = patienceFor(ca, attempt, door);
  let current = attempt;
  for (let waitedMs = 0; !current.ended && waitedMs < patienceMs;) {
    const pauseMs = Math.min(Math.max(50, waitedMs / 2), lookMs, patienceMs - waitedMs);
    if (waitedMs > 0) await wait(pauseMs);
    waitedMs += pauseMs;
    current = (await ca.database.read((sql) => readAttempt(sql, attempt.requestId))) ?? current;
  }
  return current;
}

function patienceFor({ clock, unfinished }: Ca, { serial, createdAt }: AttemptRow, door: Door): number {
  // What this instance opened itself and is not at work on, nobody else is either.
  if (door !== "acme" || unfinished.has(Buffer.from(serial).toString("hex"))) return elsewhereMs;
  const ageMs = clock.now().getTime() - createdAt.getTime();
  return Math.min(Math.max(elsewhereMs, orderElsewhereMs - ageMs), orderElsewhereMs);
}
