import { readKeyPair } from "../custody/store.ts";
import type { Database } from "../database/connect.ts";
import { Fault } from "../fault.ts";
import { type Authority, authorities, type AuthorityParts } from "./authority.ts";
import { readAuthorities } from "./store.ts";

/**
 * The recorded authorities with their keys; empty before the ceremony.
 * @throws Fault `refusedToStart` when a record does not fit its key.
 */
export async function openAuthorities(database: Database, statusUrl: string): Promise<ReadonlyMap<string, Authority>> {
  const parts = await database.transact(async (tx) => {
    const found: AuthorityParts[] = [];
    for (const { keyName, ...record } of await readAuthorities(tx.sql)) {
      const pair = await readKeyPair(tx, keyName);
      if (!pair) throw new Fault("refusedToStart", `the key of ${record.slug} was never generated`);
      found.push({ ...record, key: pair.reference, spki: pair.spki });
    }
    return found;
  });
  return authorities(parts, statusUrl);
}
