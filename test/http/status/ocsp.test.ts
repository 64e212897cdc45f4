import { createHash } from "node:crypto";
import { once } from "node:events";
import { connect } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { serviceLimits } from "../../../src/http/server.ts";
import { issuedSerial, opensslOcspRequest, opensslOcspVerdict, revokeSerial } from "../../support/ocsp.ts";
import { listenForOcsp, ocspDoors } from "../../support/ocsp-doors.ts";
import { startService, type TestService } from "../../support/service.ts";
import { exchange, exchangeBytes, type Sent } from "../exchange.ts";
import { clockOf } from "../../support/clock.ts";

let service: TestService;
let issuer: string;
let root: string;
let everything: Asked;

beforeAll(async () => {
  service = await startService();
  [issuer, root] = ["chain.pem", "root.pem"].map((name) => join(service.ground.directory, name)) as [string, string]; // two in, two out
  everything = await askedWithEverything();
});
afterAll(() => service[Symbol.asyncDispose]());

const send = (sent: Sent) => exchange(service.service.listeners.status, sent);
const post = (body: Uint8Array | string, more: Partial<Sent> = {}) =>
  send({ method: "POST", path: "/ocsp/issuing-1", headers: { "content-type": "application/ocsp-request" }, body, ...more });
const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64");
const pathOf = (bytes: Uint8Array): string => `/ocsp/issuing-1/${encodeURIComponent(base64(bytes))}`;

const malformedRequest = "30030a0101";

type Asked = { readonly serials: readonly string[]; readonly hash: "sha1" | "sha256"; readonly request: Uint8Array };

/** OpenSSL asks about a certificate that was issued just now. */
async function asked({ hash = "sha256", nonce = false }: { hash?: "sha1" | "sha256"; nonce?: boolean } = {}): Promise<Asked> {
  const serials = [await issuedSerial(service.service)];
  return { serials, hash, request: await opensslOcspRequest({ serials, hash, nonce, issuer }) };
}

/** A request whose base64 has all characters that a URL may escape: openssl's, with the serial number of another certificate. */
async function askedWithEverything(): Promise<Asked> {
  // Of 83 octets: with SHA-256 it would be 111, whose base64 needs no padding.
  const first = await asked({ hash: "sha1" });
  for (;;) {
    const serial = await issuedSerial(service.service);
    const request = Buffer.from(
      Buffer.from(first.request)
        .toString("hex")
        .replace(first.serials[0] ?? "", serial),
      "hex",
    );
    if (/(?=.*\+)(?=.*\/)(?=.*=)/.test(base64(request))) return { serials: [serial], hash: first.hash, request };
  }
}

function longPath(length: number): string {
  const start = "/ocsp/issuing-1/";
  return `${start}${"A".repeat(length - start.length)}`;
}

describe("GET carries the request in the path (RFC 6960 A.1, XO-1)", () => {
  test("in every spelling that clients have of it, and the answer is that of POST", async () => {
    const { request, serials, hash } = everything;
    const text = base64(request);
    const octets = [...text].map((character) => `%${character.charCodeAt(0).toString(16)}`).join("");
    const spellings = [
      text,
      encodeURIComponent(text),
      encodeURIComponent(text).toLowerCase().includes("%2b")
        ? encodeURIComponent(text).replaceAll(/%../g, (code) => code.toLowerCase())
        : text,
      text.replaceAll("=", "%3D"),
      `/${text}`,
      `//${encodeURIComponent(text)}`,
      octets,
    ];
    const { body } = await post(request);
    expect(await opensslOcspVerdict(body, { serials, hash, issuer, root })).toMatchObject({ verified: true, statuses: ["good"] });
    for (const spelling of spellings) {
      const answer = await send({ path: `/ocsp/issuing-1/${spelling}` });
      expect([answer.status, answer.headers["content-type"], answer.body], spelling).toEqual([200, "application/ocsp-response", body]);
    }
  });

  test.for([
    { name: "nothing", tail: () => "" },
    { name: "slashes alone", tail: () => "//" },
    { name: "a space", tail: (text: string) => `${text.slice(0, 8)}%20${text.slice(8)}` },
    { name: "a line break", tail: (text: string) => `${text}%0A` },
    { name: "no padding", tail: (text: string) => text.replaceAll("=", "") },
    { name: "padding in the middle", tail: (text: string) => `${text}${text}` },
    { name: "spare bits that are not zero", tail: (text: string) => text.replace(/(.)(=+)$/, "/$2") },
    { name: "base64url", tail: (text: string) => text.replaceAll("+", "-").replaceAll("/", "_") },
    { name: "escaped twice", tail: (text: string) => encodeURIComponent(encodeURIComponent(text)) },
    { name: "half an escape", tail: (text: string) => text.replace(/=+$/, "%3") },
    { name: "an octet above 127", tail: (text: string) => `${text}%ff` },
    { name: "a query", tail: (text: string) => `${text}?x=1` },
    { name: "a last character too few", tail: (text: string) => text.slice(0, -4) },
    { name: "another path behind it", tail: (text: string) => `${text}/..` },
  ])("what is not the canonical base64 of a request is malformedRequest, with status 200: $name", async ({ tail }) => {
    const answer = await send({ path: `/ocsp/issuing-1/${tail(base64(everything.request))}` });
    expect([answer.status, answer.body.toString("hex")]).toEqual([200, malformedRequest]);
  });

  test("a target of 1,024 octets is read, and one more is 414 (RFC 9110 §15.5.15)", async () => {
    const [longest, longer] = [await send({ path: longPath(1024) }), await send({ path: longPath(1025) })];
    expect([longest.status, longest.body.toString("hex"), longer.status]).toEqual([200, malformedRequest, 414]);
  });
});

describe("headers let caches keep an answer no longer than it is good (RFC 9919 §6, §7.2, XO-16)", () => {
  test("of an answer without a nonce, by GET, HEAD and POST", async () => {
    const { request, serials, hash } = await asked();
    const answers = [await send({ path: pathOf(request) }), await post(request), await send({ path: pathOf(request) })];
    const { text } = await opensslOcspVerdict(answers[0]?.body ?? new Uint8Array(), { serials, hash, issuer, root });
    const time = (name: string) => new Date(new RegExp(`${name}: (.*)`).exec(text)?.[1] ?? "").toUTCString();
    for (const { headers, body } of answers) {
      expect(headers).toMatchObject({
        "content-type": "application/ocsp-response",
        "content-length": String(body.length),
        date: expect.stringMatching(/ GMT$/),
        "last-modified": time("This Update"),
        expires: time("Next Update"),
        etag: `"${createHash("sha256").update(body).digest("hex")}"`,
        "cache-control": "max-age=60, public, no-transform, must-revalidate",
        "x-content-type-options": "nosniff",
      });
      expect(headers).not.toHaveProperty("pragma");
    }
    const { date: _, ...whole } = answers[0]?.headers ?? {};
    const head = await send({ method: "HEAD", path: pathOf(request) });
    expect([head.status, head.body.length]).toEqual([200, 0]);
    expect(head.headers).toMatchObject(whole);
  });

  test("who has the answer is told so with 304 (RFC 9110 §13.2.2)", async () => {
    const { request } = await asked();
    const path = pathOf(request);
    const { etag = "", "last-modified": modified = "", "cache-control": control } = (await send({ path })).headers;
    const known = await send({ path, headers: { "if-none-match": etag } });
    expect([known.status, known.body.length, known.headers.etag, known.headers["cache-control"]]).toEqual([304, 0, etag, control]);
    expect((await send({ path, headers: { "if-modified-since": modified } })).status).toBe(304);
    expect((await send({ path, headers: { "if-none-match": '"x"' } })).status).toBe(200);
  });

  test("of an answer with a nonce: no cache gives it to anybody else (XO-15)", async () => {
    const { request, serials, hash } = await asked({ nonce: true });
    const answers = [await send({ path: pathOf(request) }), await send({ path: pathOf(request) }), await post(request)];
    for (const { headers, body } of answers) {
      expect(headers).toMatchObject({ "cache-control": "private, max-age=0, no-transform, must-revalidate" });
      expect(headers).not.toHaveProperty("etag");
      expect(headers).not.toHaveProperty("expires");
      expect(await opensslOcspVerdict(body, { serials, hash, issuer, root })).toMatchObject({ verified: true, statuses: ["good"] });
    }
    expect(new Set(answers.map(({ body }) => base64(body))).size).toBe(3);
  });

  test.for([
    { name: "malformedRequest", request: () => Promise.resolve(new Uint8Array([0x30, 0])), hex: malformedRequest },
    {
      name: "unauthorized, about a serial number that was never assigned",
      request: () => opensslOcspRequest({ serials: ["5a".repeat(16)], issuer }),
      hex: "30030a0106",
    },
  ])("of an error: nobody keeps it (XO-17): $name", async ({ request, hex }) => {
    const der = await request();
    for (const answer of [await send({ path: pathOf(der) }), await post(der)]) {
      expect([answer.status, answer.body.toString("hex")]).toEqual([200, hex]);
      expect(answer.headers).toMatchObject({ "content-type": "application/ocsp-response", "cache-control": "no-store" });
      for (const name of ["etag", "expires", "last-modified", "pragma"]) expect(answer.headers).not.toHaveProperty(name);
    }
  });

  test("max-age ends where the answer is renewed; where that is late, caches come back within a minute (RFC 9919 §7.1)", async () => {
    const { request } = await asked();
    const path = pathOf(request);
    const { headers } = await send({ path });
    const half = (Date.parse(String(headers["last-modified"])) + Date.parse(String(headers.expires))) / 2;
    const doors = ocspDoors(service.service);
    // The same answers under a clock that stands.
    let now = half;
    await using listener = await listenForOcsp({ ...doors, clock: clockOf(() => new Date(now)) });
    const at = async (milliseconds: number) => {
      now = half + milliseconds;
      return String((await exchange(listener, { path })).headers["cache-control"]).split(",")[0];
    };
    expect(await at(-61_000)).toBe("max-age=60");
    expect(await at(-60_000)).toBe("max-age=60");
    expect(await at(-59_999)).toBe("max-age=59");
    expect(await at(-30_500)).toBe("max-age=30");
    expect(await at(-1)).toBe("max-age=0");
    expect(await at(1)).toBe("max-age=60");
    expect(await at(12 * 3_600_000 - 10_000)).toBe("max-age=10");
  });
});

test("a revocation is seen by who asks by GET, although the answer before it was kept by its path (XO-17)", async () => {
  const { request, serials, hash } = await asked();
  const verdict = async () => await opensslOcspVerdict((await send({ path: pathOf(request) })).body, { serials, hash, issuer, root });
  expect([(await verdict()).statuses, (await verdict()).statuses]).toEqual([["good"], ["good"]]);
  await revokeSerial(service.service, serials[0] ?? "", 1);
  await expect.poll(async () => (await verdict()).statuses, { timeout: 10_000 }).toEqual(["revoked"]);
});

test("the answer that everybody gets is found by path for requests without a nonce alone: those with one would fill what paths are kept in (XO-15)", async () => {
  const { service: chancery } = service;
  // No client may have an answer of its own.
  const doors = ocspDoors({ ...chancery, ocsp: { ...chancery.ocsp, takeSignature: () => undefined } });
  let decoded = 0;
  const counted: typeof doors.ocsp = (...args) => {
    decoded += 1;
    return doors.ocsp(...args);
  };
  await using listener = await listenForOcsp({ ...doors, ocsp: counted });
  const { serials, hash, request: withNonce } = await asked({ nonce: true });
  const plain = await opensslOcspRequest({ serials, hash, issuer });
  const decodings = async (request: Uint8Array) => {
    const before = decoded;
    const answers = [await exchange(listener, { path: pathOf(request) }), await exchange(listener, { path: pathOf(request) })];
    return { count: decoded - before, bodies: answers.map(({ body }) => base64(body)) };
  };
  const [first, second] = [await decodings(withNonce), await decodings(plain)];
  expect([first.count, second.count]).toEqual([2, 1]);
  expect(new Set([...first.bodies, ...second.bodies]).size).toBe(1);
});

/** Answers so far, by status, hash and source. */
const counts = async (): Promise<ReadonlyMap<string, number>> => {
  const { text } = await exchange(service.service.listeners.ops, { path: "/metrics" });
  const series = text.matchAll(/^chancery_ocsp_answers_total\{status="(\w+)",hash="(\w+)",source="(\w+)"\} (\d+)$/gm);
  return new Map([...series].map(([, status, hash, source, value]) => [`${status} ${hash} ${source}`, Number(value)]));
};

test("every answer is counted once, errors too, by status, hash and whether it was found by its path, kept, or made for one request alone (XO-3)", async () => {
  const { request, serials } = await asked({ hash: "sha1" });
  const bySha256 = await opensslOcspRequest({ serials, hash: "sha256", issuer });
  const withNonce = await opensslOcspRequest({ serials, hash: "sha256", nonce: true, issuer });
  const before = await counts();
  const { headers } = await send({ path: pathOf(request) });
  await send({ path: pathOf(request) });
  await send({ path: pathOf(request), method: "HEAD" });
  expect((await send({ path: pathOf(request), headers: { "if-none-match": String(headers["etag"]) } })).status).toBe(304);
  await post(request);
  for (const each of [bySha256, bySha256, withNonce]) await send({ path: pathOf(each) });
  for (const each of [Buffer.from("none"), await opensslOcspRequest({ serials: ["4011"], issuer })]) await post(each);
  const added = [...(await counts())].map(([name, value]) => [name, value - (before.get(name) ?? 0)]).filter(([, value]) => value !== 0);
  expect(Object.fromEntries(added)).toEqual({
    "good sha1 kept": 2,
    "good sha1 path": 3,
    "good sha256 kept": 1,
    "good sha256 path": 1,
    "good sha256 alone": 1,
    "malformedRequest other alone": 1,
    "unauthorized sha1 alone": 1,
  });
});

test("bytes that lint refuses are not signed: internalError, and the log has the rules", async () => {
  const { ocsp } = service.service;
  const responder = ocsp.responders.get("issuing-1");
  if (!responder) throw new Error("there is no responder");
  const told: unknown[] = [];
  const signed: string[] = [];
  const ca = {
    ...ocsp.ca,
    events: { ...ocsp.ca.events, tell: (_: string, event: string, fields: unknown) => void told.push([event, fields]) },
    hsm: { ...ocsp.ca.hsm, sign: () => Promise.reject(new Error(`signed ${signed.push("")} times`)) },
  };
  const wrong = { ...responder, keyHash: new Uint8Array(20) };
  const doors = ocspDoors({ ...service.service, ocsp: { ...ocsp, ca, responders: new Map([["issuing-1", wrong]]) } });
  await using listener = await listenForOcsp(doors);
  const { request } = await asked();
  expect((await exchange(listener, { path: pathOf(request) })).body.toString("hex")).toBe("30030a0102");
  expect(signed).toEqual([]);
  expect(told).toContainEqual(["lint.refused", { authority: "issuing-1", rules: ["chancery_ocsp_responder_not_by_key"] }]);
});

describe("POST carries the request in its body (RFC 6960 A.1)", () => {
  test.for([
    { name: "with a parameter of the media type", sent: { headers: { "content-type": "Application/OCSP-Request; charset=binary" } } },
    { name: "in chunks", sent: { chunked: true } },
    { name: "to the path with a slash behind it", sent: { path: "/ocsp/issuing-1/" } },
  ])("$name", async ({ sent }) => {
    const { request, serials, hash } = await asked();
    const answer = await post(request, sent);
    expect(await opensslOcspVerdict(answer.body, { serials, hash, issuer, root })).toMatchObject({ verified: true, statuses: ["good"] });
  });

  test.for([
    { name: "no media type", headers: {} },
    { name: "another media type", headers: { "content-type": "application/octet-stream" } },
    { name: "a longer name", headers: { "content-type": "application/ocsp-request2" } },
    { name: "a content coding", headers: { "content-type": "application/ocsp-request", "content-encoding": "gzip" } },
  ])("$name is 415 with the type that is taken", async ({ headers }) => {
    const answer = await post(Buffer.from("3000", "hex"), { headers });
    expect([answer.status, answer.headers.accept]).toEqual([415, "application/ocsp-request"]);
  });

  test.for([
    { name: "2,048 octets", length: 2_048, chunked: false, status: 200 },
    { name: "2,049 octets", length: 2_049, chunked: false, status: 413 },
    { name: "2,049 octets in chunks", length: 2_049, chunked: true, status: 413 },
    { name: "a megabyte", length: 1_000_000, chunked: false, status: 413 },
  ])("a body of $name is $status", async ({ length, chunked, status }) => {
    expect((await post(Buffer.alloc(length), { chunked })).status).toBe(status);
  });

  test.for([
    { name: "nothing", body: "" },
    { name: "base64", body: "MAA=" },
    { name: "a response", body: Buffer.from(malformedRequest, "hex") },
  ])("$name is malformedRequest", async ({ body }) => {
    const answer = await post(body);
    expect([answer.status, answer.body.toString("hex")]).toEqual([200, malformedRequest]);
  });

  test("a body that does not come to its end frees its connection, and others are answered meanwhile (S-48)", async () => {
    const limits = { ...serviceLimits, requestTimeoutMs: 300, headersTimeoutMs: 200, checkingIntervalMs: 50 };
    await using listener = await listenForOcsp(ocspDoors(service.service), limits);
    const head = "POST /ocsp/issuing-1 HTTP/1.1\r\nHost: a\r\nContent-Type: application/ocsp-request\r\nContent-Length: 84\r\n\r\n";
    const slow = exchangeBytes(listener.port, `${head}0`);
    const { request } = await asked();
    expect((await exchange(listener, { path: pathOf(request) })).status).toBe(200);
    expect(await slow).toMatch(/^HTTP\/1\.1 408 /);
  });

  test("a client that goes away in the middle of its body harms nobody", async () => {
    const { port } = service.service.listeners.status;
    const socket = connect({ host: "127.0.0.1", port });
    await once(socket, "connect");
    socket.write("POST /ocsp/issuing-1 HTTP/1.1\r\nHost: a\r\nContent-Type: application/ocsp-request\r\nContent-Length: 84\r\n\r\n0");
    socket.destroy();
    await once(socket, "close");
    const { request } = await asked();
    expect((await post(request)).status).toBe(200);
  });
});

describe("paths and methods that there are not", () => {
  test.for([
    { path: "/ocsp/issuing-2", status: 404 },
    { path: "/ocsp/issuing-2/MAA=", status: 404 },
    // No certificate of a root names a responder.
    { path: "/ocsp/root-1/MAA=", status: 404 },
    { path: "/ocsp", status: 404 },
    { path: "/ocsp/", status: 404 },
    { path: "//ocsp/issuing-1/MAA=", status: 404 },
    { path: "/ocsp/ISSUING-1/MAA=", status: 404 },
    { path: "/ocsp/issuing%2d1/MAA=", status: 404 },
    { path: "/ocsp/constructor/MAA=", status: 404 },
    { method: "PUT", path: "/ocsp/issuing-1", status: 405, allow: "GET, HEAD, POST" },
    { method: "POST", path: "/ocsp/issuing-1/MAA=", status: 405, allow: "GET, HEAD" },
    { method: "DELETE", path: "/ocsp/issuing-1/MAA=", status: 405, allow: "GET, HEAD" },
  ])("$method $path is $status", async ({ method = "GET", path, status, allow }) => {
    const answer = await send({ method, path });
    expect([answer.status, answer.headers.allow]).toEqual([status, allow]);
  });
});
