import type { PendingQuery, Row } from "postgres";
import type { Tx } from "../database/connect.ts";
import type { Sql } from "../database/connection.ts";
import type { Authorization, AuthorizationStatus, Challenge } from "./authorization.ts";
import type { ChallengeType } from "./directory.ts";
import type { Identifier, Problem } from "./problem.ts";

type ChallengeColumns = {
  readonly id: string;
  readonly type: ChallengeType;
  readonly token: string;
  readonly status: Challenge["status"];
  readonly error: Problem | null;
  readonly validated_at: string | null;
  readonly attempts: number;
  readonly evidence: Readonly<Record<string, unknown>> | null;
};

type AuthorizationColumns = {
  readonly id: string;
  readonly accountId: string;
  readonly type: Identifier["type"];
  readonly value: string;
  readonly wildcard: boolean;
  readonly status: AuthorizationStatus;
  readonly expiresAt: Date;
  readonly challenges: string;
};

/** An authorization, and what else its row holds. */
type Found<More> = { readonly authorization: Authorization; readonly row: More };

/** Authorizations with their challenges, for queries that ask for more in the same statement: `before` stands before its select, `more` among the columns. */
export async function readAuthorizations<More>(
  sql: Sql,
  now: Date,
  { before = sql``, more = sql``, where }: { readonly before?: Fragment; readonly more?: Fragment; readonly where: Fragment },
): Promise<Found<More>[]> {
  const rows = await sql<(AuthorizationColumns & More)[]>`
    ${before}
    select a.id, a.account_id as "accountId", a.type, a.value, a.wildcard, a.expires_at as "expiresAt",
      case when a.status in ('pending', 'valid') and a.expires_at <= ${now.toISOString()}::timestamptz then 'expired' else a.status end as status,
      coalesce((
        select jsonb_agg(jsonb_build_object('id', c.id, 'type', c.type, 'token', c.token, 'status', c.status, 'error', c.error,
          'validated_at', c.validated_at, 'attempts', c.attempts, 'evidence', c.evidence) order by c.position)
        from acme_challenge c where c.authorization_id = a.id), '[]')::text as challenges ${more}
    from acme_authorization a where ${where}`;
  return rows.map((row) => ({ authorization: authorizationOf(row), row }));
}

type Fragment = PendingQuery<Row[]>;

/** The authorization of each of these ids, in their order. */
export async function readAuthorizationRows(sql: Sql, ids: readonly string[], now: Date): Promise<(Authorization | undefined)[]> {
  const found = await readAuthorizations(sql, now, { where: sql`a.id = any(${sql.array([...ids], 25)}::text[])` });
  const authorizations = new Map(found.map(({ authorization }) => [authorization.id, authorization]));
  return ids.map((id) => authorizations.get(id));
}

/** The authorization that a challenge is of. */
export async function readAuthorizationOfChallenge(sql: Sql, challengeId: string, now: Date): Promise<Authorization | undefined> {
  const where = sql`a.id = (select authorization_id from acme_challenge where id = ${challengeId})`;
  const [found] = await readAuthorizations(sql, now, { where });
  return found?.authorization;
}

/** The authorizations of an order, in the order of its identifiers. */
export async function readAuthorizationsOfOrder(sql: Sql, orderId: string, now: Date): Promise<Authorization[]> {
  const position = sql`select oa.position from acme_order_authorization oa where oa.order_id = ${orderId} and oa.authorization_id = a.id`;
  const found = await readAuthorizations(sql, now, { where: sql`exists (${position}) order by (${position})` });
  return found.map(({ authorization }) => authorization);
}

/** Which of these canonical names and addresses the account has valid authorizations for; a wildcard with its `*.`. */
export async function readAuthorizedIdentifiers(sql: Sql, accountId: string, now: Date): Promise<Set<string>> {
  const rows = await sql<{ type: string; value: string; wildcard: boolean }[]>`
    select distinct type, value, wildcard from acme_authorization
    where account_id = ${accountId} and status = 'valid' and expires_at > ${now.toISOString()}`;
  return new Set(rows.map(({ type, value, wildcard }) => `${type}:${wildcard ? "*." : ""}${value}`));
}

/** Ends an authorization that is pending or valid. @returns false when it is neither, or not the account's. */
export async function recordAuthorizationEnd({ sql }: Tx, accountId: string, id: string, now: Date): Promise<boolean> {
  const result = await sql`
    update acme_authorization set status = 'deactivated'
    where id = ${id} and account_id = ${accountId} and status in ('pending', 'valid') and expires_at > ${now.toISOString()}`;
  return result.count === 1;
}

function authorizationOf({ id, accountId, type, value, wildcard, status, expiresAt, challenges }: AuthorizationColumns): Authorization {
  const parsed = JSON.parse(challenges) as readonly ChallengeColumns[]; // the query built it
  return { id, accountId, identifier: { type, value }, wildcard, status, expiresAt, challenges: parsed.map(challengeOf) };
}

function challengeOf({ error, validated_at: validatedAt, evidence, ...row }: ChallengeColumns): Challenge {
  return {
    id: row.id,
    type: row.type,
    token: row.token,
    status: row.status,
    attempts: row.attempts,
    ...(error && { error }),
    ...(validatedAt !== null && { validatedAt: new Date(validatedAt) }),
    ...(evidence && { evidence }),
  };
}
