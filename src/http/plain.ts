import { type IncomingMessage, type OutgoingHttpHeaders, type ServerResponse, STATUS_CODES } from "node:http";
import { pipeline } from "node:stream/promises";
import { latin1 } from "../pki/der-field.ts";
import { type LongBody, type LongBodyLimits, longBodyLimits, type LongBodyPlaces, longBodyPlaces, pacedBody } from "./long-body.ts";
import { normalise } from "./normalise.ts";
import type { Handler, Refusal } from "./server.ts";

/** An answer of a listener without hono. */
export type PlainAnswer = {
  readonly status: 200 | 204 | 304 | 400 | 404 | 405 | 412 | 413 | 414 | 415 | 500 | 501 | 503;
  readonly headers: OutgoingHttpHeaders;
  readonly body: Uint8Array | string | LongBody;
};

/** A line of text for a person. */
export function text(status: PlainAnswer["status"], line: string, headers: OutgoingHttpHeaders = {}): PlainAnswer {
  return { status, headers: { "content-type": "text/plain; charset=utf-8", ...headers }, body: `${line}\n` };
}

/**
 * Serves `answer` by bare node:http: what it sees has passed `normalise`. Nothing that it throws reaches a client. It may read the body; what
 * it leaves of it is read and thrown away once the answer is written. It is asked once more for a long body whose turn comes later.
 * @param allow the methods of all of its resources, for `OPTIONS *` (RFC 9110 §9.3.7).
 */
export function plainHandler(answer: Answer, limits: LongBodyLimits = longBodyLimits, allow = "GET, HEAD, OPTIONS"): Handler {
  const places = longBodyPlaces(limits);
  return {
    handle: (incoming, outgoing) => {
      const wrong = normalise(incoming);
      if (wrong) write(incoming, outgoing, text(wrong.code === "malformed" ? 400 : 501, `${wrong.detail}.`, { connection: "close" }));
      else if (incoming.url === "*") write(incoming, outgoing, { status: 204, headers: { allow }, body: "" });
      else void respond(incoming, outgoing, { answer, places, limits });
    },
    refuse: (refusal) =>
      `HTTP/1.1 ${refusedStatus[refusal]} ${STATUS_CODES[refusedStatus[refusal]]}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`,
  };
}

type Answer = (incoming: IncomingMessage) => PlainAnswer | Promise<PlainAnswer>;

type Answering = { readonly answer: Answer; readonly places: LongBodyPlaces; readonly limits: LongBodyLimits };

const refusedStatus: Readonly<Record<Refusal, number>> = { malformed: 400, headersTooLarge: 431, requestTimeout: 408 };

async function respond(incoming: IncomingMessage, outgoing: ServerResponse, answering: Answering): Promise<void> {
  let written: PlainAnswer;
  try {
    const given = answering.answer(incoming);
    written = given instanceof Promise ? await given : given;
  } catch {
    written = text(500, "Something went wrong inside the service.");
  }
  if (isBodiless(incoming, written) || !isLong(written.body)) write(incoming, outgoing, written);
  else if (outgoing.socket) void writeLong(incoming, outgoing, { ...answering, written, body: written.body });
  // Node gives all requests of a pipeline to the handler at once, and keeps what is written for those whose turn has not come in memory. What
  // is answered then may be another: the file of this one is not held open so long. If the connection ends before, it is never its turn.
  // The event comes before the end of the answer ahead, which has its place until then, is told to all: hence the next round.
  else outgoing.once("socket", () => setImmediate(() => void respond(incoming, outgoing, answering)));
}

async function writeLong(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  { written, body, places, limits }: Answering & { readonly written: PlainAnswer; readonly body: LongBody },
): Promise<void> {
  const free = places.take(outgoing.socket?.remoteAddress ?? "");
  if (!free) {
    const line = "Too many long answers are under way; Retry-After says when to ask again.";
    write(incoming, outgoing, text(503, line, { "retry-after": String(retryAfterSeconds) }));
    return;
  }
  writeHead(outgoing, written);
  incoming.resume();
  using paced = pacedBody(body.parts(), limits);
  try {
    await pipeline(paced.parts, outgoing, { signal: paced.signal });
  } catch {
    outgoing.destroy();
  } finally {
    free();
  }
}

const retryAfterSeconds = 10;

function write(incoming: IncomingMessage, outgoing: ServerResponse, written: PlainAnswer): void {
  const { body } = written;
  writeHead(outgoing, written);
  if (isBodiless(incoming, written) || isLong(body)) outgoing.end();
  // Node sends head and body in one piece where the body is a string, which takes a seventh less time than two.
  else if (typeof body !== "string" && body.length <= maxJoinedBytes) outgoing.end(latin1(body), "latin1");
  else outgoing.end(body);
  incoming.resume();
}

function writeHead(outgoing: ServerResponse, { status, headers, body }: PlainAnswer): void {
  const nosniff = { "x-content-type-options": "nosniff" };
  const length = isLong(body) ? body.octets : Buffer.byteLength(body);
  outgoing.writeHead(status, hasNoContent(status) ? { ...nosniff, ...headers } : { ...nosniff, ...headers, "content-length": length });
}

function isBodiless({ method }: IncomingMessage, { status }: PlainAnswer): boolean {
  return method === "HEAD" || hasNoContent(status);
}

function hasNoContent(status: PlainAnswer["status"]): boolean {
  return status === 204 || status === 304;
}

function isLong(body: PlainAnswer["body"]): body is LongBody {
  return typeof body === "object" && "parts" in body;
}

const maxJoinedBytes = 4_096;
