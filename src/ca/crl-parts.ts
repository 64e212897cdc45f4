import { produced } from "../database/produced.ts";
import type { Ca } from "./ca.ts";
import { type PartRange, readCrlParts, streamCrlParts } from "./crl-part-store.ts";

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

/** How long many of them may take to be read. */
const readingMs = 60_000;
