import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { fileURLToPath } from "node:url";
import type { Ran } from "./shell.ts";

/** The command line's entry, as `npx chancery` runs it. */
export const entry = fileURLToPath(new URL("../../src/main.ts", import.meta.url));

/** Flags that the start script gives to Node. */
const nodeFlags = ["--disallow-code-generation-from-strings", "--disable-proto=throw"];

/** Where a process runs, with `env` and PATH as its whole environment. */
export type Place = { readonly cwd: string; readonly env: Readonly<Record<string, string>> };

/** Runs the command line as a process of its own to its end. */
export async function chanceryProcess(args: readonly string[], place: Place): Promise<Ran> {
  const { ended } = startChancery(args, place);
  return ended;
}

/** A process of the command line under way. */
export type Started = { readonly child: ChildProcess; readonly stdout: () => string; readonly ended: Promise<Ran> };

/** Starts the command line as a process of its own. */
export function startChancery(args: readonly string[], { cwd, env }: Place): Started {
  const child = spawn(process.execPath, [...nodeFlags, entry, ...args], {
    cwd,
    env: { PATH: process.env["PATH"], HOME: cwd, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const written = { stdout: "", stderr: "" };
  child.stdout.setEncoding("utf8").on("data", (text: string) => (written.stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (written.stderr += text));
  const ended = once(child, "close").then(([code]): Ran => ({ exitCode: typeof code === "number" ? code : -1, ...written }));
  return { child, stdout: () => written.stdout, ended };
}

/** Resolves when the process has written `text` to stdout; rejects with what it wrote when it ends before. */
export async function untilWritten({ child, stdout, ended }: Started, text: string): Promise<void> {
  const found = new Promise<void>((resolve) => {
    const look = () => {
      if (stdout().includes(text)) resolve();
    };
    child.stdout?.on("data", look);
    look();
  });
  await Promise.race([
    found,
    ended.then((ran) => {
      throw new Error(`ended before it wrote ${JSON.stringify(text)}: ${JSON.stringify(ran)}`);
    }),
  ]);
}

/** Ports of 127.0.0.1 that were free a moment ago, all different. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, "127.0.0.1"));
  await Promise.all(servers.map((server) => once(server, "listening")));
  const ports = servers.map((server) => {
    const address = server.address();
    return address !== null && typeof address === "object" ? address.port : 0;
  });
  await Promise.all(servers.map((server) => once(server.close(), "close")));
  return ports;
}
