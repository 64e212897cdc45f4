import { readFileSync } from "node:fs";

/** A process as `PID START`: numbers are used again, so the start time goes with the number where /proc tells it. */
export function processIdentity(pid: number): string {
  const stat = statOf(pid);
  // The name of the command, in parentheses, may hold anything; field 22 of the line is the start time.
  const started = stat?.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "";
  return `${pid} ${started}`;
}

/** Whether the process of an identity runs, and not another one that has its number now. */
export function isProcessAlive(identity: string): boolean {
  const pid = Number(identity.split(" ")[0]);
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
  } catch (cause) {
    const alive = cause instanceof Error && "code" in cause && cause.code === "EPERM";
    if (!alive) return false;
  }
  return processIdentity(pid) === identity;
}

function statOf(pid: number): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch {
    return undefined;
  }
}
