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

/**
 * The options of a command that touches the database alone: an option that only `serve` needs may be missing. Where no database is named and nobody
 * said for which environment, they are those of an evaluation, as `npm start` runs it.
 * @throws InvalidArgumentError as `readConfig`, and where production has no DATABASE_URL.
 */
export async function readDatabaseConfig(shell: Shell, configFile: string | undefined): Promise<Config> {
  const complete = await readConfig(shell, configFile).catch((error: unknown) => {
    if (error instanceof InvalidArgumentError) return undefined;
    throw error;
  });
  if (complete) return complete;
  const lenient = await readConfig({ ...shell, env: { ...shell.env, CHANCERY_ENV: "evaluation" } }, configFile);
  // A database that was named is reached as production reaches it: nobody goes without TLS unawares.
  if (lenient.databaseUrl !== undefined) return { ...lenient, env: "production" };
  return shell.env["CHANCERY_ENV"] ? readConfig(shell, configFile) : lenient;
}
