import type { PendingQuery, Row } from "postgres";
import type { AuditRow } from "../audit/entry.ts";
import type { Tx } from "../database/connect.ts";
import type { Sql } from "../database/connection.ts";
import { authorityTable, profileVersionTable } from "./tables.ts";

/** An intent with its audit record: what `recordIntents` makes durable before anything is signed. Byte strings as they are stored. */
export type IntentRow = {
  readonly authority: string;
  /** 16 octets. */
  readonly serial: Uint8Array;
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
  readonly createdAt: Date;
  readonly audit: AuditRow;
};

/** A certificate as it is recorded, with the names it is found by. */
export type CertificateRow = {
  readonly authority: string;
  readonly serial: Uint8Array;
  readonly namespace: string;
  readonly profile: string;
  readonly certificate: Uint8Array;
  readonly spkiSha256: Uint8Array;
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly recordedAt: Date;
  /** DNS names reversed by label, other names as they are. */
  readonly names: readonly string[];
};

/** A condition over the rows `u` of a batch of intents that must hold when they are recorded; given by the part that asks. */
export type Guard = (sql: Sql) => PendingQuery<Row[]>;

/** Columns of a batch as arrays for `unnest`; the numbers are PostgreSQL's object identifiers of the elements' types. */
function columns<T>(sql: Sql, rows: readonly T[]) {
  return {
    bytea: (value: (row: T) => Uint8Array) => sql.array(rows.map(value), 17),
    int4: (value: (row: T) => number) => sql.array(rows.map(value), 23),
    text: (value: (row: T) => string) => sql.array(rows.map(value), 25),
    time: (value: (row: T) => Date) =>
      sql.array(
        rows.map((row) => value(row).toISOString()),
        1184,
      ),
    uuid: (value: (row: T) => string) => sql.array(rows.map(value), 2950),
  };
}

/**
 * Records intents and their audit records in one statement: a row whose serial or request stands already, whose key is reserved, or
 * whose guard does not hold is left out.
 * @returns how many were recorded.
 */
export async function recordIntents(sql: Sql, rows: readonly IntentRow[], guard: Guard): Promise<number> {
  const { bytea, int4, text, time, uuid } = columns(sql, rows);
  const result = await sql`
    with u as (
      select * from unnest(
        ${text((row) => row.authority)}::text[], ${bytea((row) => row.serial)}::bytea[], ${bytea((row) => row.requestId)}::bytea[],
        ${int4((row) => row.attempt)}::integer[], ${bytea((row) => row.requestHash)}::bytea[], ${text((row) => row.namespace)}::text[],
        ${text((row) => row.principal)}::text[], ${bytea((row) => row.profileSha256)}::bytea[], ${bytea((row) => row.spkiSha256)}::bytea[],
        ${bytea((row) => row.tbs)}::bytea[], ${time((row) => row.createdAt)}::timestamptz[],
        ${uuid((row) => row.audit.id)}::uuid[], ${bytea((row) => row.audit.bytes)}::bytea[], ${bytea((row) => row.audit.leafHash)}::bytea[]
      ) as u (authority, serial, request_id, attempt, request_hash, namespace, principal, profile_sha256, spki_sha256, tbs, created_at,
              audit_id, audit_bytes, audit_hash)
    ), recorded as (
      insert into issuance (authority, serial, request_id, attempt, request_hash, namespace, principal, profile_sha256, tbs, created_at)
      select authority, serial, request_id, attempt, request_hash, namespace, principal, profile_sha256, tbs, created_at
      from u
      where not exists (select from reserved_key r where r.spki_sha256 = u.spki_sha256 and u.principal <> 'system') and ${guard(sql)}
      on conflict do nothing
      returning authority, serial
    )
    insert into audit_record (id, bytes, leaf_hash)
    select audit_id, audit_bytes, audit_hash from u join recorded using (authority, serial)`;
  return result.count;
}

/** Which of these intents stand as they were given, by hex serial: read after a commit whose outcome is unknown. */
export async function standingIntents(sql: Sql, rows: readonly IntentRow[]): Promise<Set<string>> {
  const { bytea, text } = columns(sql, rows);
  const found = await sql<{ serial: string }[]>`
    select encode(i.serial, 'hex') as serial from issuance i
    join unnest(${text((row) => row.authority)}::text[], ${bytea((row) => row.serial)}::bytea[], ${bytea((row) => row.requestId)}::bytea[])
      as u (authority, serial, request_id) on i.authority = u.authority and i.serial = u.serial and i.request_id = u.request_id`;
  return new Set(found.map((row) => row.serial));
}

/**
 * Records certificates with their names in one statement: the row closes its intent. One that has ended already is left out.
 * @returns how many were recorded.
 */
export async function recordCertificates(sql: Sql, rows: readonly CertificateRow[]): Promise<number> {
  const { bytea, text, time } = columns(sql, rows);
  const of = columns(
    sql,
    rows.flatMap((row) => row.names.map((name) => ({ name, authority: row.authority, serial: row.serial }))),
  );
  const result = await sql<{ count: number }[]>`
    with recorded as (
      insert into certificate (authority, serial, namespace, profile, certificate, spki_sha256, not_before, not_after, recorded_at)
      select * from unnest(
        ${text((row) => row.authority)}::text[], ${bytea((row) => row.serial)}::bytea[], ${text((row) => row.namespace)}::text[],
        ${text((row) => row.profile)}::text[], ${bytea((row) => row.certificate)}::bytea[], ${bytea((row) => row.spkiSha256)}::bytea[],
        ${time((row) => row.notBefore)}::timestamptz[], ${time((row) => row.notAfter)}::timestamptz[],
        ${time((row) => row.recordedAt)}::timestamptz[])
      on conflict do nothing
      returning authority, serial
    ), named as (
      insert into certificate_name (reversed_name, authority, serial)
      select n.name, n.authority, n.serial
      from unnest(${of.text((n) => n.name)}::text[], ${of.text((n) => n.authority)}::text[], ${of.bytea((n) => n.serial)}::bytea[])
        as n (name, authority, serial) join recorded using (authority, serial)
      on conflict do nothing
    )
    select count(*)::integer as count from recorded`;
  return result[0]?.count ?? 0;
}

/** Which of these certificates stand with these very bytes, by hex serial. */
export async function standingCertificates(sql: Sql, rows: readonly CertificateRow[]): Promise<Set<string>> {
  const { bytea, text } = columns(sql, rows);
  const found = await sql<{ serial: string }[]>`
    select encode(c.serial, 'hex') as serial from certificate c
    join unnest(${text((row) => row.authority)}::text[], ${bytea((row) => row.serial)}::bytea[], ${bytea((row) => row.certificate)}::bytea[])
      as u (authority, serial, certificate) using (authority, serial) where c.certificate = u.certificate`;
  return new Set(found.map((row) => row.serial));
}

/** An attempt and how it ended, if it did. */
export type AttemptRow = {
  readonly authority: string;
  readonly serial: Uint8Array;
  readonly requestId: Uint8Array;
  readonly attempt: number;
  readonly requestHash: Uint8Array;
  readonly namespace: string;
  readonly principal: string;
  readonly profileSha256: Uint8Array;
  readonly tbs: Uint8Array;
  readonly createdAt: Date;
  readonly ended: boolean;
  /** The certificate it ended with; undefined when open or closed without one. */
  readonly certificate: Uint8Array | undefined;
};

type AttemptColumns = Omit<AttemptRow, "certificate"> & { certificate: Uint8Array | null };
const attempt = ({ certificate, ...row }: AttemptColumns): AttemptRow => ({ ...row, certificate: certificate ?? undefined });

const attemptColumns = (sql: Sql) => sql`
  i.authority, i.serial, i.request_id as "requestId", i.attempt, i.request_hash as "requestHash", i.namespace, i.principal,
  i.profile_sha256 as "profileSha256", i.tbs, i.created_at as "createdAt", c.serial is not null as ended, c.certificate
  from issuance i left join certificate c using (authority, serial)`;

/** The newest attempt of a request. */
export async function readAttempt(sql: Sql, requestId: Uint8Array): Promise<AttemptRow | undefined> {
  const rows = await sql<AttemptColumns[]>`select ${attemptColumns(sql)} where i.request_id = ${requestId} order by i.attempt desc limit 1`;
  return rows[0] && attempt(rows[0]);
}

/** Attempts opened before `before` that have not ended, oldest first. */
export async function openAttempts(sql: Sql, before: Date, limit: number): Promise<AttemptRow[]> {
  const rows = await sql<AttemptColumns[]>`
    select ${attemptColumns(sql)}
    where c.serial is null and i.created_at < ${before.toISOString()} and i.created_at >= (select settled_before from settlement)
    order by i.created_at limit ${limit}`;
  return rows.map(attempt);
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
    )
    insert into revocation (authority, serial, revoked_at, reason, not_after)
    select authority, serial, recorded_at, 0, not_after from closed`;
  return result.count === 1;
}

/** Whether a key may not be in a certificate. */
export async function isReserved(sql: Sql, spkiSha256: Uint8Array): Promise<boolean> {
  const rows = await sql`select from reserved_key where spki_sha256 = ${spkiSha256}`;
  return rows.length > 0;
}

/** A certificate with what is known of its revocation. */
export type CertificateRecord = {
  readonly authority: string;
  readonly serial: Uint8Array;
  readonly namespace: string;
  readonly profile: string;
  readonly certificate: Uint8Array;
  readonly spkiSha256: Uint8Array;
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly recordedAt: Date;
  readonly revoked: boolean;
};

const certificateColumns = (sql: Sql) => sql`
  c.authority, c.serial, c.namespace, c.profile, c.certificate, c.spki_sha256 as "spkiSha256", c.not_before as "notBefore",
  c.not_after as "notAfter", c.recorded_at as "recordedAt", r.serial is not null as revoked
  from certificate c left join revocation r using (authority, serial)`;

/** The certificates of this serial: one, unless two authorities drew the same. */
export async function readCertificates(sql: Sql, serial: Uint8Array): Promise<CertificateRecord[]> {
  return await sql<CertificateRecord[]>`
    select ${certificateColumns(sql)}
    where c.authority in (select slug from authority) and c.serial = ${serial} and c.certificate is not null`;
}

/** The certificate of this authority, which need not be recorded yet, and serial. */
export async function readCertificateOf(sql: Sql, authority: string, serial: Uint8Array): Promise<CertificateRecord | undefined> {
  const rows = await sql<CertificateRecord[]>`
    select ${certificateColumns(sql)} where c.authority = ${authority} and c.serial = ${serial} and c.certificate is not null`;
  return rows[0];
}

/** Which certificates a list holds. Times bound notAfter: from inclusive, before exclusive. */
export type CertificateFilter = {
  /** As `reversedName` gives it. */
  readonly reversedName?: string;
  readonly serial?: Uint8Array;
  readonly status?: "valid" | "revoked" | "expired";
  readonly profile?: string;
  readonly notAfterFrom?: Date;
  readonly notAfterBefore?: Date;
  /** Only what was recorded before this row. */
  readonly after?: { readonly recordedAt: Date; readonly serial: Uint8Array };
};

/** Certificates of a namespace and those within it, newest first. */
export async function listCertificateRecords(
  sql: Sql,
  scope: { readonly namespace: string; readonly now: Date; readonly limit: number },
  filter: CertificateFilter,
): Promise<CertificateRecord[]> {
  const now = scope.now.toISOString();
  const status = {
    valid: sql`and r.serial is null and c.not_after >= ${now}`,
    revoked: sql`and r.serial is not null`,
    expired: sql`and r.serial is null and c.not_after < ${now}`,
  };
  return await sql<CertificateRecord[]>`
    select ${certificateColumns(sql)}
    where c.certificate is not null
      ${scope.namespace === "/" ? sql`` : sql`and (c.namespace = ${scope.namespace} or starts_with(c.namespace, ${`${scope.namespace}/`}))`}
      ${filter.reversedName === undefined ? sql`` : sql`and (c.authority, c.serial) in (select authority, serial from certificate_name where reversed_name = ${filter.reversedName})`}
      ${filter.serial === undefined ? sql`` : sql`and c.authority in (select slug from authority) and c.serial = ${filter.serial}`}
      ${filter.status === undefined ? sql`` : status[filter.status]}
      ${filter.profile === undefined ? sql`` : sql`and c.profile = ${filter.profile}`}
      ${filter.notAfterFrom === undefined ? sql`` : sql`and c.not_after >= ${filter.notAfterFrom.toISOString()}`}
      ${filter.notAfterBefore === undefined ? sql`` : sql`and c.not_after < ${filter.notAfterBefore.toISOString()}`}
      ${filter.after === undefined ? sql`` : sql`and (c.recorded_at, c.serial) < (${filter.after.recordedAt.toISOString()}::timestamptz, ${filter.after.serial}::bytea)`}
    order by c.recorded_at desc, c.serial desc limit ${scope.limit}`;
}

/** An authority's row joined with its key pair. */
export type AuthorityRecord = {
  readonly slug: string;
  readonly namespace: string;
  readonly kind: "root" | "issuing";
  readonly issuer: string;
  readonly certificate: Uint8Array;
  readonly keyName: string;
};

/** Every authority, the oldest first. */
export async function readAuthorities(sql: Sql): Promise<AuthorityRecord[]> {
  return await sql<AuthorityRecord[]>`
    select a.slug, a.namespace, a.kind, a.issuer, a.certificate, k.name as "keyName"
    from authority a join key_pair k on k.id = a.key_pair_id order by a.created_at, a.slug`;
}

/** Records an authority. @returns false when its slug stands already. */
export async function recordAuthority(tx: Tx, row: typeof authorityTable.$inferInsert): Promise<boolean> {
  const inserted = await tx.orm.insert(authorityTable).values(row).onConflictDoNothing().returning({ slug: authorityTable.slug });
  return inserted.length === 1;
}

/** Records frozen profiles; one that stands already stays. */
export async function recordProfileVersions(tx: Tx, rows: (typeof profileVersionTable.$inferInsert)[]): Promise<void> {
  await tx.orm.insert(profileVersionTable).values(rows).onConflictDoNothing();
}

/** The canonical JSON of a frozen profile. */
export async function readProfileVersion(sql: Sql, sha256: Uint8Array): Promise<string | undefined> {
  const rows = await sql<{ document: string }[]>`select document from profile_version where sha256 = ${sha256}`;
  return rows[0]?.document;
}

/** When the newest intent was opened: no signature is made before that time (XV-8). */
export async function lastIntentAt(sql: Sql): Promise<Date | undefined> {
  const rows = await sql<{ at: Date | null }[]>`select max(created_at) as at from issuance`;
  return rows[0]?.at ?? undefined;
}
