import type { Sql } from "../database/connection.ts";
import { type CrlEntries, entryOctets } from "../pki/crl-entry.ts";
import type { CrlSlot } from "./crl-slot.ts";
import { isNewTo } from "./crl-store.ts";

/** What a CRL is made from: one state of the database. */
export type CrlSnapshot = {
  /** Text of a pg_snapshot. */
  readonly snapshot: string;
  readonly entryCount: number;
  /** Octets of all entries, by arithmetic. */
  readonly entriesOctets: number;
};

/**
 * Fixes the state of the database for the rest of the transaction, and counts what of it belongs on the slot's CRL. To be called before
 * anything else in it.
 */
export async function openCrlSnapshot(sql: Sql, slot: CrlSlot): Promise<CrlSnapshot> {
  await sql.unsafe("set transaction isolation level repeatable read, read only");
  const [taken] = await sql<{ snapshot: string }[]>`select pg_current_snapshot()::text as snapshot`;
  const kinds = await sql<{ serialOctets: number; late: boolean; plain: boolean; count: string }[]>`
    select octet_length(r.serial) + (get_byte(r.serial, 0) >> 7) as "serialOctets", r.revoked_at >= '2050-01-01T00:00:00Z' as late,
      r.reason = 0 as plain, count(*) as count
    from crl_slot s, revocation r where ${belongs(sql, slot)} group by 1, 2, 3`;
  let [entryCount, entriesOctets] = [0, 0];
  for (const { serialOctets, late, plain, count } of kinds) {
    entryCount += Number(count);
    entriesOctets += Number(count) * entryOctets(serialOctets, late ? year2050 : year2000, plain ? 0 : 1);
  }
  return { snapshot: taken?.snapshot ?? "", entryCount, entriesOctets };
}

const year2000 = new Date("2000-01-01T00:00:00Z");
const year2050 = new Date("2050-01-01T00:00:00Z");

/** Rows that are read at once. */
const pageSize = 2_000;

/** The entries of the slot's CRL by serial number, in batches; in the transaction of `openCrlSnapshot`. */
export async function* readCrlEntries(sql: Sql, slot: CrlSlot): AsyncGenerator<CrlEntries, undefined> {
  let after: Uint8Array = Uint8Array.of();
  for (;;) {
    const rows = await sql<{ serial: Uint8Array; seconds: number; reason: number }[]>`
      select r.serial, extract(epoch from r.revoked_at)::float8 as seconds, r.reason
      from crl_slot s, revocation r where ${belongs(sql, slot)} and r.serial > ${after}
      order by r.serial limit ${pageSize}`;
    const last = rows.at(-1);
    if (!last) return;
    yield batch(rows);
    if (rows.length < pageSize) return;
    after = last.serial;
  }
}

function batch(rows: readonly { readonly serial: Uint8Array; readonly seconds: number; readonly reason: number }[]): CrlEntries {
  const serialStarts = new Uint32Array(rows.length);
  const serialEnds = new Uint32Array(rows.length);
  const revokedAt = new Float64Array(rows.length);
  const reasons = new Uint8Array(rows.length);
  let offset = 0;
  for (const [index, { serial, seconds, reason }] of rows.entries()) {
    serialStarts[index] = offset;
    serialEnds[index] = offset += serial.length;
    revokedAt[index] = Math.floor(seconds);
    reasons[index] = reason;
  }
  return { count: rows.length, source: Buffer.concat(rows.map(({ serial }) => serial)), serialStarts, serialEnds, revokedAt, reasons };
}

/**
 * An entry stays until it was on one CRL behind its certificate's end (RFC 5280 §3.3): as long as the last one's thisUpdate is not after
 * its notAfter. One that the last did not show is on the next, whatever its notAfter is.
 */
const belongs = (sql: Sql, { path, authority, shard }: CrlSlot) => sql`
  s.path = ${path} and r.authority = ${authority} ${shard === undefined ? sql`` : sql`and r.shard = ${shard}`}
  and (s.publication is null or r.not_after >= s.this_update or (${isNewTo(sql)}))`;

/** Which of these serials of an authority is missed by a CRL that leaves it out, its certificate not being over at `since`; hex. */
export async function findRemovedEarly(
  sql: Sql,
  { authority, serials, since }: { readonly authority: string; readonly serials: readonly Uint8Array[]; readonly since: Date },
): Promise<string | undefined> {
  const [row] = await sql<{ serial: string }[]>`
    select encode(u.serial, 'hex') as serial
    from unnest(${sql.array([...serials], 17)}::bytea[]) as u (serial)
    left join certificate c on c.authority = ${authority} and c.serial = u.serial
    where c.serial is null or c.not_after >= ${since.toISOString()} limit 1`;
  return row?.serial;
}

/** DER certificate of an authority as it is recorded; undefined when there is none. */
export async function readAuthorityCertificate(sql: Sql, slug: string): Promise<Uint8Array | undefined> {
  const [row] = await sql<{ certificate: Uint8Array }[]>`select certificate from authority where slug = ${slug}`;
  return row?.certificate;
}
