import { Fault } from "../fault.ts";
import { signatureAlgorithm } from "../pki/algorithm.ts";
import { crlFrame, type CrlPlan, tbsCrlOctets, tbsCrlParts } from "../pki/crl.ts";
import { type Authority, crlUrl } from "./authority.ts";
import type { Ca } from "./ca.ts";
import { openCrlSnapshot, readCrlEntries } from "./crl-entry-store.ts";
import { maximumPartOctets, readCrlPart, recordCrlPart } from "./crl-part-store.ts";
import { type CrlSlot, type CrlTerms, nextCrlNumber } from "./crl-slot.ts";

/** A TBSCertList as it lies in the database, not yet signed: parts 1 to `parts` of its publication. */
export type WrittenTbs = {
  readonly publication: string;
  readonly plan: CrlPlan;
  readonly octets: number;
  readonly parts: number;
  /** What its entries were read from. */
  readonly snapshot: string;
};

/** How long the entries of one CRL may take to be read. */
const readingMs = 60_000;

/**
 * Writes the TBSCertList of the slot's next CRL into the parts of a publication, from one state of the database. What is in memory at a
 * time does not depend on how many entries it has.
 */
export async function writeTbsCertList(
  ca: Pick<Ca, "database">,
  { issuer }: Pick<Authority, "issuer">,
  { slot, publication, thisUpdate, terms }: { slot: CrlSlot; publication: string; thisUpdate: Date; terms: CrlTerms },
): Promise<WrittenTbs> {
  // On a connection of its own: the parts are durable before this reading ends.
  return await ca.database.transactAlone(readingMs, async ({ sql }) => {
    const { snapshot, entryCount, entriesOctets } = await openCrlSnapshot(sql, slot);
    const plan: CrlPlan = {
      number: nextCrlNumber(slot.published, thisUpdate),
      thisUpdate,
      nextUpdate: new Date(thisUpdate.getTime() + terms.lifetimeSeconds * 1000),
      distributionPoint: slot.shard === undefined ? undefined : crlUrl(requiredUrl(issuer.urls), slot.shard),
      entryCount,
      entriesOctets,
    };
    let position = 0;
    for await (const part of regrouped(tbsCrlParts(issuer, plan, readCrlEntries(sql, slot)), maximumPartOctets)) {
      position += 1;
      const [at, bytes] = [position, part];
      await ca.database.read((other) => recordCrlPart(other, publication, at, bytes));
    }
    return { publication, plan, octets: tbsCrlOctets(issuer, plan), parts: position, snapshot };
  });
}

/** Writes what stands around a TBSCertList: the whole CertificateList then lies in parts 0 to `parts` + 1. */
export async function writeFrame(
  ca: Pick<Ca, "database">,
  { key }: Pick<Authority, "key">,
  { publication, octets, parts }: WrittenTbs,
  signature: Uint8Array,
): Promise<void> {
  const { head, tail } = crlFrame(octets, signatureAlgorithm(key.algorithm), signature);
  await ca.database.read((sql) => recordCrlPart(sql, publication, parts + 1, tail));
  await ca.database.read((sql) => recordCrlPart(sql, publication, 0, head));
}

/** The parts of a publication, one at a time: all of them, or from one position to another, both included. */
export async function* crlParts(
  { database }: Pick<Ca, "database">,
  publication: string,
  { first = 0, last = Infinity }: { readonly first?: number; readonly last?: number } = {},
): AsyncGenerator<Uint8Array, undefined> {
  for (let position = first; position <= last; position++) {
    const part = await database.read((sql) => readCrlPart(sql, publication, position));
    if (!part) return;
    yield part;
  }
}

function requiredUrl({ crl }: { readonly crl?: string }): string {
  if (crl === undefined) throw new Fault("internal", "an authority without a URL of its CRL has no shards");
  return crl;
}

/** The same octets in pieces of `size`, the last one shorter. */
async function* regrouped(pieces: AsyncIterable<Uint8Array>, size: number): AsyncGenerator<Uint8Array, undefined> {
  let [buffer, used] = [Buffer.alloc(size), 0];
  for await (const piece of pieces) {
    for (let offset = 0; offset < piece.length;) {
      const taken = piece.subarray(offset, offset + size - used);
      buffer.set(taken, used);
      used += taken.length;
      offset += taken.length;
      if (used === size) {
        yield buffer;
        [buffer, used] = [Buffer.alloc(size), 0];
      }
    }
  }
  if (used > 0) yield buffer.subarray(0, used);
}
