import { Fault } from "../fault.ts";
import { keyAlgorithm } from "../pki/algorithm.ts";
import { type Certificate, keyIdentifier } from "../pki/certificate.ts";
import { type CrlPlan, tbsCrlOctets, tbsCrlParts } from "../pki/crl.ts";
import { type CrlLintContext, lintedParts } from "../pki/lint-crl.ts";
import { type Authority, crlUrl } from "./authority.ts";
import type { Ca } from "./ca.ts";
import { openCrlSnapshot, readCrlEntries } from "./crl-entry-store.ts";
import { maximumPartOctets, recordCrlPart } from "./crl-part-store.ts";
import { type CrlSlot, type CrlTerms, nextCrlNumber } from "./crl-slot.ts";
import { entryJudge } from "./judge-crl.ts";

/** A TBSCertList as it lies in the database: parts 1 to `parts` of its publication, and the signature over it. */
export type SignedTbs = {
  readonly publication: string;
  readonly plan: CrlPlan;
  readonly octets: number;
  readonly parts: number;
  /** What its entries were read from. */
  readonly snapshot: string;
  /** Not yet verified. */
  readonly signature: Uint8Array;
};

/** What the next CRL of a slot is made of. */
export type CrlTask = {
  readonly slot: CrlSlot;
  readonly publication: string;
  readonly thisUpdate: Date;
  readonly terms: CrlTerms;
  /** The certificate that is recorded for the authority: what its CRL must fit. */
  readonly certificate: Certificate;
};

/** How long the entries of one CRL may take to be read and to be signed. */
const readingMs = 60_000;

/**
 * Writes the TBSCertList of the slot's next CRL into the parts of a publication, from one state of the database, and has it signed: part by
 * part it is written, linted, held against the published one, and hashed by the token's host, which signs when the last part is durable and
 * nothing was found. What is in memory at a time does not depend on how many entries it has.
 * @throws Fault `lintRefused` with what speaks against it.
 */
export async function signTbsCertList(
  ca: Pick<Ca, "database" | "hsm">,
  { issuer, key, kind }: Pick<Authority, "issuer" | "key" | "kind">,
  { slot, publication, thisUpdate, terms, certificate }: CrlTask,
): Promise<SignedTbs> {
  const { latest } = slot;
  const { subject, spki, subjectKeyIdentifier } = certificate;
  const context: CrlLintContext = {
    issuer: { subject, subjectKeyIdentifier: subjectKeyIdentifier ?? keyIdentifier(spki), algorithm: keyAlgorithm(spki) },
    slot: { distributionPoint: slot.url },
    ...(latest && { publishedNumber: latest.number, publishedThisUpdate: latest.thisUpdate }),
    listsAuthorities: kind === "root",
  };
  // On a connection of its own: the parts are durable before this reading ends.
  return await ca.database.transactAlone(readingMs, async (tx) => {
    const { snapshot, entryCount, entriesOctets } = await openCrlSnapshot(tx, slot, thisUpdate);
    const plan: CrlPlan = {
      number: nextCrlNumber(latest, thisUpdate),
      thisUpdate,
      nextUpdate: new Date(thisUpdate.getTime() + terms.lifetimeSeconds * 1000),
      distributionPoint: slot.shard === undefined ? undefined : crlUrl(requiredUrl(issuer.urls), slot.shard),
      entryCount,
      entriesOctets,
    };
    let parts = 0;
    const pieces = regrouped(tbsCrlParts(issuer, plan, readCrlEntries(tx, slot, thisUpdate)), maximumPartOctets);
    const recorded = async function* (): AsyncGenerator<Uint8Array, undefined> {
      let writing: Promise<void> = Promise.resolve();
      for await (const bytes of pieces) {
        await writing;
        const position = (parts += 1);
        // One part is on its way while the next is made.
        writing = ca.database.read((other) => recordCrlPart(other, publication, position, bytes));
        writing.catch(() => {});
        yield bytes;
      }
      await writing;
    };
    const signature = await ca.hsm.signParts(key, "crl", lintedParts(recorded(), context, entryJudge(ca, slot, entryCount)));
    return { publication, plan, octets: tbsCrlOctets(issuer, plan), parts, snapshot, signature };
  });
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
