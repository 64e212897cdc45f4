import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compareSerials } from "../../src/ca/crl-merge.ts";
import type { CrlEntries } from "../../src/pki/crl-entry.ts";

/** Entries of these serial numbers, hex, as they come in one batch. */
function batch(serials: readonly string[]): CrlEntries {
  const bytes = serials.map((serial) => Buffer.from(serial, "hex"));
  const ends = bytes.map((_, index) => bytes.slice(0, index + 1).reduce((sum, { length }) => sum + length, 0));
  return {
    count: serials.length,
    source: Buffer.concat(bytes),
    serialStarts: Uint32Array.from(ends, (end, index) => end - (bytes[index]?.length ?? 0)),
    serialEnds: Uint32Array.from(ends),
    revokedAt: new Float64Array(serials.length),
    reasons: new Uint8Array(serials.length),
  };
}

/** The serial numbers in batches of some sizes, empty ones among them. */
function batches(serials: readonly string[], size: number): CrlEntries[] {
  const found = [batch([])];
  for (let at = 0; at < serials.length; at += size) found.push(batch(serials.slice(at, at + size)));
  return found;
}

const inOrder = (serials: readonly string[]): string[] =>
  [...new Set(serials)].toSorted((one, other) => one.length - other.length || (one < other ? -1 : 1));
const hexOf = (serial: Uint8Array): string => Buffer.from(serial).toString("hex");

// Few values, so that the two lists have many in common; of several lengths, so that the order is that of numbers.
const serialList = fc
  .array(
    fc.oneof(
      fc.constantFrom("01", "7f", "80", "ff"),
      fc.integer({ min: 0x0100, max: 0x0140 }).map((value) => value.toString(16).padStart(4, "0")),
    ),
  )
  .map((serials) => inOrder(serials.map((serial) => serial.replace(/^00/, "01"))));

/** What `before` has and `next` has not, hex. */
async function missing(before: readonly CrlEntries[], next: readonly CrlEntries[]): Promise<string[]> {
  await using comparison = compareSerials(before);
  const found: string[] = [];
  for (const entries of next) found.push(...(await Array.fromAsync(comparison.push(entries), hexOf)));
  return [...found, ...(await Array.fromAsync(comparison.end(), hexOf))];
}

describe("serial numbers that one CRL has and the next lacks (XC-21)", () => {
  test("are those that a set finds, whatever batches they come in", async () => {
    await fc.assert(
      fc.asyncProperty(
        serialList,
        serialList,
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 1, max: 5 }),
        async (before, next, one, other) => {
          const found = await missing(batches(before, one), batches(next, other));
          expect(found).toEqual(before.filter((serial) => !next.includes(serial)));
        },
      ),
      { numRuns: 500 },
    );
  });

  test("whose reading is given up leave nothing open", async () => {
    let open = false;
    const before = (function* () {
      open = true;
      try {
        yield* batches(["01", "02", "03"], 1);
      } finally {
        open = false;
      }
    })();
    {
      await using comparison = compareSerials(before);
      expect(await Array.fromAsync(comparison.push(batch(["02"])), hexOf)).toEqual(["01"]);
      expect(open).toBe(true);
    }
    expect(open).toBe(false);
  });
});
