import { mkdir, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";

/**
 * Gives SoftHSM a place of its own below `dataDir`: a folder for its tokens, readable by nobody else, and a configuration that names it.
 * @returns path of the configuration, for SOFTHSM2_CONF of the processes that load the module.
 */
export async function softHsmConf(dataDir: string): Promise<string> {
  const tokens = resolve(dataDir, "tokens");
  const path = join(resolve(dataDir), "softhsm2.conf");
  await mkdir(tokens, { recursive: true, mode: 0o700 });
  await writeFile(path, `directories.tokendir = ${tokens}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n`, {
    mode: 0o600,
  });
  return path;
}
