import { Fault } from "../fault.ts";
import type { CrlEntries } from "../pki/crl-entry.ts";

type Batches = AsyncIterable<CrlEntries> | Iterable<CrlEntries>;

/**
 * The batches as they come, in the order of their serial numbers.
 * @throws Fault `malformed` when one is not greater than the one before it.
 */
export async function* sorted(batches: Batches): AsyncGenerator<CrlEntries, undefined> {
  let last: CrlEntries | undefined;
  for await (const entries of batches) {
    for (let index = 0; index < entries.count; index++) {
      const [before, at] = index === 0 ? [last, 0] : [entries, index - 1];
      if (before && compareSerials(before, at, entries, index) >= 0) {
        throw new Fault("malformed", `the entry ${Buffer.from(serialOf(entries, index)).toString("hex")} is not behind a smaller one`);
      }
    }
    if (entries.count > 0) last = only(entries, entries.count - 1);
    yield entries;
  }
}

/**
 * Serial numbers that `before` has and `next` has not, both in the order of their serial numbers. Reads both to their ends, with memory for
 * a batch of each.
 */
export async function* missingSerials(before: Batches, next: Batches): AsyncGenerator<Uint8Array, undefined> {
  const batches = concatenated(next);
  const following = async (): Promise<CrlEntries | undefined> => (await batches.next()).value;
  let there = await following();
  let position = 0;
  for await (const entries of before) {
    for (let index = 0; index < entries.count; index++) {
      let order = -1;
      while (there && order < 0) {
        if (position < there.count) {
          order = compareSerials(there, position, entries, index);
          if (order < 0) position += 1;
        } else {
          there = await following();
          position = 0;
        }
      }
      if (order !== 0) yield serialOf(entries, index);
    }
  }
  while (there) there = await following();
}

async function* concatenated(batches: Batches): AsyncGenerator<CrlEntries, undefined> {
  yield* batches;
}

/** The serial number of an entry, in memory of its own. */
function serialOf({ source, serialStarts, serialEnds }: CrlEntries, index: number): Uint8Array {
  return source.slice(serialStarts[index], serialEnds[index]);
}

/** One entry, in memory of its own. */
function only(entries: CrlEntries, index: number): CrlEntries {
  const source = serialOf(entries, index);
  return {
    count: 1,
    source,
    serialStarts: Uint32Array.of(0),
    serialEnds: Uint32Array.of(source.length),
    revokedAt: entries.revokedAt.slice(index, index + 1),
    reasons: entries.reasons.slice(index, index + 1),
  };
}

/** Below, at or above 0 as the one serial number is below, at or above the other. Magnitudes without leading zeros: the shorter is the smaller. */
function compareSerials(left: CrlEntries, leftIndex: number, right: CrlEntries, rightIndex: number): number {
  let leftAt = left.serialStarts[leftIndex] ?? 0;
  let rightAt = right.serialStarts[rightIndex] ?? 0;
  const leftEnd = left.serialEnds[leftIndex] ?? 0;
  const longer = leftEnd - leftAt - ((right.serialEnds[rightIndex] ?? 0) - rightAt);
  if (longer !== 0) return longer;
  for (; leftAt < leftEnd; leftAt++, rightAt++) {
    const difference = (left.source[leftAt] ?? 0) - (right.source[rightAt] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
