import type { Sql } from "../database/connection.ts";

/** What is recorded of the certificates of a responder's key. */
export type ResponderRecord = {
  /** Attempts at a certificate that have ended, with one or without. */
  readonly ended: number;
  /** DER of the one that ends last of those that are not revoked. */
  readonly certificate: Uint8Array | undefined;
  /** Whether one was revoked because the key is compromised: then the key is in no other. */
  readonly compromised: boolean;
};

/** @param spkiSha256 32 octets. */
export async function readResponderRecord(
  sql: Sql,
  { authority, spkiSha256 }: { readonly authority: string; readonly spkiSha256: Uint8Array },
): Promise<ResponderRecord> {
  const rows = await sql<{ ended: number; compromised: boolean; certificate: Uint8Array | null }[]>`
    select count(*)::integer as ended, coalesce(bool_or(r.reason = 1), false) as compromised,
      (array_agg(c.certificate order by c.not_after desc) filter (where c.certificate is not null and r.serial is null))[1] as certificate
    from certificate c left join revocation r using (authority, serial)
    where c.spki_sha256 = ${spkiSha256} and c.authority = ${authority}`;
  const { ended = 0, compromised = false, certificate } = rows[0] ?? {};
  return { ended, compromised, certificate: certificate ?? undefined };
}
