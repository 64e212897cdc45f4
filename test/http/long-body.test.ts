import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { beforeEach, describe, expect, test } from "vitest";
import { deadlineAfter, longBodyLimits, type LongBodyLimits } from "../../src/http/long-body.ts";
import { type PlainAnswer, plainHandler } from "../../src/http/plain.ts";
import { listen } from "../../src/http/server.ts";
import { exchange, exchangeBytes } from "./exchange.ts";

const part = new Uint8Array(64 * 1024);

/** More parts than the buffers of any connection take from a server whose client does not read. */
const manyParts = 2_048;

/** A listener whose answers are long, and the count of what was asked of it, begun and ended. */
async function longAnswers(partsOfEach: number, limits: Partial<LongBodyLimits>) {
  const count = { asked: 0, begun: 0, ended: 0 };
  const parts = async function* () {
    count.begun += 1;
    try {
      for (let index = 0; index < partsOfEach; index++) yield part;
    } finally {
      count.ended += 1;
    }
  };
  const handler = plainHandler(
    (): PlainAnswer => {
      count.asked += 1;
      return { status: 200, headers: {}, body: { octets: partsOfEach * part.length, parts } };
    },
    { ...longBodyLimits, ...limits },
  );
  const listener = await listen({ host: "127.0.0.1", port: 0, option: "test" }, handler);
  return { count, listener };
}

/** Reads a thousand octets a few times a second, for as long as it is let: no pause of the connection ever is a long one. */
function trickle(socket: Socket): void {
  const timer = setInterval(() => socket.read(1_000), 50);
  socket.on("close", () => clearInterval(timer));
}

const request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

let sockets: Socket[];
beforeEach(() => {
  sockets = [];
  return () => sockets.forEach((socket) => socket.destroy());
});

/** A connection from one of the addresses of loopback that has sent so many requests, and reads nothing yet. */
async function sender(port: number, requests: number, localAddress = "127.0.0.1"): Promise<Socket> {
  const socket = connect({ host: "127.0.0.1", port, localAddress });
  sockets.push(socket.on("error", () => {}));
  await once(socket, "connect");
  socket.write(request.repeat(requests));
  return socket;
}

/** The status of the first answer, of which no more than that is read. */
async function firstStatus(socket: Socket): Promise<number> {
  await once(socket, "readable");
  const head: unknown = socket.read(12);
  return Number(String(head).slice(9));
}

const generous = { maxBodies: 1_000, maxBodiesPerAddress: 1_000 };

describe("a long answer begins when its turn on the connection comes, not before", () => {
  test("of 300 requests in one piece from a client that reads nothing, one is begun", async () => {
    const { count, listener } = await longAnswers(manyParts, generous);
    await using _ = listener;
    const socket = await sender(listener.port, 300);
    await expect.poll(() => count.asked).toBe(300);
    expect(count).toEqual({ asked: 300, begun: 1, ended: 0 });
    socket.destroy();
    await expect.poll(() => count.ended).toBe(1);
    expect(count).toEqual({ asked: 300, begun: 1, ended: 1 });
  });

  test("a client that reads them gets all of them, whole, one behind the other: each has the place of the one before", async () => {
    const { count, listener } = await longAnswers(3, { maxBodies: 1, maxBodiesPerAddress: 1 });
    await using _ = listener;
    const last = request.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    const received = await exchangeBytes(listener.port, `${request.repeat(19)}${last}`);
    expect(received.split("HTTP/1.1 200 OK\r\n").length - 1).toBe(20);
    expect(received.split("\0").length - 1).toBe(20 * 3 * part.length);
    expect([count.begun, count.ended]).toEqual([20, 20]);
  });

  test("connections each have a turn of their own", async () => {
    const { count, listener } = await longAnswers(manyParts, generous);
    await using _ = listener;
    for (let index = 0; index < 4; index++) await sender(listener.port, 2);
    await expect.poll(() => count.begun).toBe(4);
    sockets.forEach((socket) => socket.destroy());
    await expect.poll(() => count.ended).toBe(4);
  });
});

describe("long answers under way are bounded: beyond it is 503 with Retry-After", () => {
  test.for([
    { name: "of one address", limits: { maxBodies: 10, maxBodiesPerAddress: 2 }, other: 200 },
    { name: "of all", limits: { maxBodies: 2, maxBodiesPerAddress: 10 }, other: 503 },
  ])("$name; a client that goes away frees its place", async ({ limits, other }) => {
    const { count, listener } = await longAnswers(manyParts, limits);
    await using _ = listener;
    const [first] = [await sender(listener.port, 1), await sender(listener.port, 1)];
    await expect.poll(() => count.begun).toBe(2);

    const refused = await exchange(listener, { path: "/" });
    expect([refused.status, refused.headers["retry-after"]]).toEqual([503, "10"]);
    const head = await exchange(listener, { path: "/", method: "HEAD" });
    expect([head.status, head.headers["content-length"]]).toEqual([200, String(manyParts * part.length)]);
    const elsewhere = await sender(listener.port, 1, "127.0.0.2");
    expect(await firstStatus(elsewhere)).toBe(other);
    elsewhere.destroy();

    first?.destroy();
    await expect.poll(async () => firstStatus(await sender(listener.port, 1))).toBe(200);
    sockets.forEach((socket) => socket.destroy());
    await expect.poll(() => count.ended).toBe(count.begun);
  });
});

describe("a client that takes a long answer too slowly is given up: no place is held for ever", () => {
  const hurried = { leastOctetsPerSecond: 1024 * 1024, patienceMs: 300 };

  test.for([
    { name: "one that reads nothing", read: () => {} },
    { name: "one that trickles, and is never still for long", read: trickle },
  ])("$name is given up, and its place is free for others", async ({ read }) => {
    const { count, listener } = await longAnswers(manyParts, { maxBodies: 2, maxBodiesPerAddress: 2, ...hurried });
    await using _ = listener;
    for (const socket of [await sender(listener.port, 1), await sender(listener.port, 1)]) read(socket);
    await expect.poll(() => count.begun).toBe(2);
    await expect.poll(() => count.ended).toBe(2);
    expect(await firstStatus(await sender(listener.port, 1))).toBe(200);
  });

  test("under the service's own bounds one that takes it as it comes has it whole", async () => {
    const { count, listener } = await longAnswers(100, {});
    await using _ = listener;
    expect((await exchange(listener, { path: "/" })).body.length).toBe(100 * part.length);
    expect(count).toEqual({ asked: 1, begun: 1, ended: 1 });
  });

  test.for([
    { name: "nothing", takes: [], until: 60_000 },
    {
      name: "at the rate",
      takes: [
        [10_000, 160_000],
        [20_000, 160_000],
      ],
      until: 80_000,
    },
    {
      name: "at half of the rate",
      takes: [
        [20_000, 160_000],
        [40_000, 160_000],
      ],
      until: 80_000,
    },
    { name: "much at once, which counts for no longer than a pause may be", takes: [[1_000, 50_000_000]], until: 61_000 },
    {
      name: "much, then little",
      takes: [
        [1_000, 50_000_000],
        [31_000, 16_000],
      ],
      until: 62_000,
    },
  ] as const)("one is waited for until it is a minute behind 16,000 octets a second: $name", ({ takes, until }) => {
    const pace = { leastOctetsPerSecond: 16_000, patienceMs: 60_000 };
    const deadline = takes.reduce((before, [now, octets]) => deadlineAfter(before, { octets, now }, pace), pace.patienceMs);
    expect(deadline).toBe(until);
  });
});
