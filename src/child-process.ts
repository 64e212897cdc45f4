import { type ChildProcess, execFile, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

/** How a child of this service is started. */
export type ChildOptions = {
  /** Node's flags, beside those that every process of the service has. */
  readonly flags?: readonly string[];
  /** Its whole environment: PATH must be there for setpriv to be found. */
  readonly environment: Readonly<Record<string, string | undefined>>;
};

/**
 * Starts the file at `entry` with an environment of its own and a channel to us. On Linux the kernel kills it when we die
 * (`setpriv --pdeathsig`), which also ends one whose main thread hangs.
 */
export async function forkChild(entry: URL, { flags: more = [], environment }: ChildOptions): Promise<ChildProcess> {
  const flags = ["--disallow-code-generation-from-strings", "--disable-proto=throw", ...more];
  const bound = await boundToParent();
  return fork(fileURLToPath(entry), [], {
    ...(bound ? { execPath: "setpriv", execArgv: ["--pdeathsig", "KILL", process.execPath, ...flags] } : { execArgv: flags }),
    env: environment,
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
