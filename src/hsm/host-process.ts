import type { ChildProcess } from "node:child_process";
import { forkChild } from "../child-process.ts";

/** What a child that loads a PKCS#11 module is given: nothing of our own environment but what the loader and the module need. */
export type ModuleEnvironment = {
  /** Path of SoftHSM's configuration file. Other modules are configured by their own files. */
  readonly softHsmConf?: string;
  readonly threads?: number;
};

/** Starts `file` of this folder as a child with a clean environment. It dies with us as `forkChild` says. */
export async function forkModuleProcess(
  file: "host.ts" | "token-host.ts",
  { softHsmConf, threads }: ModuleEnvironment,
): Promise<ChildProcess> {
  const kept = ["PATH", "HOME", "LANG", "LD_LIBRARY_PATH"].flatMap((name) =>
    process.env[name] === undefined ? [] : [[name, process.env[name]]],
  );
  return await forkChild(new URL(file, import.meta.url), {
    environment: {
      ...Object.fromEntries(kept),
      ...(softHsmConf === undefined ? {} : { SOFTHSM2_CONF: softHsmConf }),
      ...(threads === undefined ? {} : { UV_THREADPOOL_SIZE: String(threads) }),
    },
  });
}
