import type { Tx } from "../database/connect.ts";

/** A revocation as it is recorded, once. `reason` is a CRLReason (RFC 5280 §5.3.1). */
export type RevocationRow = { readonly authority: string; readonly serial: Uint8Array; readonly revokedAt: Date; readonly reason: number };

/** A certificate that was revoked; `serial` in lower-case hex. */
export type RevokedCertificate = { readonly authority: string; readonly serial: string; readonly namespace: string };

/** Revokes a certificate. @returns undefined when it was revoked before, or there is none. */
export async function recordRevocation(
  { sql }: Tx,
  { authority, serial, revokedAt, reason }: RevocationRow,
): Promise<RevokedCertificate | undefined> {
  const [row] = await sql<RevokedCertificate[]>`
    with revoked as (
      insert into revocation (authority, serial, revoked_at, reason, not_after, shard)
      select authority, serial, ${revokedAt.toISOString()}::timestamptz, ${reason}::smallint, not_after, shard
      from certificate join issuance using (authority, serial) where authority = ${authority} and serial = ${serial}
      on conflict do nothing
      returning authority, serial
    )
    select authority, encode(serial, 'hex') as serial, namespace from certificate join revoked using (authority, serial)`;
  return row;
}

/** Revokes certificates of a key that have neither ended nor been revoked, `limit` at most. @returns which. */
export async function recordRevocationsOfKey(
  { sql }: Tx,
  {
    spkiSha256,
    revokedAt,
    reason,
    limit,
  }: Pick<RevocationRow, "revokedAt" | "reason"> & { readonly spkiSha256: Uint8Array; readonly limit: number },
): Promise<RevokedCertificate[]> {
  const time = revokedAt.toISOString();
  return await sql<RevokedCertificate[]>`
    with revoked as (
      insert into revocation (authority, serial, revoked_at, reason, not_after, shard)
      select c.authority, c.serial, ${time}::timestamptz, ${reason}::smallint, c.not_after, i.shard
      from certificate c join issuance i using (authority, serial) left join revocation r using (authority, serial)
      where c.spki_sha256 = ${spkiSha256} and c.certificate is not null and c.not_after >= ${time}::timestamptz and r.serial is null
      order by c.authority, c.serial limit ${limit}
      on conflict do nothing
      returning authority, serial
    )
    select authority, encode(serial, 'hex') as serial, namespace from certificate join revoked using (authority, serial)`;
}
