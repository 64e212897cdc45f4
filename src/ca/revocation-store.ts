import { isWithin } from "../access/namespace-store.ts";
import type { Sql } from "../database/connection.ts";
import type { Tx } from "../database/connect.ts";

/** A revocation as it is recorded. `reason` is a CRLReason (RFC 5280 §5.3.1); `revokedAt` in whole seconds. */
export type RevocationRow = { readonly authority: string; readonly serial: Uint8Array; readonly revokedAt: Date; readonly reason: number };

/** A certificate that was revoked; `serial` in lower-case hex. */
export type RevokedCertificate = {
  readonly authority: string;
  readonly serial: string;
  readonly namespace: string;
  /** As it stands now. */
  readonly revokedAt: Date;
};

/** A condition over rows `c` of `certificate`: that they lie in this namespace or within it. */
export const liesWithin = (sql: Sql, namespace: string) => isWithin(sql, sql`c.namespace`, namespace);

/** Revokes a certificate of `namespace` or within it. @returns undefined when it was revoked before, or there is none. */
export async function recordRevocation(
  { sql }: Tx,
  { authority, serial, revokedAt, reason }: RevocationRow,
  namespace: string,
): Promise<RevokedCertificate | undefined> {
  const [row] = await sql<RevokedCertificate[]>`
    with revoked as (
      insert into revocation (authority, serial, revoked_at, reason, not_after, shard)
      select authority, serial, ${revokedAt.toISOString()}::timestamptz, ${reason}::smallint, c.not_after, shard
      from certificate c join issuance using (authority, serial)
      where authority = ${authority} and serial = ${serial} and c.certificate is not null and ${liesWithin(sql, namespace)}
      on conflict do nothing
      returning authority, serial, revoked_at
    )
    select authority, encode(serial, 'hex') as serial, namespace, revoked_at as "revokedAt" from certificate join revoked using (authority, serial)`;
  return row;
}

/**
 * Makes keyCompromise the reason of a revocation that has another, of a certificate of `namespace` or within it; its time is `since` where that
 * is earlier. @returns undefined when that is its reason, or there is none.
 */
export async function recordCompromise(
  { sql }: Tx,
  { authority, serial, since }: Pick<RevocationRow, "authority" | "serial"> & { readonly since: Date },
  namespace: string,
): Promise<RevokedCertificate | undefined> {
  const [row] = await sql<RevokedCertificate[]>`
    update revocation r set reason = 1, revoked_at = least(r.revoked_at, ${since.toISOString()}::timestamptz)
    from certificate c
    where r.authority = ${authority} and r.serial = ${serial} and r.reason <> 1
      and c.authority = r.authority and c.serial = r.serial and c.certificate is not null and ${liesWithin(sql, namespace)}
    returning r.authority, encode(r.serial, 'hex') as serial, c.namespace, r.revoked_at as "revokedAt"`;
  return row;
}

/** The revocation of a certificate of `namespace` or within it; undefined when it is not revoked, or there is none. */
export async function readRevocation(
  { sql }: Tx,
  { authority, serial }: Pick<RevocationRow, "authority" | "serial">,
  namespace: string,
): Promise<RevokedCertificate | undefined> {
  const [row] = await sql<RevokedCertificate[]>`
    select authority, encode(serial, 'hex') as serial, c.namespace, r.revoked_at as "revokedAt"
    from certificate c join revocation r using (authority, serial)
    where authority = ${authority} and serial = ${serial} and c.certificate is not null and ${liesWithin(sql, namespace)}`;
  return row;
}

/** Revokes certificates of a key that have neither ended at `now` nor been revoked, from `revokedAt` or their beginning on, `limit` at most. @returns which. */
export async function recordRevocationsOfKey(
  { sql }: Tx,
  {
    spkiSha256,
    revokedAt,
    reason,
    now,
    limit,
  }: Pick<RevocationRow, "revokedAt" | "reason"> & { readonly spkiSha256: Uint8Array; readonly now: Date; readonly limit: number },
): Promise<RevokedCertificate[]> {
  return await sql<RevokedCertificate[]>`
    with revoked as (
      insert into revocation (authority, serial, revoked_at, reason, not_after, shard)
      select c.authority, c.serial, greatest(${revokedAt.toISOString()}::timestamptz, c.not_before), ${reason}::smallint, c.not_after, i.shard
      from certificate c join issuance i using (authority, serial) left join revocation r using (authority, serial)
      where c.spki_sha256 = ${spkiSha256} and c.certificate is not null and c.not_after >= ${now.toISOString()}::timestamptz and r.serial is null
      order by c.authority, c.serial limit ${limit}
      on conflict do nothing
      returning authority, serial, revoked_at
    )
    select authority, encode(serial, 'hex') as serial, namespace, revoked_at as "revokedAt" from certificate join revoked using (authority, serial)`;
}

/**
 * Makes keyCompromise the reason of certificates of a key that have not ended at `now` and are revoked for another reason, `limit` at most; their
 * time is `since`, or their beginning, where that is earlier than the one that stands. @returns which.
 */
export async function recordCompromisesOfKey(
  { sql }: Tx,
  { spkiSha256, since, now, limit }: { readonly spkiSha256: Uint8Array; readonly since: Date; readonly now: Date; readonly limit: number },
): Promise<RevokedCertificate[]> {
  return await sql<RevokedCertificate[]>`
    with other as (
      select r.authority, r.serial, c.namespace, c.not_before
      from certificate c join revocation r using (authority, serial)
      where c.spki_sha256 = ${spkiSha256} and c.certificate is not null and c.not_after >= ${now.toISOString()}::timestamptz and r.reason <> 1
      order by r.authority, r.serial limit ${limit} for update of r
    )
    update revocation r set reason = 1, revoked_at = least(r.revoked_at, greatest(${since.toISOString()}::timestamptz, other.not_before))
    from other where r.authority = other.authority and r.serial = other.serial
    returning r.authority, encode(r.serial, 'hex') as serial, other.namespace, r.revoked_at as "revokedAt"`;
}

/** What stands under a caller's own name for a revocation. */
export type RevocationRequestRow = {
  /** SHA-256 of whose request this is, 32 octets. */
  readonly requestId: Uint8Array;
  /** SHA-256 of what was asked, 32 octets. */
  readonly requestHash: Uint8Array;
};

/** Records under which name a certificate was revoked. @returns false when something stands under it. */
export async function recordRevocationRequest(
  { sql }: Tx,
  { requestId, requestHash }: RevocationRequestRow,
  { authority, serial, recordedAt }: Pick<RevocationRow, "authority" | "serial"> & { readonly recordedAt: Date },
): Promise<boolean> {
  const result = await sql`
    insert into revocation_request (request_id, request_hash, authority, serial, recorded_at)
    values (${requestId}, ${requestHash}, ${authority}, ${serial}, ${recordedAt.toISOString()}) on conflict do nothing`;
  return result.count === 1;
}

/** The hash of what was asked under this name; undefined when nothing was. */
export async function readRevocationRequest({ sql }: Tx, requestId: Uint8Array): Promise<Uint8Array | undefined> {
  const [row] = await sql<{ hash: Uint8Array }[]>`select request_hash as hash from revocation_request where request_id = ${requestId}`;
  return row?.hash;
}
