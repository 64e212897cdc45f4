import type { PendingQuery, Row } from "postgres";
import type { AuditRow } from "../audit/entry.ts";
import type { Tx } from "../database/connect.ts";
import type { Sql } from "../database/connection.ts";
import type { CertificateRow } from "./certificate-store.ts";
import { columns } from "./columns.ts";

/** An intent with its audit record: what `recordIntents` makes durable before anything is signed. Byte strings as they are stored. */
export type IntentRow = {
  readonly authority: string;
  /** 16 octets. */
  readonly serial: Uint8Array;
  /** The shard of the authority's CRL that the bytes name; undefined: the full CRL. */
  readonly shard: number | undefined;
  /** SHA-256 of door, namespace, principal and the caller's key: whose request this is. */
  readonly requestId: Uint8Array;
  /** 1 for the first; the next is opened by the transaction that closes this one. */
  readonly attempt: number;
  /** SHA-256 of what was asked. */
  readonly requestHash: Uint8Array;
  readonly namespace: string;
  readonly principal: string;
  readonly profileSha256: Uint8Array;
  readonly spkiSha256: Uint8Array;
  readonly tbs: Uint8Array;
  /** SHA-256 of `tbs`, lower-case hex: stands in the audit record, and holds the bytes together until they are signed. */
  readonly tbsSha256: string;
  readonly createdAt: Date;
  /** Whether the dates in `tbs` were asked for. */
  readonly exactDates: boolean;
  /** What the caller proved itself with, for the guard alone: it is not stored. */
  readonly credential?: string | undefined;
  readonly audit: AuditRow;
};

/** A condition over the rows `u` of a batch of intents that must hold when they are recorded; given by the part that asks. */
export type Guard = (sql: Sql) => PendingQuery<Row[]>;

/**
 * Records intents and their audit records in one statement: a row whose serial or request stands already, whose key is reserved, or
 * whose guard does not hold is left out.
 * @returns how many were recorded.
 */
export async function recordIntents(sql: Sql, rows: readonly IntentRow[], guard: Guard): Promise<number> {
  const { boolean, bytea, int4, text, time, uuid } = columns(sql, rows);
  const result = await sql`
    with u as (
      select * from unnest(
        ${text((row) => row.authority)}::text[], ${bytea((row) => row.serial)}::bytea[], ${bytea((row) => row.requestId)}::bytea[],
        ${int4((row) => row.attempt)}::integer[], ${bytea((row) => row.requestHash)}::bytea[], ${text((row) => row.namespace)}::text[],
        ${text((row) => row.principal)}::text[], ${bytea((row) => row.profileSha256)}::bytea[], ${bytea((row) => row.spkiSha256)}::bytea[],
        ${bytea((row) => row.tbs)}::bytea[], ${time((row) => row.createdAt)}::timestamptz[],
        ${boolean((row) => row.exactDates)}::boolean[], ${int4((row) => row.shard ?? null)}::smallint[], ${text((row) => row.credential ?? null)}::text[],
        ${uuid((row) => row.audit.id)}::uuid[], ${bytea((row) => row.audit.bytes)}::bytea[], ${bytea((row) => row.audit.leafHash)}::bytea[]
      ) as u (authority, serial, request_id, attempt, request_hash, namespace, principal, profile_sha256, spki_sha256, tbs, created_at,
              exact_dates, shard, credential, audit_id, audit_bytes, audit_hash)
    ), recorded as (
      insert into issuance (authority, serial, request_id, attempt, request_hash, namespace, principal, profile_sha256, tbs, created_at,
        exact_dates, shard)
      select authority, serial, request_id, attempt, request_hash, namespace, principal, profile_sha256, tbs, created_at, exact_dates, shard
      from u
      where ${mayBegin(sql, guard)}
      on conflict do nothing
      returning authority, serial
    )
    insert into audit_record (id, bytes, leaf_hash)
    select audit_id, audit_bytes, audit_hash from u join recorded using (authority, serial)`;
  return result.count;
}

const mayBegin = (sql: Sql, guard: Guard) => sql`(u.principal = 'system' or not key_is_reserved(u.spki_sha256)) and ${guard(sql)}`;

/** Whether the attempt could be recorded now, as far as its key and the guard go; what its caller proved itself with may not be known any more. */
export async function holdsStill(
  sql: Sql,
  {
    authority,
    requestId,
    principal,
    namespace,
    spkiSha256,
    credential,
    now,
  }: Pick<IntentRow, "authority" | "requestId" | "principal" | "namespace" | "spkiSha256" | "credential"> & { readonly now: Date },
  guard: Guard,
): Promise<boolean> {
  const rows = await sql`
    select from (
      select ${authority}::text as authority, ${requestId}::bytea as request_id, ${principal}::text as principal, ${namespace}::text as namespace,
        ${spkiSha256}::bytea as spki_sha256, ${now.toISOString()}::timestamptz as created_at, ${credential ?? null}::text as credential
    ) u where ${mayBegin(sql, guard)}`;
  return rows.length > 0;
}

/** Which of these intents stand as they were given, by hex serial: read after a commit whose outcome is unknown. */
export async function findStandingIntents(sql: Sql, rows: readonly IntentRow[]): Promise<Set<string>> {
  const { bytea, text } = columns(sql, rows);
  const found = await sql<{ serial: string }[]>`
    select encode(i.serial, 'hex') as serial from issuance i
    join unnest(${text((row) => row.authority)}::text[], ${bytea((row) => row.serial)}::bytea[], ${bytea((row) => row.requestId)}::bytea[])
      as u (authority, serial, request_id) on i.authority = u.authority and i.serial = u.serial and i.request_id = u.request_id`;
  return new Set(found.map((row) => row.serial));
}

/** An attempt and how it ended, if it did. */
export type AttemptRow = {
  readonly authority: string;
  readonly serial: Uint8Array;
  readonly shard: number | undefined;
  readonly requestId: Uint8Array;
  readonly attempt: number;
  readonly requestHash: Uint8Array;
  readonly namespace: string;
  readonly principal: string;
  readonly profileSha256: Uint8Array;
  readonly tbs: Uint8Array;
  readonly createdAt: Date;
  /** Whether the dates in `tbs` were asked for. */
  readonly exactDates: boolean;
  readonly ended: boolean;
  /** The certificate it ended with; undefined when open or closed without one. */
  readonly certificate: Uint8Array | undefined;
};

type AttemptColumns = Omit<AttemptRow, "certificate" | "shard"> & { certificate: Uint8Array | null; shard: number | null };
const toAttempt = ({ certificate, shard, ...row }: AttemptColumns): AttemptRow => ({
  ...row,
  shard: shard ?? undefined,
  certificate: certificate ?? undefined,
});

const attemptColumns = (sql: Sql) => sql`
  i.authority, i.serial, i.shard, i.request_id as "requestId", i.attempt, i.request_hash as "requestHash", i.namespace, i.principal,
  i.profile_sha256 as "profileSha256", i.tbs, i.created_at as "createdAt", i.exact_dates as "exactDates",
  c.serial is not null as ended, c.certificate
  from issuance i left join certificate c using (authority, serial)`;

/** The newest attempt of a request. */
export async function readAttempt(sql: Sql, requestId: Uint8Array): Promise<AttemptRow | undefined> {
  const rows = await sql<AttemptColumns[]>`select ${attemptColumns(sql)} where i.request_id = ${requestId} order by i.attempt desc limit 1`;
  return rows[0] && toAttempt(rows[0]);
}

/** The attempt of this serial. */
export async function readAttemptOf(sql: Sql, authority: string, serial: Uint8Array): Promise<AttemptRow | undefined> {
  const rows = await sql<AttemptColumns[]>`select ${attemptColumns(sql)} where i.authority = ${authority} and i.serial = ${serial}`;
  return rows[0] && toAttempt(rows[0]);
}

/**
 * For other parts' queries: how the newest attempt of the request whose id the fragment `requestId` gives stands, as a lateral row
 * `outcome ('open' | 'closed' | 'issued'), authority, serial`; no row where there is no attempt.
 */
export const newestAttempt = (sql: Sql, requestId: PendingQuery<Row[]>) => sql`
  select case when c.serial is null then 'open' when c.certificate is null then 'closed' else 'issued' end as outcome, i.authority, i.serial
  from issuance i left join certificate c using (authority, serial)
  where i.request_id = ${requestId} order by i.attempt desc limit 1`;

/** Where an attempt stands among the others, the oldest first. */
export type AttemptPosition = Pick<AttemptRow, "createdAt" | "authority" | "serial">;

/** Which open attempts a page holds: those opened before `before`, behind `after` where it is given, `limit` of them. */
export type AttemptPage = { readonly before: Date; readonly after: AttemptPosition | undefined; readonly limit: number };

/** A page of the attempts that have not ended, the oldest first. */
export async function listOpenAttempts(sql: Sql, { before, after, limit }: AttemptPage): Promise<AttemptRow[]> {
  const behind = after
    ? sql`and (i.created_at, i.authority, i.serial) > (${after.createdAt.toISOString()}::timestamptz, ${after.authority}::text, ${after.serial}::bytea)`
    : sql``;
  const rows = await sql<AttemptColumns[]>`
    select ${attemptColumns(sql)}
    where c.serial is null and i.created_at < ${before.toISOString()} and i.created_at >= (select settled_before from settlement) ${behind}
    order by i.created_at, i.authority, i.serial limit ${limit}`;
  return rows.map(toAttempt);
}

/** Moves forward the time before which every attempt has ended: to the oldest open one, or to `before`. */
export async function recordSettlement(sql: Sql, before: Date): Promise<void> {
  const time = before.toISOString();
  await sql`
    update settlement set settled_before = least(${time}::timestamptz, coalesce((
      select min(i.created_at) from issuance i left join certificate c using (authority, serial)
      where c.serial is null and i.created_at >= settled_before), ${time}::timestamptz))
    where settled_before < ${time}::timestamptz`;
}

/**
 * Closes an open attempt without a certificate: from now on no certificate can be recorded for it, and its serial is revoked.
 * @returns false when the attempt had ended.
 */
export async function closeAttempt(tx: Tx, row: Omit<CertificateRow, "certificate" | "names">): Promise<boolean> {
  const result = await tx.sql`
    with closed as (
      insert into certificate (authority, serial, namespace, profile, certificate, spki_sha256, not_before, not_after, recorded_at)
      values (${row.authority}, ${row.serial}, ${row.namespace}, ${row.profile}, null, ${row.spkiSha256},
        ${row.notBefore.toISOString()}, ${row.notAfter.toISOString()}, ${row.recordedAt.toISOString()})
      on conflict do nothing
      returning authority, serial, not_after, recorded_at
    ), revoked as (
      insert into revocation (authority, serial, revoked_at, reason, not_after, shard)
      select authority, serial, date_trunc('second', recorded_at), 0, not_after, shard from closed join issuance using (authority, serial)
      on conflict do nothing
    )
    select from closed`;
  return result.count === 1;
}

/** Whether a key may not be in a certificate. */
export async function isReserved(sql: Sql, spkiSha256: Uint8Array): Promise<boolean> {
  const rows = await sql`select from reserved_key where spki_sha256 = ${spkiSha256}`;
  return rows.length > 0;
}

/** When the newest intent was opened: no signature is made before that time (XV-8). */
export async function lastIntentAt(sql: Sql): Promise<Date | undefined> {
  const rows = await sql<{ at: Date | null }[]>`select max(created_at) as at from issuance`;
  return rows[0]?.at ?? undefined;
}
