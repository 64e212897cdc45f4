import type { Tx } from "../database/connect.ts";
import type { Sql } from "../database/connection.ts";
import { columns } from "./columns.ts";
import type { PublishedCrl } from "./crl-slot.ts";

/** A slot that nothing is published in, since a directory has a newer CRL than the database. */
export type CrlHold = {
  readonly path: string;
  /** Slug. */
  readonly authority: string;
  /** Of that CRL. */
  readonly number: bigint;
  /** How many of its revocations the database lacked; undefined until all of them are recorded. */
  readonly takenOver: number | undefined;
};

/** SQL: whether nothing may be published in the slot `s`. */
export const isSlotHeld = "exists (select from crl_hold h where h.path = s.path and h.released_at is null)";

/**
 * Free → held, for a CRL that is newer than what is published, if anything is, and than one that it was held for before.
 * @returns whether its revocations are yet to be taken over.
 */
export async function recordCrlHold(
  { sql }: Tx,
  path: string,
  { number, thisUpdate, sha256 }: Pick<PublishedCrl, "number" | "thisUpdate" | "sha256">,
): Promise<boolean> {
  // The slot's row is locked: what is published meanwhile came before, and stands in it, or comes after and finds the hold.
  await sql`
    insert into crl_hold (path, number, this_update, sha256)
    select path, ${String(number)}, ${thisUpdate.toISOString()}, ${Buffer.from(sha256, "hex")}
    from (select path from crl_slot where path = ${path} and coalesce(number, -1) < ${String(number)} for update) s
    on conflict (path) do update set number = excluded.number, this_update = excluded.this_update, sha256 = excluded.sha256,
      held_at = excluded.held_at, taken_over = null, released_at = null
    where crl_hold.number < excluded.number`;
  const rows = await sql`select from crl_hold where path = ${path} and number = ${String(number)} and taken_over is null`;
  return rows.length === 1;
}

/** A revocation that a CRL lists. */
export type ListedRevocation = { readonly serial: Uint8Array; readonly revokedAt: Date; readonly reason: number };

/** One that the database lacked; `serial` in lower-case hex, `namespace` that of its certificate, "/" where the database has none. */
export type TakenOver = { readonly serial: string; readonly namespace: string; readonly revokedAt: Date; readonly reason: number };

type Scope = {
  readonly authority: string;
  readonly notAfter: Date;
  readonly shardOf: (revocation: ListedRevocation) => number | undefined;
};

/**
 * Records the revocations of a CRL that the database lacks, and keyCompromise where it has another reason. @returns which.
 * @param scope the CRL's; `notAfter` and `shardOf` stand for those of certificates which the database does not know.
 */
export async function recordListedRevocations({ sql }: Tx, scope: Scope, revocations: readonly ListedRevocation[]): Promise<TakenOver[]> {
  const { bytea, int4, time } = columns(sql, revocations);
  return await sql<TakenOver[]>`
    with listed as (
      select * from unnest(${bytea(({ serial }) => serial)}::bytea[], ${time(({ revokedAt }) => revokedAt)}::timestamptz[],
        ${int4(({ reason }) => reason)}::int[], ${int4((one) => scope.shardOf(one) ?? null)}::smallint[]) as l (serial, revoked_at, reason, shard)
    ), taken as (
      insert into revocation as r (authority, serial, revoked_at, reason, not_after, shard)
      select ${scope.authority}, l.serial, l.revoked_at, l.reason, coalesce(c.not_after, ${scope.notAfter.toISOString()}::timestamptz),
        case when i.serial is null then l.shard else i.shard end
      from listed l
      left join certificate c on c.authority = ${scope.authority} and c.serial = l.serial
      left join issuance i on i.authority = ${scope.authority} and i.serial = l.serial
      order by l.serial
      on conflict (authority, serial) do update set reason = 1, revoked_at = least(r.revoked_at, excluded.revoked_at)
      where excluded.reason = 1 and r.reason <> 1
      returning authority, serial, revoked_at, reason
    )
    select encode(t.serial, 'hex') as serial, coalesce(c.namespace, '/') as namespace, t.revoked_at as "revokedAt", t.reason
    from taken t left join certificate c using (authority, serial) order by t.serial`;
}

/** Held, not taken over → held, taken over. @returns false when another has done it, or there is a newer CRL now. */
export async function recordCrlTakenOver(
  { sql }: Tx,
  path: string,
  { number, count }: { number: bigint; count: number },
): Promise<boolean> {
  const result = await sql`
    update crl_hold set taken_over = ${count} where path = ${path} and number = ${String(number)} and taken_over is null`;
  return result.count === 1;
}

/** The slots that are held, by path. */
export async function listCrlHolds(sql: Sql): Promise<CrlHold[]> {
  const rows = await sql<{ path: string; authority: string; number: string; takenOver: string | null }[]>`
    select h.path, s.authority, h.number, h.taken_over as "takenOver"
    from crl_hold h join crl_slot s using (path) where h.released_at is null order by h.path`;
  return rows.map(({ path, authority, number, takenOver }) => ({
    path,
    authority,
    number: BigInt(number),
    takenOver: takenOver === null ? undefined : Number(takenOver),
  }));
}

/**
 * Held, taken over → free, of an authority's slots; `givenUp`: those too that are not taken over, which then never are.
 * @returns their paths, and which were given up.
 */
export async function releaseCrlHolds({ sql }: Tx, authority: string, givenUp: boolean): Promise<{ path: string; givenUp: boolean }[]> {
  return await sql<{ path: string; givenUp: boolean }[]>`
    with held as materialized (
      select h.path, h.taken_over is null as "givenUp" from crl_hold h join crl_slot s using (path)
      where s.authority = ${authority} and h.released_at is null and (h.taken_over is not null or ${givenUp}) for update of h
    ), released as (
      update crl_hold h set released_at = clock_timestamp(), taken_over = coalesce(h.taken_over, 0) from held where h.path = held.path
    )
    select path, "givenUp" from held order by path`;
}
