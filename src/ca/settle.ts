import { appendAudit } from "../audit/append.ts";
import { auditRow } from "../audit/entry.ts";
import { Fault } from "../fault.ts";
import { type Certificate, notAfterOf, parseTbsCertificate, reissuedTbs } from "../pki/certificate.ts";
import type { Profile } from "../pki/profile.ts";
import {
  type AttemptRow,
  closeAttempt,
  holdsStill,
  type IntentRow,
  listOpenAttempts,
  readAttemptOf,
  recordIntents,
  recordSettlement,
} from "./attempt-store.ts";
import type { Authority } from "./authority.ts";
import type { Ca } from "./ca.ts";
import { finish, isFresh, relint } from "./finish.ts";
import { issuanceHalted } from "./halt.ts";
import { readHalt } from "./halt-store.ts";
import { drawSerial, intentRow } from "./intent.ts";
import { readFrozenProfile } from "./profiles.ts";

/** An attempt that is open after this time is nobody's: every deadline on its way has passed. */
const abandonedAfterSeconds = 20;

/** Rows that are read at once, and pages of them that one round tries at most: a round ends even where every attempt waits for the token. */
const pageSize = 100;
const pagesOfRound = 10;

/** So many failures of a round are told at `warn`: where a token is away, they all say the same. */
const failuresTold = 10;

/** What became of the attempts that were found open. */
export type Settlement = { readonly finished: number; readonly closed: number; readonly failed: number };

/**
 * Settles attempts that a crash or an outage left open: the same bytes are signed again while they are fresh; else the attempt is closed,
 * its serial revoked, and the next one opened in the same transaction, or, where that may not be, the request is closed for good, as it is
 * where lint now finds anything in the bytes, or the authority is revoked. While issuance is halted only the service's own are settled.
 * May run in several instances at once. An attempt that cannot be settled now stays open for a later round and holds up no other: a round
 * tries the 1,000 behind those that the round before tried, and begins again with the oldest when it has come to the end.
 */
export async function settle(ca: Ca): Promise<Settlement> {
  const before = new Date(ca.clock.now().getTime() - abandonedAfterSeconds * 1000);
  const count = { finished: 0, closed: 0, failed: 0, left: 0 };
  for (let page = 1; page <= pagesOfRound; page++) {
    const { after } = ca.settling;
    const attempts = await ca.database.read((sql) => listOpenAttempts(sql, { before, after, limit: pageSize }));
    for (const attempt of attempts) {
      try {
        count[await settleAttempt(ca, attempt)]++;
      } catch (cause) {
        const level = ++count.failed > failuresTold ? "debug" : "warn";
        ca.events.tell(level, "job.failed", { job: "settle", serial: Buffer.from(attempt.serial).toString("hex"), cause });
      }
      ca.settling.after = attempt;
    }
    if (attempts.length < pageSize) {
      ca.settling.after = undefined;
      break;
    }
  }
  await ca.database.read((sql) => recordSettlement(sql, before));
  const { finished, closed, failed } = count;
  return { finished, closed, failed };
}

/**
 * Settles what this instance itself began and could not finish, without waiting until nobody else can be at it. A round ends with the
 * first that cannot be settled now, which then stands behind the others: where the token is away, it is away for all.
 */
export async function settleUnfinished(ca: Ca): Promise<void> {
  if (ca.unfinished.size === 0 || ca.halt.known()) return;
  for (const [id, left] of ca.unfinished) {
    ca.unfinished.delete(id);
    try {
      const attempt = await ca.database.read((sql) => readAttemptOf(sql, left.authority, left.serial));
      if (attempt && !attempt.ended) await settleAttempt(ca, attempt);
    } catch (cause) {
      ca.unfinished.set(id, left);
      ca.events.tell("debug", "job.failed", { job: "settle unfinished", serial: id, cause });
      return;
    }
  }
}

async function settleAttempt(ca: Ca, attempt: AttemptRow): Promise<"finished" | "closed" | "left"> {
  const authority = ca.authorities.get(attempt.authority);
  // A root signs in its ceremony alone, which resumes what it left open.
  if (authority?.kind !== "issuing") return "left";
  if (attempt.principal !== "system" && (await ca.halt.current())) return "left";
  const profile = await readFrozenProfile(ca.database, attempt.profileSha256);
  if (!profile) throw new Fault("internal", "the profile of an intent is not recorded");
  const plan = parseTbsCertificate(attempt.tbs);
  const findings = relint(authority, profile, { tbs: attempt.tbs, plan, shard: attempt.shard });
  if (findings.length > 0) {
    const rules = findings.map(({ rule }) => rule);
    ca.events.tell("error", "lint.refused", { authority: authority.slug, serial: plan.serial, rules });
    return await close(ca, authority, profile, { attempt, plan, next: undefined });
  }
  if (attempt.principal !== "system" && ca.halt.revoked().includes(authority.slug)) {
    return await close(ca, authority, profile, { attempt, plan, next: undefined });
  }
  if (isFresh(ca, plan, attempt) || (await isStillDue(ca, plan, attempt))) {
    await finish(ca, authority, profile, { ...attempt, plan });
    ca.events.tell("info", "issuance.settled", { authority: authority.slug, serial: plan.serial });
    return "finished";
  }
  return await close(ca, authority, profile, { attempt, plan, next: nextAttempt(ca, authority, profile, { attempt, plan }) });
}

/** Whether bytes with dates that were asked for, which are not over, may be signed though time has passed: what was held against their intent still holds. */
async function isStillDue(ca: Ca, { notAfter, spkiSha256 }: Certificate, attempt: AttemptRow): Promise<boolean> {
  const now = ca.timekeeper.signingTime();
  if (!attempt.exactDates || now > notAfter) return false;
  return await ca.database.read((sql) => holdsStill(sql, { ...attempt, spkiSha256: Buffer.from(spkiSha256, "hex"), now }, ca.guard));
}

/** Closes an attempt and opens `next` in the same transaction, where there is one. */
async function close(
  ca: Ca,
  authority: Authority,
  profile: Profile,
  { attempt, plan, next }: { attempt: AttemptRow; plan: Certificate; next: IntentRow | undefined },
): Promise<"closed" | "left"> {
  const outcome = await ca.database.transact(async (tx) => {
    const closed = await closeAttempt(tx, {
      authority: attempt.authority,
      serial: attempt.serial,
      namespace: attempt.namespace,
      profile: profile.name,
      spkiSha256: Buffer.from(plan.spkiSha256, "hex"),
      notBefore: plan.notBefore,
      notAfter: plan.notAfter,
      recordedAt: ca.clock.now(),
    });
    if (!closed) return undefined;
    // Halted a moment ago: the next attempt may not open, which is no reason to end the request. A revocation is one: it is for good.
    const halt = attempt.principal === "system" ? undefined : await readHalt(tx.sql);
    if (halt) throw issuanceHalted(halt);
    const opened = next !== undefined && (await recordIntents(tx.sql, [next], ca.guard)) === 1;
    await appendAudit(
      tx,
      auditRow(
        {
          operation: "certificate.close",
          namespace: attempt.namespace,
          principal: "system",
          outcome: "failure",
          object: { authority: attempt.authority, serial: plan.serial, attempt: attempt.attempt, reopened: opened },
        },
        ca,
      ),
    );
    return { opened };
  });
  if (!outcome) return "left";
  ca.events.tell("warn", "issuance.closed", { authority: authority.slug, serial: plan.serial, reopened: outcome.opened });
  if (next && outcome.opened) await finish(ca, authority, profile, next);
  return "closed";
}

/** The same content under a new serial and new times; undefined when it may not be issued any more. */
function nextAttempt(
  ca: Ca,
  authority: Authority,
  profile: Profile,
  { attempt, plan }: { attempt: AttemptRow; plan: Certificate },
): IntentRow | undefined {
  if (attempt.exactDates) return undefined;
  const serial = drawSerial(ca);
  const lifetimeSeconds = (plan.notAfter.getTime() - plan.notBefore.getTime()) / 1000 + 1;
  const notBefore = new Date(ca.timekeeper.signingTime().getTime() - profile.backdateSeconds * 1000);
  const tbs = reissuedTbs(attempt.tbs, { serial, notBefore, notAfter: notAfterOf(notBefore, lifetimeSeconds) });
  if (relint(authority, profile, { tbs, plan, shard: attempt.shard }).length > 0) return undefined;
  return intentRow(ca, {
    authority: attempt.authority,
    serial: Buffer.from(serial, "hex"),
    // The bytes name the distribution point of the attempt before: the shard is its own too.
    shard: attempt.shard,
    requestId: attempt.requestId,
    attempt: attempt.attempt + 1,
    requestHash: attempt.requestHash,
    namespace: attempt.namespace,
    principal: attempt.principal,
    profileSha256: attempt.profileSha256,
    spkiSha256: Buffer.from(plan.spkiSha256, "hex"),
    tbs,
    createdAt: ca.clock.now(),
    exactDates: false,
  });
}
