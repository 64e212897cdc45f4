import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

/** Hundredths of a second, as /proc counts on Linux (USER_HZ). */
const ticksPerSecond = 100;

/** What a process does, by its command line; the first that fits. */
const commands = {
  PostgreSQL: /postgres/,
  "HSM host": /\/hsm\/(token-)?host\.ts/,
  validator: /\/net\/validator\.ts/,
  service: /^/,
} as const;

export type ProcessPart = keyof typeof commands;

/** Every part that a process can be. */
export const parts = Object.keys(commands) as readonly ProcessPart[]; // they are the keys of that object

/** Seconds of CPU, user and system. */
export type CpuSeconds = Readonly<Partial<Record<ProcessPart, number>>>;

type ProcessStatus = { readonly id: number; readonly parent: number; readonly ticks: number };

/**
 * Seconds of CPU that `roots` and everything below them have used so far, by what they do.
 * Processes that ended between two readings are missing from the second: the windows measured here start none.
 */
export async function cpuSeconds(roots: readonly number[]): Promise<CpuSeconds> {
  const all = await statuses();
  const counted = new Set(roots);
  // A child may stand before its parent in the list: repeat until nothing is added.
  for (let size = 0; size !== counted.size;) {
    size = counted.size;
    for (const { id, parent } of all) if (counted.has(parent)) counted.add(id);
  }
  const seconds = new Map<ProcessPart, number>();
  for (const { id, ticks } of all.filter((one) => counted.has(one.id))) {
    const part = await partOf(id);
    seconds.set(part, (seconds.get(part) ?? 0) + ticks / ticksPerSecond);
  }
  return Object.fromEntries(seconds);
}

async function partOf(id: number): Promise<ProcessPart> {
  const command = await readFile(`/proc/${id}/cmdline`, "utf8").catch(() => "");
  return parts.find((part) => commands[part].test(command)) ?? "service";
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
