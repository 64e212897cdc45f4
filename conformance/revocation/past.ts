import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { environment, findBinaries, parentDeathPrefix } from "../../src/database/embedded-binaries.ts";
import { startEmbedded } from "../../src/database/embedded.ts";
import { outputOf } from "../execute.ts";
import { startService, type Service } from "../service.ts";

/** Environment under which a program sees an earlier time: `-2h`. */
type ShiftedClock = Readonly<Record<string, string>>;

/**
 * Runs `act` with a service whose clock, and whose database's clock, stand two hours back; the database lies below `databaseDirectory`, and
 * everything is there for the next start. What was issued then for an hour has expired by now.
 */
export async function twoHoursAgo<Result>(
  settings: Readonly<Record<string, string>>,
  databaseDirectory: string,
  act: (service: Service) => Promise<Result>,
): Promise<Result> {
  // The first start makes the cluster and the database in it.
  const fresh = await startEmbedded(databaseDirectory);
  await fresh[Symbol.asyncDispose]();
  const clock = await shiftedClock();
  await using _ = await startShifted(join(databaseDirectory, "postgres"), clock);
  await using past = await startService({ ...settings, DATABASE_URL: fresh.url, ...clock });
  return await act(past);
}

async function shiftedClock(): Promise<ShiftedClock> {
  const [library] = (await outputOf("dpkg", ["-L", "libfaketime"])).split("\n").filter((file) => file.endsWith("/libfaketime.so.1"));
  if (library === undefined) throw new Error("the package libfaketime has no libfaketime.so.1");
  return { LD_PRELOAD: library, FAKETIME: "-2h", FAKETIME_DONT_FAKE_MONOTONIC: "1" };
}

/** PostgreSQL over an existing cluster under a shifted clock, reached as `startEmbedded` says. */
async function startShifted(base: string, clock: ShiftedClock): Promise<AsyncDisposable> {
  const { prefix, postgres } = await findBinaries();
  const cluster = join(base, "data");
  const shifted = Object.entries(clock).map(([name, value]) => `${name}=${value}`);
  const places = ["-c", "listen_addresses=", "-c", `unix_socket_directories=${join(base, "socket")}`];
  const [program = "", ...parameters] = [...(await parentDeathPrefix()), ...prefix, "env", ...shifted, postgres, "-D", cluster, ...places];
  const child = spawn(program, parameters, { env: environment, stdio: "ignore" });
  const ended = once(child, "exit");
  // The last line of this file says how far the start has come.
  const isReady = async (): Promise<boolean> => /\nready\s*$/.test(await readFile(join(cluster, "postmaster.pid"), "utf8").catch(() => ""));
  for (let attempt = 0; !(await isReady()); attempt++) {
    if (child.exitCode !== null || attempt === 600) throw new Error(`PostgreSQL does not start over ${cluster} two hours ago`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return {
    async [Symbol.asyncDispose]() {
      child.kill("SIGINT");
      await ended;
    },
  };
}
