import { createServer as createHttpsServer } from "node:https";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";

import * as fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { selfSigned } from "../http/self-signed.ts";
import { startDnsServer, zone } from "../support/dns-server.ts";
import type { DnsServer } from "../support/dns-server.ts";
import { answerOf, failureOf, freePort, listen, listenHttp, openWorld, validatorPids } from "./validator-world.ts";
import type { ValidatorWorld } from "./validator-world.ts";

const path = "/.well-known/acme-challenge/token";

const held = new AsyncDisposableStack();
let port: number;
let dns: DnsServer;
/** One that waits long, for servers that answer, and one that does not, for those that never do. */
let world: ValidatorWorld;
let hasty: ValidatorWorld;

beforeAll(async () => {
  port = await freePort();
  dns = held.use(await startDnsServer(zone({})));
  const options = { allow: ["127.0.0.0/8", "::1/128"], http01Port: port, dnsServers: [dns.text] };
  world = held.use(await openWorld(options));
  hasty = held.use(await openWorld({ ...options, times: { totalMs: 1000 } }));
});
afterAll(() => held.disposeAsync());

/** What http-01 finds at `localhost`, where `serve` listens. */
async function fetchFrom(serve: (request: IncomingMessage, response: ServerResponse) => void) {
  await using listener = await listenHttp(serve, { port });
  const outcome = await world.validator.http({ tenant: "t", host: "localhost", path });
  return { outcome, connections: listener.connections() };
}

/** As `fetchFrom`, with a server that speaks no better HTTP than it is told. */
async function fetchRaw(serve: (socket: Socket) => void, { validator } = world) {
  const listener = await listen(serve, { port });
  try {
    return await validator.http({ tenant: "t", host: "localhost", path });
  } finally {
    await listener[Symbol.asyncDispose]();
  }
}

function redirect(response: ServerResponse, location: string, status = 302): void {
  response.writeHead(status, { location }).end();
}

describe("the request of http-01 (AV-1, RFC 8555 §8.3)", () => {
  test("names the host, takes anything, names us, and keeps nothing open", async () => {
    const requests: IncomingMessage[] = [];
    const { outcome, connections } = await fetchFrom((request, response) => {
      requests.push(request);
      response.end("token.thumbprint");
    });
    expect(answerOf(outcome)).toEqual({ status: 200, body: Uint8Array.from(Buffer.from("token.thumbprint")), truncated: false });
    expect(outcome.evidence).toEqual({ addresses: ["::1", "127.0.0.1"], address: "127.0.0.1", urls: [`http://localhost:${port}${path}`] });
    expect(connections).toBe(1);
    const [{ method, url, httpVersion, rawHeaders } = { rawHeaders: [] }] = requests;
    expect([method, url, httpVersion]).toEqual(["GET", path, "1.1"]);
    expect(rawHeaders).toEqual(["host", `localhost:${port}`, "user-agent", "chancery-validator", "accept", "*/*", "connection", "close"]);
  });

  test("IPv6 is dialled first, and IPv4 only where nobody answered the dial (AV-2)", async () => {
    await using ipv6 = await listenHttp((_, response) => void response.end("six"), { host: "::1", port });
    await using ipv4 = await listenHttp((_, response) => void response.end("four"), { port });
    const outcome = await world.validator.http({ tenant: "t", host: "localhost", path });
    expect(Buffer.from(answerOf(outcome).body).toString()).toBe("six");
    expect([outcome.evidence.address, ipv6.connections(), ipv4.connections()]).toEqual(["::1", 1, 0]);
  });

  test("an IPv6 server that is there and answers badly is not passed over for the IPv4 one (AV-2)", async () => {
    await using ipv6 = await listen((socket) => socket.destroy(), { host: "::1", port });
    await using ipv4 = await listenHttp((_, response) => void response.end("four"), { port });
    const failure = failureOf(await world.validator.http({ tenant: "t", host: "localhost", path }));
    expect(failure).toEqual({ kind: "connection", detail: "::1 closed the connection before its answer was complete", final: false });
    expect([ipv6.connections(), ipv4.connections()]).toEqual([1, 0]);
  });

  test.for([200, 204, 303, 404, 500])("status %i is an answer, whatever the caller makes of it", async (status) => {
    const { outcome } = await fetchFrom((_, response) => response.writeHead(status, { location: "/other" }).end());
    expect(answerOf(outcome).status).toBe(status);
  });

  test.for([
    { octets: 256, truncated: false },
    { octets: 257, truncated: true },
    { octets: 1_000_000, truncated: true },
  ])("256 octets of content are kept, of $octets", async ({ octets, truncated }) => {
    const { outcome } = await fetchFrom((_, response) => void response.end("x".repeat(octets)));
    expect(answerOf(outcome)).toEqual({ status: 200, body: Uint8Array.from(Buffer.from("x".repeat(256))), truncated });
  });
});

describe("redirects (S-04)", () => {
  test.for([301, 302, 307, 308])("%i is followed, and each URL is evidence", async (status) => {
    const { outcome } = await fetchFrom((request, response) =>
      request.url === path ? redirect(response, "/next", status) : void response.end("there"),
    );
    expect(answerOf(outcome).status).toBe(200);
    expect(outcome.evidence.urls).toEqual([`http://localhost:${port}${path}`, `http://localhost:${port}/next`]);
  });

  test("the content of a redirect is not waited for", async () => {
    const outcome = await fetchRaw((socket) => {
      socket.once("data", (request: Buffer) => {
        const first = request.toString().startsWith(`GET ${path} `);
        if (first) socket.write("HTTP/1.1 302 x\r\nlocation: /next\r\ncontent-length: 1000\r\n\r\npart");
        else socket.end("HTTP/1.1 200 x\r\ncontent-length: 5\r\n\r\nthere");
      });
    });
    expect(Buffer.from(answerOf(outcome).body).toString()).toBe("there");
  });

  test("ten are followed, and no eleventh", async () => {
    expect(answerOf((await fetchFrom(hops(10))).outcome).status).toBe(200);
    const failure = failureOf((await fetchFrom(hops(11))).outcome);
    expect(failure).toEqual({ kind: "connection", detail: "there are more than 10 redirects", final: true });
  });

  test("a circle ends", async () => {
    const { outcome, connections } = await fetchFrom((request, response) => redirect(response, request.url === path ? "/next" : path));
    expect(failureOf(outcome)).toEqual({ kind: "connection", detail: "redirect 2 leads back to a URL that was asked before", final: true });
    expect(connections).toBe(2);
  });

  test.for([
    "ftp://secret.example.org/",
    "http://user@secret.example.org/",
    "http://secret.example.org:25/",
    "http://1.1.1.1/",
    `/${"a".repeat(2001)}`,
  ])("to %s is refused, for good, without a look-up", async (location) => {
    const before = dns.asked.length;
    const { outcome } = await fetchFrom((_, response) => redirect(response, location));
    expect(failureOf(outcome)).toMatchObject({ kind: "connection", final: true });
    expect(failureOf(outcome).detail).toMatch(/^redirect 1, by 127\.0\.0\.1, leads to /);
    expect(failureOf(outcome).detail).not.toContain("secret");
    expect(dns.asked.length).toBe(before);
  });

  test("to a name that does not exist is a failure of DNS that does not repeat the name", async () => {
    const { outcome } = await fetchFrom((_, response) => redirect(response, "http://secret.example.org:443/"));
    expect(failureOf(outcome)).toEqual({
      kind: "dns",
      detail: "the DNS resolver 127.0.0.1 says that the host of redirect 1 does not exist (NXDOMAIN)",
      final: true,
    });
  });

  test("to https with a certificate of nobody is followed; the name is in SNI (AV-1)", async () => {
    const names: unknown[] = [];
    const credentials = await selfSigned("somebody else");
    const https = createHttpsServer({ key: credentials.key, cert: credentials.certificate }, (_, response) => void response.end("secure"));
    https.on("secureConnection", ({ servername, alpnProtocol }) => names.push(servername, alpnProtocol));
    // The port of http-01 is the only one of this test that a redirect may name: it speaks both.
    const outcome = await fetchRaw((socket) => {
      socket.once("data", (first: Buffer) => {
        socket.pause().unshift(first);
        if (first[0] === 0x16) https.emit("connection", socket);
        else socket.end(`HTTP/1.1 301 x\r\nlocation: https://localhost:${port}/\r\nconnection: close\r\n\r\n`);
      });
    });
    expect(Buffer.from(answerOf(outcome).body).toString()).toBe("secure");
    expect(names).toEqual(["localhost", "http/1.1"]);
  });

  test("to https where no TLS is spoken is a failure of TLS", async () => {
    const { outcome } = await fetchFrom((request, response) => redirect(response, `https://${request.headers.host}/`));
    expect(failureOf(outcome)).toMatchObject({ kind: "tls", final: false });
  });
});

describe("a server that does not answer as it should", () => {
  const head = "HTTP/1.1 200 OK\r\n";
  test.for<{ name: string; serve: (socket: Socket) => void; detail: RegExp; final: boolean }>([
    { name: "is HTTP/2", serve: (socket) => socket.end(Buffer.from("000000040000000000", "hex")), detail: /no HTTP\/1.1/, final: true },
    { name: "says that it is HTTP/2", serve: (socket) => socket.end("HTTP/2.0 200 OK\r\n\r\nx"), detail: /no HTTP\/1.1/, final: true },
    { name: "speaks something else", serve: (socket) => socket.end("220 secret ESMTP\r\n"), detail: /no HTTP\/1.1/, final: true },
    {
      name: "sends 17 KiB of header fields",
      serve: (socket) => socket.end(`${head}a: ${"x".repeat(17_408)}\r\n\r\n`),
      detail: /16 KiB/,
      final: true,
    },
    { name: "sends interim answers without end", serve: flood("HTTP/1.1 100 Continue\r\n\r\n"), detail: /interim/, final: true },
    {
      name: "switches protocols",
      serve: (socket) => socket.write("HTTP/1.1 101 x\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"),
      detail: /closed/,
      final: false,
    },
    { name: "closes at once", serve: (socket) => socket.end(), detail: /closed the connection/, final: false },
    { name: "resets the connection", serve: (socket) => socket.resetAndDestroy(), detail: /closed the connection/, final: false },
    {
      name: "breaks off",
      serve: (socket) => socket.end(`${head}content-length: 10\r\n\r\nsecret`),
      detail: /closed the connection/,
      final: false,
    },
  ])("$name", async ({ serve, detail, final }) => {
    const failure = failureOf(await fetchRaw((socket) => void socket.once("data", () => serve(socket))));
    expect(failure).toMatchObject({ kind: "connection", final });
    expect(failure.detail).toMatch(detail);
    expect(failure.detail).not.toContain("secret");
  });

  test.for<{ name: string; serve: (socket: Socket) => void }>([
    { name: "says nothing", serve: () => {} },
    { name: "drips its header section", serve: drip(`${head}a: `) },
    { name: "drips its content", serve: drip(`${head}content-length: 100\r\n\r\n`) },
    { name: "drips chunks", serve: drip(`${head}transfer-encoding: chunked\r\n\r\n`, "1\r\nx\r\n") },
  ])("is cut at the end of the question's time: $name (S-05)", async ({ serve }) => {
    const failure = failureOf(await fetchRaw(serve, hasty));
    expect(failure).toEqual({ kind: "connection", detail: "127.0.0.1 gave no complete answer in time", final: false });
  });

  test("a body without end is read no further than it is kept (S-05)", async () => {
    const outcome = await fetchRaw((socket) => void socket.once("data", () => flood("x".repeat(1000), `${head}\r\n`)(socket)));
    expect(answerOf(outcome)).toMatchObject({ status: 200, truncated: true });
  });

  test("500 damaged answers end their questions and nothing else: the child is the same afterwards", async () => {
    const heads = [
      "HTTP/1.1 200 OK",
      "HTTP/1.1 301 x\r\nlocation: https://localhost:1/",
      "HTTP/1.0 200",
      "HTTP/1.1 302 x\r\nlocation: \u00e4://[",
    ];
    const text =
      "\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    const damaged = fc
      .tuple(fc.constantFrom(...heads), fc.array(fc.tuple(fc.nat(160), fc.integer({ min: 0, max: 255 })), { maxLength: 8 }), fc.nat(160))
      .map(([first, changes, cut]) => {
        const bytes = Buffer.from(first + text, "latin1");
        for (const [at, octet] of changes) bytes[at % bytes.length] = octet;
        return bytes.subarray(cut % 20, bytes.length - (cut % 3 === 0 ? cut % bytes.length : 0));
      });
    const replies = fc.sample(damaged, 500);
    const before = await validatorPids();
    await using listener = await listen(
      (socket) => void socket.once("data", () => socket.end(replies[listener.connections() % replies.length] ?? Buffer.alloc(0))),
      { port },
    );
    const outcomes = await Promise.all(
      replies.map((_, index) => world.validator.http({ tenant: `${index % 100}`, host: "localhost", path }).catch(() => "unavailable")),
    );
    expect(outcomes.length).toBe(500);
    expect(listener.connections()).toBeGreaterThan(100);
    expect(await validatorPids()).toEqual(before);
    expect(world.events.told.map(({ event }) => event)).toEqual(["validator.started"]);
  });

  test("a port that is closed is a failure that names addresses and port", async () => {
    const outcome = await world.validator.http({ tenant: "t", host: "localhost", path });
    expect(failureOf(outcome)).toEqual({
      kind: "connection",
      detail: `localhost could not be reached at ::1 port ${port}: the connection was refused; 127.0.0.1 port ${port}: the connection was refused`,
      final: false,
    });
  });
});

/** A server that sends on `length` times. */
function hops(length: number): (request: IncomingMessage, response: ServerResponse) => void {
  return (request, response) => {
    const hop = Number(request.url?.slice(1)) || 0;
    if (hop === length) response.end("there");
    else redirect(response, `/${hop + 1}`);
  };
}

/** Writes `text` again and again until the other side has enough. */
function flood(text: string, first = ""): (socket: Socket) => void {
  return (socket) => {
    socket.write(first);
    const more = () => {
      while (!socket.destroyed && socket.write(text));
      if (!socket.destroyed) socket.once("drain", more);
    };
    more();
  };
}

/** Writes `first`, then `text` every 20 ms. */
function drip(first: string, text = "x"): (socket: Socket) => void {
  return (socket) => {
    socket.write(first);
    const timer = setInterval(() => socket.write(text), 20);
    socket.on("close", () => clearInterval(timer));
  };
}
