import { produced } from "../database/produced.ts";
import { Fault } from "../fault.ts";
import { signatureAlgorithm } from "../pki/algorithm.ts";
import { crlFrame, type CrlPlan, tbsCrlOctets, tbsCrlParts } from "../pki/crl.ts";
import { type Authority, crlUrl } from "./authority.ts";
import type { Ca } from "./ca.ts";
import { openCrlSnapshot, readCrlEntries } from "./crl-entry-store.ts";
import { maximumPartOctets, type PartRange, readCrlParts, recordCrlPart, streamCrlParts } from "./crl-part-store.ts";
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

/** A CertificateList as it lies in the database, signed and framed. */
export type WrittenCrl = WrittenTbs & {
  /** Octets of the head of its outer SEQUENCE. */
  readonly head: number;
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
  return await ca.database.transactAlone(readingMs, async (tx) => {
    const { snapshot, entryCount, entriesOctets } = await openCrlSnapshot(tx, slot, thisUpdate);
    const plan: CrlPlan = {
      number: nextCrlNumber(slot.published, thisUpdate),
      thisUpdate,
      nextUpdate: new Date(thisUpdate.getTime() + terms.lifetimeSeconds * 1000),
      distributionPoint: slot.shard === undefined ? undefined : crlUrl(requiredUrl(issuer.urls), slot.shard),
      entryCount,
      entriesOctets,
    };
    let position = 0;
    let writing: Promise<void> = Promise.resolve();
    for await (const bytes of regrouped(tbsCrlParts(issuer, plan, readCrlEntries(tx, slot, thisUpdate)), maximumPartOctets)) {
      await writing;
      const at = (position += 1);
      // One part is on its way while the next is made.
      writing = ca.database.read((other) => recordCrlPart(other, publication, at, bytes));
      writing.catch(() => {});
    }
    await writing;
    return { publication, plan, octets: tbsCrlOctets(issuer, plan), parts: position, snapshot };
  });
}

/** Writes what stands around a TBSCertList: the whole CertificateList then lies in parts 0 to `parts` + 1. */
export async function writeFrame(
  ca: Pick<Ca, "database">,
  { key }: Pick<Authority, "key">,
  written: WrittenTbs,
  signature: Uint8Array,
): Promise<WrittenCrl> {
  const { publication, octets, parts } = written;
  const { head, tail } = crlFrame(octets, signatureAlgorithm(key.algorithm), signature);
  await ca.database.read((sql) => recordCrlPart(sql, publication, parts + 1, tail));
  await ca.database.read((sql) => recordCrlPart(sql, publication, 0, head));
  return { ...written, head: head.length };
}

/**
 * The octets of a publication's parts, in pieces: of all of them, or from one position to another, both included.
 * @param octets how many there are in all: of few the parts are read at once.
 */
export async function* crlParts(
  { database }: Pick<Ca, "database">,
  { octets, ...range }: PartRange & { readonly octets: number },
): AsyncGenerator<Uint8Array, undefined> {
  if (octets <= fewOctets) return yield* await database.read((sql) => readCrlParts(sql, range));
  yield* produced<Uint8Array>((put) =>
    database.transactAlone(readingMs, async (tx) => {
      for await (const piece of streamCrlParts(tx, range)) await put(piece);
    }),
  );
}

const fewOctets = 1024 * 1024;

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
