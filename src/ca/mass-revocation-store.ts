import type { PendingQuery, Row } from "postgres";
import { isWithin } from "../access/namespace-store.ts";
import type { AuditRow } from "../audit/entry.ts";
import type { Tx } from "../database/connect.ts";
import type { Sql } from "../database/connection.ts";
import { reversedName, type GeneralName } from "../pki/general-name.ts";
import { reasonCodes } from "../pki/crl-reason.ts";
import { certificateColumns, type CertificateRecord } from "./certificate-store.ts";
import { columns } from "./columns.ts";
import { liesWithin } from "./revocation-store.ts";

/** Which certificates: those that fit all of it. At least one member is there. */
export type RevocationFilter = {
  /** 32 lower-case hex digits each. */
  readonly serials?: readonly string[] | undefined;
  /** Lower-case hex. */
  readonly spkiSha256?: string | undefined;
  /** Id of an ACME account that they were issued for. */
  readonly account?: string | undefined;
  /** Slug of their issuer. */
  readonly authority?: string | undefined;
  readonly profile?: string | undefined;
  readonly name?: GeneralName | undefined;
  /** Recorded at or after this time, and before the other: RFC 3339. */
  readonly issuedFrom?: string | undefined;
  readonly issuedBefore?: string | undefined;
};

/** What bounds a filter beside itself. */
export type RevocationScope = {
  /** Nothing outside of it is found. */
  readonly namespace: string;
  /** What has ended before this time is left alone. */
  readonly now: Date;
  /** Profiles of what the service makes for itself: revoked one by one, and by those who know what it means. */
  readonly except: readonly string[];
  /** CRLReason that they are revoked for: keyCompromise finds those too that are revoked for another (CAB Forum BR 7.2.2). */
  readonly reason: number;
};

/** A revocation of many certificates. `revoked`: how many it has revoked so far. */
export type Campaign = {
  /** 32 hex digits. */
  readonly id: string;
  readonly namespace: string;
  readonly principal: string;
  readonly doorRequestId: string;
  readonly filter: RevocationFilter;
  readonly reason: number;
  readonly createdAt: Date;
  readonly endedAt: Date | null;
  readonly revoked: number;
  /** Who ended it before it was through ("system" where the token that began it was revoked), and why. */
  readonly stoppedBy: string | null;
  readonly stopReason: string | null;
};

/** Where a campaign stands: in which pass, how many that has revoked, and behind which certificate it goes on. */
export type Progress = {
  readonly pass: number;
  readonly revokedInPass: number;
  readonly after: Position | undefined;
  /** Attempts opened before this time are awaited. Null in the first pass. */
  readonly awaitedUntil: Date | null;
  /** Whether one of them was open when the pass began. */
  readonly awaits: boolean;
};

/** A certificate's place: `recordedAt` as the database writes it, to the microsecond. */
export type Position = { readonly recordedAt: string; readonly serial: Uint8Array };

const campaignColumns = (sql: Sql) => sql`
  id, namespace, principal, door_request_id as "doorRequestId", filter, reason, created_at as "createdAt", ended_at as "endedAt",
  revoked::double precision as revoked, stopped_by as "stoppedBy", stop_reason as "stopReason"`;

/** Records a campaign. @returns false when one stands under this request id. */
export async function recordCampaign(
  { sql }: Tx,
  campaign: Omit<Campaign, "endedAt" | "revoked" | "stoppedBy" | "stopReason">,
  { requestId, requestHash }: { readonly requestId: Uint8Array; readonly requestHash: Uint8Array },
): Promise<boolean> {
  const { id, namespace, principal, doorRequestId, filter, reason, createdAt } = campaign;
  const result = await sql`
    insert into revocation_campaign (id, request_id, request_hash, namespace, principal, door_request_id, filter, reason, created_at)
    values (${id}, ${requestId}, ${requestHash}, ${namespace}, ${principal}, ${doorRequestId}, ${JSON.stringify(filter)}::text::jsonb, ${reason},
      ${createdAt.toISOString()}) on conflict do nothing`;
  return result.count === 1;
}

/** The campaign that was begun under this request id, with the hash of what was asked. */
export async function readCampaignOfRequest(
  { sql }: Tx,
  requestId: Uint8Array,
): Promise<{ readonly campaign: Campaign; readonly requestHash: Uint8Array } | undefined> {
  const [row] = await sql<(Campaign & { requestHash: Uint8Array })[]>`
    select ${campaignColumns(sql)}, request_hash as "requestHash" from revocation_campaign where request_id = ${requestId}`;
  if (!row) return undefined;
  const { requestHash, ...campaign } = row;
  return { campaign, requestHash };
}

/** The campaign of this id. */
export async function readCampaign(sql: Sql, id: string): Promise<Campaign | undefined> {
  const [row] = await sql<Campaign[]>`select ${campaignColumns(sql)} from revocation_campaign where id = ${id}`;
  return row;
}

/** Ids of those that have not ended, the oldest first. */
export async function listRunningCampaigns(sql: Sql): Promise<string[]> {
  const rows = await sql<{ id: string }[]>`select id from revocation_campaign where ended_at is null order by created_at`;
  return rows.map(({ id }) => id);
}

/** How many campaigns of exactly this namespace have not ended. Until the transaction ends nobody else counts them. */
export async function countRunningCampaigns({ sql }: Tx, namespace: string): Promise<number> {
  await sql`select pg_advisory_xact_lock(hashtextextended(${`revocation ${namespace}`}, 0))`;
  const [row] = await sql<{ count: number }[]>`
    select count(*)::integer as count from revocation_campaign where ended_at is null and namespace = ${namespace}`;
  return row?.count ?? 0;
}

/** Takes a campaign that has not ended for the rest of the transaction. @returns undefined when it has, or somebody else is at it. */
export async function holdCampaign({ sql }: Tx, id: string): Promise<(Campaign & Progress) | undefined> {
  const [row] = await sql<(Campaign & Omit<Progress, "after"> & { afterRecordedAt: string | null; afterSerial: Uint8Array | null })[]>`
    select ${campaignColumns(sql)}, pass, revoked_in_pass::double precision as "revokedInPass", after_recorded_at::text as "afterRecordedAt",
      after_serial as "afterSerial", awaited_until as "awaitedUntil", awaits
    from revocation_campaign where id = ${id} and ended_at is null for update skip locked`;
  if (!row) return undefined;
  const { afterRecordedAt, afterSerial, ...campaign } = row;
  return {
    ...campaign,
    after: afterRecordedAt === null || !afterSerial ? undefined : { recordedAt: afterRecordedAt, serial: afterSerial },
  };
}

/** A certificate that a campaign has found. */
export type FoundCertificate = {
  readonly authority: string;
  readonly serial: Uint8Array;
  readonly namespace: string;
  readonly place: Position;
};

/** Which part of the certificates is looked through, and how much of it at once. */
export type Stretch = {
  readonly after: Position | undefined;
  /** Recorded at or after this time. */
  readonly from: Date | undefined;
  /** Most certificates that are looked at, so that the time of a statement is bounded however few fit. */
  readonly looked: number;
  /** Most that are found. */
  readonly limit: number;
};

/** The next certificates that a filter fits and that are still to be revoked, in the order of their recording, with the place where the look ended. */
export async function findCertificates(
  { sql }: Tx,
  { filter, scope, stretch }: { readonly filter: RevocationFilter; readonly scope: RevocationScope; readonly stretch: Stretch },
): Promise<{ readonly found: readonly FoundCertificate[]; readonly looked: number; readonly end: Position | undefined }> {
  type Columns = { looked: number; endAt: string | null; endSerial: Uint8Array | null };
  type Found = { authority: string | null; serial: Uint8Array; namespace: string; recordedAt: string };
  const { after, from } = stretch;
  const rows = await sql<(Columns & Found)[]>`
    with looked as materialized (
      select c.authority, c.serial, c.namespace, c.profile, c.spki_sha256, c.not_after, c.recorded_at
      from ${candidates(sql, filter)} c
      where c.certificate is not null and ${liesWithin(sql, scope.namespace)} ${withinTimes(sql, filter)}
        ${from ? sql`and c.recorded_at >= ${from.toISOString()}::timestamptz` : sql``}
        ${after ? sql`and (c.recorded_at, c.serial) > (${after.recordedAt}::text::timestamptz, ${after.serial}::bytea)` : sql``}
      order by c.recorded_at, c.serial limit ${stretch.looked}
    ), found as (
      select c.authority, c.serial, c.namespace, c.recorded_at from looked c left join revocation r using (authority, serial)
      where ${isLeft(sql, scope)} and ${fits(sql, filter, scope)}
      order by c.recorded_at, c.serial limit ${stretch.limit}
    ), ended as (
      select recorded_at, serial from looked order by recorded_at desc, serial desc limit 1
    )
    select (select count(*)::integer from looked) as looked, ended.recorded_at::text as "endAt", ended.serial as "endSerial",
      found.authority, found.serial, found.namespace, found.recorded_at::text as "recordedAt"
    from (select) as one left join ended on true left join found on true
    order by found.recorded_at, found.serial`;
  const [first] = rows;
  return {
    found: rows.flatMap(({ authority, serial, namespace, recordedAt }) =>
      authority === null ? [] : [{ authority, serial, namespace, place: { recordedAt, serial } }],
    ),
    looked: first?.looked ?? 0,
    end: first?.endAt && first.endSerial ? { recordedAt: first.endAt, serial: first.endSerial } : undefined,
  };
}

/**
 * Whether an attempt is open whose certificate may fit, as far as its row can tell: one opened before `before`, or in the place of an earlier
 * one. Key and names stand in its bytes alone, so that every attempt may have them.
 */
export async function hasOpenAttempt(
  { sql }: Tx,
  { filter, scope, before }: { readonly filter: RevocationFilter; readonly scope: RevocationScope; readonly before: Date },
): Promise<boolean> {
  const { serials, account, authority, profile, issuedBefore } = filter;
  const octets = sql.array(serials?.map((serial) => Buffer.from(serial, "hex")) ?? [], 17);
  const rows = await sql`
    select from issuance i left join certificate c using (authority, serial) left join profile_version p on p.sha256 = i.profile_sha256
    where c.serial is null and i.created_at >= (select settled_before from settlement)
      and (i.created_at < ${before.toISOString()}::timestamptz or i.attempt > 1)
      and ${isWithin(sql, sql`i.namespace`, scope.namespace)} and (p.name <> all(${sql.array([...scope.except], 25)}::text[])) is not false
      and i.authority in (select slug from authority where kind = 'issuing')
      ${serials ? sql`and i.serial = any(${octets}::bytea[])` : sql``}
      ${account === undefined ? sql`` : sql`and i.principal = ${`acme:${account}`}`}
      ${authority === undefined ? sql`` : sql`and i.authority = ${authority}`}
      ${profile === undefined ? sql`` : sql`and (p.name = ${profile}) is not false`}
      ${issuedBefore === undefined ? sql`` : sql`and ${issuedBefore}::text::timestamptz > ${scope.now.toISOString()}::timestamptz`}
    limit 1`;
  return rows.length > 0;
}

/** How many certificates a filter fits that are still to be revoked, and the newest of them. */
export async function countCertificates(
  sql: Sql,
  { filter, scope, sample }: { readonly filter: RevocationFilter; readonly scope: RevocationScope; readonly sample: number },
): Promise<{ readonly count: number; readonly newest: readonly CertificateRecord[] }> {
  const fitting = sql`
    c.certificate is not null and ${isLeft(sql, scope)} and ${picked(sql, filter) ?? sql`true`} and ${fits(sql, filter, scope)} ${withinTimes(sql, filter)}`;
  const [row] = await sql<{ count: number }[]>`
    select count(*)::integer as count from certificate c left join revocation r using (authority, serial) where ${fitting}`;
  const newest = await sql<CertificateRecord[]>`
    select ${certificateColumns(sql)} where ${fitting} order by c.recorded_at desc, c.serial desc limit ${sample}`;
  return { count: row?.count ?? 0, newest };
}

/** A certificate to be revoked, with an audit record of what is done to it. */
export type RevocationWithAudit = { readonly authority: string; readonly serial: Uint8Array; readonly audit: AuditRow };

/** Revokes certificates of a namespace and within it and records it of each; those that were revoked meanwhile are left out. @returns the serials of the others, hex. */
export async function recordRevocations(
  { sql }: Tx,
  rows: readonly RevocationWithAudit[],
  { reason, revokedAt, namespace }: { readonly reason: number; readonly revokedAt: Date; readonly namespace: string },
): Promise<ReadonlySet<string>> {
  const recorded = await sql<{ serial: string }[]>`
    with ${given(sql, rows)}, recorded as (
      insert into revocation (authority, serial, revoked_at, reason, not_after, shard)
      select authority, serial, ${revokedAt.toISOString()}::timestamptz, ${reason}::smallint, c.not_after, i.shard
      from u join certificate c using (authority, serial) join issuance i using (authority, serial)
      where c.certificate is not null and ${liesWithin(sql, namespace)}
      order by authority, serial
      on conflict do nothing
      returning authority, serial
    ), ${audited(sql)}
    select encode(serial, 'hex') as serial from recorded`;
  return new Set(recorded.map(({ serial }) => serial));
}

/** Makes keyCompromise the reason of certificates of a namespace and within it that are revoked for another, and records it of each. @returns how many. */
export async function recordCompromises({ sql }: Tx, rows: readonly RevocationWithAudit[], namespace: string): Promise<number> {
  const recorded = await sql`
    with ${given(sql, rows)}, other as (
      select r.authority, r.serial from u join revocation r using (authority, serial) join certificate c using (authority, serial)
      where r.reason <> 1 and c.certificate is not null and ${liesWithin(sql, namespace)}
      order by r.authority, r.serial for update of r
    ), recorded as (
      update revocation r set reason = 1 from other where r.authority = other.authority and r.serial = other.serial
      returning r.authority, r.serial
    ), ${audited(sql)}
    select from recorded`;
  return recorded.length;
}

/** The rows as `u`. */
function given(sql: Sql, rows: readonly RevocationWithAudit[]): PendingQuery<Row[]> {
  const { bytea, text, uuid } = columns(sql, rows);
  return sql`u as (
    select * from unnest(
      ${text((row) => row.authority)}::text[], ${bytea((row) => row.serial)}::bytea[], ${uuid((row) => row.audit.id)}::uuid[],
      ${bytea((row) => row.audit.bytes)}::bytea[], ${bytea((row) => row.audit.leafHash)}::bytea[]
    ) as u (authority, serial, audit_id, audit_bytes, audit_hash))`;
}

/** Of the rows `u`, the audit records of those that were `recorded`. */
const audited = (sql: Sql) => sql`audited as (
  insert into audit_record (id, bytes, leaf_hash)
  select audit_id, audit_bytes, audit_hash from u join recorded using (authority, serial))`;

/** Moves a campaign on, and ends it with `endedAt`. */
export async function recordProgress(
  { sql }: Tx,
  { id, revoked, progress, endedAt }: { id: string; revoked: number; progress: Progress; endedAt: Date | undefined },
): Promise<void> {
  const { pass, revokedInPass, after, awaitedUntil, awaits } = progress;
  await sql`
    update revocation_campaign set revoked = revoked + ${revoked}::integer, pass = ${pass}, revoked_in_pass = ${revokedInPass}::integer,
      after_recorded_at = ${after?.recordedAt ?? null}::text::timestamptz, after_serial = ${after?.serial ?? null}::bytea,
      awaited_until = ${awaitedUntil?.toISOString() ?? null}::timestamptz, awaits = ${awaits}, ended_at = ${endedAt?.toISOString() ?? null}::timestamptz
    where id = ${id}`;
}

/** Ends a campaign of `namespace` or within it before it is through. @returns it; undefined when it has ended, or there is none. */
export async function recordStop(
  { sql }: Tx,
  { id, endedAt, stoppedBy, stopReason }: { id: string; endedAt: Date; stoppedBy: string; stopReason: string },
  namespace: string,
): Promise<Campaign | undefined> {
  const [row] = await sql<Campaign[]>`
    update revocation_campaign set ended_at = ${endedAt.toISOString()}::timestamptz, stopped_by = ${stoppedBy}, stop_reason = ${stopReason}
    where id = ${id} and ended_at is null and ${isWithin(sql, sql`namespace`, namespace)} returning ${campaignColumns(sql)}`;
  return row;
}

/** Where the look goes through: what an index gives for the filter's most selective member, else every certificate by its time. */
function candidates(sql: Sql, filter: RevocationFilter): PendingQuery<Row[]> {
  const condition = picked(sql, filter);
  // Fetched before they are sorted: the order would have the planner walk all certificates by their time.
  return condition ? sql`(select c.* from certificate c where ${condition} offset 0)` : sql`certificate`;
}

function picked(sql: Sql, { serials, spkiSha256, name }: RevocationFilter): PendingQuery<Row[]> | undefined {
  if (serials) {
    const octets = sql.array(
      serials.map((serial) => Buffer.from(serial, "hex")),
      17,
    );
    return sql`c.authority in (select slug from authority) and c.serial = any(${octets}::bytea[])`;
  }
  if (spkiSha256 !== undefined) return sql`c.spki_sha256 = ${Buffer.from(spkiSha256, "hex")}`;
  if (name)
    return sql`(c.authority, c.serial) in (select authority, serial from certificate_name where reversed_name = ${reversedName(name)})`;
  return undefined;
}

/** Everything else that a certificate must be. */
function fits(sql: Sql, filter: RevocationFilter, { namespace, now, except }: RevocationScope): PendingQuery<Row[]> {
  const { account, authority, profile, name, serials, spkiSha256 } = filter;
  return sql`
    ${liesWithin(sql, namespace)} and c.not_after >= ${now.toISOString()}::timestamptz
    and c.profile <> all(${sql.array([...except], 25)}::text[]) and c.authority in (select slug from authority where kind = 'issuing')
    ${serials && spkiSha256 !== undefined ? sql`and c.spki_sha256 = ${Buffer.from(spkiSha256, "hex")}` : sql``}
    ${(serials || spkiSha256 !== undefined) && name ? sql`and exists (select from certificate_name n where n.reversed_name = ${reversedName(name)} and n.authority = c.authority and n.serial = c.serial)` : sql``}
    ${authority === undefined ? sql`` : sql`and c.authority = ${authority}`}
    ${profile === undefined ? sql`` : sql`and c.profile = ${profile}`}
    ${account === undefined ? sql`` : sql`and exists (select from issuance i where i.authority = c.authority and i.serial = c.serial and i.principal = ${`acme:${account}`})`}`;
}

/** Of a certificate's revocation `r`: there is something left to do. */
const isLeft = (sql: Sql, { reason }: RevocationScope) =>
  reason === reasonCodes.keyCompromise ? sql`(r.serial is null or r.reason <> 1)` : sql`r.serial is null`;

function withinTimes(sql: Sql, { issuedFrom, issuedBefore }: RevocationFilter): PendingQuery<Row[]> {
  return sql`
    ${issuedFrom === undefined ? sql`` : sql`and c.recorded_at >= ${issuedFrom}::text::timestamptz`}
    ${issuedBefore === undefined ? sql`` : sql`and c.recorded_at < ${issuedBefore}::text::timestamptz`}`;
}
