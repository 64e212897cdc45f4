import { LRUCache } from "lru-cache";
import type { AccountReference } from "../../acme/account-store.ts";

/** Whether a good nonce of this client is to be refused all the same. */
export type RejectsNonce = (client: AccountReference | undefined) => boolean;

/**
 * For test suites of clients: refuses so many of a hundred good nonces of each client, evenly and never two running, so that a client that
 * repeats once gets through. `percent` is from 0 to 50.
 */
export function rejectNonces(percent: number): RejectsNonce {
  if (percent === 0) return () => false;
  const sums = new LRUCache<string, number>({ max: 10_000 });
  return (client) => {
    const key = JSON.stringify(client ?? "");
    const sum = (sums.get(key) ?? 0) + percent;
    sums.set(key, sum % 100);
    return sum >= 100;
  };
}
