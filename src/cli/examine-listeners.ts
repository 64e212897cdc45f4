import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { get } from "node:http";
import { createServer } from "node:net";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import type { Address, Config } from "../config.ts";
import type { Finding } from "./finding.ts";

/** What the running service of this data directory says about itself. */
export type Running = { readonly checks: readonly { readonly name: string; readonly ready: boolean; readonly detail: string }[] };

/** Who answers on the ops port: the service of this data directory, or the process of a service that has another one. */
export type OpsAnswer = { readonly running?: Running; readonly strangerPid?: string };

const answerWithinMs = 3000;

/** Asks the ops listener which process it is, and where that is the one that holds our data directory, for every condition of readiness. */
export async function askOps({ opsListen, dataDir }: Config): Promise<OpsAnswer> {
  const instance = instanceOf((await httpGet(opsListen, "/livez"))?.body.toString("utf8") ?? "");
  if (instance === undefined) return {};
  const holder = await readFile(join(dataDir, "instance.lock"), "utf8").catch(() => undefined);
  if (instance !== holder) return { strangerPid: instance.split(" ")[0] ?? "" };
  return { running: { checks: checksOf((await httpGet(opsListen, "/readyz"))?.body.toString("utf8") ?? "") } };
}

/** The three ports: free, held by our own running service, or held by somebody else. */
export async function examineListeners(config: Config, { running, strangerPid }: OpsAnswer): Promise<Finding[]> {
  const { listen, statusListen, opsListen, dataDir } = config;
  const root = certificateOf(await readFile(join(dataDir, "root.pem"), "utf8").catch(() => ""));
  const ofOurAuthority = async (serves: Promise<boolean>): Promise<Holder> =>
    !(await serves) ? "another process" : running ? "the running service" : "a service of the same authority, perhaps under other options";
  const ops: Holder = running
    ? "the running service"
    : strangerPid === undefined
      ? "another process"
      : `a Chancery with another data directory, process ${strangerPid}`;
  return Promise.all([
    examinePort("TLS port", listen, "CHANCERY_LISTEN", () => ofOurAuthority(leadsTo(listen, root))),
    examinePort("status port", statusListen, "CHANCERY_STATUS_LISTEN", () => ofOurAuthority(servesRoot(statusListen, root))),
    examinePort("ops port", opsListen, "CHANCERY_OPS_LISTEN", () => Promise.resolve(ops)),
  ]);
}

type Holder =
  | "the running service"
  | "another process"
  | "a service of the same authority, perhaps under other options"
  | `a Chancery with another data directory, process ${string}`;

async function examinePort(check: string, address: Address, variable: string, holder: () => Promise<Holder>): Promise<Finding> {
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
  const held = await holder();
  if (held === "the running service") return { check, verdict: "ok", detail: `${shown} is held by the running service` };
  return { check, verdict: "wrong", detail: `${shown} is held by ${held}: end it, or set ${variable} to another port` };
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

/** Whether our root's certificate is served there. */
async function servesRoot(address: Address, root: X509Certificate | undefined): Promise<boolean> {
  const answer = root && (await httpGet(address, "/ca/root-1.cer"));
  return answer?.status === 200 && answer.body.equals(root?.raw ?? Buffer.of());
}

/** Whether a TLS server stands there whose certificate leads to our root; its names are not looked at, the port is. */
function leadsTo({ host, port }: Address, root: X509Certificate | undefined): Promise<boolean> {
  if (!root) return Promise.resolve(false);
  const ca = root.toString();
  return new Promise((resolve) => {
    const socket = connectTls({ host: reachable(host), port, ca, checkServerIdentity: () => undefined, timeout: answerWithinMs });
    const end = (ours: boolean) => {
      socket.destroy();
      resolve(ours);
    };
    socket.once("secureConnect", () => end(true));
    socket.once("error", () => end(false));
    socket.once("timeout", () => end(false));
  });
}

function httpGet({ host, port }: Address, path: string): Promise<{ status: number; body: Buffer } | undefined> {
  return new Promise((resolve) => {
    const request = get({ host: reachable(host), port, path, agent: false, timeout: answerWithinMs }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", () => resolve(undefined));
      response.on("end", () => resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks) }));
    });
    request.on("timeout", () => request.destroy());
    request.on("error", () => resolve(undefined));
  });
}

/** The instance that a `/livez` names; undefined when no Chancery answers so. */
function instanceOf(body: string): string | undefined {
  const answer = parsed(body);
  const instance = isRecord(answer) ? answer["instance"] : undefined;
  return typeof instance === "string" && /^\d{1,10} \d{0,20}$/.test(instance) ? instance : undefined;
}

function checksOf(body: string): Running["checks"] {
  const answer = parsed(body);
  const checks = isRecord(answer) && isRecord(answer["checks"]) ? Object.entries(answer["checks"]) : [];
  return checks.map(([name, verdict]) => ({
    name,
    ready: isRecord(verdict) && verdict["ready"] === true,
    detail: isRecord(verdict) && typeof verdict["detail"] === "string" ? verdict["detail"] : "no reason given",
  }));
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}

function certificateOf(pem: string): X509Certificate | undefined {
  try {
    return new X509Certificate(pem);
  } catch {
    return undefined;
  }
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
