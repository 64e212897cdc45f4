import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { recordInstallation } from "../../scripts/stamp.mjs";

const repository = join(import.meta.dirname, "../..");

/** A checkout of its own with our scripts and, in place of the service, a few lines that tell what they were given. */
export type Checkout = Disposable & { readonly root: string; write(path: string, content: string, mode?: number): string };

/**
 * Makes a checkout in a temporary directory.
 * @param installed whether its node_modules passes for complete (it holds the Node that runs the tests, and nothing else)
 */
export function makeCheckout({ installed }: { installed: boolean }): Checkout {
  const root = mkdtempSync(join(tmpdir(), "chancery-checkout-"));
  const write = (path: string, content: string, mode = 0o644): string => {
    const file = join(root, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, content);
    chmodSync(file, mode);
    return file;
  };
  for (const path of ["scripts", "package.json", "package-lock.json", ".npmrc"])
    cpSync(join(repository, path), join(root, path), { recursive: true });
  write("src/main.ts", standIn);
  if (installed) {
    mkdirSync(join(root, "node_modules/node/bin"), { recursive: true });
    symlinkSync(process.execPath, join(root, "node_modules/node/bin/node"));
    recordInstallation(root);
  }
  return { root, write, [Symbol.dispose]: () => rmSync(root, { recursive: true, force: true }) };
}

/**
 * `serve` stays until it is asked to stop, and DRAIN milliseconds longer; asked again a second after, it ends at once. Any
 * other command tells what it got, and exits with the number in CODE.
 */
const standIn = `
const { argv, execArgv, pid, ppid, env } = process;
process.exitCode = Number(env.CODE ?? 0);
if (argv[2] === "serve") {
  const work = setInterval(() => {}, 60_000);
  let asked;
  for (const signal of ["SIGTERM", "SIGINT"]) process.on(signal, () => {
    asked ??= performance.now();
    if (performance.now() - asked > 1_000) process.exit(70);
    setTimeout(() => { clearInterval(work); process.stdout.write("drained\\n"); }, Number(env.DRAIN ?? 0));
  });
}
process.stdout.write(JSON.stringify({ args: argv.slice(2), execArgv, pid, ppid, cwd: process.cwd(), env }) + "\\n");
`;

/** What the stand-in tells of itself. */
export type Seen = {
  readonly args: readonly string[];
  readonly execArgv: readonly string[];
  readonly pid: number;
  readonly ppid: number;
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
};

/** How a process ended, and what it wrote. */
export type Ended = {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
};

/** Environment of the tests without what npm and our own scripts put there. */
export function plainEnvironment(more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(npm_|INIT_CWD$|CHANCERY_|UV_THREADPOOL_SIZE$|VITEST|NODE_OPTIONS$)/.test(name),
  );
  return { ...Object.fromEntries(kept), ...more };
}

/** Starts a command in a process group of its own, as a terminal does; `ended` gives how it ended, `written` what it wrote so far. */
export function start(command: string, args: readonly string[], options: { cwd: string; env: NodeJS.ProcessEnv }) {
  const child = spawn(command, args, { ...options, stdio: ["ignore", "pipe", "pipe"], detached: true });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const ended: Promise<Ended> = once(child, "close").then(() => ({ code: child.exitCode, signal: child.signalCode, stdout, stderr }));
  return { child, ended, written: () => ({ stdout, stderr }) };
}

/** Runs one of our scripts under the Node of the tests, to its end. */
export function runScript(
  checkout: Checkout,
  script: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  cwd = checkout.root,
): Promise<Ended> {
  return start(process.execPath, [join(checkout.root, "scripts", script), ...args], { cwd, env }).ended;
}

/** True while a process lives; one that has ended and is not yet reaped does not. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return process.platform !== "linux" || !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}
