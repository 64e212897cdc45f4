import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "../../src/cli/program.ts";
import type { Shell } from "../../src/cli/shell.ts";

/** What a command wrote, and its exit code. */
export type Ran = { readonly exitCode: number; readonly stdout: string; readonly stderr: string };

/** Where and when a command runs: `env` is its whole environment, and it is noon of 2026-11-01 unless `now` says otherwise. */
export type Surroundings = { readonly cwd: string; readonly env?: Shell["env"]; readonly now?: () => Date };

/** Runs a command in this process. */
export async function chancery(args: readonly string[], { cwd, env = {}, now = noon }: Surroundings): Promise<Ran> {
  const stdout: Uint8Array[] = [];
  let stderr = "";
  const exitCode = await run(args, {
    env,
    cwd,
    checkout: cwd,
    now,
    out: (text) => stdout.push(Buffer.from(text)),
    error: (text) => (stderr += text),
    trials: untried,
  });
  return { exitCode, stdout: Buffer.concat(stdout).toString("latin1"), stderr };
}

const noon = () => new Date("2026-11-01T12:00:00Z");

/** A directory of the test's own, gone when it is disposed. */
export async function temporaryDirectory(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), "chancery-cli-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** Token and database are tried by `doctor` alone, which is run as a process of its own. */
const never = () => Promise.reject(new Error("nothing is tried here"));
export const untried: Shell["trials"] = { tokens: never, login: never, database: never, adminToken: never };
