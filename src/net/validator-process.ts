import type { ChildProcess } from "node:child_process";
import { realpath } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { forkChild } from "../child-process.ts";

/**
 * Starts the validator with a clean environment. It may read the code and nothing else of the disk, and start no process; its memory is
 * bounded. It dies with us as `forkChild` says.
 */
export async function forkValidator(): Promise<ChildProcess> {
  const code = ["src", "node_modules", "package.json"].map((name) => fileURLToPath(new URL(`../../${name}`, import.meta.url)));
  // What is asked for is the real path, where node_modules is a link.
  const readable = new Set([...code, ...(await Promise.all(code.map((path) => realpath(path))))]);
  return await forkChild(new URL("validator.ts", import.meta.url), {
    flags: ["--max-old-space-size=256", "--permission", ...[...readable].map((path) => `--allow-fs-read=${path}`)],
    // No proxy, no CA bundle, no options of Node: only what finds setpriv and the system's resolver.
    environment: Object.fromEntries(
      ["PATH", "LANG"].flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]])),
    ),
  });
}
