import type { PendingQuery, Row } from "postgres";
import type { Sql } from "../database/connection.ts";
import type { Halt } from "./halt-store.ts";

/** What stops issuance: a halt all of it, a revocation of an authority's own certificate what that authority would issue. */
export type Stops = {
  readonly halt: Halt | undefined;
  /** Slugs of the authorities whose own certificate is revoked, or that of one above them. For good. */
  readonly revoked: readonly string[];
};

/** What stops issuance now. */
export async function readStops(sql: Sql): Promise<Stops> {
  const [row] = await sql<{ halt: (Omit<Halt, "haltedAt"> & { haltedAt: string }) | null; revoked: string[] }[]>`
    select (select jsonb_build_object('id', id, 'haltedAt', halted_at, 'haltedBy', halted_by, 'reason', reason)
        from issuance_halt where resumed_at is null) as halt,
      array(${revokedAuthorities(sql)}) as revoked`;
  return { halt: row?.halt ? { ...row.halt, haltedAt: new Date(row.halt.haltedAt) } : undefined, revoked: row?.revoked ?? [] };
}

/** The slugs of the revoked authorities. */
export async function readRevokedAuthorities(sql: Sql): Promise<readonly string[]> {
  return (await sql<{ slug: string }[]>`${revokedAuthorities(sql)}`).map(({ slug }) => slug);
}

/**
 * A condition over rows `u` of intents: true for what the service needs for itself, and for everybody while nothing stops the authority. No
 * statement that begins once what stops it is committed records an intent.
 */
export function stopGuard(sql: Sql): PendingQuery<Row[]> {
  return sql`(u.principal = 'system' or not ${isStopped(sql)})`;
}

/** The same over rows `u` of certificates, whose intents say who asked. */
export function recordGuard(sql: Sql): PendingQuery<Row[]> {
  return sql`(not ${isStopped(sql)} or exists (
    select from issuance i where i.authority = u.authority and i.serial = u.serial and i.principal = 'system'))`;
}

// Neither subquery depends on the row: each runs once a statement.
const isStopped = (sql: Sql) => sql`(
  exists (select from issuance_halt where resumed_at is null) or u.authority = any (array(${revokedAuthorities(sql)})))`;

// By the key first, which has an index: an authority may have issued millions of certificates beside those of authorities.
const revokedAuthorities = (sql: Sql) => sql`
  with recursive revoked as (
    select a.slug from authority a
    join key_pair k on k.id = a.key_pair_id
    join certificate c on c.spki_sha256 = k.spki_sha256 and c.authority = a.issuer and c.certificate = a.certificate
    join revocation r on r.authority = c.authority and r.serial = c.serial
    union
    select a.slug from authority a join revoked on a.issuer = revoked.slug
  )
  select slug from revoked order by slug`;
