import type { AuditRow } from "../audit/entry.ts";
import type { Sql } from "../database/connection.ts";
import { violatedConstraint } from "../database/sqlstate.ts";
import type { Authorization } from "./authorization.ts";
import { readAuthorizations } from "./authorization-store.ts";
import type { ChallengeType } from "./directory.ts";
import type { Identifier, Problem } from "./problem.ts";

/** A challenge whose turn it is, leased to whoever holds `lease`. */
export type DueChallenge = {
  readonly id: string;
  readonly type: ChallengeType;
  readonly token: string;
  readonly keyAuthorization: string;
  /** Attempts that found no answer. */
  readonly attempts: number;
  readonly authorizationId: string;
  readonly accountId: string;
  readonly namespace: string;
  readonly directory: string;
  readonly identifier: Identifier;
  readonly lease: string;
};

type DueColumns = Omit<DueChallenge, "identifier" | "lease"> & { readonly identifierType: Identifier["type"]; readonly value: string };

const dueColumns = (sql: Sql) => sql`
  c.id, c.type, c.token, c.key_authorization as "keyAuthorization", c.attempts, c.authorization_id as "authorizationId",
  a.account_id as "accountId", acc.namespace, acc.directory,
  a.type as "identifierType", a.value`;

/** Longer than an attempt takes: half a minute in the validator's queue, ten seconds of asking, five until a child that hangs is ended. */
const leaseEnd = (sql: Sql) => sql`now() + interval '60 seconds'`;

/** A response to a challenge: whose, and what its validation runs under. */
export type Response = {
  readonly id: string;
  readonly accountId: string;
  /** Of the account's key at this moment. */
  readonly thumbprint: string;
  /** A name of this turn alone: what another turn found cannot be recorded in it. Absent where nobody here can validate it now. */
  readonly lease: string | undefined;
  readonly now: Date;
};

/**
 * What a response led to: the authorization as it stood before it, undefined for none of the account's; and the validation that began, or
 * that it waits for its turn.
 */
export type Responded = { readonly authorization: Authorization | undefined; readonly begun: DueChallenge | "waits" | undefined };

/**
 * Begins the validation of a challenge whose response arrived; nothing begins when it is not pending, its authorization is not, or another
 * challenge of it is under way. One that waits between two attempts is tried again now, if the last was five seconds ago. Without a lease
 * its turn comes now, and whoever claims it validates it.
 */
export async function beginValidation(sql: Sql, response: Response): Promise<Responded> {
  try {
    return await begin(sql, response);
  } catch (error) {
    // Of two responses to challenges of one authorization at once the other was first: now it can be seen.
    if (violatedConstraint(error) !== "acme_challenge_at_work") throw error;
    return await begin(sql, response);
  }
}

async function begin(sql: Sql, { id, accountId, thumbprint, lease, now }: Response): Promise<Responded> {
  const time = now.toISOString();
  const begun = sql`
    update acme_challenge c set status = 'processing', key_authorization = coalesce(c.key_authorization, c.token || '.' || ${thumbprint}),
      next_attempt_at = least(c.next_attempt_at, ${time}::timestamptz), ${lease === undefined ? noLease(sql) : takenLease(sql, lease, time)}
    from acme_authorization a join acme_account acc on acc.id = a.account_id
    where c.id = ${id} and a.id = c.authorization_id and a.account_id = ${accountId} and a.status = 'pending' and a.expires_at > ${time}::timestamptz
      and not exists (select from acme_challenge s where s.authorization_id = a.id and s.id <> c.id and s.status = 'processing')
      and (c.status = 'pending' or c.status = 'processing' and (c.lease_until is null or c.lease_until < now())
        and (c.attempted_at is null or c.attempted_at <= ${time}::timestamptz - interval '5 seconds'))
    returning ${dueColumns(sql)}`;
  const [found] = await readAuthorizations<{ begun: string | null }>(sql, now, {
    before: sql`with begun as (${begun})`,
    more: sql`, (select to_jsonb(b)::text from begun b) as begun`,
    where: sql`a.account_id = ${accountId} and a.id = (select authorization_id from acme_challenge where id = ${id})`,
  });
  const row = found?.row.begun;
  if (typeof row !== "string") return { authorization: found?.authorization, begun: undefined };
  const begunRow = JSON.parse(row) as DueColumns; // the query built it
  return { authorization: found?.authorization, begun: lease === undefined ? "waits" : due(begunRow, lease) };
}

const takenLease = (sql: Sql, lease: string, time: string) =>
  sql`attempted_at = ${time}::timestamptz, lease_owner = ${lease}, lease_until = ${leaseEnd(sql)}`;
const noLease = (sql: Sql) => sql`lease_owner = null, lease_until = null`;

/** What of the challenges that are due one turn may take. */
export type TurnShare = {
  /** Of all accounts. */
  readonly limit: number;
  /** Of one account, with those that it has. */
  readonly ofAccount: number;
  /** How many each account has, of those that have any. */
  readonly taken: ReadonlyMap<string, number>;
};

/**
 * Leases challenges whose next attempt is due and that nobody is at, as many as `share` says. Accounts take turns: an account's third comes
 * behind everyone's second, those that it has counted with them. Those whose authorization ended or expired meanwhile are over: they end
 * with `ended`.
 */
export async function claimDue(
  sql: Sql,
  { lease, now, share, ended }: { readonly lease: string; readonly now: Date; readonly share: TurnShare; readonly ended: Problem },
): Promise<DueChallenge[]> {
  const time = now.toISOString();
  const taken = [...share.taken];
  const isDue = sql`c.status = 'processing' and c.next_attempt_at <= ${time}::timestamptz and (c.lease_until is null or c.lease_until < now())`;
  const rows = await sql<DueColumns[]>`
    with taken as (
      select * from unnest(${sql.array(
        taken.map(([account]) => account),
        25,
      )}::text[], ${sql.array(
        taken.map(([, count]) => count),
        23,
      )}::integer[]) as t (account_id, count)
    ), waiting as (
      select c.id, c.next_attempt_at,
        coalesce(t.count, 0) + row_number() over (partition by a.account_id order by c.next_attempt_at, c.id) as turn
      from acme_challenge c join acme_authorization a on a.id = c.authorization_id left join taken t on t.account_id = a.account_id
      where ${isDue}
    ), due as (
      select c.id, a.status = 'pending' and a.expires_at > ${time}::timestamptz as alive
      from acme_challenge c join acme_authorization a on a.id = c.authorization_id
      where ${isDue} and c.id in (
        select id from waiting where turn <= ${share.ofAccount} order by turn, next_attempt_at limit ${share.limit})
      for update of c skip locked
    ), over as (
      update acme_challenge c set status = 'invalid', error = ${JSON.stringify(ended)}::text::jsonb, next_attempt_at = null,
        lease_owner = null, lease_until = null
      from due where c.id = due.id and not due.alive
    )
    update acme_challenge c set ${takenLease(sql, lease, time)}
    from due, acme_authorization a join acme_account acc on acc.id = a.account_id
    where c.id = due.id and due.alive and a.id = c.authorization_id
    returning ${dueColumns(sql)}`;
  return rows.map((row) => due(row, lease));
}

/** How an attempt ended. */
export type AttemptOutcome = { readonly evidence: unknown } & (
  | { readonly outcome: "valid"; readonly validatedAt: Date; readonly expiresAt: Date; readonly audit: AuditRow }
  | { readonly outcome: "invalid"; readonly error: Problem; readonly counts: boolean }
  | { readonly outcome: "again"; readonly error: Problem | undefined; readonly nextAttemptAt: Date; readonly counts: boolean }
);

/** Records the outcome, and with it the end of the authorization's wait; with one that is valid now, its audit record. @returns false when the lease was lost. */
export async function recordOutcome(sql: Sql, { id, lease }: DueChallenge, outcome: AttemptOutcome): Promise<boolean> {
  const evidence = outcome.evidence === undefined ? null : JSON.stringify(outcome.evidence);
  const held = sql`id = ${id} and status = 'processing' and lease_owner = ${lease}`;
  const over = sql`evidence = ${evidence}::text::jsonb, next_attempt_at = null, lease_owner = null, lease_until = null`;
  switch (outcome.outcome) {
    case "valid": {
      const validatedAt = outcome.validatedAt.toISOString();
      const [row] = await sql<{ ended: boolean }[]>`
        with met as (
          update acme_challenge set status = 'valid', validated_at = ${validatedAt}, error = null, ${over} where ${held} returning authorization_id
        ), authorized as (
          update acme_authorization a set status = 'valid', expires_at = ${outcome.expiresAt.toISOString()}
          from met where a.id = met.authorization_id and a.status = 'pending' and a.expires_at > ${validatedAt}::timestamptz
          returning a.id
        ), audited as (
          insert into audit_record (id, bytes, leaf_hash)
          select ${outcome.audit.id}::uuid, ${outcome.audit.bytes}::bytea, ${outcome.audit.leafHash}::bytea from authorized
        )
        select exists (select from met) as ended`;
      return row?.ended ?? false;
    }
    case "invalid": {
      const [row] = await sql<{ ended: boolean }[]>`
        with failed as (
          update acme_challenge set status = 'invalid', attempts = attempts + ${outcome.counts ? 1 : 0}, error = ${JSON.stringify(outcome.error)}::text::jsonb, ${over}
          where ${held} returning authorization_id
        ), refused as (
          update acme_authorization a set status = 'invalid' from failed where a.id = failed.authorization_id and a.status = 'pending'
        )
        select exists (select from failed) as ended`;
      return row?.ended ?? false;
    }
    case "again": {
      const error = outcome.error === undefined ? null : JSON.stringify(outcome.error);
      const result = await sql`
        update acme_challenge set attempts = attempts + ${outcome.counts ? 1 : 0}, next_attempt_at = ${outcome.nextAttemptAt.toISOString()},
          error = coalesce(${error}::text::jsonb, error), evidence = coalesce(${evidence}::text::jsonb, evidence),
          lease_owner = null, lease_until = null
        where ${held}`;
      return result.count === 1;
    }
    default:
      return outcome satisfies never;
  }
}

/** Ends a lease before its time: what stands under it is anybody's to validate. */
export async function releaseLease(sql: Sql, lease: string): Promise<void> {
  await sql`
    update acme_challenge set lease_owner = null, lease_until = null where status = 'processing' and lease_owner = ${lease}`;
}

function due({ identifierType, value, ...row }: DueColumns, lease: string): DueChallenge {
  return { ...row, identifier: { type: identifierType, value }, lease };
}
