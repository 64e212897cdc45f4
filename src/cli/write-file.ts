import { randomUUID } from "node:crypto";
import { link, mkdir, open, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { Fault } from "../fault.ts";

/** What to write. `mode` holds from the first octet on. */
export type FileContent = { readonly content: string | Uint8Array; readonly mode: number };

/** Puts a file in place of what stands at `path`: readers see the old one or the whole new one. Durable on return; makes the directory. */
export async function replaceFile(path: string, file: FileContent): Promise<void> {
  await withTemporary(path, file, (temporary) => rename(temporary, path));
}

/**
 * Writes a file where none may stand: it appears whole, and of two writers one succeeds. Durable on return; makes the directory.
 * @throws Fault `refusedToStart` with `remedy` when something stands at `path`.
 */
export async function createFile(path: string, file: FileContent, remedy: string): Promise<void> {
  try {
    await withTemporary(path, file, (temporary) => link(temporary, path));
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && cause.code === "EEXIST") {
      throw new Fault("refusedToStart", `${path} is there already and is not overwritten: ${remedy}`, { cause });
    }
    throw cause;
  }
}

async function withTemporary(path: string, { content, mode }: FileContent, place: (temporary: string) => Promise<void>): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const temporary = join(dirname(path), `.${basename(path)}.${randomUUID()}`);
  try {
    await write(temporary, content, mode);
    await place(temporary);
    await syncDirectory(dirname(path));
  } finally {
    await rm(temporary, { force: true });
  }
}

async function write(path: string, content: string | Uint8Array, mode: number): Promise<void> {
  await using file = await open(path, "wx", mode);
  await file.writeFile(content);
  await file.sync();
}

/** A name in a directory is durable once the directory is. */
async function syncDirectory(path: string): Promise<void> {
  await using directory = await open(path, "r");
  await directory.sync();
}
