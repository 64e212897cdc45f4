import type { CrlEntries } from "../pki/crl-entry.ts";

type Batches = AsyncIterable<CrlEntries> | Iterable<CrlEntries>;

/** What one list has and the next has not, while the next is made. */
export type SerialComparison = AsyncDisposable & {
  /** Serial numbers that are missing before the last of these entries, which follow those of the call before. */
  push(next: CrlEntries): AsyncGenerator<Uint8Array>;
  /** Those that are missing behind the last entry. */
  end(): AsyncGenerator<Uint8Array>;
};

/** Compares the entries of `before` with those that are pushed, both in the order of their serial numbers, with memory for a batch of each. */
export function compareSerials(before: Batches): SerialComparison {
  const batches = concatenated(before);
  let entries: CrlEntries | undefined;
  let position = 0;
  /** The entry of `before` at `position`; undefined behind its end. */
  const there = async (): Promise<CrlEntries | undefined> => {
    while (!entries || position === entries.count) {
      const { value } = await batches.next();
      if (!value) return undefined;
      [entries, position] = [value, 0];
    }
    return entries;
  };
  return {
    async *push(next) {
      for (let index = 0; index < next.count;) {
        // Waiting for what is there would cost more than all the rest of a million entries.
        const one = entries && position < entries.count ? entries : await there();
        if (!one) return;
        const order = orderOf(one, position, next, index);
        if (order < 0) yield serialOf(one, position);
        if (order <= 0) position += 1;
        if (order >= 0) index += 1;
      }
    },
    async *end() {
      for (let one = await there(); one; one = await there()) {
        yield serialOf(one, position);
        position += 1;
      }
    },
    async [Symbol.asyncDispose]() {
      await batches.return(undefined);
    },
  };
}

async function* concatenated(batches: Batches): AsyncGenerator<CrlEntries, undefined> {
  yield* batches;
}

/** The serial number of an entry, in memory of its own. */
function serialOf({ source, serialStarts, serialEnds }: CrlEntries, index: number): Uint8Array {
  return source.slice(serialStarts[index], serialEnds[index]);
}

/** Below, at or above 0 as the one serial number is below, at or above the other. Magnitudes without leading zeros: the shorter is the smaller. */
function orderOf(left: CrlEntries, leftIndex: number, right: CrlEntries, rightIndex: number): number {
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
