import { execFile, fork } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { realpath } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

/**
 * Starts the validator with a clean environment. It may read the code and nothing else of the disk, and start no process; its memory is
 * bounded. On Linux the kernel kills it when we die (`setpriv --pdeathsig`).
 */
export async function forkValidator(): Promise<ChildProcess> {
  const code = ["src", "node_modules", "package.json"].map((name) => fileURLToPath(new URL(`../../${name}`, import.meta.url)));
  // What is asked for is the real path, where node_modules is a link.
  const readable = new Set([...code, ...(await Promise.all(code.map((path) => realpath(path))))]);
  const flags = [
    "--disallow-code-generation-from-strings",
    "--disable-proto=throw",
    "--max-old-space-size=256",
    "--permission",
    ...[...readable].map((path) => `--allow-fs-read=${path}`),
  ];
  const bound = await boundToParent();
  return fork(fileURLToPath(new URL("validator.ts", import.meta.url)), [], {
    ...(bound ? { execPath: "setpriv", execArgv: ["--pdeathsig", "KILL", process.execPath, ...flags] } : { execArgv: flags }),
    // No proxy, no CA bundle, no options of Node: only what finds setpriv and the system's resolver.
    env: Object.fromEntries(["PATH", "LANG"].flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]]))),
    serialization: "advanced",
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
}

/** Whether this system's setpriv can bind a child's life to ours: only util-linux's does, and only Linux has it. */
async function boundToParent(): Promise<boolean> {
  if (process.platform !== "linux") return false;
  try {
    await promisify(execFile)("setpriv", ["--pdeathsig", "KILL", "true"]);
    return true;
  } catch {
    return false;
  }
}
