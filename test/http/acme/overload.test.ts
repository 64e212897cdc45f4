import { readFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Database } from "../../../src/database/connect.ts";
import { openAdmission } from "../../../src/http/acme/overload.ts";
import type { Events } from "../../../src/ports/events.ts";
import { type AcmeClient, acmeClient } from "../../support/acme-client.ts";
import { certificateId } from "../../support/polite-client.ts";
import { standingGround, type Ground, startService, type TestService } from "../../support/service.ts";
import { pipeline } from "../exchange.ts";

test("AN-4: with too much under way what begins something is refused first, then what goes on, last what ends it", () => {
  const admit = openAdmission();
  const held: Disposable[] = [];
  const fill = (sheds: Parameters<typeof admit>[0]) => {
    for (let one = admit(sheds); one; one = admit(sheds)) held.push(one);
    return held.length;
  };
  const [first, second, last] = [fill("first"), fill("second"), fill("last")];
  expect(first).toBeGreaterThan(256);
  expect(second).toBeGreaterThan(first);
  expect(last).toBeGreaterThan(second);
  expect(admit("last")).toBeUndefined();
  for (const one of held) one[Symbol.dispose]();
  expect(admit("first")).toBeDefined();
});

describe("the service under more requests than it takes", () => {
  /** While there is one, reads wait for it, before they have a connection to the database. */
  let gate: PromiseWithResolvers<void> | undefined;
  const gated = (database: Database): Database => ({
    ...database,
    read: async (query) => {
      await gate?.promise;
      return await database.read(query);
    },
    [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
  });
  /** GETs of renewal information that were answered 503. */
  let refused = 0;
  const counted = (events: Events): Events => ({
    ...events,
    measure: (name, value, labels) => {
      if (labels?.["route"] === "GET /renewal-info/:id" && labels["status"] === "503") refused += 1;
      events.measure(name, value, labels);
    },
  });
  let ground: Ground;
  let service: TestService;
  let client: AcmeClient;
  let ca: string;

  beforeAll(async () => {
    ground = await standingGround({ CHANCERY_TEST_ALWAYS_VALID: "true" });
    service = await startService({ database: gated, events: counted }, ground);
    ca = await readFile(join(ground.directory, "root.pem"), "utf8");
    client = await acmeClient(service);
    await client.register();
  });
  afterAll(async () => {
    await service[Symbol.asyncDispose]();
    await ground[Symbol.asyncDispose]();
  });

  /** A connection from this address whose request has a head and no body; resolves once the door waits for the body. */
  function halfSent(path: string, localAddress: string): Promise<TLSSocket> {
    const socket = connectTls({
      socket: connect({ port: service.service.listeners.tls.port, host: "127.0.0.1", localAddress }),
      servername: "localhost",
      ca,
    });
    const head = ["Host: localhost", "Content-Type: application/jose+json", "Content-Length: 500", "Expect: 100-continue"];
    socket.write(`POST ${path} HTTP/1.1\r\n${head.join("\r\n")}\r\n\r\n`);
    return new Promise((resolve, reject) => {
      socket.on("error", reject);
      socket.once("data", (data: Buffer) => {
        // Node says so in the turn in which it hands the request on.
        if (data.toString("latin1").startsWith("HTTP/1.1 100 ")) resolve(socket);
        else reject(new Error(data.toString("latin1")));
      });
    });
  }

  test("600 requests without their bodies keep nobody from newAccount and newOrder (AN-4)", async () => {
    const held: TLSSocket[] = [];
    for (const address of ["127.0.0.2", "127.0.0.3", "127.0.0.4"]) {
      for (const path of ["new-account", "new-order"]) {
        const { pathname } = new URL(client.url(path));
        held.push(...(await Promise.all(Array.from({ length: 100 }, () => halfSent(pathname, address)))));
      }
    }
    expect(held).toHaveLength(600);
    expect((await client.order(["a.example.org"])).status).toBe(201);
    const other = await acmeClient(service);
    expect((await other.register()).status).toBe(201);
    for (const socket of held) socket.destroy();
  });

  test("of 1,040 GETs of renewal information at once 16 are told to come again, and nonces go out still (AN-4)", async () => {
    const { chain } = await client.issue(["b.example.org"]);
    const url = `${client.url("renewal-info")}/${certificateId(chain)}`;
    const request = Buffer.from(`GET ${new URL(url).pathname} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
    gate = Promise.withResolvers();
    const peer = { port: service.service.listeners.tls.port, ca };
    const asked = Promise.all(Array.from({ length: 8 }, () => pipeline(peer, Array<Buffer>(130).fill(request))));
    await expect.poll(() => refused, { timeout: 20_000 }).toBe(16);
    const further = await client.ask(url);
    expect([further.status, further.problem]).toEqual([503, "rateLimited"]);
    expect(Number(further.header("retry-after"))).toBeGreaterThan(0);
    expect(await client.nonce()).not.toBe("");
    gate.resolve();
    gate = undefined;
    const statuses = (await asked).flat().map(({ status }) => status);
    expect([200, 503].map((status) => statuses.filter((each) => each === status).length)).toEqual([1_024, 16]);
    expect((await client.ask(url)).status).toBe(200);
  });
});
