import type { Sql } from "../database/connection.ts";
import type { ChallengeType } from "./directory.ts";
import type { Identifier, Problem } from "./problem.ts";

/** A challenge whose turn it is, leased to this instance. */
export type DueChallenge = {
  readonly id: string;
  readonly type: ChallengeType;
  readonly token: string;
  readonly keyAuthorization: string;
  readonly attempts: number;
  readonly accountId: string;
  readonly authorizationId: string;
  readonly identifier: Identifier;
  readonly authorizationExpiresAt: Date;
};

type DueColumns = Omit<DueChallenge, "identifier"> & { readonly identifierType: Identifier["type"]; readonly value: string };

const dueColumns = (sql: Sql) => sql`
  c.id, c.type, c.token, c.key_authorization as "keyAuthorization", c.attempts, a.account_id as "accountId", a.id as "authorizationId",
  a.type as "identifierType", a.value, a.expires_at as "authorizationExpiresAt"`;

/** Longer than an attempt and the record of its outcome take. */
const lease = (sql: Sql) => sql`now() + interval '30 seconds'`;

/**
 * Begins the validation of a challenge whose response arrived, leased to `node`; undefined when it is not pending, its authorization is not,
 * or another challenge of it is under way. One that waits between two attempts is tried again now, if the last was five seconds ago.
 */
export async function beginValidation(
  sql: Sql,
  {
    id,
    accountId,
    thumbprint,
    node,
    now,
  }: { readonly id: string; readonly accountId: string; readonly thumbprint: string; readonly node: string; readonly now: Date },
): Promise<DueChallenge | undefined> {
  const time = now.toISOString();
  const [row] = await sql<DueColumns[]>`
    update acme_challenge c set status = 'processing', key_authorization = coalesce(c.key_authorization, c.token || '.' || ${thumbprint}),
      next_attempt_at = ${time}::timestamptz, attempted_at = ${time}::timestamptz, lease_owner = ${node}, lease_until = ${lease(sql)}
    from acme_authorization a
    where c.id = ${id} and a.id = c.authorization_id and a.account_id = ${accountId} and a.status = 'pending' and a.expires_at > ${time}::timestamptz
      and not exists (select from acme_challenge s where s.authorization_id = a.id and s.id <> c.id and s.status = 'processing')
      and (c.status = 'pending' or c.status = 'processing' and (c.lease_until is null or c.lease_until < now())
        and c.attempted_at <= ${time}::timestamptz - interval '5 seconds')
    returning ${dueColumns(sql)}`;
  return row && due(row);
}

/** Leases to `node` challenges whose next attempt is due and that nobody is at, up to `limit`. */
export async function claimDue(
  sql: Sql,
  { node, now, limit }: { readonly node: string; readonly now: Date; readonly limit: number },
): Promise<DueChallenge[]> {
  const time = now.toISOString();
  const rows = await sql<DueColumns[]>`
    update acme_challenge c set lease_owner = ${node}, lease_until = ${lease(sql)}, attempted_at = ${time}::timestamptz
    from acme_authorization a
    where a.id = c.authorization_id and c.id in (
      select id from acme_challenge where status = 'processing' and next_attempt_at <= ${time}::timestamptz
        and (lease_until is null or lease_until < now())
      order by next_attempt_at limit ${limit} for update skip locked)
    returning ${dueColumns(sql)}`;
  return rows.map(due);
}

/** How an attempt ended. */
export type AttemptOutcome = { readonly evidence: unknown } & (
  | { readonly outcome: "valid"; readonly validatedAt: Date; readonly expiresAt: Date }
  | { readonly outcome: "invalid"; readonly error: Problem }
  | { readonly outcome: "again"; readonly error: Problem | undefined; readonly nextAttemptAt: Date; readonly counts: boolean }
);

/** Records the outcome, and with it the end of the authorization's wait. @returns false when the lease was lost. */
export async function recordOutcome(sql: Sql, id: string, node: string, outcome: AttemptOutcome): Promise<boolean> {
  const evidence = outcome.evidence === undefined ? null : JSON.stringify(outcome.evidence);
  switch (outcome.outcome) {
    case "valid": {
      const [row] = await sql<{ ended: boolean }[]>`
        with met as (
          update acme_challenge set status = 'valid', validated_at = ${outcome.validatedAt.toISOString()}, error = null,
            evidence = ${evidence}::text::jsonb, next_attempt_at = null, lease_owner = null, lease_until = null
          where id = ${id} and status = 'processing' and lease_owner = ${node} returning authorization_id
        ), authorized as (
          update acme_authorization a set status = 'valid', expires_at = ${outcome.expiresAt.toISOString()}
          from met where a.id = met.authorization_id and a.status = 'pending'
        )
        select exists (select from met) as ended`;
      return row?.ended ?? false;
    }
    case "invalid": {
      const [row] = await sql<{ ended: boolean }[]>`
        with failed as (
          update acme_challenge set status = 'invalid', error = ${JSON.stringify(outcome.error)}::text::jsonb,
            evidence = ${evidence}::text::jsonb, next_attempt_at = null, lease_owner = null, lease_until = null
          where id = ${id} and status = 'processing' and lease_owner = ${node} returning authorization_id
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
        where id = ${id} and status = 'processing' and lease_owner = ${node}`;
      return result.count === 1;
    }
    default:
      return outcome satisfies never;
  }
}

function due({ identifierType, value, ...row }: DueColumns): DueChallenge {
  return { ...row, identifier: { type: identifierType, value } };
}
