import { X509Certificate } from "node:crypto";
import { createServer } from "node:tls";
import type { TlsOptions } from "node:tls";

import * as fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { reverseName } from "../../src/net/tls-alpn.ts";
import { selfSigned } from "../http/self-signed.ts";
import { answerOf, failureOf, freePort, listen, openWorld, validatorPids } from "./validator-world.ts";
import type { ValidatorWorld } from "./validator-world.ts";

const held = new AsyncDisposableStack();
let port: number;
let world: ValidatorWorld;
let credentials: { readonly key: string; readonly certificate: string };

beforeAll(async () => {
  port = await freePort();
  world = held.use(await openWorld({ allow: ["127.0.0.0/8", "::1/128"], tlsAlpn01Port: port, times: { totalMs: 3000 } }));
  credentials = await selfSigned("acme");
});
afterAll(() => held.disposeAsync());

/** What a TLS server at `host` answers, and which names and protocols it was asked for. */
async function shake(host: string, options: TlsOptions) {
  const asked: { servername: unknown; protocols: readonly string[] }[] = [];
  const server = createServer({
    key: credentials.key,
    cert: credentials.certificate,
    ALPNCallback: ({ servername, protocols }) => {
      asked.push({ servername, protocols });
      return protocols[0];
    },
    ...options,
  });
  server.on("tlsClientError", () => {});
  await using listener = await listen((socket) => void server.emit("connection", socket), { port });
  const outcome = await world.validator.tlsAlpn({ tenant: "t", host });
  return { outcome, asked, connections: listener.connections() };
}

test.for(["TLSv1.2", "TLSv1.3"] as const)(
  "the certificate and the protocol come back as the server gave them, over %s (RFC 8737 §3)",
  async (version) => {
    const { outcome, asked } = await shake("localhost", { minVersion: version, maxVersion: version });
    const answer = answerOf(outcome);
    expect(answer.protocol).toBe("acme-tls/1");
    expect(Buffer.from(answer.certificate)).toEqual(new X509Certificate(credentials.certificate).raw);
    expect(asked).toEqual([{ servername: "localhost", protocols: ["acme-tls/1"] }]);
    expect(outcome.evidence).toEqual({ addresses: ["::1", "127.0.0.1"], address: "127.0.0.1", urls: [] });
  },
);

test("an IP address is asked for by its name in the reverse tree (RFC 8738 §6)", async () => {
  const { outcome, asked } = await shake("127.0.0.1", {});
  expect(answerOf(outcome).protocol).toBe("acme-tls/1");
  expect(asked.map(({ servername }) => servername)).toEqual(["1.0.0.127.in-addr.arpa"]);
});

test.for([
  { address: "192.0.2.1", name: "1.2.0.192.in-addr.arpa" },
  { address: "2001:db8::567:89ab", name: "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa" },
])("the reverse name of $address (RFC 3596 §2.5)", ({ address, name }) => expect(reverseName(address)).toBe(name));

describe("what is no handshake of TLS 1.2 or newer is a failure of TLS that may pass", () => {
  test.for<{ name: string; options: TlsOptions; detail: RegExp }>([
    {
      name: "a server without acme-tls/1",
      options: { ALPNCallback: undefined, ALPNProtocols: ["h2", "http/1.1"] },
      detail: /does not speak the protocol that was offered/,
    },
    {
      name: "TLS 1.1 (S-08)",
      options: { minVersion: "TLSv1", maxVersion: "TLSv1.1", ciphers: "DEFAULT@SECLEVEL=0" },
      detail: /no TLS handshake with 127/,
    },
    {
      name: "a name that is not known",
      options: { SNICallback: (_, done) => done(new Error("unknown")) },
      detail: /no TLS handshake with 127/,
    },
  ])("$name", async ({ options, detail }) => {
    const { outcome, connections } = await shake("localhost", options);
    expect(failureOf(outcome)).toMatchObject({ kind: "tls", final: false });
    expect(failureOf(outcome).detail).toMatch(detail);
    expect(connections).toBe(1);
  });

  test.for<{ name: string; reply: string | undefined; detail: RegExp }>([
    { name: "plain HTTP", reply: "HTTP/1.1 400 secret\r\n\r\n", detail: /127\.0\.0\.1: the other side speaks no TLS/ },
    { name: "an end at once", reply: "", detail: /the connection was closed/ },
    { name: "nothing at all", reply: undefined, detail: /not complete in time/ },
  ])("$name", async ({ reply, detail }) => {
    await using listener = await listen((socket) => void (reply === undefined ? undefined : socket.end(reply)), { port });
    const failure = failureOf(await world.validator.tlsAlpn({ tenant: "t", host: "localhost" }));
    expect(failure).toMatchObject({ kind: "tls", final: false });
    expect(failure.detail).toMatch(detail);
    expect(failure.detail).not.toContain("secret");
    expect(listener.connections()).toBe(1);
  });
});

test("300 damaged flights of a server end their questions and nothing else: the child is the same afterwards", async () => {
  // The heads of TLS records and handshake messages, and whatever follows them (RFC 8446 §4, §5.1).
  const record = fc
    .tuple(
      fc.constantFrom("1603030040020000", "1603030400", "15030300020228", "150303000201", "1703030100", "140303000101", "16030300400b0000"),
      fc.uint8Array({ maxLength: 300 }),
    )
    .map(([head, rest]) => Buffer.concat([Buffer.from(head, "hex"), rest]));
  const flights = fc.sample(fc.array(record, { minLength: 1, maxLength: 4 }), 300).map((records) => Buffer.concat(records));
  const before = await validatorPids();
  await using listener = await listen(
    (socket) => void socket.once("data", () => socket.end(flights[listener.connections() % flights.length] ?? "")),
    {
      port,
    },
  );
  const outcomes = await Promise.all(
    flights.map((_, index) => world.validator.tlsAlpn({ tenant: `${index % 100}`, host: "localhost" }).catch(() => "unavailable")),
  );
  for (const outcome of outcomes) if (typeof outcome !== "string") expect(failureOf(outcome).kind).toMatch(/tls|connection/);
  expect(listener.connections()).toBeGreaterThan(100);
  expect(await validatorPids()).toEqual(before);
  expect(world.events.told.map(({ event }) => event)).toEqual(["validator.started"]);
});

test("a server that negotiates no protocol is an answer without one: judging it is the caller's", async () => {
  const { outcome } = await shake("localhost", { ALPNCallback: undefined });
  expect(answerOf(outcome).protocol).toBeUndefined();
});
