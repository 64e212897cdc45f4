import { Fault } from "../fault.ts";
import type { Sql } from "../database/connection.ts";

/** A key that seals nonces. `id` is one octet. */
export type NonceKey = { readonly id: number; readonly secret: Uint8Array; readonly createdAt: Date };

/** Every key, the newest first. */
export async function readNonceKeys(sql: Sql): Promise<NonceKey[]> {
  return await sql<NonceKey[]>`select id, secret, created_at as "createdAt" from acme_nonce_key order by created_at desc, id desc`;
}

/** Records a key under an id that is free; somebody else's stands when two instances do it at once. */
export async function recordNonceKey(sql: Sql, { id, secret, createdAt }: NonceKey): Promise<void> {
  await sql`insert into acme_nonce_key (id, secret, created_at) values (${id}, ${secret}, ${createdAt.toISOString()}) on conflict do nothing`;
}

/** Forgets keys that no nonce in use was sealed with. */
export async function forgetNonceKeys(sql: Sql, before: Date): Promise<void> {
  await sql`delete from acme_nonce_key where created_at < ${before.toISOString()}`;
}

/** The epoch that stands, 4 octets; `proposed` is recorded where none does. @throws Fault `busy` when none comes to stand */
export async function holdEpoch(sql: Sql, proposed: Uint8Array): Promise<Uint8Array> {
  for (let tries = 0; tries < 5; tries++) {
    await sql`insert into acme_nonce_epoch (epoch) values (${proposed}) on conflict do nothing`;
    const [row] = await sql<{ epoch: Uint8Array }[]>`select epoch from acme_nonce_epoch`;
    // Emptied between the two: what nobody recorded is no epoch.
    if (row) return row.epoch;
  }
  throw new Fault("busy", "no epoch of nonces comes to stand");
}

/** What spending one nonce needs: the slot and epoch it was minted in, and its octets. */
export type MintedNonce = { readonly slot: number; readonly epoch: Uint8Array; readonly nonce: Uint8Array };

/** Empties a slot whose nonces are all past their life, if anything is in it. */
export async function emptySlot(sql: Sql, slot: 0 | 1 | 2): Promise<void> {
  const table = sql(`acme_nonce_${slot}`);
  const [row] = await sql<{ filled: boolean }[]>`select exists (select from ${table}) as filled`;
  if (row?.filled) await sql`truncate ${table}`;
}
