import { setTimeout } from "node:timers/promises";
import { Fault } from "../fault.ts";
import { isPostmaster, livePostmaster } from "./embedded-postmaster.ts";

/**
 * Ends a postmaster that outlived the service that started it. While it runs, a new one fails on the lock file, and connections reach the old one.
 * @param cluster its data directory, whose lock the caller holds: whoever runs there belongs to nobody.
 * @throws Fault `refusedToStart` when it does not end.
 */
export async function endOrphan(cluster: string): Promise<void> {
  const pid = (await livePostmaster(cluster))?.pid;
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
