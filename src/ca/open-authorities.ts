import { checkToken } from "../custody/check.ts";
import type { Custody } from "../custody/key-pair.ts";
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

/**
 * Holds the token against its records: every key recorded in it is bound, an authority's by the authority's name.
 * @throws Fault `refusedToStart` that says of each key whether it is not on the token, or what of it is not as recorded.
 */
export async function requireKeys(custody: Custody, standing: ReadonlyMap<string, Authority>): Promise<void> {
  const { unusable } = await checkToken(custody);
  if (unusable.length === 0) return;
  const { token } = custody.hsm;
  const found = unusable.map(({ name, kind, detail }) => {
    const key = keyText(standing, name);
    return kind === "absent" ? `${key} is not on the token ${token}` : `${key} on the token ${token} is not as recorded (${detail})`;
  });
  throw new Fault("refusedToStart", `${found.join("; ")}: restore the token, or the database that belongs to it`);
}

/** A key as an operator knows it: by its authority, which has the same name, where it is an authority's. */
export function keyText(standing: ReadonlyMap<string, Authority>, name: string): string {
  return standing.has(name) ? `the key of authority ${name}` : `the key ${name}`;
}
