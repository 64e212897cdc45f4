import { resolve } from "node:path";
import { InvalidArgumentError } from "commander";
import type { Config } from "../config.ts";
import { Fault } from "../fault.ts";
import { dataDirectory } from "./service.ts";
import type { Shell } from "./shell.ts";

/**
 * The options of the commands that run or look after a service: from the environment, and from `configFile` where it is given.
 * @throws InvalidArgumentError that names each wrong, unknown or missing option.
 */
export async function readConfig(shell: Shell, configFile: string | undefined): Promise<Config> {
  const { loadConfig } = await import("../config.ts");
  // Without a file, the data directory is that of the checkout from wherever in it the command was called.
  const env = configFile === undefined ? { ...shell.env, CHANCERY_DATA_DIR: dataDirectory(shell) } : shell.env;
  try {
    return loadConfig({ env, directory: shell.cwd, ...(configFile !== undefined && { configFile: resolve(shell.cwd, configFile) }) });
  } catch (error) {
    if (error instanceof Fault) throw new InvalidArgumentError(error.detail);
    throw error;
  }
}
