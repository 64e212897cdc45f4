import type { IncomingMessage, ServerResponse } from "node:http";
import { getRequestListener } from "@hono/node-server";
import type { Hono } from "hono";
import type { RestDoors } from "./doors.ts";
import type { DoorEnvironment } from "./rest/door.ts";
import { normalise, valuesOf, type Wrong } from "./normalise.ts";
import { type ProblemCode, problemDocument, type ProblemDocument } from "./rest/problem.ts";
import type { Handler, Refusal } from "./server.ts";

/** Headers of every answer: never another type than we say. */
const fixedHeaders = {
  "x-content-type-options": "nosniff",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  "referrer-policy": "no-referrer",
} as const;

/** Never over plain HTTP again (RFC 6797), but on the host of a workstation, whose other ports may serve nothing else. */
function headersAt(baseUrl: string): Readonly<Record<string, string>> {
  const local = /^(?:(?:.*\.)?localhost|127(?:\.\d+){3}|\[::1\])$/.test(new URL(baseUrl).hostname);
  return local ? fixedHeaders : { ...fixedHeaders, "strict-transport-security": "max-age=31536000" };
}

/** The hono applications behind the listener, and how ACME says what is wrong with a request that does not get there. */
export type Applications = {
  readonly rest: Hono<DoorEnvironment>;
  /** Everything below `/acme/`. */
  readonly acme: Hono<DoorEnvironment>;
  readonly refuseAcme: (incoming: IncomingMessage, wrong: Wrong) => Pick<ProblemDocument, "headers" | "body"> & { readonly status: number };
};

/**
 * What the TLS listener serves: the hono applications, behind what holds for every request whatever its path. Each request has an id of
 * ours, which stands in X-Request-Id, in problem documents and in the log.
 */
export function front(doors: Pick<RestDoors, "baseUrl" | "random">, { rest, acme, refuseAcme }: Applications): Handler {
  const passRest = getRequestListener((request, env) => rest.fetch(request, env));
  const passAcme = getRequestListener((request, env) => acme.fetch(request, env));
  const fixed = headersAt(doors.baseUrl);
  const fixedPairs = Object.entries(fixed);
  return {
    handle: (incoming, outgoing) => {
      const requestId = newRequestId(doors);
      outgoing.setHeader("x-request-id", requestId);
      for (const [name, value] of fixedPairs) outgoing.setHeader(name, value);
      const wrong = normalise(incoming) ?? ambiguous(incoming) ?? winding(incoming);
      const isAcme = incoming.url?.startsWith("/acme/") === true;
      if (wrong) refuse(outgoing, isAcme ? refuseAcme(incoming, wrong) : problemDocument(wrong, { baseUrl: doors.baseUrl, requestId }));
      else if (incoming.url === "*") outgoing.writeHead(204, { allow: "GET, HEAD, POST, DELETE, OPTIONS" }).end();
      else void (isAcme ? passAcme : passRest)(incoming, outgoing);
    },
    refuse: (refusal) => {
      const document = problemDocument(unread(refusal), { baseUrl: doors.baseUrl, requestId: newRequestId(doors) });
      return rawAnswer(refusal, { ...document, headers: { ...document.headers, ...fixed } });
    },
  };
}

function newRequestId({ random }: Pick<RestDoors, "random">): string {
  return Buffer.from(random.bytes(16)).toString("hex");
}

/** Headers that mean one thing: of two, one proxy reads the first and another the last. */
const single = ["authorization", "content-type", "idempotency-key"] as const;

function ambiguous(incoming: IncomingMessage): Wrong | undefined {
  const twice = single.find((name) => valuesOf(incoming, name).length > 1);
  return twice && { code: "malformed", detail: `the header ${twice} occurs twice` };
}

/** Dot segments, and dots and slashes that are hidden from one of two readers: the path that is routed must be the path that was sent (RFC 3986 §6.2.2). */
function winding({ url = "" }: IncomingMessage): Wrong | undefined {
  const [path = ""] = url.split("?", 1);
  const refused = /%2e|%2f|%5c|\/\.{1,2}(?:\/|$)/i.test(path);
  return refused ? { code: "malformed", detail: "the path has a dot segment, or a dot or slash that is percent-encoded" } : undefined;
}

function refuse(outgoing: ServerResponse, { status, headers, body }: ReturnType<Applications["refuseAcme"]>): void {
  outgoing.writeHead(status, { ...headers, connection: "close", "content-length": Buffer.byteLength(body) }).end(body);
}

function unread(refusal: Refusal): { readonly code: ProblemCode; readonly detail: string } {
  switch (refusal) {
    case "malformed":
      return { code: refusal, detail: "what arrived is no HTTP/1.1 request" };
    case "headersTooLarge":
      return { code: refusal, detail: "the header section is larger than 16384 bytes" };
    case "requestTimeout":
      return { code: refusal, detail: "the request did not arrive in time" };
    default:
      return refusal satisfies never;
  }
}

const reasons: Readonly<Record<Refusal, string>> = {
  malformed: "Bad Request",
  headersTooLarge: "Request Header Fields Too Large",
  requestTimeout: "Request Timeout",
};

function rawAnswer(refusal: Refusal, { status, headers, body }: ReturnType<typeof problemDocument>): string {
  const lines = Object.entries({ ...headers, connection: "close", "content-length": String(Buffer.byteLength(body)) });
  return `HTTP/1.1 ${status} ${reasons[refusal]}\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n${body}`;
}
