import type { Tx } from "../database/connect.ts";
import type { Sql } from "../database/connection.ts";
import { columns } from "./columns.ts";
import { isSlotHeld } from "./crl-hold-store.ts";
import type { CrlSlot, CrlTerms, NewCrlSlot, PublishedCrl } from "./crl-slot.ts";

/** The right to publish in a slot: who holds the highest fence may. `publication` is its owner. */
export type CrlLease = { readonly path: string; readonly publication: string; readonly fence: bigint };

/** Opens slots; one that stands already stays. */
export async function openCrlSlots(sql: Sql, slots: readonly NewCrlSlot[]): Promise<void> {
  const { int4, text } = columns(sql, slots);
  await sql`
    insert into crl_slot (path, authority, shard, url)
    select * from unnest(${text(({ path }) => path)}::text[], ${text(({ authority }) => authority)}::text[],
      ${int4(({ shard }) => shard ?? null)}::smallint[], ${text(({ url }) => url ?? null)}::text[])
    on conflict do nothing`;
}

/** Every slot with what stands in it, by path. */
export async function listCrlSlots(sql: Sql): Promise<CrlSlot[]> {
  const rows = await sql<SlotColumns[]>`select ${slotColumns(sql)} from crl_slot s order by s.path`;
  return rows.map(slotOf);
}

/**
 * Paths of the slots of authorities of one kind that are due at `now`: never published, published a period or half a life ago, or since then
 * something was revoked in their scope. What is new is told by transactions, so that one that committed late is not missed; a snapshot of
 * the future is of a database that has been restored since, and shows nothing.
 */
export async function listDueCrls(
  sql: Sql,
  kind: "root" | "issuing",
  { now, periodSeconds }: Pick<CrlTerms, "periodSeconds"> & { readonly now: Date },
): Promise<string[]> {
  // A snapshot does not show what began behind it, and what was open. To look from its oldest open transaction on would be to read, while
  // anybody holds one open, all that was ever revoked meanwhile; and what is read is read once, not for every slot.
  const rows = await sql<{ path: string }[]>`
    with slot as materialized (
      select s.path, s.authority, s.shard, s.snapshot, s.publication is null as first, (
        s.publication is null
        or s.this_update + least(make_interval(secs => ${periodSeconds}), (s.next_update - s.this_update) / 2) <= ${now.toISOString()}
        or pg_snapshot_xmax(s.snapshot) > pg_snapshot_xmax(pg_current_snapshot())) as due
      from crl_slot s join authority a on a.slug = s.authority
      where a.kind = ${kind} and (s.lease_until is null or s.lease_until < clock_timestamp())
    ), later as materialized (
      select authority, shard, max(transaction_id) as latest from revocation
      where transaction_id >= (select min(pg_snapshot_xmax(snapshot)) from slot where not due)
        and transaction_id < pg_snapshot_xmax(pg_current_snapshot())
      group by authority, shard
    ), open as materialized (
      select distinct authority, shard, transaction_id from revocation
      where transaction_id = any(array(select pg_snapshot_xip(snapshot) from slot where not due))
    )
    select s.path from slot s
    where s.due
      or exists (
        select from later r
        where r.authority = s.authority and (s.shard is null or r.shard = s.shard) and r.latest >= pg_snapshot_xmax(s.snapshot))
      or exists (
        select from open r
        where r.authority = s.authority and (s.shard is null or r.shard = s.shard)
          and r.transaction_id in (select pg_snapshot_xip(s.snapshot)))
    order by not s.first, s.path`;
  return rows.map(({ path }) => path);
}

/** SQL: whether a slot whose snapshot this expression gives does not show the revocation `r` yet. */
export const isNewTo = (snapshot: string): string =>
  `not pg_visible_in_snapshot(r.transaction_id, ${snapshot}) and r.transaction_id < pg_snapshot_xmax(pg_current_snapshot())`;

/** Unleased → leased by `publication`, under the next fence. Undefined when another holds the lease, or the slot is held. Time is the server's. */
export async function takeCrlLease(sql: Sql, path: string, publication: string): Promise<{ lease: CrlLease; slot: CrlSlot } | undefined> {
  const [row] = await sql<(SlotColumns & { fence: string })[]>`
    update crl_slot s set lease_owner = ${publication}, lease_until = ${leaseEnd(sql)}, fence = fence + 1
    where path = ${path} and (lease_until is null or lease_until < clock_timestamp()) and not ${sql.unsafe(isSlotHeld)}
    returning ${slotColumns(sql)}, s.fence`;
  return row && { lease: { path, publication, fence: BigInt(row.fence) }, slot: slotOf(row) };
}

/** Leased → leased for as long again. Does nothing when the lease has gone to another. */
export async function renewCrlLease(sql: Sql, lease: CrlLease): Promise<void> {
  await sql`update crl_slot set lease_until = ${leaseEnd(sql)} where ${held(sql, lease)}`;
}

/** Leased → unleased. */
export async function endCrlLease(sql: Sql, lease: CrlLease): Promise<void> {
  await sql`update crl_slot set lease_owner = null, lease_until = null where ${held(sql, lease)}`;
}

/**
 * Leased, with `before` published → `crl` published, unleased.
 * @returns false when the lease has gone to another, something else was published, or the slot is held.
 */
export async function recordPublishedCrl(
  { sql }: Tx,
  lease: CrlLease,
  { before, crl, snapshot }: { readonly before: PublishedCrl | undefined; readonly crl: PublishedCrl; readonly snapshot: string },
): Promise<boolean> {
  // A statement judges by what stood when it began. A hold that was being written then has the row: this one waits for it, and the next sees it.
  await sql`select from crl_slot where path = ${lease.path} for update`;
  const result = await sql`
    update crl_slot s set publication = ${crl.publication}, number = ${String(crl.number)}, this_update = ${crl.thisUpdate.toISOString()},
      next_update = ${crl.nextUpdate.toISOString()}, entries = ${crl.entries}, octets = ${crl.octets}, sha256 = ${Buffer.from(crl.sha256, "hex")},
      snapshot = ${snapshot}::pg_snapshot, previous = publication, lease_owner = null, lease_until = null
    where ${held(sql, lease)} and publication is not distinct from ${before?.publication ?? null}::uuid
      and not ${sql.unsafe(isSlotHeld)}`;
  return result.count === 1;
}

/** Longer than a pause of the process or the database, renewed well before it ends. */
const leaseEnd = (sql: Sql) => sql`clock_timestamp() + interval '30 seconds'`;

const held = (sql: Sql, { path, publication, fence }: CrlLease) =>
  sql`path = ${path} and lease_owner = ${publication}::uuid and fence = ${String(fence)}::bigint`;

type SlotColumns = Omit<NewCrlSlot, "shard" | "url"> & {
  readonly shard: number | null;
  readonly url: string | null;
  readonly publication: string | null;
  readonly number: string;
  readonly thisUpdate: Date;
  readonly nextUpdate: Date;
  readonly entries: number;
  readonly octets: string;
  readonly sha256: string;
  readonly lostNumber: string | null;
  readonly lostThisUpdate: Date | null;
};

const slotColumns = (sql: Sql) => sql`
  s.path, s.authority, s.shard, s.url, s.publication, s.number, s.this_update as "thisUpdate", s.next_update as "nextUpdate", s.entries,
  s.octets, encode(s.sha256, 'hex') as sha256, (select number from crl_hold h where h.path = s.path) as "lostNumber",
  (select this_update from crl_hold h where h.path = s.path) as "lostThisUpdate"`;

function slotOf({ path, authority, shard, url, publication, lostNumber, lostThisUpdate, ...crl }: SlotColumns): CrlSlot {
  const { number, thisUpdate, nextUpdate, entries, octets, sha256 } = crl;
  const published =
    publication === null
      ? undefined
      : { publication, number: BigInt(number), thisUpdate, nextUpdate, entries, octets: Number(octets), sha256 };
  const lost = lostNumber === null || lostThisUpdate === null ? undefined : { number: BigInt(lostNumber), thisUpdate: lostThisUpdate };
  const latest = lost && (!published || lost.number > published.number) ? lost : published;
  return { path, authority, shard: shard ?? undefined, url: url ?? undefined, published, latest };
}
