import { setTimeout as wait } from "node:timers/promises";
import { Fault } from "../fault.ts";
import { parseTbsCertificate } from "../pki/certificate.ts";
import { type AttemptRow, type IntentRow, isReserved, readAttempt } from "./attempt-store.ts";
import type { SigningAuthority } from "./authority.ts";
import type { Ca } from "./ca.ts";
import { type IssuedCertificate, readCertificateOfRequest } from "./certificates.ts";
import { finish, isFresh, relint } from "./finish.ts";

/**
 * The certificate of the request that `intent` could not be recorded for, because an earlier attempt of it stands; one that is open and that
 * nobody is at work on is finished here.
 * @throws Fault `badCSR`, `policyDenied`: nothing stands, for this key or this caller may not
 * @throws Fault `idempotencyMismatch`: what stands is another request
 * @throws Fault `busy`: the attempt is being settled
 */
export async function repeat(ca: Ca, authority: SigningAuthority, intent: IntentRow): Promise<IssuedCertificate> {
  const standing = await ca.database.read((sql) => readAttempt(sql, intent.requestId));
  if (!standing) {
    if (await ca.database.read((sql) => isReserved(sql, intent.spkiSha256))) {
      throw new Fault("badCSR", "the key may not be in a certificate: it is an account's, one of this service, or known to others");
    }
    throw new Fault("policyDenied", "the caller may no longer ask for certificates");
  }
  if (!Buffer.from(standing.requestHash).equals(intent.requestHash)) {
    throw new Fault("idempotencyMismatch", "this Idempotency-Key stands for a request with another body");
  }
  const attempt = standing.ended ? standing : await awaitEnd(ca, standing);
  ca.events.tell("debug", "certificate.repeated", { authority: attempt.authority });
  if (attempt.certificate) return await readCertificateOfRequest(ca, attempt.requestId);
  if (attempt.ended)
    throw new Fault("policyDenied", "this request was closed without a certificate; ask again under another Idempotency-Key");
  const frozen = [...ca.profiles.values()].find(({ sha256 }) => Buffer.from(sha256).equals(attempt.profileSha256));
  const plan = parseTbsCertificate(attempt.tbs);
  if (!frozen || attempt.authority !== authority.slug || !isFresh(ca, plan, attempt)) {
    throw new Fault("busy", "an earlier attempt of this request is being settled; ask again");
  }
  if (relint(authority, frozen.profile, { tbs: attempt.tbs, plan }).length > 0) {
    throw new Fault("busy", "an earlier attempt of this request is being closed; ask again");
  }
  return await finish(ca, authority, frozen.profile, { ...attempt, plan });
}

/** How long an attempt that another instance opened is left to it before its bytes are signed here as well. */
const elsewhereMs = 1_000;

/** The attempt once it has ended; still open when nobody here is at work on it and nobody elsewhere has ended it in time. */
async function awaitEnd(ca: Ca, attempt: AttemptRow): Promise<AttemptRow> {
  await ca.finishing.get(Buffer.from(attempt.serial).toString("hex"));
  let current = attempt;
  for (let waitedMs = 0; !current.ended && waitedMs < elsewhereMs; waitedMs += 50) {
    if (waitedMs > 0) await wait(50);
    current = (await ca.database.read((sql) => readAttempt(sql, attempt.requestId))) ?? current;
  }
  return current;
}
