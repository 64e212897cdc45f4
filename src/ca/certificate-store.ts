import { isWithin } from "../access/namespace-store.ts";
import type { Sql } from "../database/connection.ts";
import { columns } from "./columns.ts";
import { recordGuard } from "./stop-store.ts";

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

/**
 * Records certificates with their names in one statement: the row closes its intent. One that has ended already is left out, and
 * while issuance is halted or the authority revoked all but the service's own: the intent stays open.
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
        as u (authority, serial, namespace, profile, certificate, spki_sha256, not_before, not_after, recorded_at)
      where ${recordGuard(sql)}
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
export async function findStandingCertificates(sql: Sql, rows: readonly CertificateRow[]): Promise<Set<string>> {
  const { bytea, text } = columns(sql, rows);
  const found = await sql<{ serial: string }[]>`
    select encode(c.serial, 'hex') as serial from certificate c
    join unnest(${text((row) => row.authority)}::text[], ${bytea((row) => row.serial)}::bytea[], ${bytea((row) => row.certificate)}::bytea[])
      as u (authority, serial, certificate) using (authority, serial) where c.certificate = u.certificate`;
  return new Set(found.map((row) => row.serial));
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
  /** With the reason as a CRLReason (RFC 5280 §5.3.1); both null while it is not revoked. */
  readonly revokedAt: Date | null;
  readonly reason: number | null;
};

/** The columns of a `CertificateRecord`, and where they come from: `certificate c`, `revocation r`. */
export const certificateColumns = (sql: Sql) => sql`
  c.authority, c.serial, c.namespace, c.profile, c.certificate, c.spki_sha256 as "spkiSha256", c.not_before as "notBefore",
  c.not_after as "notAfter", c.recorded_at as "recordedAt", r.revoked_at as "revokedAt", r.reason
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

/** The certificate that the newest attempt of a request ended with; none while it has not, or was closed without one. */
export async function readIssued(sql: Sql, requestId: Uint8Array): Promise<CertificateRecord | undefined> {
  const rows = await sql<CertificateRecord[]>`
    select ${certificateColumns(sql)}
    where (c.authority, c.serial) = (select authority, serial from issuance where request_id = ${requestId} order by attempt desc limit 1)
      and c.certificate is not null`;
  return rows[0];
}

/** Whose request a certificate was issued for. */
export async function readPrincipal(sql: Sql, authority: string, serial: Uint8Array): Promise<string | undefined> {
  const rows = await sql<{ principal: string }[]>`select principal from issuance where authority = ${authority} and serial = ${serial}`;
  return rows[0]?.principal;
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
    where c.certificate is not null and ${isWithin(sql, sql`c.namespace`, scope.namespace)}
      ${filter.reversedName === undefined ? sql`` : sql`and (c.authority, c.serial) in (select authority, serial from certificate_name where reversed_name = ${filter.reversedName})`}
      ${filter.serial === undefined ? sql`` : sql`and c.authority in (select slug from authority) and c.serial = ${filter.serial}`}
      ${filter.status === undefined ? sql`` : status[filter.status]}
      ${filter.profile === undefined ? sql`` : sql`and c.profile = ${filter.profile}`}
      ${filter.notAfterFrom === undefined ? sql`` : sql`and c.not_after >= ${filter.notAfterFrom.toISOString()}`}
      ${filter.notAfterBefore === undefined ? sql`` : sql`and c.not_after < ${filter.notAfterBefore.toISOString()}`}
      ${filter.after === undefined ? sql`` : sql`and (c.recorded_at, c.serial) < (${filter.after.recordedAt.toISOString()}::timestamptz, ${filter.after.serial}::bytea)`}
    order by c.recorded_at desc, c.serial desc limit ${scope.limit}`;
}
