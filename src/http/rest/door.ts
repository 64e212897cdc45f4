import type { HttpBindings } from "@hono/node-server";
import { type Context, Hono } from "hono";
import type { Principal } from "../../access/principal.ts";
import { Fault } from "../../fault.ts";
import { discardBody, readBody } from "../body.ts";
import type { RestDoors } from "../doors.ts";
import { readJson } from "../../jose/json.ts";
import { accept } from "./accept.ts";
import { type Problem, problemDocument, problemOf } from "./problem.ts";
import type { Answer, MediaType, Route } from "./route.ts";

/** The environment of every handler: Node's own request and response, whose X-Request-Id the listener has set. */
export type DoorEnvironment = { readonly Bindings: HttpBindings };

/** The largest body of any request. A certificate request is held to 16 KiB of DER besides. */
const maxBodyBytes = 64 * 1024;

/** How much of a body is read for a caller who may not send any: enough that a mistaken client gets to see the answer. */
const maxDiscardedBytes = 1024 * 1024;

/**
 * The REST interface below `/v1` and the pages of its problem documents. Routes come from `routes` alone; every other path is notFound,
 * every other method of a known path methodNotAllowed, and every 4xx and 5xx a problem document (RFC 9457).
 */
export function restDoor(doors: RestDoors, routes: readonly Route[]): Hono<DoorEnvironment> {
  const app = new Hono<DoorEnvironment>();
  for (const route of routes) app.on(route.method, route.path, (context) => timed(doors, route, context));
  for (const [path, methods] of methodsByPath(routes)) app.all(path, (context) => otherMethod(doors, methods, context));
  app.notFound((context) => refusal(doors, context, { code: "notFound", detail: "nothing stands under this path" }));
  app.onError((error, context) => failure(doors, context, error));
  return app;
}

function methodsByPath(routes: readonly Route[]): ReadonlyMap<string, readonly string[]> {
  const byPath = new Map<string, string[]>();
  for (const { path, method } of routes) {
    const methods = byPath.get(path) ?? ["OPTIONS"];
    methods.unshift(...(method === "GET" ? ["GET", "HEAD"] : [method]));
    byPath.set(path, methods);
  }
  return byPath;
}

/** OPTIONS tells what there is (RFC 9110 §9.3.7); no header of CORS, so browsers of other origins get nothing. */
function otherMethod(doors: RestDoors, methods: readonly string[], context: Context<DoorEnvironment>): Response {
  const allow = methods.join(", ");
  if (context.req.method === "OPTIONS") return new Response(null, { status: 204, headers: { allow } });
  return refusal(doors, context, { code: "methodNotAllowed", detail: `this path takes ${allow}` }, { allow });
}

async function timed(doors: RestDoors, route: Route, context: Context<DoorEnvironment>): Promise<Response> {
  const start = performance.now();
  const response = await answerOf(doors, route, context).catch((error: unknown) => failure(doors, context, error));
  const labels = { door: "rest", route: `${route.method} ${route.path}`, status: String(response.status) };
  doors.events.measure("chancery_http_request_seconds", (performance.now() - start) / 1000, labels);
  return response;
}

/**
 * One request: authenticated → visible and allowed → size → input → the use case (REST-1). Nothing of a body is kept for a caller who may not
 * send it, and a caller who may not do a thing learns nothing of whether it exists.
 */
async function answerOf(doors: RestDoors, route: Route, context: Context<DoorEnvironment>): Promise<Response> {
  const { incoming, outgoing } = context.env;
  if (route.action === "public") return written(await route.handle(context.req.param()));

  const principal = await authenticate(doors, incoming.headers.authorization).catch(async (error: unknown) => {
    if (await discardBody(incoming, maxDiscardedBytes)) outgoing.setHeader("connection", "close");
    throw error;
  });
  if (!doors.may(principal, route.action, { namespace: principal.namespace })) {
    const operation = route.action.replace(":", ".");
    await doors.recordDenial({ principal, operation, code: "policyDenied", requestId: requestId(context) });
    const detail = `the role ${principal.role} does not include ${route.action}`;
    return refusal(doors, context, { code: "policyDenied", detail, tokenError: "insufficient_scope" });
  }

  const bytes = await readBody(incoming, maxBodyBytes);
  const [first = "application/json", ...others] = route.produces;
  const accepted: MediaType | undefined = route.produces.length === 0 ? first : accept(incoming.headers.accept, [first, ...others]);
  if (!accepted) return refusal(doors, context, { code: "notAcceptable", detail: `this path offers ${route.produces.join(", ")}` });
  if (!route.takesBody && bytes.byteLength > 0) throw new Fault("malformed", "this request takes no body");
  if (route.takesBody && incoming.headers["content-encoding"] !== undefined) {
    const problem: Problem = { code: "unsupportedMediaType", detail: "the body must be sent without Content-Encoding" };
    // RFC 9110 §15.5.16: what was wrong is the coding, not the type.
    return refusal(doors, context, problem, { "accept-encoding": "identity" });
  }
  if (route.takesBody && !isJson(incoming.headers["content-type"])) {
    return refusal(doors, context, { code: "unsupportedMediaType", detail: "the body must be sent as application/json" });
  }
  if (route.takesBody && bytes.byteLength === 0) throw new Fault("malformed", "the body is missing: it must be a JSON object");
  const body = route.takesBody ? readJson(bytes) : undefined;
  const search = searchOf(incoming.url ?? "");
  const call = { principal, parts: context.req.param(), search, body, accepted, headers: incoming.headers, requestId: requestId(context) };
  return written(await route.answer(doors, call));
}

/** @throws Fault `unauthenticated`, with the scheme that is taken when the credentials are of another one. */
async function authenticate(doors: RestDoors, authorization: string | undefined): Promise<Principal> {
  if (authorization !== undefined && !/^bearer(?: |$)/i.test(authorization)) {
    throw new Fault("unauthenticated", "the Authorization header must read Bearer, a blank, and a token: no other scheme is taken");
  }
  return await doors.authenticate(authorization);
}

/** Exactly JSON in UTF-8 and nothing around it: a type that a browser form can send is refused (S-47). */
function isJson(contentType: string | undefined): boolean {
  return /^application\/json(?:\s*;\s*charset="?utf-8"?)?$/i.test(contentType ?? "");
}

/** @throws Fault `malformed` when the query is not percent-encoded UTF-8, which URLSearchParams would replace in silence. */
function searchOf(target: string): URLSearchParams {
  const start = target.indexOf("?");
  const query = start < 0 ? "" : target.slice(start + 1);
  try {
    decodeURIComponent(query);
  } catch (cause) {
    throw new Fault("malformed", "the query is not percent-encoded UTF-8", { cause });
  }
  return new URLSearchParams(query);
}

function written(answer: Answer): Response {
  const headers = { "cache-control": "no-store", ...answer.headers };
  if ("empty" in answer) return new Response(null, { status: 204, headers });
  if ("json" in answer) {
    return new Response(JSON.stringify(answer.json), {
      status: answer.status ?? 200,
      headers: { ...headers, "content-type": "application/json" },
    });
  }
  const body = typeof answer.bytes === "string" ? answer.bytes : new Uint8Array(answer.bytes);
  return new Response(body, { status: answer.status ?? 200, headers: { ...headers, "content-type": answer.type } });
}

/** What a thrown error becomes. The cause of what nobody expected is for the log alone. */
function failure(doors: RestDoors, context: Context<DoorEnvironment>, error: unknown): Response {
  const problem = withTokenError(problemOf(error), context);
  const response = refusal(doors, context, problem);
  if (response.status >= 500) {
    const { method, path } = context.req;
    const fields = { requestId: requestId(context), method, path, code: problem.code, error };
    doors.events.tell(response.status === 500 ? "error" : "warn", "request.failed", fields);
  }
  return response;
}

/** To a request without a token, or with credentials of another scheme, no error is told (RFC 6750 §3.1). */
function withTokenError(problem: Problem, context: Context<DoorEnvironment>): Problem {
  const presented = /^bearer\s+\S/i.test(context.env.incoming.headers.authorization ?? "");
  return problem.code === "unauthenticated" && presented ? { ...problem, tokenError: "invalid_token" } : problem;
}

function refusal(
  doors: RestDoors,
  context: Context<DoorEnvironment>,
  problem: Problem,
  more: Readonly<Record<string, string>> = {},
): Response {
  const { status, headers, body } = problemDocument(problem, { baseUrl: doors.baseUrl, requestId: requestId(context) });
  return new Response(body, { status, headers: { ...headers, ...more } });
}

function requestId(context: Context<DoorEnvironment>): string {
  return String(context.env.outgoing.getHeader("x-request-id") ?? "");
}
