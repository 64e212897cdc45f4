import type { Sql } from "../../src/database/connection.ts";
import { type SaidStatus, type StatusIssuer, statusIssuer } from "./status-bytes.ts";

/** Slots of issuing authorities that somebody is at, or whose CRL does not show every revocation of its scope. */
export async function readBehind(sql: Sql): Promise<string[]> {
  const rows = await sql<{ path: string }[]>`
    select s.path from crl_slot s join authority a on a.slug = s.authority
    where a.kind = 'issuing' and (s.publication is null or s.lease_until > clock_timestamp() or exists (
      select from revocation r where r.authority = s.authority and (s.shard is null or r.shard = s.shard)
        and not pg_visible_in_snapshot(r.transaction_id, s.snapshot)))`;
  return rows.map(({ path }) => path);
}

/** How a serial number stands in the tables, and what it says where it is answered: absent where an attempt is open. */
export type Row = {
  readonly authority: string;
  readonly serial: string;
  readonly shard: number | undefined;
  readonly notAfter: Date;
  readonly said: SaidStatus | undefined;
  /** Whether there is a certificate. */
  readonly issued: boolean;
  /** Slots of its authority whose CRL was read from a state of the database that has its revocation, as it is. */
  readonly shownIn: readonly string[];
};

/** A CRL that stands. */
export type Slot = {
  readonly path: string;
  readonly authority: string;
  readonly shard: number | undefined;
  readonly url: string | undefined;
  readonly number: bigint;
  /** thisUpdate of the publication before the one that stands. */
  readonly before: Date | undefined;
};

/** What the tables say: authorities by slug, and what each issued or revoked. */
export type Tables = {
  readonly issuers: ReadonlyMap<string, StatusIssuer>;
  readonly kinds: ReadonlyMap<string, string>;
  readonly slots: readonly Slot[];
  readonly rows: ReadonlyMap<string, readonly Row[]>;
};

/** Reads them as they stand. */
export async function readTables(sql: Sql): Promise<Tables> {
  const authorities = await sql<{ slug: string; kind: string; certificate: Uint8Array }[]>`select slug, kind, certificate from authority`;
  const slots = await sql<
    { path: string; authority: string; shard: number | null; url: string | null; number: string; before: string | null }[]
  >`
    select s.path, s.authority, s.shard, s.url, s.number, (
      select o.object ->> 'thisUpdate' from (
        select convert_from(bytes, 'UTF8')::jsonb ->> 'operation' as operation, convert_from(bytes, 'UTF8')::jsonb -> 'object' as object from audit_record
      ) o where o.operation = 'crl.publish' and o.object ->> 'crl' = s.path and (o.object ->> 'number')::numeric < s.number
      order by (o.object ->> 'number')::numeric desc limit 1) as before
    from crl_slot s where s.publication is not null order by s.path`;
  const rows = await sql<
    {
      authority: string;
      serial: string;
      shard: number | null;
      notAfter: Date | null;
      issued: boolean;
      revokedAt: Date | null;
      reason: number | null;
      shownIn: string[];
    }[]
  >`
    select authority, encode(serial, 'hex') as serial, coalesce(i.shard, r.shard) as shard, coalesce(c.not_after, r.not_after) as "notAfter",
      coalesce(c.certificate is not null, false) as issued, r.revoked_at as "revokedAt", r.reason,
      array(
        select s.path from crl_slot s where s.authority = r.authority and pg_visible_in_snapshot(r.transaction_id, s.snapshot)) as "shownIn"
    from issuance i full join certificate c using (authority, serial) full join revocation r using (authority, serial)`;
  const byAuthority = new Map<string, Row[]>(authorities.map(({ slug }) => [slug, []]));
  for (const { authority, serial, shard, notAfter, issued, revokedAt, reason, shownIn } of rows) {
    const revoked = revokedAt && reason !== null && ({ status: "revoked", revokedAt: wholeSecond(revokedAt), reason } as const);
    const said = revoked || (issued ? ({ status: "good" } as const) : undefined);
    byAuthority
      .get(authority)
      ?.push({ authority, serial, shard: shard ?? undefined, notAfter: notAfter ?? new Date(0), said, issued, shownIn });
  }
  return {
    issuers: new Map(authorities.map(({ slug, certificate }) => [slug, statusIssuer(certificate)])),
    kinds: new Map(authorities.map(({ slug, kind }) => [slug, kind])),
    slots: slots.map(({ number, before, shard, url, ...slot }) => ({
      ...slot,
      shard: shard ?? undefined,
      url: url ?? undefined,
      number: BigInt(number),
      before: before === null ? undefined : new Date(before),
    })),
    rows: byAuthority,
  };
}

/** DER of what stands in a slot with its recorded SHA-256 in hex, and of what stood there before, where it is still kept. */
export async function readPublished(sql: Sql, path: string): Promise<{ standing: Buffer; previous: Buffer; sha256: string }> {
  const rows = await sql<{ publication: "standing" | "previous"; sha256: string; bytes: Uint8Array }[]>`
    select case p.publication when s.publication then 'standing' else 'previous' end as publication, encode(s.sha256, 'hex') as sha256, p.bytes
    from crl_slot s join crl_part p on p.publication in (s.publication, s.previous) where s.path = ${path} order by p.position`;
  const of = (wanted: string) => Buffer.concat(rows.filter(({ publication }) => publication === wanted).map(({ bytes }) => bytes));
  return { standing: of("standing"), previous: of("previous"), sha256: rows[0]?.sha256 ?? "" };
}

const wholeSecond = (time: Date) => new Date(Math.floor(time.getTime() / 1000) * 1000);

/** XC-14, XC-18 of everything that was ever published. */
export async function brokenPublications(sql: Sql): Promise<string[]> {
  const rows = await sql<{ crl: string; number: string; before: string }[]>`
    select crl, number::text as number, before::text as before from (
      select crl, number, at, lag(number) over w as before, lag(at) over w as at_before from (
        select o.object ->> 'crl' as crl, (o.object ->> 'number')::numeric as number, (o.object ->> 'thisUpdate')::timestamptz as at, transaction_id from (
          select convert_from(bytes, 'UTF8')::jsonb -> 'object' as object, transaction_id from audit_record
          where convert_from(bytes, 'UTF8')::jsonb ->> 'operation' = 'crl.publish') o
      ) p window w as (partition by crl order by transaction_id)
    ) q where number <= before or at <= at_before`;
  return rows.map(({ crl, number, before }) => `of ${crl} the CRL ${number} was published behind ${before}`);
}
