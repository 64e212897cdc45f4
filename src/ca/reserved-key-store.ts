import type { Sql } from "../database/connection.ts";
import type { Tx } from "../database/connect.ts";

/**
 * Keeps a key out of certificates from now on because it is an account's, in the transaction that gives it to the account. Until that ends,
 * whoever would certify the key waits, and then is refused.
 * @param key.spki DER SubjectPublicKeyInfo, with its SHA-256, 32 octets.
 * @returns false when the key is reserved for something else, or stands in a certificate or in what is being signed: the transaction must
 *   then be undone (RFC 8555 §11.1).
 */
export async function reserveAccountKey(
  { sql }: Tx,
  { spki, spkiSha256 }: { readonly spki: Uint8Array; readonly spkiSha256: Uint8Array },
  reservedAt: Date,
): Promise<boolean> {
  const made = await sql`
    with locked as materialized (select lock_key(${spkiSha256}::bytea))
    insert into reserved_key (spki_sha256, kind, reserved_at) select ${spkiSha256}::bytea, 'account', ${reservedAt.toISOString()}::timestamptz from locked
    on conflict do nothing`;
  // Statements of their own: they see what the lock and the insertion waited for, an intent for this key among it.
  if (made.count === 0) return (await readKind(sql, spkiSha256)) === "account";
  const [row] = await sql<{ certified: boolean }[]>`
    select exists (select from certificate where spki_sha256 = ${spkiSha256}) or exists (
      select from issuance i left join certificate c using (authority, serial)
      where c.serial is null and i.created_at >= (select settled_before from settlement) and position(${spki}::bytea in i.tbs) > 0) as certified`;
  return row?.certified === false;
}

/**
 * Keeps a key out of certificates for good because somebody who may say so says that it is compromised. Until the transaction ends
 * nobody else revokes the certificates of this key.
 * @returns whether it was not known as compromised before.
 */
export async function blockKey({ sql }: Tx, spkiSha256: Uint8Array, reservedAt: Date): Promise<boolean> {
  const made = await sql`
    insert into reserved_key (spki_sha256, kind, reserved_at) values (${spkiSha256}, 'compromised', ${reservedAt.toISOString()})
    on conflict do nothing`;
  if (made.count === 1) return true;
  await sql`select from reserved_key where spki_sha256 = ${spkiSha256} for update`;
  const changed = await sql`
    update reserved_key set kind = 'compromised', reserved_at = ${reservedAt.toISOString()} where spki_sha256 = ${spkiSha256} and kind = 'account'`;
  return changed.count === 1;
}

/**
 * Keys known as compromised, 32 octets each, with certificates that have not ended at `now` and are not revoked for it: the first `limit` in
 * their order behind `after`.
 */
export async function listBlockedKeysInUse(
  sql: Sql,
  { now, after, limit }: { readonly now: Date; readonly after: Uint8Array; readonly limit: number },
): Promise<Uint8Array[]> {
  const rows = await sql<{ spkiSha256: Uint8Array }[]>`
    select k.spki_sha256 as "spkiSha256" from reserved_key k
    where k.kind = 'compromised' and k.spki_sha256 > ${after} and exists (
      select from certificate c left join revocation r using (authority, serial)
      where c.spki_sha256 = k.spki_sha256 and c.certificate is not null and c.not_after >= ${now.toISOString()}
        and (r.serial is null or r.reason <> 1))
    order by k.spki_sha256 limit ${limit}`;
  return rows.map(({ spkiSha256 }) => spkiSha256);
}

async function readKind(sql: Sql, spkiSha256: Uint8Array): Promise<string | undefined> {
  const [row] = await sql<{ kind: string }[]>`select kind from reserved_key where spki_sha256 = ${spkiSha256}`;
  return row?.kind;
}
