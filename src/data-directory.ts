import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { makeDirectory } from "./durable-file.ts";
import { Fault } from "./fault.ts";
import { isProcessAlive, processIdentity } from "./process-identity.ts";

/**
 * Takes the data directory for this process: makes it (mode 0700) where it is missing, and holds `instance.lock` until disposed. A lock
 * of a process that is gone is taken over.
 * @throws Fault `refusedToStart` when another live process holds it, or the directory cannot be used.
 */
export function takeDataDirectory(dataDir: string): Disposable {
  try {
    makeDirectory(dataDir, 0o700);
  } catch (cause) {
    throw new Fault("refusedToStart", `CHANCERY_DATA_DIR ${dataDir} cannot be made: give a directory that this user may write to`, {
      cause,
    });
  }
  const lock = join(dataDir, "instance.lock");
  const mine = processIdentity(process.pid);
  for (let attempt = 0; attempt < 10; attempt++) {
    if (placed(lock, mine)) return { [Symbol.dispose]: () => release(lock, mine) };
    const holder = read(lock);
    if (holder !== undefined && isProcessAlive(holder)) {
      const pid = holder.split(" ")[0];
      throw new Fault(
        "refusedToStart",
        `CHANCERY_DATA_DIR ${dataDir} is in use by process ${pid}: stop it, or give this instance a data directory of its own`,
      );
    }
    if (holder !== undefined) discard(lock, holder);
  }
  throw new Fault("refusedToStart", `${lock} changes hands too often: another start is under way`);
}

/** Writes the lock whole or not at all: a link fails where the name is taken. */
function placed(lock: string, mine: string): boolean {
  const draft = `${lock}.${process.pid}`;
  writeFileSync(draft, mine);
  try {
    linkSync(draft, lock);
    return true;
  } catch (cause) {
    if (isCode(cause, "EEXIST")) return false;
    throw new Fault("refusedToStart", `${lock} cannot be written`, { cause });
  } finally {
    rmSync(draft, { force: true });
  }
}

/** Moves a dead holder's lock away; what was moved is looked at, so that a fresh lock of somebody faster goes back. */
function discard(lock: string, dead: string): void {
  const moved = `${lock}.dead.${process.pid}`;
  try {
    renameSync(lock, moved);
    if (read(moved) !== dead) linkSync(moved, lock);
  } catch (cause) {
    if (!isCode(cause, "ENOENT") && !isCode(cause, "EEXIST")) throw cause;
  } finally {
    rmSync(moved, { force: true });
  }
}

function release(lock: string, mine: string): void {
  if (read(lock) === mine) rmSync(lock, { force: true });
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return undefined;
  }
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}
