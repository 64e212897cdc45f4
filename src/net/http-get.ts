import { request } from "node:http";
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";

import { final, transient } from "./attempt.ts";
import type { Attempt } from "./attempt.ts";

/** A request over an open connection. */
export type Get = {
  readonly stream: Duplex;
  /** For sentences: where the stream leads. */ readonly address: string;
  readonly authority: string;
  readonly path: string;
};

export type Reply = {
  readonly status: number;
  readonly location: string | undefined;
  readonly body: Uint8Array;
  readonly truncated: boolean;
};

/**
 * One GET in HTTP/1.1. Reads no more than it keeps: 16 KiB of header section, 256 octets of content, nothing of a redirect's. The stream is
 * the caller's to end.
 */
export function get({ stream, address, authority, path }: Get, signal: AbortSignal): Promise<Attempt<Reply>> {
  return new Promise((resolve) => {
    let interim = 0;
    const end = (result: Attempt<Reply>) => {
      signal.removeEventListener("abort", late);
      resolve(result);
      asked.destroy();
    };
    const broken = (error?: NodeJS.ErrnoException) => end(failed(address, error));
    const late = () => end(transient("connection", `${address} gave no complete answer in time`));
    // Neither an agent nor what it would bring: no reuse, no proxy, no cookie. The connection is the one that was judged.
    const asked = request({
      createConnection: () => stream,
      path,
      setHost: false,
      headers: { host: authority, "user-agent": "chancery-validator", accept: "*/*", connection: "close" },
      maxHeaderSize: 16_384,
      insecureHTTPParser: false,
    });
    asked.on("error", broken).on("close", () => broken());
    asked.on("information", () => {
      interim += 1;
      if (interim > maxInterim) end(final("connection", `${address} sends interim answers without end`));
    });
    asked.on("response", (response) => {
      if (response.httpVersionMajor === 1) void read(response).then((reply) => end(reply ? { answer: reply } : failed(address)));
      else end(failed(address, { name: "", message: "", code: "HPE_INVALID_VERSION" }));
    });
    if (signal.aborted) return late();
    signal.addEventListener("abort", late, { once: true });
    asked.end();
  });
}

/** Whether a status sends the request elsewhere unchanged. */
export function isRedirect(status: number): boolean {
  return status === 301 || status === 302 || status === 307 || status === 308;
}

const maxBodyOctets = 256;
const maxInterim = 10;

/** The reply; undefined when its content broke off. */
async function read(response: IncomingMessage): Promise<Reply | undefined> {
  const [status, location] = [response.statusCode ?? 0, response.headers.location];
  if (isRedirect(status)) return { status, location, body: new Uint8Array(), truncated: false };
  let body = Buffer.alloc(0);
  try {
    for await (const chunk of response) {
      if (!Buffer.isBuffer(chunk)) return undefined;
      body = Buffer.concat([body, chunk.subarray(0, maxBodyOctets + 1)]);
      if (body.length > maxBodyOctets) break;
    }
  } catch {
    return undefined;
  }
  return { status, location, body: Uint8Array.from(body.subarray(0, maxBodyOctets)), truncated: body.length > maxBodyOctets };
}

function failed(address: string, error?: NodeJS.ErrnoException): Attempt<never> {
  const code = error?.code ?? "";
  if (code === "HPE_HEADER_OVERFLOW") return final("connection", `${address} answered with a header section of more than 16 KiB`);
  if (code.startsWith("HPE_")) return final("connection", `${address} answered with what is no HTTP/1.1`);
  return transient("connection", `${address} closed the connection before its answer was complete`);
}
