import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

/** A running PostgreSQL server, as the lock file of its cluster describes it. */
export type Postmaster = {
  readonly pid: number;
  /** Directory of its Unix socket; undefined while it starts. */
  readonly socket: string | undefined;
};

/**
 * The server that runs over a cluster, if one does.
 * @see PostgreSQL 18, 66.1 Database File Layout: postmaster.pid
 */
export async function livePostmaster(cluster: string): Promise<Postmaster | undefined> {
  const lines = await readFile(join(cluster, "postmaster.pid"), "utf8").then(
    (text) => text.split("\n"),
    () => [],
  );
  const pid = Number(lines[0]);
  if (!Number.isInteger(pid) || pid <= 1 || !(await isPostmaster(pid, cluster))) return undefined;
  return { pid, socket: lines[4] || undefined };
}

/** Whether this process serves the cluster. A process id may have been given to another program since: the command line decides. */
export async function isPostmaster(pid: number, cluster: string): Promise<boolean> {
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
