import type { Sql } from "../database/connection.ts";
import type { Tx } from "../database/connect.ts";

/** A revocation as it is recorded, once. `reason` is a CRLReason (RFC 5280 §5.3.1). */
export type RevocationRow = { readonly authority: string; readonly serial: Uint8Array; readonly revokedAt: Date; readonly reason: number };

/** Revokes a certificate. @returns false when it was revoked before. */
export async function recordRevocation({ sql }: Tx, { authority, serial, revokedAt, reason }: RevocationRow): Promise<boolean> {
  const result = await sql`
    insert into revocation (authority, serial, revoked_at, reason, not_after)
    select authority, serial, ${revokedAt.toISOString()}::timestamptz, ${reason}::smallint, not_after
    from certificate where authority = ${authority} and serial = ${serial}
    on conflict do nothing`;
  return result.count === 1;
}

/** Revokes every certificate of a key that has neither ended nor been revoked. @returns how many. */
export async function recordRevocationsOfKey(
  { sql }: Tx,
  { spkiSha256, revokedAt, reason }: Pick<RevocationRow, "revokedAt" | "reason"> & { readonly spkiSha256: Uint8Array },
): Promise<number> {
  const time = revokedAt.toISOString();
  const result = await sql`
    insert into revocation (authority, serial, revoked_at, reason, not_after)
    select authority, serial, ${time}::timestamptz, ${reason}::smallint, not_after
    from certificate where spki_sha256 = ${spkiSha256} and certificate is not null and not_after >= ${time}::timestamptz
    on conflict do nothing`;
  return result.count;
}

/** When and why a certificate was revoked. */
export async function readRevocation(
  sql: Sql,
  authority: string,
  serial: Uint8Array,
): Promise<Pick<RevocationRow, "revokedAt" | "reason"> | undefined> {
  const rows = await sql<Pick<RevocationRow, "revokedAt" | "reason">[]>`
    select revoked_at as "revokedAt", reason from revocation where authority = ${authority} and serial = ${serial}`;
  return rows[0];
}
