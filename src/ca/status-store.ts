import type { Sql } from "../database/connection.ts";
import type { CertStatus } from "../pki/ocsp.ts";
import { columns } from "./columns.ts";

/** A serial number of an authority, 32 lower-case hex digits. */
export type SerialOf = { readonly authority: string; readonly serial: string };

/**
 * How serial numbers stand, in the order in which they are asked for: `good` for one that a certificate was recorded under, `revoked` for one
 * that is, be it a certificate's or that of an attempt that was closed; `unknown` for any other, an attempt's that is open among them.
 */
export async function readStatuses(sql: Sql, serials: readonly SerialOf[]): Promise<readonly CertStatus[]> {
  const { bytea, text } = columns(sql, serials);
  const rows = await sql<{ issued: boolean; revokedAt: Date | null; reason: number | null }[]>`
    select coalesce(c.certificate is not null, false) as issued, ${statusColumns(sql)}
    from unnest(${text(({ authority }) => authority)}::text[], ${bytea(({ serial }) => Buffer.from(serial, "hex"))}::bytea[])
      with ordinality as u (authority, serial, position)
    left join certificate c on c.authority = u.authority and c.serial = u.serial
    left join revocation r on r.authority = u.authority and r.serial = u.serial
    order by u.position`;
  return rows.map(({ issued, revokedAt, reason }) => {
    if (revokedAt !== null && reason !== null) return { status: "revoked", revokedAt, reason };
    return issued ? { status: "good" } : { status: "unknown" };
  });
}

/** Of the row `r`. Fractions of a second, which neither CRL nor OCSP can tell, are left out. */
const statusColumns = (sql: Sql) => sql`date_trunc('second', r.revoked_at) as "revokedAt", r.reason`;

/** A state of the database. */
export type DatabaseState = {
  /** As PostgreSQL writes it. */
  readonly snapshot: string;
  /** Whose transactions the snapshot counts: another server, one started anew or another database there counts its own. */
  readonly server: string;
};

/** What was revoked, or changed its reason, since a state of the database. */
export type StatusChanges = {
  /** The state to go on from. */
  readonly state: DatabaseState;
  /** At most as many as were asked for; there may be more where there are that many. */
  readonly changed: readonly { readonly of: SerialOf; readonly status: CertStatus }[];
  /**
   * The database need not be the one of that state, or later: it was restored, or another server took its place, which may lack the last
   * transactions of the one before and have given their numbers to others. What has changed cannot be told.
   */
  readonly rewound: boolean;
};

/** The database as it stands. */
export async function readState(sql: Sql): Promise<DatabaseState> {
  const rows = await sql<DatabaseState[]>`select pg_current_snapshot()::text as snapshot, ${serverColumn(sql)}`;
  return rows[0] ?? { snapshot: "", server: "" };
}

/** A standby that is promoted has a start of its own, and a server that is wound back is started after it. */
const serverColumn = (sql: Sql) => sql`
  concat_ws(' ', extract(epoch from pg_postmaster_start_time()), (select oid from pg_database where datname = current_database())) as server`;

/**
 * What the state `since` did not show: told by transaction, so that one that ends late is not passed over.
 * @param since as `readState` or the reading before gave it.
 */
export async function readStatusChanges(
  sql: Sql,
  { since, limit }: { readonly since: DatabaseState; readonly limit: number },
): Promise<StatusChanges> {
  // One statement sees one snapshot: the one that it tells is the one that its rows are from, and so is the server. New is what began behind
  // the one before and what was open in it, each read by itself: from its oldest open transaction on, which may be anybody's, it may be much.
  const rows = await sql<
    (DatabaseState & { isAhead: boolean } & (
        { authority: null } | { authority: string; serial: string; revokedAt: Date; reason: number }
      ))[]
  >`
    select p.present::text as snapshot, ${serverColumn(sql)}, pg_snapshot_xmax(p.since) > pg_snapshot_xmax(p.present) as "isAhead", c.*
    from (select pg_current_snapshot() as present, ${since.snapshot}::text::pg_snapshot as since) p
    left join lateral (
      select r.authority, encode(r.serial, 'hex') as serial, ${statusColumns(sql)} from (
        select authority, serial, revoked_at, reason from revocation
        where transaction_id >= pg_snapshot_xmax(p.since) and transaction_id < pg_snapshot_xmax(p.present)
        union all
        select authority, serial, revoked_at, reason from revocation
        where transaction_id = any(array(select pg_snapshot_xip(p.since)))
      ) r
      limit ${limit}
    ) c on true`;
  const changed = rows.flatMap((row) => {
    if (row.authority === null) return [];
    const { authority, serial, revokedAt, reason } = row;
    return [{ of: { authority, serial }, status: { status: "revoked", revokedAt, reason } as const }];
  });
  const [first] = rows;
  if (!first) return { state: since, changed, rewound: false };
  const { snapshot, server, isAhead } = first;
  return { state: { snapshot, server }, changed, rewound: isAhead || server !== since.server };
}
