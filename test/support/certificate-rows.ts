import type { Sql } from "../../src/database/connection.ts";

/** What is said of many certificates at once; what is absent is as in the certificate that they are copied from. */
export type CertificateRows = {
  readonly count: number;
  readonly namespace?: string;
  readonly profile?: string;
  readonly principal?: string;
  /** 32 octets. */
  readonly spkiSha256?: Uint8Array;
  readonly notAfter?: Date;
  readonly recordedAt?: Date;
};

/**
 * Writes certificates by the thousand, each with its intent: rows as issuance writes them, under random serials, which stand in their bytes too;
 * for the rest those are of the certificate that was recorded last and is not over, signature and all. @returns their serials, lower-case hex.
 */
export async function writeCertificateRows(sql: Sql, rows: CertificateRows): Promise<string[]> {
  const written = await sql<{ serial: string }[]>`
    with model as (
      select i.*, c.profile, c.certificate, c.spki_sha256, c.not_before, c.not_after, c.recorded_at
      from certificate c join issuance i using (authority, serial)
      where c.certificate is not null and c.not_after > now() and c.authority in (select slug from authority where kind = 'issuing')
      order by c.recorded_at desc limit 1
    ), drawn as (
      select model.*, set_byte(decode(replace(gen_random_uuid()::text, '-', ''), 'hex'), 0, 64) as new_serial,
        sha256(convert_to(gen_random_uuid()::text, 'UTF8')) as new_request
      from model, generate_series(1, ${rows.count})
    ), intended as (
      insert into issuance (authority, serial, request_id, attempt, request_hash, namespace, principal, profile_sha256, tbs, created_at, shard)
      select authority, new_serial, new_request, 1, request_hash, coalesce(${rows.namespace ?? null}::text, namespace),
        coalesce(${rows.principal ?? null}::text, principal), profile_sha256,
        overlay(tbs placing new_serial from position(serial in tbs)), created_at, shard
      from drawn
    )
    insert into certificate (authority, serial, namespace, profile, certificate, spki_sha256, not_before, not_after, recorded_at)
    select authority, new_serial, coalesce(${rows.namespace ?? null}::text, namespace), coalesce(${rows.profile ?? null}::text, profile),
      overlay(certificate placing new_serial from position(serial in certificate)),
      coalesce(${rows.spkiSha256 ?? null}::bytea, spki_sha256), not_before, coalesce(${rows.notAfter?.toISOString() ?? null}::text::timestamptz, not_after),
      coalesce(${rows.recordedAt?.toISOString() ?? null}::text::timestamptz, recorded_at)
    from drawn returning encode(serial, 'hex') as serial`;
  return written.map(({ serial }) => serial);
}
