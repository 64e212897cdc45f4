import { createHash } from "node:crypto";
import type { Random } from "../../src/ports/random.ts";

/** The same bytes for the same seed: SHA-256 of seed and counter, block after block. */
export function seeded(seed: number): Random {
  let counter = 0;
  let rest = Buffer.alloc(0);
  return {
    bytes(length) {
      while (rest.length < length) {
        rest = Buffer.concat([rest, createHash("sha256").update(`${seed}:${counter}`).digest()]);
        counter += 1;
      }
      const bytes = new Uint8Array(rest.subarray(0, length));
      rest = rest.subarray(length);
      return bytes;
    },
  };
}
