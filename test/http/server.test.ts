import { execFile } from "node:child_process";
import { once } from "node:events";
import { Agent, request } from "node:http";
import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { Fault } from "../../src/fault.ts";
import { descriptorLimit } from "../../src/http/descriptor-limit.ts";
import { type Handler, type Limits, listen, serviceLimits } from "../../src/http/server.ts";
import { exchange, exchangeBytes, type Received } from "./exchange.ts";
import { selfSigned } from "./self-signed.ts";

const anyPort = { host: "127.0.0.1", port: 0, option: "CHANCERY_LISTEN" };

/** Answers every request with its own path, once `release` has resolved. */
function echo(release: Promise<void> = Promise.resolve()): Handler {
  return {
    handle: (incoming, outgoing) => {
      incoming.resume();
      void release.then(() => outgoing.end(incoming.url));
    },
    refuse: (refusal) => `HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: ${refusal.length}\r\n\r\n${refusal}`,
  };
}

const shortLimits: Limits = {
  ...serviceLimits,
  handshakeTimeoutMs: 200,
  headersTimeoutMs: 200,
  requestTimeoutMs: 300,
  checkingIntervalMs: 50,
};

function opened(socket: Socket): Promise<unknown> {
  socket.on("error", () => undefined);
  socket.resume();
  return once(socket, "connect");
}

function ended(socket: Socket): Promise<unknown> {
  return socket.closed ? Promise.resolve() : once(socket, "close");
}

describe("a listener that cannot be opened says what to do", () => {
  test("a port in use: one sentence that names the address and its option", async () => {
    await using first = await listen(anyPort, echo());
    const second = listen({ ...anyPort, port: first.port, option: "CHANCERY_STATUS_LISTEN" }, echo());
    await expect(second).rejects.toThrow(Fault);
    await expect(second).rejects.toMatchObject({
      code: "refusedToStart",
      detail: `127.0.0.1:${first.port} (CHANCERY_STATUS_LISTEN) is in use: stop what listens there, or set CHANCERY_STATUS_LISTEN to another address`,
    });
  });

  test("an address of another machine", async () => {
    await expect(listen({ ...anyPort, host: "192.0.2.1" }, echo())).rejects.toMatchObject({
      code: "refusedToStart",
      detail: expect.stringContaining("is no address of this machine: set CHANCERY_LISTEN"),
    });
  });
});

describe("connections that do not finish are freed, and others are served meanwhile (HT-2, S-48)", () => {
  test.for([
    { name: "nothing is sent", bytes: "" },
    { name: "half a request line", bytes: "GET / HT" },
    { name: "half of the headers", bytes: "GET / HTTP/1.1\r\nHost: a\r\nX-A: " },
    { name: "half of a body", bytes: "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345" },
    { name: "half of a chunk", bytes: "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\na\r\n12345" },
  ])("$name, by 200 clients at once", async ({ bytes }) => {
    await using listener = await listen(anyPort, echo(new Promise(() => undefined)), { limits: shortLimits });
    const sockets = Array.from({ length: 200 }, () => connect(listener.port, "127.0.0.1"));
    await Promise.all(sockets.map(opened));
    if (bytes !== "") for (const socket of sockets) socket.write(bytes);
    await Promise.all(sockets.map(ended));
  });

  test("a client that does not read its answer is not waited for", async () => {
    const { promise: finished, resolve } = Promise.withResolvers<boolean>();
    const handler: Handler = {
      ...echo(),
      handle: (_incoming, outgoing) => {
        outgoing.on("close", () => resolve(outgoing.writableFinished));
        outgoing.end(Buffer.alloc(64 * 1024 * 1024));
      },
    };
    await using listener = await listen(anyPort, handler, { limits: { ...serviceLimits, stillTimeoutMs: 200 } });
    const socket = connect(listener.port, "127.0.0.1");
    socket.on("error", () => undefined);
    socket.pause();
    socket.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    expect(await finished).toBe(false);
    socket.destroy();
  });

  test("a TLS handshake that never comes", async () => {
    await using listener = await listen(anyPort, echo(), { limits: shortLimits, credentials: await selfSigned("a") });
    const sockets = Array.from({ length: 50 }, () => connect(listener.port, "127.0.0.1"));
    await Promise.all(sockets.map(opened));
    await Promise.all(sockets.map(ended));
  });

  test("a healthy client is answered while 500 others hold half-sent requests", async () => {
    await using listener = await listen(anyPort, echo(), {
      limits: { ...serviceLimits, drainMs: 100, maxConnectionsPerAddress: 1_000 },
    });
    const sockets = Array.from({ length: 500 }, () => connect(listener.port, "127.0.0.1"));
    await Promise.all(sockets.map(opened));
    for (const socket of sockets) socket.write("POST /slow HTTP/1.1\r\nHost: a\r\n");
    for (let i = 0; i < 20; i++) expect((await exchange(listener, { path: `/${i}` })).text).toBe(`/${i}`);
    for (const socket of sockets) socket.destroy();
  });

  test("connections beyond the limit are closed, those within it are served", async () => {
    await using listener = await listen(anyPort, echo(), { limits: { ...serviceLimits, maxConnections: 2 } });
    const held = [connect(listener.port, "127.0.0.1"), connect(listener.port, "127.0.0.1")];
    await Promise.all(held.map(opened));
    expect((await exchangeBytes(listener.port, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")).length).toBe(0);
    for (const socket of held) socket.destroy();
  });

  test.for([{ tls: false }, { tls: true }])(
    "one address has as many connections as it may, another is served meanwhile, and a closed one makes room (TLS: $tls)",
    async ({ tls }) => {
      const credentials = tls ? { credentials: await selfSigned("localhost") } : {};
      await using listener = await listen(anyPort, echo(), { limits: { ...serviceLimits, maxConnectionsPerAddress: 2 }, ...credentials });
      const peer = { port: listener.port, ...(tls && { ca: credentials.credentials?.certificate ?? "" }) };
      const held = [connect(listener.port, "127.0.0.1"), connect(listener.port, "127.0.0.1")] as const;
      await Promise.all(held.map(opened));
      const refused = connect(listener.port, "127.0.0.1");
      await Promise.all([opened(refused), ended(refused)]);

      const raw = connect({ port: listener.port, host: "127.0.0.1", localAddress: "127.0.0.2" });
      const other = tls ? connectTls({ socket: raw, servername: "localhost", ca: peer.ca ?? "" }) : raw;
      other.write("GET /other HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
      expect(Buffer.concat(await other.toArray()).toString()).toMatch(/\/other$/);

      held[0].destroy();
      let answer: Received | undefined;
      // The server learns of the end some turns after we do.
      while (!answer) answer = await exchange(peer, { path: "/room" }).catch(() => undefined);
      expect(answer.text).toBe("/room");
      held[1].destroy();
    },
  );

  test("connections never take more than a quarter of the descriptors that the process may open", async () => {
    const soft = Number((await promisify(execFile)("sh", ["-c", "ulimit -Sn"])).stdout);
    const script = `import { descriptorLimit } from ${JSON.stringify(new URL("../../src/http/descriptor-limit.ts", import.meta.url).href)};
      process.stdout.write(String(descriptorLimit()));`;
    const limited = await promisify(execFile)("sh", [
      "-c",
      'ulimit -n 123 && exec "$0" --input-type=module -e "$1"',
      process.execPath,
      script,
    ]);
    expect(limited.stdout).toBe("123");
    expect(descriptorLimit()).toBeGreaterThanOrEqual(soft);
  });

  test("the last of as many requests as one connection may send ends it", async () => {
    await using listener = await listen(anyPort, echo(), { limits: { ...serviceLimits, maxRequestsPerSocket: 3, keepAliveTimeoutMs: 50 } });
    const text = await exchangeBytes(listener.port, "GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(3));
    expect(text.match(/HTTP\/1\.1 200/g)).toHaveLength(3);
    expect(text.match(/Connection: close/gi)).toHaveLength(1);
  });
});

describe("what is no request is refused by the parser, strictly (S-47; RFC 9112 §6.3)", () => {
  test.for([
    {
      name: "Content-Length beside Transfer-Encoding",
      bytes: "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    },
    { name: "two Content-Lengths", bytes: "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc" },
    { name: "a Content-Length with a sign", bytes: "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc" },
    { name: "chunked twice", bytes: "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked, x\r\n\r\n0\r\n\r\n" },
    { name: "a chunk size that is no number", bytes: "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n" },
    { name: "a space before the colon", bytes: "GET / HTTP/1.1\r\nHost : a\r\n\r\n" },
    { name: "a folded header", bytes: "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n" },
    { name: "a lone LF as line end", bytes: "GET / HTTP/1.1\nHost: a\n\n" },
    { name: "NUL in a header", bytes: "GET / HTTP/1.1\r\nHost: a\u0000\r\n\r\n" },
    { name: "another protocol", bytes: "\u0016\u0003\u0001\u0002\u0000\u0001" },
  ])("$name: 400 and the connection ends", async ({ bytes }) => {
    const handled: string[] = [];
    const handler: Handler = { ...echo(), handle: (incoming) => handled.push(incoming.method ?? "") };
    await using listener = await listen(anyPort, handler, { limits: shortLimits });
    expect(await exchangeBytes(listener.port, bytes)).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n[^]*malformed$/);
  });

  test("an expectation that is unknown is passed over (RFC 9110 §10.1.1)", async () => {
    await using listener = await listen(anyPort, echo());
    expect((await exchange(listener, { path: "/x", headers: { expect: "miracles" } })).text).toBe("/x");
  });

  test("headers of 16 KiB and more are refused as such", async () => {
    await using listener = await listen(anyPort, echo());
    expect(await exchangeBytes(listener.port, `GET / HTTP/1.1\r\nHost: a\r\nX: ${"x".repeat(16 * 1024)}\r\n\r\n`)).toMatch(
      /headersTooLarge$/,
    );
  });
});

describe("draining answers what is in flight and takes nothing new (HT-1, T-TERM)", () => {
  test("200 requests in flight are all answered, with Connection: close, and the listener is closed after them", async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const listener = await listen(anyPort, echo(promise));
    const agent = new Agent({ keepAlive: true, maxSockets: 200 });
    const arrived = Promise.withResolvers<void>();
    const answers = Array.from({ length: 200 }, (_, i) => keptExchange(agent, listener.port, `/${i}`));
    void Promise.all(answers.map(({ sent }) => sent)).then(() => setImmediate(arrived.resolve));
    await arrived.promise;
    await exchangeBytes(listener.port, "GARBAGE\r\n\r\n");

    const drained = listener[Symbol.asyncDispose]();
    await expect(exchange(listener, { path: "/late" })).rejects.toThrow(/ECONNREFUSED/);
    resolve();
    const received = await Promise.all(answers.map(({ answer }) => answer));
    expect(received.map(({ connection }) => connection)).toEqual(Array(200).fill("close"));
    await drained;
    agent.destroy();
  });

  test("an idle connection that is kept alive does not hold it up", async () => {
    const listener = await listen(anyPort, echo(), { limits: { ...serviceLimits, keepAliveTimeoutMs: 3_600_000, drainMs: 3_600_000 } });
    const agent = new Agent({ keepAlive: true });
    expect((await keptExchange(agent, listener.port, "/").answer).connection).toBe("keep-alive");
    await listener[Symbol.asyncDispose]();
    agent.destroy();
  });

  test("a handler that never answers is cut after the bound", async () => {
    const listener = await listen(anyPort, echo(new Promise(() => undefined)), { limits: { ...serviceLimits, drainMs: 100 } });
    const answer = exchange(listener, { path: "/" });
    const cut = expect(answer).rejects.toThrow();
    await exchangeBytes(listener.port, "GARBAGE\r\n\r\n");
    await listener[Symbol.asyncDispose]();
    await cut;
  });
});

describe("TLS (RFC 9325)", () => {
  test("a renewed certificate is shown to new connections; those that stand go on", async () => {
    const [first, second] = await Promise.all([selfSigned("first"), selfSigned("second")]);
    await using listener = await listen(anyPort, echo(), { credentials: first });
    const standing = connectTls({ port: listener.port, host: "127.0.0.1", servername: "localhost", ca: first.certificate });
    await once(standing, "secureConnect");
    expect((await exchange({ port: listener.port, ca: first.certificate }, { path: "/1" })).text).toBe("/1");

    listener.renew(second);
    expect((await exchange({ port: listener.port, ca: second.certificate }, { path: "/2" })).text).toBe("/2");
    await expect(exchange({ port: listener.port, ca: first.certificate }, { path: "/3" })).rejects.toThrow();
    standing.write("GET /standing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    expect(Buffer.concat(await standing.toArray()).toString()).toMatch(/\/standing$/);
  });

  test.for([
    { name: "TLS 1.1", options: { minVersion: "TLSv1.1", maxVersion: "TLSv1.1", ciphers: "ALL:@SECLEVEL=0" } as const, taken: false },
    { name: "TLS 1.2 without forward secrecy", options: { maxVersion: "TLSv1.2", ciphers: "AES128-GCM-SHA256" } as const, taken: false },
    { name: "TLS 1.2 with CBC", options: { maxVersion: "TLSv1.2", ciphers: "ECDHE-ECDSA-AES128-SHA" } as const, taken: false },
    { name: "TLS 1.2", options: { maxVersion: "TLSv1.2" } as const, taken: true },
    { name: "TLS 1.3", options: { minVersion: "TLSv1.3" } as const, taken: true },
  ])("$name, before and after a renewal: taken $taken", async ({ options, taken }) => {
    const credentials = await selfSigned("a");
    await using listener = await listen(anyPort, echo(), { credentials });
    for (let i = 0; i < 2; i++) {
      const socket = connectTls({
        port: listener.port,
        host: "127.0.0.1",
        servername: "localhost",
        ca: credentials.certificate,
        ...options,
      });
      const outcome = await Promise.race([once(socket, "secureConnect").then(() => true), once(socket, "close").then(() => false)]).catch(
        () => false,
      );
      expect(outcome).toBe(taken);
      socket.destroy();
      listener.renew(credentials);
    }
  });
});

/** A request over an agent: when it has been sent, and the Connection header of its answer. */
function keptExchange(agent: Agent, port: number, path: string) {
  const sent = Promise.withResolvers<void>();
  const answer = Promise.withResolvers<{ readonly connection: string | undefined }>();
  const outgoing = request({ agent, port, host: "127.0.0.1", path }, (response) => {
    response.resume();
    response.on("end", () => answer.resolve({ connection: response.headers.connection }));
  });
  outgoing.on("finish", () => sent.resolve());
  outgoing.on("error", answer.reject);
  outgoing.end();
  return { sent: sent.promise, answer: answer.promise };
}
