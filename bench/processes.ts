import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

/** Hundredths of a second, as /proc counts on Linux (USER_HZ). */
const ticksPerSecond = 100;

type ProcessStatus = { readonly id: number; readonly parent: number; readonly ticks: number };

/**
 * Seconds of CPU, user and system, that `roots` and everything below them have used so far.
 * Processes that ended between two readings are missing from the second: the windows measured here start none.
 */
export async function cpuSeconds(roots: readonly number[]): Promise<number> {
  const all = await statuses();
  const counted = new Set(roots);
  // A child may stand before its parent in the list: repeat until nothing is added.
  for (let size = 0; size !== counted.size;) {
    size = counted.size;
    for (const { id, parent } of all) if (counted.has(parent)) counted.add(id);
  }
  return all.filter(({ id }) => counted.has(id)).reduce((sum, { ticks }) => sum + ticks, 0) / ticksPerSecond;
}

/** The process that a `postmaster.pid` below `directory` names, if there is one: the parent of every PostgreSQL process of that cluster. */
export async function postmaster(directory: string): Promise<number | undefined> {
  const files = await readdir(directory, { recursive: true }).catch(() => []);
  const found = files.find((file) => file.endsWith("postmaster.pid"));
  return found === undefined ? undefined : Number.parseInt(await readFile(join(directory, found), "utf8"), 10);
}

async function statuses(): Promise<ProcessStatus[]> {
  const ids = (await readdir("/proc")).filter((entry) => /^\d+$/.test(entry));
  const read = await Promise.all(ids.map((id) => readFile(`/proc/${id}/stat`, "utf8").catch(() => undefined)));
  return read.flatMap((text) => {
    if (text === undefined) return [];
    // The second field is the command in brackets and may itself hold spaces and brackets (proc(5)).
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    const [parent, user, system] = [fields[1], fields[11], fields[12]].map(Number);
    return [{ id: Number.parseInt(text, 10), parent: parent ?? 0, ticks: (user ?? 0) + (system ?? 0) }];
  });
}
