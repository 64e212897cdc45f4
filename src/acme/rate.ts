import { createHash } from "node:crypto";
import type { Database } from "../database/connect.ts";
import { Fault } from "../fault.ts";
import type { Clock } from "../ports/clock.ts";
import { ipOctets, ipText } from "../pki/ip-address.ts";
import type { Limit } from "./directory.ts";
import { findEmptyBucket, returnToBucket, takeFromBucket } from "./rate-store.ts";

/** What is limited, with whose it is. */
export type Limited =
  | { readonly what: "newAccount"; readonly address: string }
  | { readonly what: "newOrder"; readonly account: string }
  | { readonly what: "accountUpdate"; readonly account: string }
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
  if (!taken) throw overLimit(limited, limit);
}

/** Gives back what `takeOne` took for something that did not come about. */
export async function returnOne(
  { database, clock }: { readonly database: Database; readonly clock: Clock },
  limited: Limited,
  limit: Limit | undefined,
): Promise<void> {
  if (limit) await database.read((sql) => returnToBucket(sql, keyOf(limited), limit, clock.now()));
}

/**
 * Takes none, but looks whether there is one in each of these buckets; does nothing without a limit.
 * @throws Fault `rateLimited` as `takeOne`.
 */
export async function requireOne(
  { database, clock }: { readonly database: Database; readonly clock: Clock },
  limiteds: readonly Limited[],
  limit: Limit | undefined,
): Promise<void> {
  if (!limit) return;
  const empty = await database.read((sql) => findEmptyBucket(sql, limiteds.map(keyOf), limit, clock.now()));
  const found = empty === undefined ? undefined : limiteds.find((limited) => keyOf(limited) === empty);
  if (found) throw overLimit(found, limit);
}

function overLimit(limited: Limited, { count, seconds }: Limit): Fault {
  const retryAfterSeconds = Math.min(600, Math.ceil(seconds / count));
  const whose = "name" in limited ? ` (${limited.name})` : "";
  return new Fault("rateLimited", `${sentences[limited.what]}${whose}: ${count} in ${seconds} s are the most`, {
    members: { retryAfterSeconds },
  });
}

const sentences: Readonly<Record<Limited["what"], string>> = {
  newAccount: "too many accounts were made from this address",
  newOrder: "this account has made too many orders",
  accountUpdate: "this account has changed its key or its contacts too often",
  failedValidation: "too many validations of this name have failed for this account",
  certificate: "this account has got too many certificates for these names",
};

/** What is limited, and a hash of whose it is: a hundred names are longer than the key of an index may be. */
function keyOf(limited: Limited): string {
  const digest = createHash("sha256")
    .update(JSON.stringify(ownerOf(limited)))
    .digest("base64url");
  return `${limited.what} ${digest}`;
}

function ownerOf(limited: Limited): readonly string[] {
  switch (limited.what) {
    case "newAccount":
      return [network(limited.address)];
    case "newOrder":
    case "accountUpdate":
      return [limited.account];
    case "failedValidation":
      return [limited.account, limited.name];
    case "certificate":
      return [limited.account, limited.names];
    default:
      return limited satisfies never;
  }
}

/** An IPv4 address, mapped or not, as it is; of an IPv6 address its /48, all of which one customer has (RFC 6177 §2). */
function network(address: string): string {
  const octets = ipOctets(address);
  const hex = octets && Buffer.from(octets).toString("hex");
  if (octets?.length !== 16 || hex === undefined) return address;
  return hex.startsWith(mapped) ? (ipText(octets.subarray(12)) ?? address) : hex.slice(0, 12);
}

/** @see RFC 4291 §2.5.5.2 */
const mapped = "00000000000000000000ffff";
