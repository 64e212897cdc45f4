import * as fc from "fast-check";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { connect } from "node:tls";
import { buffer } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { routes } from "../../../src/http/rest/routes.ts";
import { opensslRequest, startService, type TestService } from "../../support/service.ts";
import { exchange, pipeline, type PipelinedAnswer, type Received, type Sent } from "../exchange.ts";

let service: TestService;
let ca: string;
let csr: string;

beforeAll(async () => {
  service = await startService();
  ca = await readFile(join(service.ground.directory, "root.pem"), "utf8");
  csr = (await opensslRequest("a.example.org")).csr;
});
afterAll(() => service[Symbol.asyncDispose]());

const json = { "content-type": "application/json" };

/** One exchange with the TLS listener, as the administrator unless the headers say otherwise. */
function send(sent: Sent): Promise<Received> {
  const { port } = service.service.listeners.tls;
  return exchange({ port, ca }, { ...sent, headers: { authorization: `Bearer ${service.adminToken}`, ...sent.headers } });
}

/** Bytes as they are over TLS, and what came back until the end. */
async function sendBytes(bytes: string): Promise<string> {
  const socket = connect({ port: service.service.listeners.tls.port, host: "127.0.0.1", servername: "localhost", ca });
  socket.write(bytes, "latin1");
  return (await buffer(socket)).toString("latin1");
}

function isProblem({ status, headers, text }: Received): void {
  expect(headers["content-type"]).toBe("application/problem+json");
  const problem = JSON.parse(text);
  expect(problem).toMatchObject({
    type: `${service.service.config.baseUrl}/problems/${problem.code}`,
    title: expect.any(String),
    status,
    code: expect.any(String),
    requestId: headers["x-request-id"],
  });
}

/** A JSON body of this many bytes. */
function padded(bytes: number): string {
  return `{"csr":"${"x".repeat(bytes - 10)}"}`;
}

describe("the size of a body is bounded before anything of it is looked at, and nothing is kept for a stranger (HT-3, HT-4)", () => {
  test.for([
    { bytes: 64 * 1024, chunked: false, token: true, expected: [400, "malformed"] },
    { bytes: 64 * 1024 + 1, chunked: false, token: true, expected: [413, "tooLarge"] },
    { bytes: 64 * 1024, chunked: true, token: true, expected: [400, "malformed"] },
    { bytes: 64 * 1024 + 1, chunked: true, token: true, expected: [413, "tooLarge"] },
    { bytes: 4 * 1024 * 1024, chunked: true, token: true, expected: [413, "tooLarge"] },
    { bytes: 4 * 1024 * 1024, chunked: false, token: true, expected: [413, "tooLarge"] },
    { bytes: 64 * 1024, chunked: false, token: false, expected: [401, "unauthenticated"] },
    { bytes: 64 * 1024 + 1, chunked: false, token: false, expected: [401, "unauthenticated"] },
    { bytes: 64 * 1024 + 1, chunked: true, token: false, expected: [401, "unauthenticated"] },
  ])("$bytes bytes, chunked $chunked, token $token: $expected", async ({ bytes, chunked, token, expected }) => {
    const headers = { ...json, ...(!token && { authorization: "" }) };
    const answer = await send({ method: "POST", path: "/v1/certificates", headers, body: padded(bytes), chunked });
    isProblem(answer);
    expect([answer.status, JSON.parse(answer.text).code]).toEqual(expected);
  });

  test("a body that never ends is not waited for once its sender may not send it", async () => {
    const head =
      "POST /v1/certificates HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    const chunk = `10000\r\n${"x".repeat(0x10000)}\r\n`;
    expect(await sendBytes(`${head}${chunk.repeat(17)}`)).toMatch(/^HTTP\/1\.1 401 [^]*connection: close/i);
  });

  test("the same holds on a route that takes no body", async () => {
    const answer = await send({ method: "DELETE", path: "/v1/tokens/x", body: "x".repeat(64 * 1024 + 1) });
    expect(answer.status).toBe(413);
  });

  test("a chunked body within the bound is taken as one with its length is", async () => {
    const body = JSON.stringify({ csr, profile: "server" });
    expect((await send({ method: "POST", path: "/v1/certificates", headers: json, body, chunked: true })).status).toBe(201);
  });
});

describe("a body is JSON and nothing else (HT-5, IN-2)", () => {
  test.for([
    { type: "application/json", status: 201 },
    { type: "Application/JSON", status: 201 },
    { type: "application/json; charset=utf-8", status: 201 },
    { type: 'application/json;charset="UTF-8"', status: 201 },
    { type: "application/json; charset=latin1", status: 415 },
    { type: "application/jsonp", status: 415 },
    { type: "application/problem+json", status: 415 },
    { type: "text/plain", status: 415 },
    { type: "application/x-www-form-urlencoded", status: 415 },
    { type: "multipart/form-data; boundary=application/json", status: 415 },
    { type: "", status: 415 },
    { type: undefined, status: 415 },
  ])("Content-Type $type: $status", async ({ type, status }) => {
    const headers: Record<string, string> = type === undefined ? {} : { "content-type": type };
    const answer = await send({ method: "POST", path: "/v1/certificates", headers, body: JSON.stringify({ csr, profile: "server" }) });
    expect(answer.status).toBe(status);
    if (status !== 201) isProblem(answer);
  });

  test("a compressed body is not unpacked", async () => {
    const headers = { ...json, "content-encoding": "gzip" };
    const answer = await send({ method: "POST", path: "/v1/certificates", headers, body: "x" });
    isProblem(answer);
    // RFC 9110 §15.5.16
    expect([answer.status, answer.headers["accept-encoding"]]).toEqual([415, "identity"]);
    expect((await send({ method: "POST", path: "/v1/certificates", body: "x" })).headers["accept-encoding"]).toBeUndefined();
  });

  test.for([
    {
      name: "a member twice",
      body: '{"csr":"a","csr":"b","profile":"server"}',
      detail: "occurs twice in one JSON object (JSON offset 11)",
    },
    { name: "__proto__", body: '{"csr":"a","profile":"server","__proto__":{"role":"admin"}}', detail: "__proto__" },
    { name: "constructor", body: '{"csr":"a","profile":"server","constructor":{}}', detail: "constructor" },
    { name: "9 levels", body: `{"csr":${"[".repeat(8)}${"]".repeat(8)}}`, detail: "8 levels" },
    { name: "an array", body: "[]", detail: "body" },
    { name: "null", body: "null", detail: "body" },
    { name: "nothing", body: "", detail: "the body is missing: it must be a JSON object" },
    { name: "a blank", body: " ", detail: "ends early" },
    { name: "two values", body: "{}{}", detail: "bytes after" },
    { name: "an unknown member", body: '{"csr":"a","profile":"server","colour":"red"}', detail: 'unknown member "colour"' },
    { name: "a member of another type", body: '{"csr":1,"profile":"server"}', detail: '"csr"' },
  ])("$name: 400, and the detail names it", async ({ body, detail }) => {
    const answer = await send({ method: "POST", path: "/v1/certificates", headers: json, body });
    isProblem(answer);
    expect(JSON.parse(answer.text)).toMatchObject({ status: 400, code: "malformed", detail: expect.stringContaining(detail) });
  });
});

describe("what is wrong with a member or parameter is one plain sentence that says what it must be", () => {
  const certificates = "/v1/certificates";
  const tokens = "/v1/tokens";
  const grant = { role: "viewer", namespace: "/", expiresAt: "2099-01-01T00:00:00Z" };
  test.for<{ path: string; body?: unknown; says: string }>([
    { path: certificates, body: { profile: "server" }, says: '"csr" is missing' },
    { path: certificates, body: {}, says: '"csr" is missing; "profile" is missing' },
    { path: certificates, body: { csr: 1, profile: "server" }, says: '"csr" must be a string' },
    { path: certificates, body: { csr: "", profile: "server" }, says: '"csr" must not be empty' },
    { path: certificates, body: { csr: "a", profile: null }, says: '"profile" must be a string' },
    ...[1.5, 0, -1, 2 ** 31, 1e300, "90"].map((lifetimeSeconds) => ({
      path: certificates,
      body: { csr: "a", profile: "server", lifetimeSeconds },
      says: '"lifetimeSeconds" must be a whole number from 1 to 2147483647',
    })),
    { path: certificates, body: [], says: "the body must be a JSON object" },
    { path: certificates, body: "text", says: "the body must be a JSON object" },
    { path: tokens, body: { ...grant, role: "root" }, says: '"role" must be "admin", "requester" or "viewer"' },
    { path: tokens, body: { ...grant, namespace: "" }, says: '"namespace" must have at least 1 character' },
    { path: tokens, body: { ...grant, namespace: `/${"a".repeat(255)}` }, says: '"namespace" must have at most 255 characters' },
    { path: tokens, body: { ...grant, expiresAt: "tomorrow" }, says: '"expiresAt" must be a time as 2026-11-01T12:00:00Z' },
    { path: tokens, body: { ...grant, expiresAt: 1 }, says: '"expiresAt" must be a string' },
    { path: `${certificates}?status=good`, says: '"status" must be "valid", "revoked" or "expired"' },
    { path: `${certificates}?limit=0`, says: '"limit" must be a number from 1 to 1000' },
    { path: `${certificates}?serial=1234`, says: '"serial" must be 32 lower-case hex digits' },
    { path: `${certificates}?cursor=`, says: '"cursor" must have at least 1 character' },
    { path: `${certificates}?name=${"a".repeat(1025)}`, says: '"name" must have at most 1024 characters' },
    { path: `${certificates}?colour=red&size=1`, says: 'unknown parameter "colour", "size"' },
  ])("$path $body: $says", async ({ path, body, says }) => {
    const sent = body === undefined ? { path } : { method: "POST", path, headers: json, body: JSON.stringify(body) };
    const answer = await send(sent);
    isProblem(answer);
    expect(JSON.parse(answer.text)).toMatchObject({ status: 400, code: "malformed", detail: says });
  });

  test.for(["Basic YTpi", "Digest x", "chancery_token", "Bearertoken"])(
    "credentials %s: the scheme that is taken is named",
    async (authorization) => {
      const answer = await send({ path: certificates, headers: { authorization } });
      isProblem(answer);
      const detail = "the Authorization header must read Bearer, a blank, and a token: no other scheme is taken";
      expect(JSON.parse(answer.text)).toMatchObject({ status: 401, code: "unauthenticated", detail });
      // RFC 6750 §3.1: no error is told to credentials of another scheme.
      expect(answer.headers["www-authenticate"]).toBe('Bearer realm="chancery"');
    },
  );
});

describe("2,000 bodies of garbage on every route: no 5xx, and every refusal a problem document", () => {
  const fragment = fc.constantFrom(
    '{"csr":',
    '"-----BEGIN CERTIFICATE REQUEST-----\\nMIIB"',
    ',"profile":"server"',
    '"MIIB"',
    ',"lifetimeSeconds":',
    "1e9",
    "}",
    "[",
    '"',
    "\\u0000",
    "\u2028",
    "null",
  );
  const garbage = fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    fc.array(fragment, { maxLength: 12 }).map((parts) => new TextEncoder().encode(parts.join(""))),
    fc.json().map((text) => new TextEncoder().encode(text)),
    fc
      .record({ csr: fc.base64String({ maxLength: 200 }), profile: fc.constantFrom("server", "root", "x"), lifetimeSeconds: fc.integer() })
      .map((body) => new TextEncoder().encode(JSON.stringify(body))),
  );
  test.for(routes.map(({ method, path }) => ({ method, path })))("$method $path", { timeout: 60_000 }, async ({ method, path }) => {
    const target = path.replace(/:\w+/, "4f".repeat(16));
    const head = `${method} ${target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${service.adminToken}\r\nContent-Type: application/json\r\n`;
    const requests = fc
      .sample(garbage, 2_000)
      .map((body) => Buffer.concat([Buffer.from(`${head}Content-Length: ${body.length}\r\n\r\n`), body]));
    const peer = { port: service.service.listeners.tls.port, ca };
    const batches = Array.from({ length: 20 }, (_, i) => requests.slice(100 * i, 100 * i + 100));
    for (const batch of batches) {
      // A connection may end before the last answer; what was not answered is sent again (RFC 9112 §9.3.2).
      for (let rest = batch; rest.length > 0;) {
        const answers = await pipeline(peer, rest);
        expect(answers.length).toBeGreaterThan(0);
        expect(answers.filter((answer) => !isSane(answer))).toEqual([]);
        expect(answers.filter(({ body }) => body.includes("no HTTP/1.1 request"))).toEqual([]);
        rest = rest.slice(answers.length);
      }
    }
  });
});

/** Below 500, and a problem document from 400 on. */
function isSane({ status, contentType, body }: PipelinedAnswer): boolean {
  if (status < 400) return true;
  return status < 500 && contentType === "application/problem+json" && JSON.parse(body).status === status;
}

describe("every answer", () => {
  test("has a request id of ours that no client chooses, and no two the same", async () => {
    const answers = await Promise.all([1, 2, 3].map(() => send({ path: "/v1/profiles", headers: { "x-request-id": "mine" } })));
    const ids = answers.map(({ headers }) => headers["x-request-id"]);
    expect(new Set(ids).size).toBe(3);
    for (const id of ids) expect(id).toMatch(/^[0-9a-f]{32}$/);
  });

  test.for([
    { path: "/v1/profiles", status: 200 },
    { path: "/v1/certificates/x", status: 404 },
    { path: "/nothing", status: 404 },
    { path: "/problems/badCSR", status: 200 },
  ])("$path ($status): nosniff, no-store for the interface, and on localhost no HSTS", async ({ path, status }) => {
    const { headers, status: received } = await send({ path });
    expect(received).toBe(status);
    expect(headers).toMatchObject({
      "x-content-type-options": "nosniff",
      "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
      "cache-control": "no-store",
    });
    expect(headers["server"] ?? headers["x-powered-by"] ?? headers["strict-transport-security"]).toBeUndefined();
  });

  test("to a browser of another origin has no header that lets it read it", async () => {
    const answer = await send({
      method: "OPTIONS",
      path: "/v1/profiles",
      headers: { origin: "https://evil.example", "access-control-request-method": "GET" },
    });
    expect(Object.keys(answer.headers).filter((name) => name.startsWith("access-control-"))).toEqual([]);
  });
});

describe("methods and paths", () => {
  test.for([
    { method: "PUT", path: "/v1/certificates", allow: "POST, GET, HEAD, OPTIONS" },
    { method: "PATCH", path: "/v1/profiles", allow: "GET, HEAD, OPTIONS" },
    { method: "DELETE", path: "/v1/certificates/x", allow: "GET, HEAD, OPTIONS" },
    { method: "GET", path: "/v1/tokens/x", allow: "DELETE, OPTIONS" },
    { method: "POST", path: "/problems/badCSR", allow: "GET, HEAD, OPTIONS" },
    { method: "TRACE", path: "/v1/profiles", allow: "GET, HEAD, OPTIONS" },
    { method: "PROPFIND", path: "/v1/profiles", allow: "GET, HEAD, OPTIONS" },
  ])("$method $path: 405 with Allow (RFC 9110 §15.5.6)", async ({ method, path, allow }) => {
    const answer = await send({ method, path });
    isProblem(answer);
    expect([answer.status, answer.headers.allow?.split(", ").toSorted()]).toEqual([405, allow.split(", ").toSorted()]);
  });

  test("OPTIONS tells the methods and needs no token", async () => {
    const answer = await send({ method: "OPTIONS", path: "/v1/profiles", headers: { authorization: "" } });
    expect([answer.status, answer.headers.allow, answer.text]).toEqual([204, "GET, HEAD, OPTIONS", ""]);
  });

  test("HEAD is GET without its body", async () => {
    const head = await send({ method: "HEAD", path: "/v1/profiles" });
    expect([head.status, head.headers["content-type"], head.text]).toEqual([200, "application/json", ""]);
    expect((await send({ method: "HEAD", path: "/v1/profiles", headers: { authorization: "" } })).status).toBe(401);
  });

  test.for([
    "/",
    "/v1",
    "/v1/",
    "/v1/nothing",
    "/v1/profiles/",
    "//v1/profiles",
    "/V1/profiles",
    "/v1/certificates/a/b",
    "/problems/",
    "/problems/nonsense",
    "/acme",
    "/v1/%70rofiles%00",
    "/.env",
  ])("%s: 404 as a problem document", async (path) => {
    const answer = await send({ path });
    isProblem(answer);
    expect(answer.status).toBe(404);
  });

  test.for([
    "/v1/x/../profiles",
    "/v1/./profiles",
    "/v1/profiles/..",
    "/v1/profiles/.",
    "/v1/x/%2e%2e/profiles",
    "/v1/x/.%2E/profiles",
    "/v1%2fprofiles",
    "/v1%5Cprofiles",
    "/%2e%2e/%2e%2e/etc/passwd",
  ])("%s: 400, and no route sees it (RFC 3986 §6.2.2)", async (path) => {
    const answer = (
      await sendBytes(`GET ${path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${service.adminToken}\r\nConnection: close\r\n\r\n`)
    ).split("\r\n\r\n");
    expect(JSON.parse(answer[1] ?? "")).toMatchObject({ status: 400, code: "malformed", detail: expect.stringContaining("dot segment") });
  });

  test("a query may hold encoded dots and slashes", async () => {
    expect((await send({ path: "/v1/certificates?name=urn%3Aa%2Fb%2e%2e" })).status).toBe(200);
  });

  test("a query where none is taken is 400", async () => {
    expect((await send({ path: "/v1/profiles?x=1" })).status).toBe(400);
  });
});

describe("what reaches no route is a problem document too (S-47)", () => {
  test.for([
    { name: "no Host", bytes: "GET /v1/profiles HTTP/1.1\r\n\r\n", status: 400, code: "malformed" },
    { name: "two Hosts", bytes: "GET /v1/profiles HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", status: 400, code: "malformed" },
    { name: "a Host that is none", bytes: "GET /v1/profiles HTTP/1.1\r\nHost: a b/c@\r\n\r\n", status: 400, code: "malformed" },
    { name: "a target that is no path", bytes: "GET * HTTP/1.1\r\nHost: a\r\n\r\n", status: 400, code: "malformed" },
    { name: "a target with a user", bytes: "GET https://a@b/v1/profiles HTTP/1.1\r\nHost: a\r\n\r\n", status: 400, code: "malformed" },
    { name: "a fragment in the target", bytes: "GET /v1/profiles#a HTTP/1.1\r\nHost: a\r\n\r\n", status: 400, code: "malformed" },
    { name: "a backslash in the target", bytes: "GET /v1\\profiles HTTP/1.1\r\nHost: a\r\n\r\n", status: 400, code: "malformed" },
    { name: "a target beyond ASCII", bytes: "GET /\u00e9 HTTP/1.1\r\nHost: a\r\n\r\n", status: 400, code: "malformed" },
    {
      name: "Content-Length beside Transfer-Encoding",
      bytes: "POST /v1/certificates HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      status: 400,
      code: "malformed",
    },
    {
      name: "another transfer coding",
      bytes: "POST /v1/certificates HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
      status: 501,
      code: "notImplemented",
    },
    {
      name: "chunked twice",
      bytes: "POST /v1/certificates HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
      status: 400,
      code: "malformed",
    },
    { name: "another protocol", bytes: "SSH-2.0-x\r\n", status: 400, code: "malformed" },
    {
      name: "headers of 16 KiB",
      bytes: `GET / HTTP/1.1\r\nHost: a\r\nX: ${"x".repeat(16 * 1024)}\r\n\r\n`,
      status: 431,
      code: "headersTooLarge",
    },
  ])("$name: $status $code", async ({ bytes, status, code }) => {
    const [head = "", body = ""] = (await sendBytes(bytes.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"))).split("\r\n\r\n");
    expect(head).toMatch(new RegExp(`^HTTP/1\\.1 ${status} [^]*\r\ncontent-type: application/problem\\+json`, "i"));
    expect(JSON.parse(body)).toMatchObject({
      status,
      code,
      type: `${service.service.config.baseUrl}/problems/${code}`,
      requestId: expect.stringMatching(/^[0-9a-f]{32}$/),
    });
  });

  test.for([
    { host: "evil.example", code: "unauthenticated" },
    { host: "a:99999999", code: "unauthenticated" },
    { host: "[2001:db8::f]:9443", code: "unauthenticated" },
    { host: "127.0.0.1@evil.example", code: "malformed" },
    { host: "[::", code: "malformed" },
    { host: "x y", code: "malformed" },
    { host: "<script>", code: "malformed" },
    { host: "evil.example/path", code: "malformed" },
    { host: "evil.example:x", code: "malformed" },
    { host: "evil%zz.example", code: "malformed" },
  ])("the Host $host: $code, and nothing in the answer comes of it (RFC 9112 §3.2)", async ({ host, code }) => {
    const answer = await sendBytes(`GET /v1/profiles HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
    expect(answer).toContain(`"code":"${code}"`);
    expect(answer).not.toContain(host);
  });

  test("Accept may come in several lines, which are one list (RFC 9110 §5.3)", async () => {
    const head = `GET /v1/profiles HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${service.adminToken}\r\n`;
    expect(await sendBytes(`${head}Accept: text/html\r\nAccept: application/json\r\nConnection: close\r\n\r\n`)).toMatch(
      /^HTTP\/1\.1 200 /,
    );
  });

  test.for(["Authorization: Bearer a", "Content-Type: application/json", "Idempotency-Key: a"])(
    "%s twice is 400: of two, two readers might take two",
    async (line) => {
      const answer = await sendBytes(`GET /v1/profiles HTTP/1.1\r\nHost: a\r\n${line}\r\n${line}\r\nConnection: close\r\n\r\n`);
      expect(answer).toMatch(/^HTTP\/1\.1 400 [^]*occurs twice/);
    },
  );

  test("OPTIONS * asks for the server as a whole: 204 with the methods there are (RFC 9110 §9.3.7)", async () => {
    const answer = await sendBytes("OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    expect(answer).toMatch(/^HTTP\/1\.1 204 [^]*\r\nallow: GET, HEAD, POST, DELETE, OPTIONS\r\n/i);
  });

  test.for([
    { target: "https://evil.example/problems/badCSR", status: 200 },
    { target: "HTTP://evil.example:80/problems/badCSR?", status: 200 },
    { target: "https://evil.example", status: 404 },
    { target: "https://evil.example?x", status: 404 },
  ])("the target $target is served as its path: $status (RFC 9112 §3.2.2)", async ({ target, status }) => {
    expect(await sendBytes(`GET ${target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`)).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
  });
});
