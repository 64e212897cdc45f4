import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { get } from "node:http";
import { createServer } from "node:net";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import type { Address, Config } from "../config.ts";
import type { Finding } from "./finding.ts";

/** What the running service of this data directory says about itself; undefined when none of our listeners answers. */
export type Running = { readonly checks: readonly { readonly name: string; readonly ready: boolean; readonly detail: string }[] };

const answerWithinMs = 3000;

/** Asks the ops listener for every condition of readiness. */
export async function askRunning({ opsListen }: Config): Promise<Running | undefined> {
  const answer = await httpGet(opsListen, "/readyz");
  const checks = checksOf(answer?.body ?? "");
  return checks.length === 0 ? undefined : { checks };
}

/** The three ports: free, held by our own running service, or held by somebody else. */
export async function examineListeners(config: Config, running: Running | undefined): Promise<Finding[]> {
  const { listen, statusListen, opsListen, dataDir } = config;
  const root = await readFile(join(dataDir, "root.pem"), "utf8").catch(() => undefined);
  const isOurs = {
    listen: async () => root !== undefined && (await leadsTo(listen, root)),
    status: async () => (await httpGet(statusListen, "/ca/root-1.cer"))?.status === 200,
    ops: async () => running !== undefined,
  };
  return Promise.all([
    examinePort("TLS port", listen, "CHANCERY_LISTEN", isOurs.listen),
    examinePort("status port", statusListen, "CHANCERY_STATUS_LISTEN", isOurs.status),
    examinePort("ops port", opsListen, "CHANCERY_OPS_LISTEN", isOurs.ops),
  ]);
}

async function examinePort(check: string, address: Address, variable: string, isOurs: () => Promise<boolean>): Promise<Finding> {
  const shown = addressText(address);
  const code = await listenError(address);
  if (code === undefined) return { check, verdict: "ok", detail: `${shown} is free` };
  if (code !== "EADDRINUSE") {
    return {
      check,
      verdict: "wrong",
      detail: `${shown} cannot be listened on (${code}): set ${variable} to an address of this machine and a port from 1024 on`,
    };
  }
  if (await isOurs()) return { check, verdict: "ok", detail: `${shown} is held by the running service` };
  return { check, verdict: "wrong", detail: `${shown} is held by another process: end it, or set ${variable} to another port` };
}

async function listenError({ host, port }: Address): Promise<string | undefined> {
  const server = createServer();
  try {
    server.listen({ host, port });
    await once(server, "listening");
    return undefined;
  } catch (error) {
    return error instanceof Error && "code" in error ? String(error.code) : "unknown error";
  } finally {
    if (server.listening) {
      server.close();
      await once(server, "close");
    }
  }
}

/** Whether a TLS server stands there whose certificate leads to our root; its names are not looked at, the port is. */
function leadsTo({ host, port }: Address, root: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connectTls({ host: reachable(host), port, ca: root, checkServerIdentity: () => undefined, timeout: answerWithinMs });
    const end = (ours: boolean) => {
      socket.destroy();
      resolve(ours);
    };
    socket.once("secureConnect", () => end(true));
    socket.once("error", () => end(false));
    socket.once("timeout", () => end(false));
  });
}

function httpGet({ host, port }: Address, path: string): Promise<{ status: number; body: string } | undefined> {
  return new Promise((resolve) => {
    const request = get({ host: reachable(host), port, path, agent: false, timeout: answerWithinMs }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", () => resolve(undefined));
      response.on("end", () => resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString("utf8") }));
    });
    request.on("timeout", () => request.destroy());
    request.on("error", () => resolve(undefined));
  });
}

function checksOf(body: string): Running["checks"] {
  let answer: unknown;
  try {
    answer = JSON.parse(body);
  } catch {
    return [];
  }
  const checks = isRecord(answer) && isRecord(answer["checks"]) ? Object.entries(answer["checks"]) : [];
  return checks.map(([name, verdict]) => ({
    name,
    ready: isRecord(verdict) && verdict["ready"] === true,
    detail: isRecord(verdict) && typeof verdict["detail"] === "string" ? verdict["detail"] : "no reason given",
  }));
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Where a listener on all addresses is reached from this machine. */
function reachable(host: string): string {
  return host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "::1" : host;
}

function addressText({ host, port }: Address): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}
