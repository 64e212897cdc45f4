import { randomBytes } from "node:crypto";
import { closeSync, fsyncSync, mkdirSync, openSync, statSync } from "node:fs";
import { link, open, readdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { Fault } from "./fault.ts";
import { isProcessAlive, processIdentity } from "./process-identity.ts";

/** What to write, in parts where it is not to be in memory as a whole. `mode` holds from the first octet on. */
export type FileContent = { readonly content: string | Uint8Array | AsyncIterable<Uint8Array>; readonly mode: number };

/**
 * Puts a file in place of what stands at `path`: readers, and a start after a crash at any moment, see the old one or the whole new one.
 * Durable on return; makes the directory.
 */
export async function replaceFile(path: string, file: FileContent): Promise<void> {
  await withTemporary(path, file, (temporary) => rename(temporary, path));
}

/**
 * Writes a file where none may stand: it appears whole or not at all, and of two writers one succeeds. Durable on return; makes the directory.
 * @throws Fault `refusedToStart` with `remedy` when something stands at `path`.
 */
export async function createFile(path: string, file: FileContent, remedy: string): Promise<void> {
  try {
    await withTemporary(path, file, (temporary) => link(temporary, path));
  } catch (cause) {
    if (isCode(cause, "EEXIST")) {
      throw new Fault("refusedToStart", `${path} is there already and is not overwritten: ${remedy}`, { cause });
    }
    throw cause;
  }
}

/**
 * Makes a directory and those above it, each durable on return; one that is there stays as it is. `mode` is that of every directory made.
 * Node's own `recursive` is not used: under /proc, where mkdir says ENOENT whatever stands above, it asks again for ever.
 * @throws the system's error when it cannot be made, EEXIST when a file stands there.
 */
export function makeDirectory(path: string, mode = 0o777): void {
  try {
    mkdirSync(path, mode);
  } catch (cause) {
    if (isDirectory(path)) return;
    if (!isCode(cause, "ENOENT") || isDirectory(dirname(path))) throw cause;
    makeDirectory(dirname(path), mode);
    return makeDirectory(path, mode);
  }
  const parent = openSync(dirname(path), "r");
  try {
    fsyncSync(parent);
  } finally {
    closeSync(parent);
  }
}

async function withTemporary(path: string, { content, mode }: FileContent, place: (temporary: string) => Promise<void>): Promise<void> {
  makeDirectory(dirname(path));
  await removeLeftovers(path);
  const temporary = join(
    dirname(path),
    `${prefixOf(path)}${processIdentity(process.pid).replace(" ", "-")}.${randomBytes(6).toString("hex")}`,
  );
  try {
    await write(temporary, content, mode);
    await place(temporary);
  } finally {
    await rm(temporary, { force: true });
  }
  // Last, so that the name and the temporary's end are durable with it.
  await syncDirectory(dirname(path));
}

/** Drafts of this file whose writer was killed; that of a writer at work is its own. */
async function removeLeftovers(path: string): Promise<void> {
  const prefix = prefixOf(path);
  for (const name of await readdir(dirname(path))) {
    if (!name.startsWith(prefix)) continue;
    const writer = /^(\d+)-(\d*)\.[0-9a-f]{12}$/.exec(name.slice(prefix.length));
    if (writer && !isProcessAlive(`${writer[1]} ${writer[2]}`)) await rm(join(dirname(path), name), { force: true });
  }
}

function prefixOf(path: string): string {
  return `.${basename(path)}.`;
}

/** The content is durable before it gets the name that it is known by. */
async function write(path: string, content: FileContent["content"], mode: number): Promise<void> {
  await using file = await open(path, "wx", mode);
  await file.writeFile(content);
  await file.sync();
}

/** A name in a directory is durable once the directory is. */
async function syncDirectory(path: string): Promise<void> {
  await using directory = await open(path, "r");
  await directory.sync();
}

function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}
