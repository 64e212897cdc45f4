import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import type { OwnAddress } from "./egress.ts";

/** Where one of our own listeners or the database is, by the host that the configuration names. */
export type OwnPlace = { readonly host: string; readonly port: number };

/** Every address of a host, as connections to it take them; rejects when that cannot be said now. */
export type LookUp = (host: string) => Promise<readonly string[]>;

/**
 * Reads the addresses of our own places, anew at each call: a name may come to lead elsewhere. Of a host that cannot be looked up now those
 * stand that it had before.
 */
export function readOwnPlaces(places: readonly OwnPlace[], lookUp: LookUp = systemLookUp): () => Promise<readonly OwnAddress[]> {
  const known = new Map<string, readonly string[]>();
  const addressesOf = async (host: string): Promise<readonly string[]> => {
    if (isIP(host)) return [host];
    // A Unix socket is at no address.
    if (host.startsWith("/")) return [];
    try {
      known.set(host, await lookUp(host));
    } catch {
      // Nothing is opened by it.
    }
    return [...(host === "localhost" ? ["127.0.0.1", "::1"] : []), ...(known.get(host) ?? [])];
  };
  return async () => {
    const read = await Promise.all(places.map(async ({ host, port }) => (await addressesOf(host)).map((address) => ({ address, port }))));
    return read.flat();
  };
}

async function systemLookUp(host: string): Promise<readonly string[]> {
  return (await lookup(host, { all: true })).map(({ address }) => address);
}
