import { setTimeout as wait } from "node:timers/promises";
import { type AuditRow, auditRow } from "../audit/entry.ts";
import type { Sql } from "../database/connection.ts";
import { wholeSeconds } from "../database/whole-seconds.ts";
import { Fault } from "../fault.ts";
import type { Evidence } from "../ports/validator.ts";
import { principalOf } from "./account.ts";
import { type Acme, drawId } from "./acme.ts";
import type { ChallengeKind, Verdict } from "./challenge-kind.ts";
import { type AttemptOutcome, claimDue, type DueChallenge, recordOutcome, releaseLease } from "./challenge-store.ts";
import type { ChallengeType } from "./directory.ts";
import { dns01 } from "./dns-01.ts";
import { http01 } from "./http-01.ts";
import type { Problem } from "./problem.ts";
import { takeOne } from "./rate.ts";
import { tlsAlpn01 } from "./tls-alpn-01.ts";
import { maxOfAccount } from "./validation-places.ts";

const kinds: Readonly<Record<ChallengeType, ChallengeKind>> = { "http-01": http01, "dns-01": dns01, "tls-alpn-01": tlsAlpn01 };

/** After an attempt without an answer, by how many there were before (RFC 8555 §8.2). After the last one the challenge has failed. */
const pausesSeconds = [5, 15] as const;
/** After an attempt that found out nothing through a fault of our own; such attempts are not counted. */
const ownPauseSeconds = 10;
/** How long a met authorization serves. */
const authorizationLifeMs = 30 * 86_400_000;

/** Why a challenge fails whose authorization is over before it was met. */
const authorizationOver: Problem = {
  type: "urn:ietf:params:acme:error:malformed",
  detail: "the authorization ended or expired before the challenge was met",
  status: 400,
};

/** Begins every validation whose turn it is and that nobody is at: those that wait between two attempts, and those an instance left. */
export async function validateDue(acme: Acme): Promise<void> {
  const { places } = acme;
  const limit = places.free("due");
  if (limit <= 0) return;
  const share = { limit, ofAccount: maxOfAccount, taken: places.taken("due") };
  const turn = { lease: drawId(acme), now: acme.clock.now(), share, ended: authorizationOver };
  const due = await leased(acme, turn.lease, (sql) => claimDue(sql, turn));
  for (const challenge of due) startValidation(acme, challenge, places.enter("due", challenge.accountId));
}

/**
 * What a statement gives that takes a lease. Where it is not known whether it took it, the lease is given back as soon as the database is
 * there: nobody knows of the challenges that stand under it.
 */
export async function leased<T>({ database, events }: Acme, lease: string, take: (sql: Sql) => Promise<T>): Promise<T> {
  try {
    return await database.read(take);
  } catch (error) {
    insist(() => database.read((sql) => releaseLease(sql, lease))).catch((cause: unknown) =>
      events.tell("warn", "validation.failed", { lease, error: cause instanceof Error ? cause.message : String(cause) }),
    );
    throw error;
  }
}

/** Validates a challenge that is leased to this instance; its outcome is recorded, whoever waits for it, then `leave` is called. Never throws. */
export function startValidation(acme: Acme, challenge: DueChallenge, leave: () => void): void {
  const validating = validate(acme, challenge).catch((error: unknown) => {
    // Its lease ends by itself, and the next attempt is somebody's.
    acme.events.tell("warn", "validation.failed", {
      challenge: challenge.id,
      error: error instanceof Error ? error.message : String(error),
    });
  });
  acme.validating.add(validating);
  void validating.finally(() => {
    leave();
    acme.validating.delete(validating);
  });
}

async function validate(acme: Acme, challenge: DueChallenge): Promise<void> {
  const outcome = await attempt(acme, challenge);
  // Harmless if it stands already.
  const recorded = await insist(() => acme.database.read((sql) => recordOutcome(sql, challenge, outcome)));
  if (!recorded) return;
  const { type, identifier } = challenge;
  acme.events.tell("info", "validation.ended", { challenge: challenge.id, type, identifier: identifier.value, outcome: outcome.outcome });
  if (outcome.outcome === "invalid") await countFailure(acme, challenge);
}

/** Between tries while the database is away; together shorter than a lease. */
const pausesMs = [500, 1_000, 2_000, 4_000, 8_000] as const;

/** Does `act`, again while the database is away: else the client would wait until the lease ends. */
async function insist<T>(act: () => Promise<T>): Promise<T> {
  for (const pauseMs of pausesMs) {
    try {
      return await act();
    } catch (error) {
      if (!(error instanceof Fault) || error.code !== "databaseUnavailable") throw error;
    }
    await wait(pauseMs, undefined, { ref: false });
  }
  return await act();
}

async function attempt(acme: Acme, challenge: DueChallenge): Promise<AttemptOutcome> {
  if (acme.alwaysValid) return valid(acme, challenge, undefined);
  const { type, accountId, identifier, token, keyAuthorization } = challenge;
  try {
    return outcomeOf(acme, challenge, await kinds[type](acme.validator, { tenant: accountId, identifier, token, keyAuthorization }));
  } catch (error) {
    if (!(error instanceof Fault) || error.code !== "validatorUnavailable") throw error;
    return { outcome: "again", error: undefined, evidence: undefined, counts: false, nextAttemptAt: after(acme, ownPauseSeconds) };
  }
}

function outcomeOf(acme: Acme, challenge: DueChallenge, verdict: Verdict): AttemptOutcome {
  switch (verdict.outcome) {
    case "valid":
      return valid(acme, challenge, verdict.evidence);
    case "invalid":
      return { ...verdict, counts: false };
    case "again": {
      const pause = pausesSeconds[challenge.attempts];
      if (pause === undefined) return { ...verdict, outcome: "invalid", counts: true };
      return { ...verdict, counts: true, nextAttemptAt: after(acme, pause) };
    }
    default:
      return verdict satisfies never;
  }
}

function valid(acme: Acme, challenge: DueChallenge, evidence: Evidence | undefined): AttemptOutcome {
  const validatedAt = wholeSeconds(acme.clock.now());
  const expiresAt = new Date(validatedAt.getTime() + authorizationLifeMs);
  return { outcome: "valid", evidence, validatedAt, expiresAt, audit: validAudit(acme, challenge, evidence) };
}

/** Authorizations are forgotten when they are over: what control of an identifier was once shown by stays in the audit record. */
function validAudit(acme: Acme, challenge: DueChallenge, evidence: Evidence | undefined): AuditRow {
  const { authorizationId: authorization, accountId: account, namespace, identifier, type } = challenge;
  const { address, resolver } = evidence ?? {};
  const seen = { ...(address !== undefined && { address }), ...(resolver !== undefined && { resolver }) };
  const object = { authorization, account, identifier: identifier.value, challenge: type, ...seen };
  const { id: principal } = principalOf({ id: account, namespace });
  return auditRow({ operation: "acme.authorization.valid", namespace, principal, outcome: "success", object }, acme);
}

function after({ clock }: Acme, seconds: number): Date {
  return new Date(clock.now().getTime() + seconds * 1000);
}

async function countFailure(acme: Acme, { accountId: account, directory, identifier: { value: name } }: DueChallenge): Promise<void> {
  const limit = acme.directories.get(directory)?.limits.failedValidations;
  // Taken whether it is there or not: what counts is that it is gone.
  await takeOne(acme, { what: "failedValidation", account, name }, limit).catch(() => undefined);
}
