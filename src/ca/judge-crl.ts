import type { CrlEntries } from "../pki/crl-entry.ts";
import type { Finding } from "../pki/lint.ts";
import type { EntryJudge } from "../pki/lint-crl.ts";
import { readCrl } from "../pki/read-crl.ts";
import type { Ca } from "./ca.ts";
import { findRemovedEarly } from "./crl-entry-store.ts";
import { compareSerials } from "./crl-merge.ts";
import { crlParts } from "./crl-parts.ts";
import type { CrlSlot, PublishedCrl } from "./crl-slot.ts";

/** Serial numbers that are looked up at once. */
const lookup = 500;

/**
 * Holds the entries of a slot's next CRL against what the snapshot counted, and against the CRL that is published: no entry may be gone before
 * it was on one behind its certificate's end.
 * @see docs/CONFORMANCE.md XC-21; RFC 5280 §3.3
 */
export function entryJudge(ca: Pick<Ca, "database">, { authority, published }: CrlSlot, entryCount: number): EntryJudge {
  const comparison = compareSerials(published ? entriesOf(ca, published) : []);
  let count = 0;
  let removed: string | undefined;
  let serials: Uint8Array[] = [];
  const look = async (): Promise<void> => {
    if (!published || removed !== undefined || serials.length === 0) return;
    const asked = { authority, serials, since: published.thisUpdate };
    serials = [];
    removed = await ca.database.read((sql) => findRemovedEarly(sql, asked));
  };
  const lookAll = async (missing: AsyncIterable<Uint8Array>): Promise<void> => {
    for await (const serial of missing) if (serials.push(serial) >= lookup) await look();
  };
  return {
    async follow(entries) {
      count += entries.count;
      await lookAll(comparison.push(entries));
    },
    async end() {
      await lookAll(comparison.end());
      await look();
      return [...removedFindings(removed), ...countFindings(count, entryCount)];
    },
    [Symbol.asyncDispose]: () => comparison[Symbol.asyncDispose](),
  };
}

function removedFindings(serial: string | undefined): Finding[] {
  if (serial === undefined) return [];
  const detail = `the entry ${serial} is gone before it was on a CRL behind its certificate's end`;
  return [{ rule: "chancery_crl_entry_removed_early", severity: "e", detail, citation: "RFC 5280 §3.3" }];
}

function countFindings(count: number, entryCount: number): Finding[] {
  if (count === entryCount) return [];
  const detail = `it has ${count} entries, the snapshot ${entryCount}`;
  return [{ rule: "chancery_crl_entries_not_snapshot", severity: "e", detail, citation: "docs/CONFORMANCE.md XC-21" }];
}

async function* entriesOf(ca: Pick<Ca, "database">, published: PublishedCrl): AsyncGenerator<CrlEntries, undefined> {
  for await (const piece of readCrl(crlParts(ca, published))) if (piece.piece === "entries") yield piece.entries;
}
