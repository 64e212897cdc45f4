import { type IncomingMessage, type OutgoingHttpHeaders, type ServerResponse, STATUS_CODES } from "node:http";
import { pipeline } from "node:stream/promises";
import { latin1 } from "../pki/der-field.ts";
import { normalise } from "./normalise.ts";
import type { Handler, Refusal } from "./server.ts";

/** An answer of a listener without hono. */
export type PlainAnswer = {
  readonly status: 200 | 204 | 304 | 400 | 404 | 405 | 412 | 413 | 414 | 415 | 500 | 501 | 503;
  readonly headers: OutgoingHttpHeaders;
  readonly body: Uint8Array | string | LongBody;
};

/** A body that is not in memory as a whole, and whose length is known. */
export type LongBody = { readonly octets: number; /** The octets from the first on. */ readonly parts: () => AsyncIterable<Uint8Array> };

/** A line of text for a person. */
export function text(status: PlainAnswer["status"], line: string, headers: OutgoingHttpHeaders = {}): PlainAnswer {
  return { status, headers: { "content-type": "text/plain; charset=utf-8", ...headers }, body: `${line}\n` };
}

/**
 * Serves `answer` by bare node:http: what it sees has passed `normalise`. Nothing that it throws reaches a client. It may read the body; what
 * it leaves of it is read and thrown away once the answer is written.
 */
export function plainHandler(answer: (incoming: IncomingMessage) => PlainAnswer | Promise<PlainAnswer>): Handler {
  return {
    handle: (incoming, outgoing) => {
      const wrong = normalise(incoming);
      if (wrong) write(incoming, outgoing, text(wrong.code === "malformed" ? 400 : 501, `${wrong.detail}.`, { connection: "close" }));
      else if (incoming.url === "*") write(incoming, outgoing, { status: 204, headers: { allow: "GET, HEAD, OPTIONS" }, body: "" });
      else void respond(incoming, outgoing, answer);
    },
    refuse: (refusal) =>
      `HTTP/1.1 ${refusedStatus[refusal]} ${STATUS_CODES[refusedStatus[refusal]]}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`,
  };
}

const refusedStatus: Readonly<Record<Refusal, number>> = { malformed: 400, headersTooLarge: 431, requestTimeout: 408 };

async function respond(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  answer: (incoming: IncomingMessage) => PlainAnswer | Promise<PlainAnswer>,
): Promise<void> {
  let written: PlainAnswer;
  try {
    const given = answer(incoming);
    written = given instanceof Promise ? await given : given;
  } catch {
    written = text(500, "Something went wrong inside the service.");
  }
  write(incoming, outgoing, written);
}

function write(incoming: IncomingMessage, outgoing: ServerResponse, { status, headers, body }: PlainAnswer): void {
  const bodiless = status === 304 || status === 204;
  const nosniff = { "x-content-type-options": "nosniff" };
  outgoing.writeHead(status, bodiless ? { ...nosniff, ...headers } : { ...nosniff, ...headers, "content-length": octetsOf(body) });
  if (bodiless || incoming.method === "HEAD") outgoing.end();
  else if (typeof body === "object" && "parts" in body) void pipeline(body.parts(), outgoing).catch(() => outgoing.destroy());
  // Node sends head and body in one piece where the body is a string, which takes a seventh less time than two.
  else if (typeof body !== "string" && body.length <= maxJoinedBytes) outgoing.end(latin1(body), "latin1");
  else outgoing.end(body);
  incoming.resume();
}

function octetsOf(body: PlainAnswer["body"]): number {
  return typeof body === "object" && "parts" in body ? body.octets : Buffer.byteLength(body);
}

const maxJoinedBytes = 4_096;
