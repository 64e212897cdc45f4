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
    expect(await status({ "if-modified-since": "yesterday" })).toBe(200);
    const { body, headers } = await send({ path: "/ca/root-1.cer", headers: { "if-none-match": etag } });
    expect([body.length, headers.etag]).toEqual([0, etag]);
  });

  test("another method is 405 with Allow", async () => {
    const answer = await send({ method: "POST", path: "/ca/root-1.cer", body: "x" });
    expect([answer.status, answer.headers.allow]).toEqual([405, "GET, HEAD"]);
  });
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
    "/ca\\root-1.cer",
    "/ca/constructor.cer",
    "/ca/__proto__.cer",
    "/etc/passwd",
    "/../../../../etc/passwd",
    "/v1/certificates",
    `/ca/${"a".repeat(2000)}.cer`,
    "http://localhost/ca/root-1.cer",
    "*",
  ])("%s", async (path) => {
    const answer = await exchangeBytes(
      service.service.listeners.status.port,
      `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`,
    );
    expect(answer).toMatch(/^HTTP\/1\.1 404 [^]*content-type: text\/plain; charset=utf-8\r\n/i);
    expect(answer).toMatch(/\r\n\r\nNothing stands under this path\.\n$/);
  });
});
