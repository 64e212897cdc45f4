import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { missingSerials, sorted } from "../../src/ca/crl-merge.ts";
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

describe("serial numbers that one CRL has and the next lacks (XC-21)", () => {
  test("are those that a set finds, whatever batches they come in", async () => {
    await fc.assert(
      fc.asyncProperty(
        serialList,
        serialList,
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 1, max: 5 }),
        async (before, next, one, other) => {
          const found = await Array.fromAsync(missingSerials(batches(before, one), batches(next, other)), hexOf);
          expect(found).toEqual(before.filter((serial) => !next.includes(serial)));
        },
      ),
      { numRuns: 500 },
    );
  });

  test("are looked for in the whole of the next: it is read to its end", async () => {
    let read = 0;
    const next = (function* () {
      for (const entries of batches(["01", "02", "03"], 1)) {
        read += entries.count;
        yield entries;
      }
    })();
    expect(await Array.fromAsync(missingSerials([], next))).toEqual([]);
    expect(read).toBe(3);
  });
});

describe("entries in the order of their serial numbers", () => {
  test("pass as they are, across batches", async () => {
    const given = batches(["01", "7f", "80", "0100", "0101", "ff00"], 2);
    expect(await Array.fromAsync(sorted(given))).toEqual(given);
  });

  test.for([
    { name: "twice", serials: ["01", "02", "02"] },
    { name: "behind a greater one", serials: ["01", "03", "02"] },
    { name: "shorter behind a longer one", serials: ["0100", "ff"] },
  ])("one $name is refused, in a batch and across two", async ({ serials }) => {
    for (const size of [1, 3]) {
      await expect(Array.fromAsync(sorted(batches(serials, size)))).rejects.toMatchObject({ code: "malformed" });
    }
  });
});
