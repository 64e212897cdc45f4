import { once } from "node:events";
import { createServer as createHttpServer } from "node:http";
import type { RequestListener } from "node:http";
import { createServer } from "node:net";
import type { Server, Socket } from "node:net";

import { parseCidr } from "../../src/net/egress.ts";
import type { Cidr, EgressPolicy, OwnAddress } from "../../src/net/egress.ts";
import { openValidator } from "../../src/net/validator-client.ts";
import type { GuardedValidator, ValidatorOptions } from "../../src/net/validator-client.ts";
import type { Outcome, ProbeFailure } from "../../src/ports/validator.ts";
import { childProcesses } from "../hsm/signing-token.ts";
import { recordedEvents } from "../support/events.ts";
import type { RecordedEvents } from "../support/events.ts";

export type ValidatorWorld = AsyncDisposable & { readonly validator: GuardedValidator; readonly events: RecordedEvents };

export type WorldOptions = Partial<Omit<ValidatorOptions, "policy">> & {
  /** Blocks, as the operator writes them. Loopback is closed unless it is among them. */
  readonly allow?: readonly string[];
  readonly own?: readonly OwnAddress[];
};

/** A validator in its child, with times short enough for a test that waits for their end. */
export async function openWorld({ allow = [], own = [], times, ...options }: WorldOptions): Promise<ValidatorWorld> {
  const events = recordedEvents();
  const validator = await openValidator(
    {
      http01Port: 9,
      tlsAlpn01Port: 9,
      dnsServers: [],
      policy: policyOf(allow, own),
      times: { dnsTriesMs: [5000, 5000], ...times },
      ...options,
    },
    { events },
  );
  return { validator, events, [Symbol.asyncDispose]: () => validator[Symbol.asyncDispose]() };
}

export function policyOf(allow: readonly string[], own: readonly OwnAddress[] = []): EgressPolicy {
  return { allow: allow.map(cidr), own };
}

export function cidr(text: string): Cidr {
  const block = parseCidr(text);
  if (!block) throw new Error(`${text} is no block of addresses`);
  return block;
}

/** The failure of an outcome that has to be one. */
export function failureOf(outcome: Outcome<unknown>): ProbeFailure {
  if ("answer" in outcome) throw new Error(`there is an answer: ${JSON.stringify(outcome.answer)}`);
  return outcome.failure;
}

/** The answer of an outcome that has to have one. */
export function answerOf<Answer>(outcome: Outcome<Answer>): Answer {
  if ("failure" in outcome) throw new Error(`there is a failure: ${outcome.failure.detail}`);
  return outcome.answer;
}

/** Process ids of the validators that this process started. */
export async function validatorPids(): Promise<number[]> {
  return (await childProcesses()).filter(({ command }) => command.includes("net/validator.ts")).map(({ pid }) => pid);
}

/** A listener that counts who came. */
export type Listener = AsyncDisposable & { readonly port: number; readonly connections: () => number; readonly server: Server };

/** A TCP listener that does what `serve` says with each connection. */
export async function listen(serve: (socket: Socket) => void, { host = "127.0.0.1", port = 0 } = {}): Promise<Listener> {
  let connections = 0;
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    connections += 1;
    open.add(socket.on("error", () => {}).on("close", () => open.delete(socket)));
    serve(socket);
  });
  server.listen(port, host);
  await once(server, "listening");
  const address = server.address();
  return {
    server,
    port: typeof address === "object" && address ? address.port : 0,
    connections: () => connections,
    async [Symbol.asyncDispose]() {
      for (const socket of open) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** A port of loopback that nothing listens on at the moment: what a validator is told once and listeners of many tests take in turn. */
export async function freePort(): Promise<number> {
  await using listener = await listen(() => {});
  return listener.port;
}

/** A web server. */
export function listenHttp(serve: RequestListener, where: { host?: string; port?: number } = {}): Promise<Listener> {
  const http = createHttpServer(serve);
  return listen((socket) => void http.emit("connection", socket), where);
}
