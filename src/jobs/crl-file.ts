import { createHash } from "node:crypto";
import { type BigIntStats, constants } from "node:fs";
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

/**
 * Opens a file, and reads it through once; undefined where there is none, or something else than a file.
 * @throws the system's error when it is there and cannot be read: what it holds is not known.
 */
export async function openCrlFile(path: string): Promise<CrlFile | undefined> {
  // Who opens a named pipe without O_NONBLOCK waits for somebody who writes to it.
  const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch(noneThere);
  if (!handle) return undefined;
  try {
    const found = await handle.stat({ bigint: true });
    if (found.isFile()) return await readThrough(handle, stateOf(found));
  } catch (cause) {
    await handle.close();
    throw cause;
  }
  await handle.close();
  return undefined;
}

function noneThere(error: unknown): undefined {
  if (error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENOTDIR")) return undefined;
  throw error;
}

async function readThrough(handle: FileHandle, state: string): Promise<CrlFile> {
  const sum = createHash("sha256");
  let octets = 0;
  for await (const part of partsOf(handle)) {
    sum.update(part);
    octets += part.length;
  }
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
