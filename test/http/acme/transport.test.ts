import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { connect } from "node:tls";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type AcmeAnswer, acmeClient, type AcmeClient, encoded, signed, signingKey, type SigningKey } from "../../support/acme-client.ts";
import { type MovedClock, movedClock } from "../../support/clock.ts";
import { standingGround, type Ground, startService, type TestService } from "../../support/service.ts";
import { exchange } from "../exchange.ts";

const baseUrl = "https://ca.example.org";
let clock: MovedClock;
let ground: Ground;
let service: TestService;
/** Has an account. */
let client: AcmeClient;
let orderUrl: string;
let authorizationUrl: string;
let challengeUrl: string;

beforeAll(async () => {
  clock = movedClock();
  ground = await standingGround({ CHANCERY_BASE_URL: baseUrl });
  service = await startService({ clock }, ground);
  client = await acmeClient(service);
  await client.register();
  const order = await client.order(["a.example.org"]);
  orderUrl = order.header("location") ?? "";
  [authorizationUrl = ""] = order.json["authorizations"] as string[];
  const authorization = await client.post(authorizationUrl, "");
  challengeUrl = (authorization.json["challenges"] as { url: string }[])[0]?.url ?? "";
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
  await ground[Symbol.asyncDispose]();
});

/** What must hold of every answer to a POST, errors included; and that its nonce is good. */
async function expectPostAnswer(answer: AcmeAnswer): Promise<void> {
  expect(answer.header("cache-control")).toBe("no-store");
  expect(answer.header("access-control-allow-origin")).toBe("*");
  const nonce = answer.header("replay-nonce") ?? "";
  expect(nonce).toMatch(/^[\w-]{20,64}$/);
  const next = await client.post(client.account(), "", { protected: { nonce } });
  expect(next.status).toBe(200);
}

function expectProblem(answer: AcmeAnswer, problem: string, status: number): void {
  expect({ status: answer.status, problem: answer.problem }).toEqual({ status, problem });
  expect(answer.json["status"]).toBe(status);
  expect(answer.detail).not.toBe("");
}

/** The JWS with another signature. */
function flipped(jws: Record<string, unknown>, change: (signature: Buffer) => Buffer): Record<string, unknown> {
  return {
    ...jws,
    signature: change(Buffer.from(String(jws["signature"]), "base64url")).toString("base64url"),
  };
}

function signingInput(jws: Record<string, unknown>): Buffer {
  return Buffer.from(`${String(jws["protected"])}.${String(jws["payload"])}`);
}

function expectBadNonce(answer: AcmeAnswer): void {
  expectProblem(answer, "badNonce", 400);
  expect(answer.detail).toContain("JWS has an invalid anti-replay nonce");
}

/** How many an operator sees. */
async function refusedNonces(): Promise<number> {
  const { text } = await exchange(service.service.listeners.ops, { path: "/metrics", method: "GET" });
  return Number(/^chancery_events_total\{event="nonce\.refused"\} (\d+)$/m.exec(text)?.[1] ?? 0);
}

/** Asks for an account by the key's jwk, with this and that in its header. */
function register(key: SigningKey, header: object = {}): Promise<AcmeAnswer> {
  return client.post(client.url("new-account"), {}, { key, protected: { kid: undefined, jwk: key.jwk, alg: key.alg, ...header } });
}

function jwkOf(key: KeyObject): Record<string, unknown> {
  return { ...key.export({ format: "jwk" }) };
}

function rsaJwk(options: { modulusLength: number; publicExponent?: number }): Record<string, unknown> {
  return jwkOf(generateKeyPairSync("rsa", options).publicKey);
}

/** Sends a POST to newOrder byte for byte, and gives everything that comes until the connection ends. */
async function raw(rest: string): Promise<string> {
  const ca = await readFile(join(ground.directory, "root.pem"), "utf8");
  return await new Promise((resolve, reject) => {
    const socket = connect({ host: "127.0.0.1", port: service.service.listeners.tls.port, servername: "localhost", ca });
    let text = "";
    socket.setEncoding("latin1");
    socket.on("data", (data: string) => (text += data));
    // The service may have answered and closed before it took everything.
    socket.on("error", (error) => (text === "" ? reject(error) : resolve(text)));
    socket.on("close", () => resolve(text));
    socket.write(`POST /acme/default/new-order HTTP/1.1\r\nHost: ca.example.org\r\nContent-Type: application/jose+json\r\n${rest}`);
  });
}

type Row = { readonly id: string; readonly name: string; readonly ask: () => Promise<AcmeAnswer> };

describe("malformed 400 with a nonce that works", () => {
  const valid = { identifiers: [{ type: "dns", value: "b.example.org" }] };
  const posting =
    (otherwise: () => Parameters<AcmeClient["post"]>[2], payload: object | string = valid) =>
    () =>
      client.post(client.url("new-order"), payload, otherwise());
  const deep = `${'{"a":'.repeat(9)}1${"}".repeat(9)}`;
  const wide = JSON.stringify(Object.fromEntries(Array.from({ length: 65 }, (_, index) => [`m${index}`, 1])));

  test.for<Row>([
    { id: "AJ-5", name: "Replay-Nonce as a request header", ask: posting(() => ({ headers: { "replay-nonce": "AAAA" } })) },
    { id: "AJ-8", name: "a payload nine levels deep", ask: () => client.post(client.url("new-order"), deep) },
    { id: "AJ-8", name: "an object of 65 members", ask: () => client.post(client.url("new-order"), wide) },
    {
      id: "AJ-8",
      name: "a member of the JWS twice",
      ask: posting(() => ({ body: '{"protected":"e30","protected":"e30","payload":"","signature":"AA"}' })),
    },
    { id: "AJ-8", name: "a member of the protected header twice", ask: posting(() => ({ header: '{"alg":"ES256","alg":"ES256"}' })) },
    { id: "AJ-9", name: "no body", ask: posting(() => ({ body: "" })) },
    { id: "AJ-9", name: "an array", ask: posting(() => ({ jws: (jws) => [jws] })) },
    { id: "AJ-9", name: "no JSON", ask: posting(() => ({ body: "jws" })) },
    { id: "AJ-9", name: "an unprotected header", ask: posting(() => ({ jws: (jws) => ({ ...jws, header: {} }) })) },
    { id: "AJ-9", name: "the general serialization", ask: posting(() => ({ jws: (jws) => ({ ...jws, signatures: [] }) })) },
    {
      id: "AJ-9",
      name: "the compact serialization",
      ask: () => client.post(client.url("new-order"), valid, { body: "e30.e30.AAAA" }),
    },
    { id: "AJ-9", name: "no protected header", ask: posting(() => ({ jws: (jws) => ({ ...jws, protected: undefined }) })) },
    { id: "AJ-9", name: "no payload", ask: posting(() => ({ jws: (jws) => ({ ...jws, payload: undefined }) })) },
    { id: "AJ-9", name: "no signature", ask: posting(() => ({ jws: (jws) => ({ ...jws, signature: undefined }) })) },
    { id: "AJ-9", name: "an empty signature", ask: posting(() => ({ jws: (jws) => ({ ...jws, signature: "" }) })) },
    { id: "AJ-9", name: "no alg", ask: posting(() => ({ protected: { alg: undefined } })) },
    { id: "AJ-10", name: "crit", ask: posting(() => ({ protected: { crit: ["exp"] } })) },
    { id: "AJ-10", name: "b64 (RFC 7797)", ask: posting(() => ({ protected: { b64: false } })) },
    { id: "AJ-11", name: "padding", ask: posting(() => ({ jws: (jws) => ({ ...jws, signature: `${String(jws["signature"])}==` }) })) },
    { id: "AJ-11", name: "the other alphabet", ask: posting(() => ({ jws: (jws) => ({ ...jws, signature: "a+/b" }) })) },
    { id: "AJ-11", name: "a line break", ask: posting(() => ({ jws: (jws) => ({ ...jws, payload: `${String(jws["payload"])}\n` }) })) },
    { id: "AJ-11", name: "bits behind the last octet", ask: posting(() => ({ jws: (jws) => ({ ...jws, signature: "AB" }) })) },
    { id: "AJ-19", name: "both jwk and kid", ask: posting(() => ({ protected: { jwk: client.key.jwk } })) },
    { id: "AJ-19", name: "neither jwk nor kid", ask: posting(() => ({ protected: { kid: undefined } })) },
    { id: "AJ-19", name: "jwk where kid is due", ask: posting(() => ({ protected: { kid: undefined, jwk: client.key.jwk } })) },
    { id: "AJ-19", name: "kid at newAccount", ask: () => client.post(client.url("new-account"), {}) },
    {
      id: "AJ-22",
      name: "kid of another host",
      ask: posting(() => ({ protected: { kid: client.account().replace("ca.example.org", "example.org") } })),
    },
    { id: "AJ-22", name: "kid of another path", ask: posting(() => ({ protected: { kid: orderUrl } })) },
    { id: "AJ-22", name: "kid with a query", ask: posting(() => ({ protected: { kid: `${client.account()}?a` } })) },
    { id: "AJ-22", name: "kid that is the id alone", ask: posting(() => ({ protected: { kid: client.account().split("/").at(-1) } })) },
    { id: "AJ-26", name: "no url", ask: posting(() => ({ protected: { url: undefined } })) },
    { id: "AJ-29", name: "a nonce that is not base64url", ask: posting(() => ({ protected: { nonce: "no nonce" } })) },
    { id: "AJ-29", name: "a nonce with padding", ask: posting(() => ({ protected: { nonce: "AA==" } })) },
    { id: "AJ-30", name: "an empty payload where an object is due", ask: () => client.post(client.url("new-order"), "") },
    { id: "AJ-30", name: "an array as payload", ask: () => client.post(client.url("new-order"), "[]") },
    { id: "AJ-30", name: "a payload that is no JSON", ask: () => client.post(client.url("new-order"), "{") },
    { id: "AJ-30", name: "bytes after the payload's JSON", ask: () => client.post(client.url("new-order"), "{} {}") },
    { id: "AJ-31", name: "{} to an order", ask: () => client.post(orderUrl, {}) },
    { id: "AJ-31", name: "{} to the orders list", ask: () => client.post(`${client.account()}/orders`, {}) },
    { id: "AJ-31", name: "{} to the directory", ask: () => client.post(client.url("directory"), {}) },
    { id: "AJ-31", name: "{} to newNonce", ask: () => client.post(client.url("new-nonce"), {}) },
    { id: "AJ-31", name: "{} to a certificate", ask: () => client.post(orderUrl.replace("/order/", "/cert/"), {}) },
  ])("$id: $name", async ({ ask }) => {
    const answer = await ask();
    expectProblem(answer, "malformed", 400);
    await expectPostAnswer(answer);
  });
});

describe("methods and paths", () => {
  test.for([
    { name: "GET of an order", url: () => orderUrl, method: "GET", allow: "POST, OPTIONS" },
    { name: "GET of an authorization", url: () => authorizationUrl, method: "GET", allow: "POST, OPTIONS" },
    { name: "GET of a challenge", url: () => challengeUrl, method: "GET", allow: "POST, OPTIONS" },
    { name: "GET of an account", url: () => client.account(), method: "GET", allow: "POST, OPTIONS" },
    { name: "GET of a certificate", url: () => orderUrl.replace("/order/", "/cert/"), method: "GET", allow: "POST, OPTIONS" },
    { name: "GET of newOrder", url: () => client.url("new-order"), method: "GET", allow: "POST, OPTIONS" },
    { name: "PUT of newNonce", url: () => client.url("new-nonce"), method: "PUT", allow: "GET, HEAD, POST, OPTIONS" },
    { name: "DELETE of the directory", url: () => client.url("directory"), method: "DELETE", allow: "GET, HEAD, POST, OPTIONS" },
    { name: "POST to renewalInfo (AI-1)", url: () => client.url("renewal-info/AAAA.AAAA"), method: "POST", allow: "GET, HEAD, OPTIONS" },
  ])("AJ-1: $name is malformed 405 with Allow (RFC 8555 §6.3)", async ({ url, method, allow }) => {
    const answer = await client.ask(url(), { method });
    expectProblem(answer, "malformed", 405);
    expect(answer.header("allow")).toBe(allow);
    if (method === "POST") await expectPostAnswer(answer);
  });

  test.for(["nowhere", "acct", "order/", "directory/", "new-authz", "%61cct/x", "order/a%2e"])("AJ-2: %s is 404", async (path) => {
    const answer = await client.post(client.url(path), "");
    // A dot that is percent-encoded is refused before a path is looked for.
    expectProblem(answer, "malformed", path.includes("%2e") ? 400 : 404);
    await expectPostAnswer(answer);
  });

  test("AJ-2: a directory that is none has no pages", async () => {
    for (const path of ["directory", "new-nonce", "new-account"]) {
      const answer = await client.ask(`${baseUrl}/acme/nowhere/${path}`);
      expectProblem(answer, "malformed", 404);
      expect(answer.header("replay-nonce")).toBeUndefined();
    }
  });
});

describe("what a request says of its body", () => {
  test("AJ-3: no User-Agent is accepted: RFC 8555 §6.1 binds clients", async () => {
    expect((await client.post(client.account(), "")).status).toBe(200);
  });

  test.for([
    { name: "application/json", headers: { "content-type": "application/json" } },
    { name: "with a parameter", headers: { "content-type": "application/jose+json; charset=utf-8" } },
    { name: "in capitals", headers: { "content-type": "Application/JOSE+JSON" } },
    { name: "none", headers: { "content-type": "" } },
  ])("AJ-4: a Content-Type of $name is malformed 415 (RFC 8555 §6.2)", async ({ headers }) => {
    const answer = await client.post(client.account(), "", { headers });
    expectProblem(answer, "malformed", 415);
    await expectPostAnswer(answer);
  });

  test("AJ-6: a body of 65,537 octets is malformed 413, and its connection ends", async () => {
    const answer = await client.post(client.url("new-order"), {}, { body: "x".repeat(65_537) });
    expectProblem(answer, "malformed", 413);
    expect(answer.header("connection")).toBe("close");
    await expectPostAnswer(answer);
  });

  test("AJ-6: one of 65,536 is looked at", async () => {
    const short = JSON.stringify({ ...signed(client.key, { alg: "ES256" }, ""), more: "" });
    const body = short.replace('"more":""', `"more":"${"x".repeat(65_536 - short.length)}"`);
    expectProblem(await client.post(client.account(), "", { body }), "badNonce", 400);
  });

  test("AJ-6: a chunked body is cut at the same length", async () => {
    const chunk = `10000\r\n${"x".repeat(65_536)}\r\n`;
    const answer = await raw(`Transfer-Encoding: chunked\r\n\r\n${chunk}${chunk}0\r\n\r\n`);
    expect(answer).toMatch(/^HTTP\/1\.1 413 /);
    expect(answer).toMatch(/^connection: close\r$/im);
  });

  test("AJ-7: Content-Encoding is malformed 415", async () => {
    const answer = await client.post(client.account(), "", { headers: { "content-encoding": "gzip" } });
    expectProblem(answer, "malformed", 415);
    await expectPostAnswer(answer);
  });

  test.for([
    { name: "two lengths", head: "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}" },
    { name: "a length and chunks", head: "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" },
  ])("AJ-7: $name end the connection with 400", async ({ head }) => {
    expect(await raw(head)).toMatch(/^HTTP\/1\.1 400 /);
  });
});

describe("algorithms and keys", () => {
  test.for(["none", "HS256", "HS512", "PS256", "RS384", "RS512", "ES256K", "es256", ""])(
    "AJ-13: alg %j is badSignatureAlgorithm 400 with the algorithms that are taken (RFC 8555 §6.2)",
    async (alg) => {
      for (const answer of [await register(signingKey(), { alg }), await client.post(client.account(), "", { protected: { alg } })]) {
        expectProblem(answer, "badSignatureAlgorithm", 400);
        expect(answer.json["algorithms"]).toEqual(["RS256", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"]);
        await expectPostAnswer(answer);
      }
    },
  );

  test.for(["RS256", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"] as const)(
    "AJ-14: %s makes an account and signs for it",
    async (alg) => {
      const other = await acmeClient(service, { key: signingKey(alg) });
      expect((await other.register()).status).toBe(201);
      expect((await other.post(other.account(), "")).status).toBe(200);
    },
  );

  test("AJ-15: a key that does not sign with alg is badPublicKey by jwk, badSignatureAlgorithm by kid", async () => {
    expectProblem(await register(signingKey("ES256"), { alg: "ES384" }), "badPublicKey", 400);
    const answer = await client.post(client.account(), "", { protected: { alg: "ES384" } });
    expectProblem(answer, "badSignatureAlgorithm", 400);
    expect(answer.json["algorithms"]).toEqual(["ES256"]);
  });

  const p256 = signingKey();
  test.for<{ id: string; name: string; jwk: () => Record<string, unknown>; alg?: string }>([
    { id: "AJ-17", name: "oct", jwk: () => ({ kty: "oct", k: "AAAA" }) },
    { id: "AJ-17", name: "P-224", jwk: () => ({ ...p256.jwk, crv: "P-224" }) },
    { id: "AJ-17", name: "Ed448", jwk: () => jwkOf(generateKeyPairSync("ed448").publicKey), alg: "EdDSA" },
    { id: "AJ-17", name: "X25519", jwk: () => jwkOf(generateKeyPairSync("x25519").publicKey), alg: "EdDSA" },
    { id: "AJ-17", name: "an alg of its own that is not the header's", jwk: () => ({ ...p256.jwk, alg: "ES384" }) },
    { id: "AJ-18", name: "RSA of 1,024 bits", jwk: () => rsaJwk({ modulusLength: 1024 }), alg: "RS256" },
    { id: "AJ-18", name: "RSA with the exponent 3", jwk: () => rsaJwk({ modulusLength: 2048, publicExponent: 3 }), alg: "RS256" },
    { id: "AJ-18", name: "a point off its curve", jwk: () => ({ ...p256.jwk, y: p256.jwk["x"] }) },
    { id: "AJ-18", name: "a private member", jwk: () => ({ ...p256.jwk, d: "AAAA" }) },
  ])("$id: $name is badPublicKey 400", async ({ jwk, alg = "ES256" }) => {
    const answer = await register(p256, { jwk: jwk(), alg });
    expectProblem(answer, "badPublicKey", 400);
    await expectPostAnswer(answer);
  });
});

describe("whose request it is", () => {
  test.for(["", "A".repeat(22), "A"])("AJ-23: a kid of ours with the id %j is accountDoesNotExist 400", async (id) => {
    const answer = await client.post(client.url("new-order"), {}, { protected: { kid: `${baseUrl}/acme/default/acct/${id}` } });
    expectProblem(answer, "accountDoesNotExist", 400);
    await expectPostAnswer(answer);
  });

  test("AJ-24: an account that was deactivated is unauthorized 401, and only to who has its key (RFC 8555 §7.3.6)", async () => {
    const other = await acmeClient(service);
    await other.register();
    await other.post(other.account(), { status: "deactivated" });
    expectProblem(await other.post(other.account(), ""), "unauthorized", 401);
    expectProblem(await other.post(other.account(), "", { key: signingKey() }), "malformed", 400);
  });

  test.for<{ name: string; jws: (jws: Record<string, unknown>) => unknown }>([
    { name: "of another payload", jws: (jws) => ({ ...jws, payload: "e30" }) },
    { name: "with one bit changed", jws: (jws) => flipped(jws, (octets) => (octets.writeUInt8((octets[9] ?? 0) ^ 1, 9), octets)) },
    {
      name: "in DER",
      jws: (jws) => ({ ...jws, signature: sign("sha256", signingInput(jws), client.key.privateKey).toString("base64url") }),
    },
    { name: "with r = 0", jws: (jws) => flipped(jws, (octets) => Buffer.concat([Buffer.alloc(32), octets.subarray(32)])) },
    { name: "with s = 0", jws: (jws) => flipped(jws, (octets) => Buffer.concat([octets.subarray(0, 32), Buffer.alloc(32)])) },
    { name: "with r ≥ n", jws: (jws) => flipped(jws, (octets) => Buffer.concat([Buffer.alloc(32, 0xff), octets.subarray(32)])) },
    { name: "one octet short", jws: (jws) => flipped(jws, (octets) => octets.subarray(0, 63)) },
    { name: "one octet long", jws: (jws) => flipped(jws, (octets) => Buffer.concat([octets, Buffer.alloc(1)])) },
  ])("AJ-25: a signature $name is malformed 400", async ({ jws }) => {
    const answer = await client.post(client.account(), "", { jws });
    expectProblem(answer, "malformed", 400);
    await expectPostAnswer(answer);
  });

  test("AJ-25: a signature by another key is malformed 400", async () => {
    expectProblem(await client.post(client.account(), "", { key: signingKey() }), "malformed", 400);
  });

  test.for([
    { name: "of another resource", url: () => client.url("new-order") },
    { name: "of another host", url: () => client.account().replace("ca.example.org", "localhost") },
    { name: "with the port written out", url: () => client.account().replace("example.org", "example.org:443") },
    { name: "with a query", url: () => `${client.account()}?` },
    { name: "with a final slash", url: () => `${client.account()}/` },
    { name: "in capitals", url: () => client.account().replace("https", "HTTPS") },
  ])("AJ-27: a url $name is unauthorized 403 (RFC 8555 §6.4)", async ({ url }) => {
    const answer = await client.post(client.account(), "", { protected: { url: url() } });
    expectProblem(answer, "unauthorized", 403);
    await expectPostAnswer(answer);
  });

  test("AJ-27: a query that was not given out is unauthorized 403, though both have it", async () => {
    expectProblem(await client.post(`${client.account()}?a=b`, ""), "unauthorized", 403);
  });
});

describe("nonces", () => {
  test.for([
    { name: "none", nonce: () => undefined },
    { name: "an empty one", nonce: () => "" },
    { name: "one that was never given out", nonce: () => encoded(Buffer.alloc(37, 7)) },
    { name: "a short one", nonce: () => "AAAA" },
  ])("AJ-28: $name is badNonce 400 with the words that shell scripts look for (AT-2), and a nonce that works", async ({ nonce }) => {
    const answer = await client.post(client.account(), "", { protected: { nonce: nonce() } });
    expectBadNonce(answer);
    await expectPostAnswer(answer);
  });

  test("AJ-28: one that was used is badNonce, and so is one with one bit changed", async () => {
    const nonce = await client.nonce();
    expect((await client.post(client.account(), "", { protected: { nonce } })).status).toBe(200);
    expectBadNonce(await client.post(client.account(), "", { protected: { nonce } }));
    const octets = Buffer.from(await client.nonce(), "base64url");
    octets[20] = (octets[20] ?? 0) ^ 1;
    expectBadNonce(await client.post(client.account(), "", { protected: { nonce: octets.toString("base64url") } }));
  });

  test("AJ-28: one that is older than an hour is badNonce; a minute less is good", async () => {
    const [young, old] = [await client.nonce(), await client.nonce()];
    try {
      clock.aheadSeconds = 3_540;
      expect((await client.post(client.account(), "", { protected: { nonce: young } })).status).toBe(200);
      clock.aheadSeconds = 3_660;
      expectBadNonce(await client.post(client.account(), "", { protected: { nonce: old } }));
    } finally {
      clock.aheadSeconds = 0;
    }
  });

  test.for([
    { name: "a signature that is wrong", otherwise: () => ({ key: signingKey() }) },
    { name: "a url that is wrong", otherwise: () => ({ protected: { url: baseUrl } }) },
    { name: "an algorithm that is not taken", otherwise: () => ({ protected: { alg: "HS256" } }) },
    { name: "an account that is not there", otherwise: () => ({ protected: { kid: `${baseUrl}/acme/default/acct/A` } }) },
  ])("a nonce is spent whatever follows (RFC 8555 §6.5): $name", async ({ otherwise }) => {
    const nonce = await client.nonce();
    const { protected: header = {}, ...rest } = otherwise() as { protected?: object };
    const first = await client.post(client.account(), "", { ...rest, protected: { ...header, nonce } });
    expect(first.status).toBeGreaterThanOrEqual(400);
    expectBadNonce(await client.post(client.account(), "", { protected: { nonce } }));
  });

  test("each that is refused is counted for operators as nonce.refused", async () => {
    const before = await refusedNonces();
    const nonce = await client.nonce();
    expect((await client.post(client.account(), "", { protected: { nonce } })).status).toBe(200);
    expect(await refusedNonces()).toBe(before);
    for (const bad of [nonce, undefined, "AAAA"]) expectBadNonce(await client.post(client.account(), "", { protected: { nonce: bad } }));
    expect(await refusedNonces()).toBe(before + 3);
  });

  test("AK-1: of sixteen requests with one nonce, exactly one is taken", async () => {
    for (let round = 0; round < 5; round++) {
      const nonce = await client.nonce();
      const answers = await Promise.all(Array.from({ length: 16 }, () => client.post(client.account(), "", { protected: { nonce } })));
      expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
      expect(answers.filter(({ problem }) => problem === "badNonce")).toHaveLength(15);
    }
  });
});

describe("what a request may hold beside", () => {
  test("AJ-32: unknown members of JWS, header and payload are ignored and never reflected, ACME v1's resource among them", async () => {
    const other = await acmeClient(service);
    const answer = await other.post(
      other.url("new-account"),
      { resource: "new-reg", unknown: "reflect-me", ["__proto__"]: { onlyReturnExisting: true }, constructor: "reflect-me" },
      { protected: { typ: "reflect-me", prototype: {} }, jws: (jws) => ({ ...jws, unknown: "reflect-me", constructor: "reflect-me" }) },
    );
    expect(answer.status).toBe(201);
    expect(answer.text).not.toMatch(/reflect-me|resource/);
  });

  test.for([
    { name: "an account", url: () => client.account(), payloads: ["", {}] },
    { name: "its orders", url: () => `${client.account()}/orders`, payloads: [""] },
    { name: "an order", url: () => orderUrl, payloads: [""] },
    { name: "a finalize", url: () => `${orderUrl}/finalize`, payloads: [{ csr: "AAAA" }] },
    { name: "an authorization", url: () => authorizationUrl, payloads: ["", { status: "deactivated" }] },
    { name: "a challenge", url: () => challengeUrl, payloads: ["", {}] },
    { name: "a certificate", url: () => orderUrl.replace("/order/", "/cert/"), payloads: [""] },
  ])("AJ-33: $name of another account is malformed 404, byte for byte as one that is not there (S-12)", async ({ url, payloads }) => {
    const other = await acmeClient(service);
    await other.register();
    for (const payload of payloads) {
      const theirs = await other.post(url(), payload);
      const none = await other.post(url().replace(/(acct|order|authz|chall|cert)\/[\w-]+/, `$1/${"A".repeat(22)}`), payload);
      expectProblem(theirs, "malformed", 404);
      expect([none.status, none.text]).toEqual([theirs.status, theirs.text]);
    }
  });

  test("AJ-40: a detail names no key, token or foreign text", async () => {
    const answer = await client.post(client.url("new-order"), { identifiers: "<script>alert(1)</script>" });
    expectProblem(answer, "malformed", 400);
    expect(answer.text).not.toContain("script");
  });
});

describe("across origins (AD-5)", () => {
  test.for(["directory", "new-nonce", "new-account", "renewal-info/AAAA.AAAA"])("a preflight of %s is 204", async (path) => {
    const answer = await client.ask(client.url(path), { method: "OPTIONS" });
    expect(answer.status).toBe(204);
    expect(answer.header("access-control-allow-origin")).toBe("*");
    expect(answer.header("access-control-allow-headers")).toBe("Content-Type");
    expect(answer.header("access-control-allow-methods")).toBe(answer.header("allow"));
    expect(answer.header("access-control-max-age")).toBe("86400");
  });

  test("every answer exposes what clients read", async () => {
    for (const answer of [await client.ask(client.url("directory")), await client.post(client.account(), ""), await client.ask(orderUrl)]) {
      expect(answer.header("access-control-expose-headers")).toBe("Link, Replay-Nonce, Location, Retry-After");
    }
  });
});
