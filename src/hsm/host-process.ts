import { fork, execFile } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

/** What a child that loads a PKCS#11 module is given: nothing of our own environment but what the loader and the module need. */
export type ModuleEnvironment = {
  /** Path of SoftHSM's configuration file. Other modules are configured by their own files. */
  readonly softHsmConf?: string;
  readonly threads?: number;
};

/**
 * Starts `file` of this folder as a child with its own flags and a clean environment. On Linux the kernel kills it when we die
 * (`setpriv --pdeathsig`), which also ends one whose main thread hangs in the module.
 */
export async function forkModuleProcess(
  file: "host.ts" | "token-host.ts",
  { softHsmConf, threads }: ModuleEnvironment,
): Promise<ChildProcess> {
  const flags = ["--disallow-code-generation-from-strings", "--disable-proto=throw"];
  const kept = ["PATH", "HOME", "LANG", "LD_LIBRARY_PATH"].flatMap((name) =>
    process.env[name] === undefined ? [] : [[name, process.env[name]]],
  );
  const bound = await boundToParent();
  return fork(fileURLToPath(new URL(file, import.meta.url)), [], {
    ...(bound ? { execPath: "setpriv", execArgv: ["--pdeathsig", "KILL", process.execPath, ...flags] } : { execArgv: flags }),
    env: {
      ...Object.fromEntries(kept),
      ...(softHsmConf === undefined ? {} : { SOFTHSM2_CONF: softHsmConf }),
      ...(threads === undefined ? {} : { UV_THREADPOOL_SIZE: String(threads) }),
    },
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
