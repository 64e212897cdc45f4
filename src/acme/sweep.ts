import type { Acme } from "./acme.ts";
import { forgetBuckets } from "./rate-store.ts";
import { forgetAuthorizations, forgetOrders, forgetReplacements } from "./sweep-store.ts";

const dayMs = 86_400_000;
const batch = 1_000;

/**
 * Takes away what nobody asks for any more: orders and authorizations a day after they expired, buckets that are full again, replacements of
 * certificates that are over. In batches, so that no lock is held for long.
 */
export async function sweep({ database, clock }: Acme): Promise<void> {
  const now = clock.now();
  const before = new Date(now.getTime() - dayMs);
  while ((await database.read((sql) => forgetOrders(sql, before, batch))) === batch);
  while ((await database.read((sql) => forgetAuthorizations(sql, before, batch))) === batch);
  await database.read((sql) => forgetReplacements(sql, now));
  await database.read((sql) => forgetBuckets(sql, new Date(now.getTime() - 7 * dayMs)));
}
