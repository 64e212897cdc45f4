import { Agent, request as httpsRequest } from "node:https";
import { setTimeout as sleep } from "node:timers/promises";
import { Fault } from "../fault.ts";
import { type Answer, refusal } from "./answer.ts";
import { ClientError } from "./client-error.ts";
import { connectionFailure } from "./connection-failure.ts";

/** Where the service is and who asks. */
export type ConnectOptions = {
  /** https URL without query; a path in it is a prefix. */
  readonly baseUrl: string;
  /** Bearer token; absent for calls that need none. */
  readonly token?: string;
  /** PEM of the root certificate that the service's own certificate must lead to. No other root is trusted. */
  readonly ca: string;
  /** Where `ca` was read from, named in the sentence of a failed handshake. */
  readonly caFile: string;
  /** For one attempt, from dialling to the last octet; 30 unless told. */
  readonly deadlineSeconds?: number;
  /** How a retry waits; the system's timer unless told. */
  readonly wait?: (seconds: number) => Promise<unknown>;
};

/** One call of the REST interface. */
export type Call = {
  readonly method: "GET" | "POST" | "DELETE";
  /** Below the base URL, beginning with `/v1/`, already percent-encoded. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string | undefined>>;
  readonly accept?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  /** Whether doing it twice is the same as once: it reads, or it carries an Idempotency-Key. Only such a call is ever sent again. */
  readonly repeatable: boolean;
};

/** The REST interface of one service. Calls may be made concurrently; closing it closes its connections. */
export type Client = AsyncDisposable & {
  /**
   * The answer to `call`, status 2xx. A repeatable call is sent again, unchanged, after a 503 with Retry-After and after a connection
   * that was lost while it waited: at most 4 times in all, and not when the service asks to wait for more than 30 s.
   * @throws ClientError for every other status, and when there is no answer.
   */
  send(call: Call): Promise<Answer>;
};

const maxAttempts = 4;
const maxRetryAfterSeconds = 30;
const maxAnswerBytes = 16 * 1024 * 1024;

/**
 * A client of the service at `baseUrl`. Nothing is dialled before the first call.
 * @throws Fault `malformed` when `baseUrl` is not an https URL: a bearer token never travels in the clear.
 */
export function connect(options: ConnectOptions): Client {
  const baseUrl = parseBaseUrl(options.baseUrl);
  const agent = new Agent({ keepAlive: true, maxSockets: 8, ca: options.ca, minVersion: "TLSv1.2" });
  const wait = options.wait ?? ((seconds: number) => sleep(seconds * 1000));

  const send = async (call: Call): Promise<Answer> => {
    for (let attempt = 1; ; attempt += 1) {
      const outcome = await attemptOnce(agent, baseUrl, options, call);
      if (!(outcome instanceof ClientError) && outcome.status < 300) return outcome;
      const seconds = attempt < maxAttempts && call.repeatable ? retryAfter(outcome) : undefined;
      if (seconds === undefined) throw outcome instanceof ClientError ? outcome : refusal(outcome, baseUrl.href);
      await wait(seconds);
    }
  };

  return {
    send,
    [Symbol.asyncDispose]: async () => agent.destroy(),
  };
}

function parseBaseUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== "https:" || url.search !== "" || url.hash !== "" || url.username !== "" || url.password !== "") {
    throw new Fault("malformed", `the base URL ${JSON.stringify(text)} is not an https URL without query, fragment and credentials`);
  }
  return url;
}

/** Seconds until the same call may be sent again, or undefined when it may not. */
function retryAfter(outcome: Answer | ClientError): number | undefined {
  // The request left and its answer is lost: the one failure of a connection that sending it again can mend.
  if (outcome instanceof ClientError) return !outcome.outcomeKnown && isLostConnection(outcome.cause) ? 1 : undefined;
  const header = outcome.headers["retry-after"] ?? "";
  if (outcome.status !== 503 || !/^\d{1,6}$/.test(header)) return undefined;
  return Number(header) <= maxRetryAfterSeconds ? Number(header) : undefined;
}

function isLostConnection(cause: unknown): boolean {
  return cause instanceof Error && "code" in cause && (cause.code === "ECONNRESET" || cause.code === "EPIPE");
}

function attemptOnce(agent: Agent, baseUrl: URL, options: ConnectOptions, call: Call): Promise<Answer | ClientError> {
  const body = call.body === undefined ? undefined : Buffer.from(JSON.stringify(call.body));
  const deadlineSeconds = options.deadlineSeconds ?? 30;
  return new Promise((resolve) => {
    let mayHaveArrived = false;
    const headers = {
      accept: call.accept ?? "application/json",
      ...(options.token !== undefined && { authorization: `Bearer ${options.token}` }),
      ...(body && { "content-type": "application/json", "content-length": String(body.length) }),
      ...call.headers,
    };
    const request = httpsRequest(urlOf(baseUrl, call), { agent, method: call.method, headers });
    const fail = (error: unknown) => {
      clearTimeout(deadline);
      request.destroy();
      resolve(connectionFailure(error, { url: baseUrl.href, caFile: options.caFile, mayHaveArrived }));
    };
    const deadline = setTimeout(() => fail(new Error(`no answer within ${deadlineSeconds} s`)), deadlineSeconds * 1000);
    request.on("socket", (socket) => {
      // Octets of the request leave only after the handshake, which a kept connection has behind it.
      if (request.reusedSocket) mayHaveArrived = true;
      else socket.once("secureConnect", () => (mayHaveArrived = true));
    });
    request.on("error", fail);
    request.on("response", (response) => {
      const chunks: Buffer[] = [];
      let length = 0;
      response.on("data", (chunk: Buffer) => {
        length += chunk.length;
        if (length > maxAnswerBytes) fail(new Error(`the answer is longer than ${maxAnswerBytes} octets`));
        else chunks.push(chunk);
      });
      response.on("error", fail);
      response.on("end", () => {
        clearTimeout(deadline);
        resolve({ status: response.statusCode ?? 0, headers: singleHeaders(response.headers), body: Buffer.concat(chunks) });
      });
    });
    request.end(body);
  });
}

function urlOf(baseUrl: URL, call: Call): URL {
  const url = new URL(baseUrl);
  url.pathname = baseUrl.pathname.replace(/\/$/, "") + call.path;
  for (const [name, value] of Object.entries(call.query ?? {})) if (value !== undefined) url.searchParams.set(name, value);
  return url;
}

function singleHeaders(headers: NodeJS.Dict<string | string[]>): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(headers).flatMap(([name, value]) => (typeof value === "string" ? [[name, value]] : [])));
}
