import type { Database } from "../database/connect.ts";
import { Fault } from "../fault.ts";
import type { Clock } from "../ports/clock.ts";
import type { Limit } from "./directory.ts";
import { takeFromBucket } from "./rate-store.ts";

/** What is limited, with whose it is. */
export type Limited =
  | { readonly what: "newAccount"; readonly address: string }
  | { readonly what: "newOrder"; readonly account: string }
  | { readonly what: "failedValidation"; readonly account: string; readonly name: string }
  | { readonly what: "certificate"; readonly account: string; readonly names: string };

/**
 * Takes one out of the bucket that all instances share; does nothing without a limit.
 * @throws Fault `rateLimited` with `retryAfterSeconds` when there is none to take.
 */
export async function takeOne(
  { database, clock }: { readonly database: Database; readonly clock: Clock },
  limited: Limited,
  limit: Limit | undefined,
): Promise<void> {
  if (!limit) return;
  const taken = await database.read((sql) => takeFromBucket(sql, keyOf(limited), limit, clock.now()));
  if (taken) return;
  const retryAfterSeconds = Math.min(600, Math.ceil(limit.seconds / limit.count));
  throw new Fault("rateLimited", `${sentences[limited.what]}: ${limit.count} in ${limit.seconds} s are the most`, {
    members: { retryAfterSeconds },
  });
}

const sentences: Readonly<Record<Limited["what"], string>> = {
  newAccount: "too many accounts were made from this address",
  newOrder: "this account has made too many orders",
  failedValidation: "too many validations of this name have failed for this account",
  certificate: "this account has got too many certificates for these names",
};

function keyOf(limited: Limited): string {
  switch (limited.what) {
    case "newAccount":
      return JSON.stringify([limited.what, network(limited.address)]);
    case "newOrder":
      return JSON.stringify([limited.what, limited.account]);
    case "failedValidation":
      return JSON.stringify([limited.what, limited.account, limited.name]);
    case "certificate":
      return JSON.stringify([limited.what, limited.account, limited.names]);
    default:
      return limited satisfies never;
  }
}

/** An IPv4 address as it is; of an IPv6 address its /48. `address` is canonical. */
function network(address: string): string {
  if (!address.includes(":")) return address;
  const [head = "", tail] = address.split("::");
  const groups = head === "" ? [] : head.split(":");
  const missing = tail === undefined ? 0 : 8 - groups.length - (tail === "" ? 0 : tail.split(":").length);
  const whole = [...groups, ...Array<string>(missing).fill("0"), ...(tail ? tail.split(":") : [])];
  return `${whole.slice(0, 3).join(":")}::/48`;
}
