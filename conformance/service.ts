import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { existsSync } from "node:fs";
import { request } from "node:https";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { serve } from "../scripts/modes.mjs";
import { execute, type Ended } from "./execute.ts";

/** A running service with a data directory of its own. */
export type Service = AsyncDisposable & {
  readonly processId: number;
  readonly dataDirectory: string;
  /** Prefix of REST, e.g. `https://localhost:31234`. */
  readonly baseUrl: string;
  /** Where the status listener is reached; not the URL that stands in certificates. */
  readonly statusUrl: string;
  /** Port of the TLS listener. */
  readonly port: number;
  readonly opsUrl: string;
  readonly rootFile: string;
  readonly tokenFile: string;
  readonly environment: NodeJS.ProcessEnv;
  /** The last of what it wrote, its log included. */
  log(): string;
};

/** An answer of the REST interface. */
export type Answer = { readonly status: number; readonly headers: Readonly<Record<string, unknown>>; readonly body: string };

/** The checkout that is under test. */
export const checkout = fileURLToPath(new URL("..", import.meta.url));

/** The host part of the URLs in certificates: a name that linters take for a real one. */
export const statusUrlInCertificates = "http://pki.example.org";

/**
 * Starts the service as `npm start` does, on free ports, and resolves when it can issue.
 * `prepare` may put files into its data directory before. A data directory that `settings` name is kept for the next start.
 * Disposal ends it with SIGTERM (SIGKILL after 20 s) and removes its data.
 * @throws Error with the last lines of its log when it ends early or is not ready within two minutes.
 */
export async function startService(
  settings: Readonly<Record<string, string>> = {},
  prepare?: (dataDirectory: string) => Promise<void>,
): Promise<Service> {
  const kept = settings["CHANCERY_DATA_DIR"];
  const dataDirectory = kept ?? (await mkdtemp(join(tmpdir(), "chancery-")));
  await prepare?.(dataDirectory);
  const [tls, status, ops] = await Promise.all([freePort(), freePort(), freePort()]);
  const environment: NodeJS.ProcessEnv = {
    ...withoutOptions(process.env),
    CHANCERY_ENV: "evaluation",
    CHANCERY_DATA_DIR: dataDirectory,
    CHANCERY_LISTEN: `127.0.0.1:${tls}`,
    CHANCERY_STATUS_LISTEN: `127.0.0.1:${status}`,
    CHANCERY_OPS_LISTEN: `127.0.0.1:${ops}`,
    CHANCERY_BASE_URL: `https://localhost:${tls}`,
    CHANCERY_STATUS_URL: statusUrlInCertificates,
    CHANCERY_PKCS11_MODULE: pkcs11Module(),
    ...settings,
  };
  const { commands, env } = await serve({ root: checkout, cwd: checkout, env: environment, args: [] });
  const child = spawn(process.execPath, commands.flat(), {
    cwd: checkout,
    env: { ...environment, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const log: string[] = [];
  const remember = (chunk: Buffer): void => void log.splice(0, Math.max(0, log.push(chunk.toString()) - 2000));
  child.stdout.on("data", remember);
  child.stderr.on("data", remember);
  const ended = once(child, "exit");
  // Where a signal ends this process, nobody disposes of the service.
  const withUs = (): void => void child.kill("SIGTERM");
  process.once("exit", withUs);
  const service: Service = {
    processId: child.pid ?? 0,
    dataDirectory,
    baseUrl: settings["CHANCERY_BASE_URL"] ?? `https://localhost:${tls}`,
    port: tls,
    statusUrl: `http://127.0.0.1:${status}`,
    opsUrl: `http://127.0.0.1:${ops}`,
    rootFile: join(dataDirectory, "root.pem"),
    tokenFile: join(dataDirectory, "admin.token"),
    environment,
    log: () => log.join(""),
    async [Symbol.asyncDispose]() {
      const kill = setTimeout(() => child.kill("SIGKILL"), 20_000);
      child.kill("SIGTERM");
      if (child.exitCode === null && child.signalCode === null) await ended;
      clearTimeout(kill);
      process.off("exit", withUs);
      if (kept === undefined) await rm(dataDirectory, { recursive: true, force: true });
    },
  };
  try {
    await ready(service, () => child.exitCode !== null || child.signalCode !== null);
  } catch (error) {
    await service[Symbol.asyncDispose]();
    throw new Error(`the service is not ready; its last words:\n${log.join("").slice(-4000)}`, { cause: error });
  }
  return service;
}

/** Sends `body` (JSON) with the admin token over TLS that trusts the root of this service alone. */
export async function rest(
  service: Service,
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const [ca, token] = await Promise.all([readFile(service.rootFile), readFile(service.tokenFile, "utf8")]);
  const text = body === undefined ? "" : JSON.stringify(body);
  const json = { "Content-Type": "application/json", "Content-Length": String(Buffer.byteLength(text)) };
  const all = { Authorization: `Bearer ${token.trim()}`, ...(body === undefined ? {} : json), ...headers };
  return new Promise((resolve, reject) => {
    const call = request(new URL(path, service.baseUrl), { method, ca, headers: all, timeout: 30_000 }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks).toString() }),
      );
    });
    call.on("timeout", () => call.destroy(new Error(`no answer to ${method} ${path} within 30 s`)));
    call.on("error", reject);
    call.end(text);
  });
}

/** Runs a command of `npx chancery` against `service`. */
export function chancery(service: Service, parameters: readonly string[]): Promise<Ended> {
  return execute(process.execPath, [join(checkout, "src/main.ts"), ...parameters], {
    environment: service.environment,
    directory: checkout,
  });
}

/** Ends this process, and with it the services it started, when it is told to by a signal. */
export function endOnSignals(): void {
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.once(signal, () => process.exit(1));
}

/** A TCP port of the loopback that nobody listens on now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo; // a TCP server's address is never a string
  server.close();
  await once(server, "close");
  return port;
}

/**
 * The PKCS#11 module: CHANCERY_PKCS11_MODULE, or SoftHSM2 where Debian puts it.
 * @throws Error that says what to do when there is none.
 */
export function pkcs11Module(): string {
  const named = process.env["CHANCERY_PKCS11_MODULE"];
  const usual = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
  ];
  const found = named ?? usual.find((file) => existsSync(file));
  if (found === undefined) throw new Error("no PKCS#11 module: set CHANCERY_PKCS11_MODULE or install softhsm2");
  return found;
}

/** The environment without options of another service, which would point this one elsewhere. */
function withoutOptions(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(environment).filter(([name]) => !/^(CHANCERY_|DATABASE_URL$|SOFTHSM2_CONF$)/.test(name)));
}

async function ready(service: Service, over: () => boolean): Promise<void> {
  for (let attempt = 0; attempt < 480; attempt++) {
    if (over()) throw new Error("it ended");
    const answer = await fetch(`${service.opsUrl}/readyz/issue`).catch(() => undefined);
    await answer?.body?.cancel();
    if (answer?.status === 200 && existsSync(service.tokenFile)) return;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  throw new Error("not ready within 120 s");
}
