import { and, desc, eq, lt, or, sql as expression } from "drizzle-orm";
import type { PendingQuery, Row, Sql } from "postgres";
import type { Tx } from "../database/connect.ts";
import type { Role } from "./principal.ts";
import { apiTokenRevocationTable, apiTokenTable } from "./tables.ts";

/** A token without its secret. Times are whole seconds. */
export type TokenRecord = {
  readonly id: string;
  readonly namespace: string;
  readonly role: Role;
  readonly createdAt: Date;
  readonly expiresAt: Date;
  readonly createdBy: string;
  readonly revokedAt?: Date | undefined;
};

/** What authentication reads of a token. */
export type Credential = Pick<TokenRecord, "id" | "namespace" | "role" | "expiresAt"> & {
  readonly secretHash: Uint8Array;
  readonly revoked: boolean;
};

/** Where a page begins: behind this token. */
export type TokenPosition = Pick<TokenRecord, "id" | "createdAt">;

export async function recordToken({ orm }: Tx, token: Omit<TokenRecord, "revokedAt"> & { readonly secretHash: Uint8Array }): Promise<void> {
  await orm.insert(apiTokenTable).values(token);
}

/** Revokes the token; false when it was revoked before. */
export async function recordTokenRevocation({ orm }: Tx, tokenId: string, revokedAt: Date): Promise<boolean> {
  const inserted = await orm
    .insert(apiTokenRevocationTable)
    .values({ tokenId, revokedAt })
    .onConflictDoNothing()
    .returning({ tokenId: apiTokenRevocationTable.tokenId });
  return inserted.length === 1;
}

/** When the token expires; undefined when it is revoked or not there. Until the transaction ends nobody can revoke it. */
export async function holdToken({ orm }: Tx, id: string): Promise<Date | undefined> {
  // FOR UPDATE excludes the FOR KEY SHARE that recording a revocation takes on the row it refers to.
  const [held] = await orm.select({ expiresAt: apiTokenTable.expiresAt }).from(apiTokenTable).where(eq(apiTokenTable.id, id)).for("update");
  // A statement of its own sees the revocation that was committed while the first one waited.
  const revoked = await orm
    .select({ tokenId: apiTokenRevocationTable.tokenId })
    .from(apiTokenRevocationTable)
    .where(eq(apiTokenRevocationTable.tokenId, id));
  return revoked.length > 0 ? undefined : held?.expiresAt;
}

/** The token of this id, if it lies in `namespace` or within it. */
export async function readToken({ orm }: Tx, namespace: string, id: string): Promise<TokenRecord | undefined> {
  const [row] = await tokens(orm).where(and(within(namespace), eq(apiTokenTable.id, id)));
  return row && record(row);
}

/** Tokens of `namespace` and within it, newest first. */
export async function readTokens(
  { orm }: Tx,
  namespace: string,
  { limit, after }: { limit: number; after?: TokenPosition },
): Promise<TokenRecord[]> {
  const { createdAt, id } = apiTokenTable;
  const behind = after && or(lt(createdAt, after.createdAt), and(eq(createdAt, after.createdAt), lt(id, after.id)));
  const rows = await tokens(orm)
    .where(and(within(namespace), behind))
    .orderBy(desc(createdAt), desc(id))
    .limit(limit);
  return rows.map(record);
}

/** The credential of this id: read for every request whose token is not remembered. */
export async function readCredential(sql: Sql, id: string): Promise<Credential | undefined> {
  const [row] = await sql<Credential[]>`
    select t.id, t.namespace, t.role, t.expires_at as "expiresAt", t.secret_hash as "secretHash", r.token_id is not null as revoked
    from api_token t left join api_token_revocation r on r.token_id = t.id
    where t.id = ${id}::uuid`;
  return row;
}

/**
 * A condition over rows `u` with the columns `principal` and `created_at`: true for "system" and for a token that is neither revoked when the
 * statement runs nor expired at `created_at`. Closes the seconds in which a request still counts on a remembered token.
 */
export function tokenGuard(sql: Sql): PendingQuery<Row[]> {
  return sql`(u.principal = 'system' or exists (
    select from api_token t
    where t.id = case when u.principal like 'token:%' then substr(u.principal, 7)::uuid end
      and t.expires_at > u.created_at
      and not exists (select from api_token_revocation r where r.token_id = t.id)))`;
}

/** Whether what a principal acts by still stands: a token that is neither revoked nor expired at `now`; "system" needs none. */
export async function stands(sql: Sql, principal: string, now: Date): Promise<boolean> {
  const rows = await sql`
    select from (select ${principal}::text as principal, ${now.toISOString()}::timestamptz as created_at) u where ${tokenGuard(sql)}`;
  return rows.length > 0;
}

/** Whether what a principal acted by was revoked: a token that has merely expired was not. */
export async function wasRevoked(sql: Sql, principal: string): Promise<boolean> {
  const rows =
    await sql`select from api_token_revocation where token_id = case when ${principal}::text like 'token:%' then substr(${principal}::text, 7)::uuid end`;
  return rows.length > 0;
}

function tokens(orm: Tx["orm"]) {
  const { id, namespace, role, createdAt, expiresAt, createdBy } = apiTokenTable;
  return orm
    .select({ id, namespace, role, createdAt, expiresAt, createdBy, revokedAt: apiTokenRevocationTable.revokedAt })
    .from(apiTokenTable)
    .leftJoin(apiTokenRevocationTable, eq(apiTokenRevocationTable.tokenId, id))
    .$dynamic();
}

function within(namespace: string) {
  const own = apiTokenTable.namespace;
  return namespace === "/" ? undefined : or(eq(own, namespace), expression`starts_with(${own}, ${`${namespace}/`})`);
}

function record(row: Omit<TokenRecord, "revokedAt"> & { readonly revokedAt: Date | null }): TokenRecord {
  return { ...row, revokedAt: row.revokedAt ?? undefined };
}
