import type { Sql } from "../../src/database/connection.ts";
import { parseCertificate, parseTbsCertificate } from "../../src/pki/certificate.ts";

/**
 * What must hold of the database whatever happened, as sentences about what does not: no serial twice, every certificate has its intent over
 * the very bytes, one certificate at most for a request, one audit record for each attempt and one more for each that was closed, closed
 * attempts are revoked, and of others those alone that somebody revoked by a record of its own.
 */
export async function brokenInvariants(sql: Sql): Promise<string[]> {
  const broken: string[] = [];
  const rows = await sql<
    { serial: string; tbs: Uint8Array; certificate: Uint8Array | null; ended: boolean; request: string; revoked: boolean }[]
  >`
    select encode(i.serial, 'hex') as serial, i.tbs, c.certificate, c.serial is not null as ended, encode(i.request_id, 'hex') as request,
      r.serial is not null as revoked
    from issuance i left join certificate c using (authority, serial) left join revocation r using (authority, serial)`;
  const serials = new Set<string>();
  const issued = new Map<string, number>();
  for (const row of rows) {
    if (serials.has(row.serial)) broken.push(`serial ${row.serial} stands twice`);
    serials.add(row.serial);
    if (parseTbsCertificate(row.tbs).serial !== row.serial) broken.push(`the intent ${row.serial} holds another serial`);
    if (row.certificate) {
      issued.set(row.request, (issued.get(row.request) ?? 0) + 1);
      if (!Buffer.from(parseCertificate(row.certificate).tbs).equals(row.tbs))
        broken.push(`the certificate ${row.serial} is not over its intent`);
    }
    const closed = row.ended && !row.certificate;
    if (closed && !row.revoked) broken.push(`the attempt ${row.serial} is closed but not revoked`);
  }
  for (const [request, count] of issued) if (count > 1) broken.push(`the request ${request} has ${count} certificates`);

  const orphans =
    await sql`select from certificate c where not exists (select from issuance i where i.authority = c.authority and i.serial = c.serial)`;
  if (orphans.length > 0) broken.push(`${orphans.length} certificates have no intent`);
  const records = await sql<{ operation: string; count: number }[]>`
    select convert_from(bytes, 'UTF8')::jsonb ->> 'operation' as operation, count(*)::integer as count from audit_record
    where convert_from(bytes, 'UTF8')::jsonb ->> 'outcome' <> 'denied' group by 1`;
  const recorded = new Map(records.map(({ operation, count }) => [operation, count]));
  const closed = rows.filter((row) => row.ended && !row.certificate).length;
  const revoked = rows.filter((row) => row.revoked && !(row.ended && !row.certificate)).length;
  if ((recorded.get("certificate.revoke") ?? 0) !== revoked)
    broken.push(`${revoked} revoked without being closed, ${recorded.get("certificate.revoke") ?? 0} records`);
  if ((recorded.get("certificate.issue") ?? 0) !== rows.length)
    broken.push(`${rows.length} attempts, ${recorded.get("certificate.issue") ?? 0} records`);
  if ((recorded.get("certificate.close") ?? 0) !== closed)
    broken.push(`${closed} closed, ${recorded.get("certificate.close") ?? 0} records`);
  return broken;
}
