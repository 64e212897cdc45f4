import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startService, type TestService } from "../../support/service.ts";
import { exchange, exchangeBytes, type Sent } from "../exchange.ts";

let service: TestService;

beforeAll(async () => {
  service = await startService();
});
afterAll(() => service[Symbol.asyncDispose]());

function send(sent: Sent) {
  return exchange(service.service.listeners.status, sent);
}

describe("/ca/{slug}.cer: what caIssuers leads to (RFC 5280 §4.2.2.1)", () => {
  test.for([
    { slug: "root-1", file: "root.pem" },
    { slug: "issuing-1", file: "chain.pem" },
  ])("$slug: one DER certificate as application/pkix-cert (RFC 2585 §4.1)", async ({ slug, file }) => {
    const answer = await send({ path: `/ca/${slug}.cer` });
    const expected = new X509Certificate(await readFile(join(service.ground.directory, file))).raw;
    expect([answer.status, answer.headers["content-type"], answer.body]).toEqual([200, "application/pkix-cert", expected]);
    expect(answer.headers).toMatchObject({
      "content-length": String(expected.length),
      etag: expect.stringMatching(/^"[0-9a-f]{64}"$/),
      "last-modified": expect.stringMatching(/ GMT$/),
      "cache-control": "public, max-age=86400",
      "x-content-type-options": "nosniff",
    });
  });

  test("HEAD has the same headers and no body", async () => {
    const [get, head] = [await send({ path: "/ca/root-1.cer" }), await send({ method: "HEAD", path: "/ca/root-1.cer" })];
    const { date: _, ...rest } = get.headers;
    expect(head.headers).toMatchObject(rest);
    expect(head.body.length).toBe(0);
  });

  test("a client that has it is told so with 304: by entity tag, or by time when it sends no tag (RFC 9110 §13.2.2)", async () => {
    const { etag = "", "last-modified": modified = "" } = (await send({ path: "/ca/root-1.cer" })).headers;
    const older = new Date(Date.parse(modified) - 1000).toUTCString();
    const status = async (headers: Record<string, string>) => (await send({ path: "/ca/root-1.cer", headers })).status;
    expect(await status({ "if-none-match": etag })).toBe(304);
    expect(await status({ "if-none-match": `"x", W/${etag}` })).toBe(304);
    expect(await status({ "if-none-match": "*" })).toBe(304);
    expect(await status({ "if-none-match": '"x"' })).toBe(200);
    expect(await status({ "if-none-match": '"x"', "if-modified-since": modified })).toBe(200);
    expect(await status({ "if-modified-since": modified })).toBe(304);
    expect(await status({ "if-modified-since": older })).toBe(200);
    expect(await status({ "if-none-match": `"a,b",${etag}` })).toBe(304);
    expect(await status({ "if-none-match": etag.slice(1, -1) })).toBe(200);
    const { body, headers } = await send({ path: "/ca/root-1.cer", headers: { "if-none-match": etag } });
    expect([body.length, headers.etag]).toEqual([0, etag]);
  });

  test.for(["yesterday", "2090-01-01T00:00:00Z", "2090", "Mon, 01 Jan 2090 00:00:00 GMT", "Sun, 1 Jan 2090 00:00:00 GMT"])(
    "If-Modified-Since that is no HTTP-date is as if it were not there: %s (RFC 9110 §13.1.3)",
    async (date) => {
      expect((await send({ path: "/ca/root-1.cer", headers: { "if-modified-since": date } })).status).toBe(200);
      expect((await send({ path: "/ca/root-1.cer", headers: { "if-unmodified-since": date } })).status).toBe(200);
    },
  );

  test("a client that wants another one is told so with 412, whatever it has (RFC 9110 §13.1.1, §13.1.4, §13.2.2)", async () => {
    const { etag = "", "last-modified": modified = "" } = (await send({ path: "/ca/root-1.cer" })).headers;
    const older = new Date(Date.parse(modified) - 1000).toUTCString();
    const status = async (headers: Record<string, string>) => (await send({ path: "/ca/root-1.cer", headers })).status;
    expect(await status({ "if-match": etag })).toBe(200);
    expect(await status({ "if-match": "*" })).toBe(200);
    expect(await status({ "if-match": `"x", ${etag}` })).toBe(200);
    expect(await status({ "if-match": '"x"' })).toBe(412);
    expect(await status({ "if-match": `W/${etag}` })).toBe(412);
    expect(await status({ "if-unmodified-since": modified })).toBe(200);
    expect(await status({ "if-unmodified-since": older })).toBe(412);
    expect(await status({ "if-match": etag, "if-unmodified-since": older })).toBe(200);
    expect(await status({ "if-match": '"x"', "if-none-match": etag })).toBe(412);
    expect(await status({ "if-match": etag, "if-none-match": etag })).toBe(304);
    expect(await status({ "if-unmodified-since": older, "if-modified-since": modified })).toBe(412);
  });

  test("another method is 405 with Allow", async () => {
    const answer = await send({ method: "POST", path: "/ca/root-1.cer", body: "x" });
    expect([answer.status, answer.headers.allow]).toEqual([405, "GET, HEAD"]);
  });
});

test.for([
  { name: "1,024 octets are looked at", length: 1024, status: 404 },
  { name: "one more is 414", length: 1025, status: 414 },
])("a request target is bounded (RFC 9110 §15.5.15): $name", async ({ length, status }) => {
  expect((await send({ path: `/ca/${"a".repeat(length - "/ca/".length)}` })).status).toBe(status);
});

describe("everything else is 404, in text; no path of a URL becomes a path of a file (S-30)", () => {
  test.for([
    "/",
    "/ca/",
    "/ca/root-2.cer",
    "/ca/root-1",
    "/ca/root-1.cer/",
    "/ca/root-1.cer?x",
    "/ca/ROOT-1.cer",
    "//ca/root-1.cer",
    "/ca//root-1.cer",
    "/ca/../ca/root-1.cer",
    "/ca/%2e%2e/ca/root-1.cer",
    "/ca/root%2d1.cer",
    "/ca/root-1.cer%00",
    "/ca/constructor.cer",
    "/ca/__proto__.cer",
    "/etc/passwd",
    "/../../../../etc/passwd",
    "/v1/certificates",
    "http://localhost/",
    "http://localhost",
  ])("%s", async (path) => {
    const answer = await exchangeBytes(
      service.service.listeners.status.port,
      `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`,
    );
    expect(answer).toMatch(/^HTTP\/1\.1 404 [^]*content-type: text\/plain; charset=utf-8\r\n/i);
    expect(answer).toMatch(/\r\n\r\nNothing stands under this path\.\n$/);
  });
});

/** Bytes as they are to the status listener, and its answer. */
function sendBytes(bytes: string): Promise<string> {
  return exchangeBytes(service.service.listeners.status.port, bytes);
}

describe("a request that no HTTP server should answer is not answered here either (RFC 9112 §3.2)", () => {
  const line = "GET /ca/root-1.cer HTTP/1.1\r\n";
  test.for([
    { name: "no Host", bytes: `${line}\r\n`, status: 400 },
    { name: "two Hosts", bytes: `${line}Host: a\r\nHost: a\r\n\r\n`, status: 400 },
    { name: "a Host that is none", bytes: `${line}Host: a b/c@\r\n\r\n`, status: 400 },
    { name: "a target of another form", bytes: "GET * HTTP/1.1\r\nHost: a\r\n\r\n", status: 400 },
    { name: "a backslash in the target", bytes: "GET /ca\\root-1.cer HTTP/1.1\r\nHost: a\r\n\r\n", status: 400 },
    { name: "another scheme", bytes: "GET ftp://a/ca/root-1.cer HTTP/1.1\r\nHost: a\r\n\r\n", status: 400 },
    { name: "another transfer coding", bytes: `${line}Host: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`, status: 501 },
  ])("$name: $status in text, and the connection ends", async ({ bytes, status }) => {
    expect(await sendBytes(bytes)).toMatch(
      new RegExp(`^HTTP/1\\.1 ${status} [^]*content-type: text/plain[^]*connection: close[^]*\\.\n$`, "i"),
    );
  });
});

test.for([
  { name: "HTTP/1.0 without a Host", bytes: "GET /ca/root-1.cer HTTP/1.0\r\n\r\n" },
  { name: "an empty Host", bytes: "GET /ca/root-1.cer HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n" },
  {
    name: "a target in absolute form (RFC 9112 §3.2.2)",
    bytes: "GET http://a.example/ca/root-1.cer HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n",
  },
])("$name is served", async ({ bytes }) => {
  expect(await sendBytes(bytes)).toMatch(/^HTTP\/1\.1 200 [^]*content-type: application\/pkix-cert\r\n/i);
});

test("OPTIONS * asks for the server as a whole: 204 with the methods there are (RFC 9110 §9.3.7)", async () => {
  expect(await sendBytes("OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")).toMatch(
    /^HTTP\/1\.1 204 [^]*allow: GET, HEAD, POST, OPTIONS\r\n/i,
  );
});
