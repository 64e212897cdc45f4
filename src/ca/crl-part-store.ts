import type { Sql } from "../database/connection.ts";
import type { CrlLease } from "./crl-store.ts";

/** Longest part, in octets: what a row, and whoever handles one, holds at once. */
export const maximumPartOctets = 512 * 1024;

/** Opens a publication: parts can be written for it as long as it stands. */
export async function openCrlPublication(sql: Sql, { publication, path, fence }: CrlLease): Promise<void> {
  await sql`insert into crl_publication (id, path, fence) values (${publication}, ${path}, ${String(fence)})`;
}

/** Takes a publication and its parts away. One that stands in a slot cannot be. */
export async function dropCrlPublication(sql: Sql, publication: string): Promise<void> {
  await sql`
    delete from crl_publication p
    where id = ${publication} and not exists (select from crl_slot s where p.id in (s.publication, s.previous))`;
}

/** Writes a part, in the place of one that was written there. @throws when the publication was swept meanwhile. */
export async function recordCrlPart(sql: Sql, publication: string, position: number, bytes: Uint8Array): Promise<void> {
  await sql`
    insert into crl_part (publication, position, bytes) values (${publication}, ${position}, ${bytes})
    on conflict (publication, position) do update set bytes = excluded.bytes`;
}

/** A part; undefined where there is none. */
export async function readCrlPart(sql: Sql, publication: string, position: number): Promise<Uint8Array | undefined> {
  const [row] = await sql<{ bytes: Uint8Array }[]>`
    select bytes from crl_part where publication = ${publication} and position = ${position}`;
  return row?.bytes;
}

/** Takes away publications that are over, and those whose publisher has died. Of each slot what stands and what stood before stay. */
export async function sweepCrlPublications(sql: Sql): Promise<number> {
  const result = await sql`
    delete from crl_publication p
    where not exists (select from crl_slot s where p.id in (s.publication, s.previous))
      and not exists (select from crl_slot s where s.path = p.path and s.fence = p.fence and s.lease_until >= clock_timestamp())`;
  return result.count;
}
