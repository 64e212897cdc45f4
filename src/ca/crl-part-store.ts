import type { Tx } from "../database/connect.ts";
import type { Sql } from "../database/connection.ts";
import { copyOctets } from "../database/copy-out.ts";
import type { CrlLease } from "./crl-store.ts";

/** Longest part, in octets: its text in a statement is short-lived memory to the engine, where longer ones live until a full collection. */
export const maximumPartOctets = 60_000;

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

/** Which parts of a publication: all of them, or from one position to another, both included. */
export type PartRange = { readonly publication: string; readonly first?: number; readonly last?: number };

/** Some parts, by position. */
export async function readCrlParts(sql: Sql, { publication, first = 0, last = farthest }: PartRange): Promise<Uint8Array[]> {
  const rows = await sql<{ bytes: Uint8Array }[]>`
    select bytes from crl_part where publication = ${publication} and position between ${first} and ${last} order by position`;
  return rows.map(({ bytes }) => bytes);
}

/** Many parts, by position, in pieces and as fast as they are taken. */
export function streamCrlParts(tx: Tx, { publication, first = 0, last = farthest }: PartRange): AsyncGenerator<Uint8Array, undefined> {
  const select = `
    select bytes from crl_part where publication = current_setting('copy.publication')::uuid
      and position between current_setting('copy.first')::integer and current_setting('copy.last')::integer order by position`;
  return copyOctets(tx, { select, settings: { publication, first: String(first), last: String(last) } });
}

const farthest = 2 ** 31 - 1;

/** Takes away publications that are over, and those whose publisher has died. Of each slot what stands and what stood before stay. */
export async function sweepCrlPublications(sql: Sql): Promise<number> {
  const result = await sql`
    delete from crl_publication p
    where not exists (select from crl_slot s where p.id in (s.publication, s.previous))
      and not exists (select from crl_slot s where s.path = p.path and s.fence = p.fence and s.lease_until >= clock_timestamp())`;
  return result.count;
}
