import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { promisify } from "node:util";
import { Fault } from "../fault.ts";

/**
 * Ends a postmaster that outlived the service that started it. While it runs, a new one fails on the lock file, and connections reach the old one.
 * @param cluster its data directory, whose lock the caller holds: whoever runs there belongs to nobody.
 * @throws Fault `refusedToStart` when it does not end.
 */
export async function endOrphan(cluster: string): Promise<void> {
  const pid = await livePostmaster(cluster);
  if (pid === undefined) return;
  for (let waitedMs = 0; waitedMs < patienceMs; waitedMs += stepMs) {
    if (waitedMs === 0) process.kill(pid, "SIGINT");
    await setTimeout(stepMs);
    if (!(await isPostmaster(pid, cluster))) return;
  }
  throw new Fault("refusedToStart", `PostgreSQL, process ${pid}, still uses ${cluster} and does not end on SIGINT`);
}

const patienceMs = 15_000;
const stepMs = 10;

async function livePostmaster(cluster: string): Promise<number | undefined> {
  const lines = await readFile(join(cluster, "postmaster.pid"), "utf8").then(
    (text) => text.split("\n"),
    () => [],
  );
  const pid = Number(lines[0]);
  return Number.isInteger(pid) && pid > 1 && (await isPostmaster(pid, cluster)) ? pid : undefined;
}

/** A process id may have been given to another program since: the command line decides. */
async function isPostmaster(pid: number, cluster: string): Promise<boolean> {
  try {
    const command =
      process.platform === "linux"
        ? (await readFile(`/proc/${pid}/cmdline`, "utf8")).replaceAll("\0", " ")
        : (await promisify(execFile)("/bin/ps", ["-p", String(pid), "-o", "command="])).stdout;
    return command.includes(cluster);
  } catch {
    return false;
  }
}
