import { createHash } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";
import type { PublishedCrl } from "../ca/crl-slot.ts";
import { Fault } from "../fault.ts";
import { readCrl } from "../pki/read-crl.ts";

/** A file with a CRL that is held open: it can be read as it was, whatever takes its place under its name. */
export type CrlFile = {
  readonly octets: number;
  /** Lower-case hex. */
  readonly sha256: string;
  /** The octets from the first on, for each who asks. */
  readonly parts: () => AsyncIterable<Uint8Array>;
  /** What the CRL says of itself; undefined when it is none. */
  readonly fields: () => Promise<Pick<PublishedCrl, "number" | "thisUpdate" | "nextUpdate" | "entries"> | undefined>;
  /** Closes the file once nobody reads it any more. */
  readonly release: () => void;
};

/** Octets that are read at once. */
const partOctets = 64 * 1024;

/** Opens a file, and reads it through once; undefined where there is none. */
export async function openCrlFile(path: string): Promise<CrlFile | undefined> {
  const handle = await open(path, "r").catch(() => undefined);
  if (!handle) return undefined;
  let [readers, released] = [0, false];
  const closeUnread = (): void => {
    if (released && readers === 0) void handle.close();
  };
  const parts = async function* (): AsyncGenerator<Uint8Array, undefined> {
    readers += 1;
    try {
      yield* partsOf(handle);
    } finally {
      readers -= 1;
      closeUnread();
    }
  };
  const sum = createHash("sha256");
  let octets = 0;
  for await (const part of parts()) {
    sum.update(part);
    octets += part.length;
  }
  return {
    octets,
    sha256: sum.digest("hex"),
    parts,
    fields: () => fieldsOf(parts()),
    release: () => {
      released = true;
      closeUnread();
    },
  };
}

async function* partsOf(handle: FileHandle): AsyncGenerator<Uint8Array, undefined> {
  for (let position = 0; ;) {
    const { bytesRead, buffer } = await handle.read(Buffer.alloc(partOctets), 0, partOctets, position);
    if (bytesRead === 0) return;
    position += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}

async function fieldsOf(parts: AsyncIterable<Uint8Array>): Promise<Awaited<ReturnType<CrlFile["fields"]>>> {
  try {
    const found = { number: 0n, thisUpdate: new Date(0), nextUpdate: new Date(0), entries: 0 };
    for await (const piece of readCrl(parts)) {
      if (piece.piece === "head") Object.assign(found, { thisUpdate: piece.thisUpdate, nextUpdate: piece.nextUpdate });
      if (piece.piece === "tail") Object.assign(found, { number: piece.number, entries: piece.entryCount });
    }
    return found;
  } catch (error) {
    if (error instanceof Fault && error.code === "malformed") return undefined;
    throw error;
  }
}
