import { spawn } from "node:child_process";
import { once } from "node:events";
import { execute } from "../execute.ts";

/** Namespaces of its own for network, mounts and processes: real ports 53, 80 and 443 that nobody else has, and nothing outlives the first process. */
const unshare = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];

/** Why no stage can be set up here, or undefined where it can. */
export async function namespaceMissing(): Promise<string | undefined> {
  const ended = await execute("unshare", [...unshare, "ip", "link", "set", "lo", "up"]).catch((error: unknown) => String(error));
  if (typeof ended !== "string" && ended.status === 0) return undefined;
  const words = typeof ended === "string" ? ended : ended.stderr.trim();
  return `ACME clients need network, mount and process namespaces (root with util-linux and iproute2): ${words}`;
}

/**
 * Runs the script in the file `script` under this Node inside the namespaces, loopback up; its output goes where ours goes.
 * After `limitSeconds` it is killed, and with it whatever it started.
 * @returns its exit status, null when it was killed.
 */
export async function runInNamespace(script: string, parameters: readonly string[], limitSeconds: number): Promise<number | null> {
  const first = ["sh", "-c", 'ip link set lo up && exec "$@"', "sh", process.execPath, script, ...parameters];
  const child = spawn("unshare", [...unshare, ...first], { stdio: ["ignore", "inherit", "inherit"] });
  const late = setTimeout(() => child.kill("SIGKILL"), limitSeconds * 1000);
  const withUs = (): void => void child.kill("SIGKILL");
  process.once("exit", withUs);
  try {
    const [status] = (await once(child, "exit")) as [number | null]; // the first argument of "exit" is the status
    return status;
  } finally {
    clearTimeout(late);
    process.off("exit", withUs);
  }
}
