import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";

/** A program that runs until it is disposed of. */
export type Daemon = AsyncDisposable & {
  readonly processId: number;
  /** Its last words, both streams. */
  log(): string;
  /** Whether it has ended by itself, or could not be started. */
  ended(): boolean;
};

/** Starts `program` in the foreground. Disposal ends it with SIGTERM, and with SIGKILL after 10 s. */
export function startDaemon(program: string, parameters: readonly string[], environment: NodeJS.ProcessEnv = process.env): Daemon {
  const child = spawn(program, parameters, { env: environment, stdio: ["ignore", "pipe", "pipe"] });
  const words: string[] = [];
  const remember = (chunk: Buffer | string): void => void words.splice(0, Math.max(0, words.push(String(chunk)) - 200));
  child.stdout.on("data", remember);
  child.stderr.on("data", remember);
  child.on("error", (error) => remember(error.message));
  const ended = once(child, "close").catch(() => undefined);
  return {
    processId: child.pid ?? 0,
    ended: () => child.pid === undefined || child.exitCode !== null || child.signalCode !== null,
    log: () => words.join("").slice(-4000),
    async [Symbol.asyncDispose]() {
      if (child.pid === undefined) return;
      const late = setTimeout(() => child.kill("SIGKILL"), 10_000);
      child.kill("SIGTERM");
      await ended;
      clearTimeout(late);
    },
  };
}

/**
 * Asks `attempt` again and again until it gives a text that is not empty; what it throws counts as "not yet".
 * @throws Error that names `what` after `limitSeconds`, 30 where absent.
 */
export async function until(what: string, attempt: () => Promise<string>, limitSeconds = 30): Promise<string> {
  let last = "";
  for (const end = performance.now() + limitSeconds * 1000; performance.now() < end; await pause(100)) {
    const found = await attempt().catch((error: unknown) => ((last = String(error)), ""));
    if (found !== "") return found;
  }
  throw new Error(`not within ${limitSeconds} s: ${what}. ${last}`.trim());
}

/**
 * Resolves when somebody listens on `port` of `address`.
 * @throws Error with the last words of `daemon` when that ends before, or after half a minute.
 */
export async function listening(port: number, address: string, daemon: Daemon): Promise<void> {
  const state = (): Promise<string> => (daemon.ended() ? Promise.resolve("ended") : isOpen(port, address));
  const found = await until(`somebody listens on port ${port} of ${address}`, state).catch(String);
  if (found !== "open") throw new Error(`${found}: ${daemon.log()}`);
}

function isOpen(port: number, address: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, address);
    socket.once("connect", () => resolve((socket.destroy(), "open")));
    socket.once("error", () => resolve(""));
  });
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
