import type { Tx } from "../database/connect.ts";
import type { Sql } from "../database/connection.ts";
import { applySettings, type CopiedRows, copiedSeconds, copyOut } from "../database/copy-out.ts";
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
export async function openCrlSnapshot({ sql }: Tx, slot: CrlSlot, thisUpdate: Date): Promise<CrlSnapshot> {
  await sql.unsafe("set transaction isolation level repeatable read, read only");
  // A CRL of many entries is most of the table: in the order of their serial numbers it is not to be fetched page by page.
  await sql.unsafe("set local enable_seqscan = on");
  const [taken] = await sql<{ snapshot: string }[]>`select pg_current_snapshot()::text as snapshot`;
  await applySettings({ sql }, settingsOf(slot, thisUpdate));
  const [counted] = await sql.unsafe<{ entryCount: string; entriesOctets: string }[]>(`
    select count(*) as "entryCount", coalesce(sum(
      case when r.reason = 0 then ${entryOctets(0, year2000, 0)} else ${entryOctets(0, year2000, 1)} end
      + octet_length(r.serial) + (get_byte(r.serial, 0) >> 7)
      + case when ${revocationDate} < '2050-01-01T00:00:00Z' then 0 else ${entryOctets(0, year2050, 0) - entryOctets(0, year2000, 0)} end
    ), 0) as "entriesOctets"
    ${belonging(slot)}`);
  return {
    snapshot: taken?.snapshot ?? "",
    entryCount: Number(counted?.entryCount),
    entriesOctets: Number(counted?.entriesOctets),
  };
}

const year2000 = new Date("2000-01-01T00:00:00Z");
const year2050 = new Date("2050-01-01T00:00:00Z");

/** The entries of the slot's CRL by serial number, in batches; in the transaction of `openCrlSnapshot`. */
export async function* readCrlEntries(tx: Tx, slot: CrlSlot, thisUpdate: Date): AsyncGenerator<CrlEntries, undefined> {
  const select = `
    select r.serial, ${revocationDate}, r.reason ${belonging(slot)} order by r.serial`;
  for await (const batch of copyOut(tx, { select, columns: 3, settings: settingsOf(slot, thisUpdate) })) yield entriesOf(batch);
}

function entriesOf({ rows, source, view, starts, ends }: CopiedRows): CrlEntries {
  const serialStarts = new Uint32Array(rows);
  const serialEnds = new Uint32Array(rows);
  const revokedAt = new Float64Array(rows);
  const reasons = new Uint8Array(rows);
  for (let row = 0; row < rows; row++) {
    serialStarts[row] = starts[row * 3] ?? 0;
    serialEnds[row] = ends[row * 3] ?? 0;
    revokedAt[row] = copiedSeconds(view, starts[row * 3 + 1] ?? 0);
    reasons[row] = view.getInt16(starts[row * 3 + 2] ?? 0);
  }
  return { count: rows, source, serialStarts, serialEnds, revokedAt, reasons };
}

/**
 * An entry stays until it was on one CRL behind its certificate's end (RFC 5280 §3.3): as long as the last one's thisUpdate is not after
 * its notAfter. One that the last did not show is on the next, whatever its notAfter is.
 */
const belonging = ({ shard }: CrlSlot): string => `
  from revocation r
  where r.authority = ${setting("authority")} ${shard === undefined ? "" : `and r.shard = ${setting("shard", "smallint")}`}
    and (${ofSlot(showsNothing)} or r.not_after >= ${ofSlot("this_update")} or (${isNewTo(ofSlot("snapshot"))}))`;

/** SQL: nothing is published in the slot, or its snapshot is of a database that was restored since. */
const showsNothing = "publication is null or pg_snapshot_xmax(snapshot) > pg_snapshot_xmax(pg_current_snapshot())";

/** What another instance, whose clock is ahead, revoked is revoked at thisUpdate until then: the CRL neither waits nor speaks of the future. */
const revocationDate = `least(r.revoked_at, ${setting("this_update", "timestamptz")})`;

/** SQL: a setting, which is read once and not for every row. */
function setting(name: string, type = "text"): string {
  return `(select current_setting('copy.${name}')::${type})`;
}

/** SQL: what stands in the slot's row, read once. */
function ofSlot(expression: string): string {
  return `(select ${expression} from crl_slot where path = current_setting('copy.path'))`;
}

function settingsOf({ path, authority, shard }: CrlSlot, thisUpdate: Date): Readonly<Record<string, string>> {
  return { path, authority, this_update: thisUpdate.toISOString(), ...(shard !== undefined && { shard: String(shard) }) };
}

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
