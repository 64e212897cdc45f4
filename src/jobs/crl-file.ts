import { createHash } from "node:crypto";
import type { BigIntStats } from "node:fs";
import { type FileHandle, open, stat } from "node:fs/promises";

/** A file with a CRL that is held open: it can be read as it was, whatever takes its place under its name. */
export type CrlFile = {
  readonly octets: number;
  /** Lower-case hex. */
  readonly sha256: string;
  /** The octets from the first on, for each who asks. */
  readonly parts: () => AsyncIterable<Uint8Array>;
  /** As `fileState`, from before it was read. */
  readonly state: string;
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
  const state = stateOf(await handle.stat({ bigint: true }));
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
    state,
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

/** What becomes another when a file is replaced, written to or renamed; undefined where there is none. */
export async function fileState(path: string): Promise<string | undefined> {
  const found = await stat(path, { bigint: true }).catch(() => undefined);
  return found && stateOf(found);
}

// Unlike the time of its content, ctime is nobody's to set.
function stateOf({ ino, size, ctimeNs }: BigIntStats): string {
  return `${ino} ${size} ${ctimeNs}`;
}
