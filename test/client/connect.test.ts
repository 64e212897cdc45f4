import { createServer } from "node:net";
import { expect, test } from "vitest";
import { type IssuedCertificate, issueCertificate, listCertificates, readCertificate } from "../../src/client/certificate.ts";
import { ClientError } from "../../src/client/client-error.ts";
import { type Client, connect } from "../../src/client/connect.ts";
import { createToken } from "../../src/client/token.ts";
import { type ScriptedAnswer, type ScriptedServer, scriptedServer } from "./scripted-server.ts";

const issued: IssuedCertificate = {
  serial: "4f0c2a7d90b1e3856c4d2f1a0b9e8d7c",
  authority: "issuing-1",
  profile: "server",
  namespace: "/",
  subject: "",
  names: [{ type: "dns", value: "a.example.org" }],
  notBefore: "2026-11-01T12:00:00Z",
  notAfter: "2027-01-30T11:59:59Z",
  status: "valid",
  keyAlgorithm: "P-256",
  spkiSha256: "00".repeat(32),
  certificate: "leaf\n",
  chain: "issuer\n",
};
const busy = {
  status: 503,
  headers: { "retry-after": "5" },
  body: { type: "t", title: "Busy", status: 503, detail: "the queue is full", code: "busy", requestId: "r-1" },
};
const request = { csr: "csr", profile: "server", idempotencyKey: "key-1" };

test("a 503 with Retry-After is waited for and the same request sent again under the same Idempotency-Key", async () => {
  await using server = await scriptedServer([busy, busy, { status: 201, body: issued }]);
  const waits: number[] = [];
  await using client = clientOf(server, waits);
  expect(await issueCertificate(client, request)).toEqual(issued);
  expect(waits).toEqual([5, 5]);
  expect(server.seen.map(({ headers }) => headers["idempotency-key"])).toEqual(["key-1", "key-1", "key-1"]);
  expect(new Set(server.seen.map(({ body }) => body))).toEqual(new Set([JSON.stringify({ csr: "csr", profile: "server" })]));
});

test("after four attempts the problem document is what the caller gets", async () => {
  await using server = await scriptedServer([busy]);
  const waits: number[] = [];
  await using client = clientOf(server, waits);
  const error = await failureOf(issueCertificate(client, request));
  expect(error).toMatchObject({
    reason: "unavailable",
    detail: "the queue is full",
    outcomeKnown: false,
    problem: { code: "busy", requestId: "r-1" },
  });
  expect(server.seen).toHaveLength(4);
  expect(waits).toEqual([5, 5, 5]);
});

test.for<{ name: string; answer: ScriptedAnswer; reason: string }>([
  { name: "503 without Retry-After", answer: { ...busy, headers: {} }, reason: "unavailable" },
  { name: "503 that asks for more than 30 s", answer: { ...busy, headers: { "retry-after": "31" } }, reason: "unavailable" },
  {
    name: "503 whose Retry-After is a date",
    answer: { ...busy, headers: { "retry-after": "Sun, 01 Nov 2026 12:00:00 GMT" } },
    reason: "unavailable",
  },
  { name: "400", answer: { status: 400, headers: { "retry-after": "1" } }, reason: "refused" },
  { name: "500", answer: { status: 500, headers: { "retry-after": "1" } }, reason: "failed" },
  {
    name: "a redirection, which is never followed",
    answer: { status: 302, headers: { location: "https://localhost:1/" } },
    reason: "failed",
  },
])("$name is not tried again", async ({ answer, reason }) => {
  await using server = await scriptedServer([answer, { status: 200, body: issued }]);
  await using client = clientOf(server);
  expect(await failureOf(issueCertificate(client, request))).toMatchObject({ reason });
  expect(server.seen).toHaveLength(1);
});

test("a connection lost while the answer was awaited is asked again with the same Idempotency-Key", async () => {
  await using server = await scriptedServer(["cut", { status: 200, body: issued }]);
  await using client = clientOf(server);
  expect(await issueCertificate(client, request)).toEqual(issued);
  expect(server.seen.map(({ headers }) => headers["idempotency-key"])).toEqual(["key-1", "key-1"]);
});

test.for<{ name: string; answer: ScriptedAnswer }>([
  { name: "lost", answer: "cut" },
  { name: "503", answer: busy },
])("creating a token is not repeatable: an answer that is $name is not asked for again", async ({ answer }) => {
  await using server = await scriptedServer([answer]);
  await using client = clientOf(server);
  const error = await failureOf(createToken(client, { role: "viewer", namespace: "/", expiresAt: "2027-01-01T00:00:00Z" }));
  expect(error).toMatchObject({ reason: "unavailable", outcomeKnown: false });
  expect(server.seen).toHaveLength(1);
});

test("a call past its deadline ends, is not sent again, and says so", async () => {
  await using server = await scriptedServer(["silence"]);
  await using client = connect({ ...locationOf(server), deadlineSeconds: 0.2, wait: async () => undefined });
  const error = await failureOf(readCertificate(client, issued.serial));
  expect(error).toMatchObject({ reason: "unavailable", outcomeKnown: false });
  expect(error.detail).toContain(server.baseUrl);
  expect(server.seen).toHaveLength(1);
});

test("the token travels as a bearer token, and what may not stand in a path is encoded (RFC 6750 §2.1, RFC 3986 §2.1)", async () => {
  await using server = await scriptedServer([{ status: 200, body: issued }]);
  await using client = clientOf(server);
  await readCertificate(client, "../tokens?x");
  expect(server.seen[0]).toMatchObject({ url: "/v1/certificates/..%2Ftokens%3Fx", headers: { authorization: "Bearer secret" } });
});

test("a list is read page by page until there is no cursor", async () => {
  const { certificate: _certificate, chain: _chain, ...listed } = issued;
  await using server = await scriptedServer([
    { status: 200, body: { certificates: [listed, listed], nextCursor: "c+1" } },
    { status: 200, body: { certificates: [listed] } },
  ]);
  await using client = clientOf(server);
  const pages = await Array.fromAsync(listCertificates(client, { status: "valid" }, 2));
  expect(pages.map((page) => page.length)).toEqual([2, 1]);
  expect(server.seen.map(({ url }) => url)).toEqual([
    "/v1/certificates?status=valid&limit=2",
    "/v1/certificates?status=valid&limit=2&cursor=c%2B1",
  ]);
});

test.for<{ name: string; body: unknown }>([
  { name: "no JSON", body: "<html>" },
  { name: "an array", body: [] },
  { name: "an object without certificate", body: { ...issued, certificate: undefined } },
  { name: "names of another shape", body: { ...issued, names: ["a.example.org"] } },
])("an answer that is $name is not taken for a certificate", async ({ body }) => {
  await using server = await scriptedServer([{ status: 200, body }]);
  await using client = clientOf(server);
  expect(await failureOf(readCertificate(client, issued.serial))).toMatchObject({ reason: "failed" });
});

test("a server under another root is not asked anything, and the sentence names its URL and the CA file", async () => {
  await using server = await scriptedServer([{ status: 200, body: issued }]);
  await using other = await scriptedServer(["cut"]);
  await using client = connect({ ...locationOf(server), ca: other.ca });
  const error = await failureOf(issueCertificate(client, request));
  expect(error).toMatchObject({ reason: "unavailable", outcomeKnown: true });
  expect(error.detail).toContain(server.baseUrl);
  expect(error.detail).toContain("/data/root.pem");
  expect(error.detail).toContain("CHANCERY_CA_FILE");
  expect(server.seen).toEqual([]);
});

test("a certificate for another name is refused before anything is sent (RFC 9525 §6)", async () => {
  await using server = await scriptedServer([{ status: 200, body: issued }], ["other.example.org"]);
  await using client = clientOf(server);
  const error = await failureOf(issueCertificate(client, request));
  expect(error).toMatchObject({ reason: "unavailable", outcomeKnown: true });
  expect(error.detail).toContain("CHANCERY_BASE_URL");
  expect(server.seen).toEqual([]);
});

test("where nothing listens the sentence names the URL and how to start the service", async () => {
  await using client = connect({ baseUrl: `https://127.0.0.1:${await freePort()}`, ca: "", caFile: "/data/root.pem" });
  const error = await failureOf(readCertificate(client, issued.serial));
  expect(error).toMatchObject({ reason: "unavailable", outcomeKnown: true });
  expect(error.detail).toMatch(/nothing listens at https:\/\/127\.0\.0\.1:\d+.*npm start.*CHANCERY_BASE_URL/);
});

test.for(["http://localhost:9443", "localhost:9443", "https://user:pw@localhost", "https://localhost/?x", ""])(
  "the base URL %j is refused: a bearer token never travels in the clear",
  (baseUrl) => {
    expect(() => connect({ baseUrl, ca: "", caFile: "" })).toThrow(expect.objectContaining({ code: "malformed" }));
  },
);

function locationOf({ baseUrl, ca }: ScriptedServer) {
  return { baseUrl, ca, caFile: "/data/root.pem", token: "secret" };
}

function clientOf(server: ScriptedServer, waits: number[] = []): Client {
  return connect({ ...locationOf(server), wait: async (seconds) => waits.push(seconds) });
}

async function failureOf(call: Promise<unknown>): Promise<ClientError> {
  const error: unknown = await call.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof ClientError)) throw new Error("no ClientError", { cause: error });
  return error;
}

/** A port that was free a moment ago. */
function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(address && typeof address === "object" ? address.port : 0));
    });
  });
}
