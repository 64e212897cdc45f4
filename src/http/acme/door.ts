import type { IncomingMessage } from "node:http";
import { type Context, Hono } from "hono";
import { Fault } from "../../fault.ts";
import { canonicalIpAddress } from "../../pki/general-name.ts";
import type { AcmeDoors } from "../doors.ts";
import type { DoorEnvironment } from "../rest/door.ts";
import { openAdmission } from "./overload.ts";
import { type Problem, type ProblemDocument, problemDocument, problemOf } from "./problem.ts";
import { openRequest, verifyRequest } from "./request.ts";
import type { Answer, Post, Route, Visit } from "./route.ts";
import { type Urls, urlsOf } from "./urls.ts";

/** The one Content-Type of requests (RFC 8555 §6.2). */
const joseType = "application/jose+json";

/**
 * The ACME interface below `/acme/{directory}`. Routes come from `routes` alone; every 4xx and 5xx is a problem document of RFC 8555 §6.7,
 * and every answer to a POST has a fresh nonce, whatever became of it.
 */
export function acmeDoor(doors: AcmeDoors, routes: readonly Route[]): Hono<DoorEnvironment> {
  const app = new Hono<DoorEnvironment>();
  const admit = openAdmission();
  for (const route of routes) app.all(`/acme/:directory${route.path}`, (context) => timed({ doors, route, admit }, context));
  app.notFound((context) => {
    writeFixedHeaders(doors, context);
    return refusal(doors, context, { code: "notFound", detail: "nothing stands under this path" });
  });
  app.onError((error, context) => failure(doors, context, error));
  return app;
}

/** How ACME says what is wrong with a request before its path is looked at. */
export function acmeRefusal({ acme }: AcmeDoors): (incoming: IncomingMessage, wrong: Problem) => ProblemDocument {
  return ({ method }, wrong) => {
    const { headers, ...document } = problemDocument(wrong, undefined);
    const nonce = method === "POST" && { "replay-nonce": acme.nonces.mint(), "cache-control": "no-store" };
    return { ...document, headers: { ...headers, ...corsHeaders, ...nonce } };
  };
}

/** Scripts in browsers may use an ACME server like any other client: no cookie or token of a browser's means anything here (RFC 8555 §6.1). */
const corsHeaders = {
  "access-control-allow-origin": "*",
  "access-control-expose-headers": "Link, Replay-Nonce, Location, Retry-After",
} as const;

type Mounted = { readonly doors: AcmeDoors; readonly route: Route; readonly admit: ReturnType<typeof openAdmission> };

async function timed(mounted: Mounted, context: Context<DoorEnvironment>): Promise<Response> {
  const { doors, route } = mounted;
  const start = performance.now();
  writeFixedHeaders(doors, context);
  const response = await answerOf(mounted, context).catch((error: unknown) => failure(doors, context, error));
  const labels = { door: "acme", route: `${context.env.incoming.method} ${route.path}`, status: String(response.status) };
  doors.events.measure("chancery_http_request_seconds", (performance.now() - start) / 1000, labels);
  return response;
}

async function answerOf({ doors, route, admit }: Mounted, context: Context<DoorEnvironment>): Promise<Response> {
  const { incoming } = context.env;
  const visit = visitOf(doors, context);
  switch (incoming.method) {
    case "GET":
    case "HEAD":
      if (!route.get) return otherMethod(doors, route, context);
      return await got({ doors, route, admit }, context, { visit, get: route.get });
    case "POST":
      if (!route.post) return otherMethod(doors, route, context);
      return await posted({ doors, route, admit }, context, { visit, post: route.post });
    default:
      return otherMethod(doors, route, context);
  }
}

async function got(
  { doors, route, admit }: Mounted,
  context: Context<DoorEnvironment>,
  { visit, get }: { readonly visit: Visit; readonly get: NonNullable<Route["get"]> },
): Promise<Response> {
  using admitted = admit(route.sheds);
  if (!admitted) return overloaded(doors, context);
  return written(context, await get(doors, visit), visit.urls);
}

async function posted(
  { doors, route, admit }: Mounted,
  context: Context<DoorEnvironment>,
  { visit, post }: { readonly visit: Visit; readonly post: Post },
): Promise<Response> {
  const { incoming } = context.env;
  if (incoming.headers["content-type"] !== joseType) {
    return refusal(doors, context, { code: "unsupportedMediaType", detail: `the Content-Type must be ${joseType} (RFC 8555 §6.2)` });
  }
  if (incoming.headers["content-encoding"] !== undefined) {
    context.env.outgoing.setHeader("accept-encoding", "identity");
    return refusal(doors, context, { code: "unsupportedMediaType", detail: "the body must be sent without Content-Encoding" });
  }
  const url = `${doors.acme.baseUrl}${pathOf(incoming)}${visit.after === undefined ? "" : `?after=${visit.after}`}`;
  // Whoever sends a body slowly, or never, takes nobody's place: connections are counted by address, and end by themselves.
  const opened = await openRequest(doors, incoming);
  using admitted = admit(route.sheds);
  if (!admitted) return overloaded(doors, context);
  const signed = await verifyRequest(doors, opened, { ...post, visit, url });
  return written(context, await post.handle(doors, visit, signed), visit.urls);
}

function overloaded(doors: AcmeDoors, context: Context<DoorEnvironment>): Response {
  const detail = "the service has more requests under way than it can take; Retry-After says when to ask again";
  return refusal(doors, context, { code: "overloaded", detail });
}

/** @throws Fault `notFound` for a directory that is none, and for a path that is written otherwise than we give it out. */
function visitOf(doors: AcmeDoors, context: Context<DoorEnvironment>): Visit {
  const { incoming } = context.env;
  const directory = doors.acme.directories.get(context.req.param("directory") ?? "");
  if (!directory) throw new Fault("notFound", "there is no such ACME directory");
  // None of our URLs has anything to decode: two texts are never one object.
  if (pathOf(incoming).includes("%")) throw new Fault("notFound", "nothing stands under this path");
  return {
    directory,
    urls: urlsOf(doors.acme.baseUrl, directory.name),
    id: context.req.param("id") ?? "",
    after: /\/orders\?after=([A-Za-z0-9_-]{1,64})$/.exec(incoming.url ?? "")?.[1],
    accept: incoming.headers.accept,
    address: addressOf(incoming),
    requestId: requestId(context),
  };
}

function pathOf({ url = "" }: IncomingMessage): string {
  return url.split("?", 1)[0] ?? "";
}

/** The client's address, an IPv4 address that came mapped into IPv6 as itself. */
function addressOf({ socket }: IncomingMessage): string {
  const text = (socket.remoteAddress ?? "").replace(/^::ffff:(?=\d+\.)/i, "").replace(/%.*$/, "");
  return canonicalIpAddress(text) ?? text;
}

function otherMethod(doors: AcmeDoors, { get, post }: Route, context: Context<DoorEnvironment>): Response {
  const methods = [...(get ? ["GET", "HEAD"] : []), ...(post ? ["POST"] : []), "OPTIONS"].join(", ");
  context.env.outgoing.setHeader("allow", methods);
  if (context.env.incoming.method !== "OPTIONS") {
    return refusal(doors, context, { code: "methodNotAllowed", detail: `this resource takes ${methods} (RFC 8555 §6.3)` });
  }
  const headers = {
    "access-control-allow-methods": methods,
    "access-control-allow-headers": "Content-Type",
    "access-control-max-age": "86400",
  };
  return new Response(null, { status: 204, headers });
}

/** What stands in every answer, errors included. A nonce goes out with each POST and from newNonce, where nothing may keep it. */
function writeFixedHeaders({ acme }: AcmeDoors, { env: { incoming, outgoing }, req }: Context<DoorEnvironment>): void {
  for (const [name, value] of Object.entries(corsHeaders)) outgoing.setHeader(name, value);
  const [, name = "", rest] = /^\/acme\/([a-z0-9-]+)\/(.*)$/.exec(req.path) ?? [];
  const known = acme.directories.has(name);
  if (known && rest !== "directory") outgoing.setHeader("link", indexLink(urlsOf(acme.baseUrl, name)));
  if (incoming.method === "POST" || (known && rest === "new-nonce" && incoming.method !== "OPTIONS")) {
    outgoing.setHeader("replay-nonce", acme.nonces.mint());
    outgoing.setHeader("cache-control", "no-store");
  }
}

function indexLink({ directory }: Urls): string {
  return `<${directory}>;rel="index"`;
}

function written({ env: { incoming, outgoing } }: Context<DoorEnvironment>, answer: Answer, urls: Urls): Response {
  const { status, location, links = [], retryAfterSeconds } = answer;
  // A line each: some clients do not take lists apart.
  if (links.length > 0) outgoing.setHeader("link", [indexLink(urls), ...links]);
  const headers = {
    ...(location !== undefined && { location }),
    ...(retryAfterSeconds !== undefined && { "retry-after": String(retryAfterSeconds) }),
  };
  if ("empty" in answer) return new Response(null, { status: status ?? emptyStatus(incoming), headers });
  if ("json" in answer) {
    return new Response(JSON.stringify(answer.json), {
      status: status ?? 200,
      headers: { ...headers, "content-type": "application/json" },
    });
  }
  const body = typeof answer.bytes === "string" ? answer.bytes : new Uint8Array(answer.bytes);
  return new Response(body, { status: status ?? 200, headers: { ...headers, "content-type": answer.type } });
}

/** newNonce answers 200 to HEAD and 204 to everything else (RFC 8555 §7.2). */
function emptyStatus({ method }: IncomingMessage): 200 | 204 {
  return method === "HEAD" ? 200 : 204;
}

/** What a thrown error becomes. The cause of what nobody expected is for the log alone. */
function failure(doors: AcmeDoors, context: Context<DoorEnvironment>, error: unknown): Response {
  const problem = problemOf(error, requestId(context));
  const response = refusal(doors, context, problem);
  if (response.status >= 500) {
    const { method, path } = context.req;
    const fields = { requestId: requestId(context), method, path, code: problem.code, error };
    doors.events.tell(response.status === 500 ? "error" : "warn", "request.failed", fields);
  }
  return response;
}

function refusal({ acme }: AcmeDoors, context: Context<DoorEnvironment>, problem: Problem): Response {
  const { outgoing } = context.env;
  const directory = acme.directories.get(context.req.param("directory") ?? "");
  const urls = directory && urlsOf(acme.baseUrl, directory.name);
  // RFC 8555 §7.3.3: where to read what is to be agreed to.
  if (problem.code === "userActionRequired" && urls && directory.termsOfService !== undefined) {
    outgoing.setHeader("link", [indexLink(urls), `<${directory.termsOfService}>;rel="terms-of-service"`]);
  }
  const { status, headers, body } = problemDocument(problem, urls);
  if (status === 413) outgoing.setHeader("connection", "close");
  return new Response(body, { status, headers });
}

function requestId({ env: { outgoing } }: Context<DoorEnvironment>): string {
  return String(outgoing.getHeader("x-request-id") ?? "");
}
