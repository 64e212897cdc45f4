import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { settle } from "../../src/ca/settle.ts";
import type { Sql } from "../../src/database/connection.ts";
import { freePorts, type Started, startChancery, untilWritten } from "../cli/command-line.ts";
import { type Crowd, harmful, startCrowd } from "../support/acme-crowd.ts";
import { type FleetGround, fleetGround } from "../support/acme-fleet.ts";
import { brokenAcmeInvariants } from "../support/acme-invariants.ts";
import { ask as request, type Door, politeClient, type Seen } from "../support/polite-client.ts";
import { rounds } from "../support/rounds.ts";
import { administer } from "../support/server.ts";
import { startService, type TestService } from "../support/service.ts";
import { clockOf } from "../support/clock.ts";

const clients = 8;

let grounds: FleetGround;
/** In this process: it stays. */
let standing: TestService;
/** A process of its own, which comes and goes at the same address. */
let other: Started;
let doors: readonly [Door, Door];
let environment: Readonly<Record<string, string>>;

async function startOther(): Promise<void> {
  other = startChancery(["serve"], { cwd: grounds.ground.directory, env: environment });
  await untilWritten(other, "--help what else there is.\n");
}

beforeAll(async () => {
  grounds = await fleetGround();
  standing = await startService({}, grounds.ground);
  const [tls = 0, status = 0, ops = 0] = await freePorts(3);
  environment = grounds.another("other", {
    CHANCERY_LISTEN: `127.0.0.1:${tls}`,
    CHANCERY_STATUS_LISTEN: `127.0.0.1:${status}`,
    CHANCERY_OPS_LISTEN: `127.0.0.1:${ops}`,
  });
  doors = [
    { ...grounds.place, port: standing.service.listeners.tls.port },
    { ...grounds.place, port: tls },
  ];
  await startOther();
}, 90_000);
afterAll(async () => {
  other.child.kill("SIGTERM");
  await other.ended;
  await standing[Symbol.asyncDispose]();
  await grounds[Symbol.asyncDispose]();
});

const ask = <T>(query: (sql: Sql) => PromiseLike<T>) => administer(grounds.ground.databaseUrl, query);
const crowdOf = (name: string): Crowd => startCrowd(() => doors, { host: grounds.host, clients, orders: rounds(2, 10), name });

async function expectAllWell(crowd: Crowd): Promise<readonly Seen[]> {
  const { ended, seen } = await crowd.finish();
  expect(harmful(seen)).toEqual([]);
  expect(new Set(ended.map(({ serial }) => serial)).size).toBe(ended.length);
  expect(await ask(brokenAcmeInvariants)).toEqual([]);
  return seen;
}

describe("one of two instances goes and comes back under running orders", () => {
  test(
    "a nonce of one is honoured by the other, and after the end of the one that gave it (AJ-28, AN-2)",
    { timeout: 90_000 },
    async () => {
      const client = politeClient(() => [doors[0]], { host: grounds.host });
      await client.register();
      const [ofFirst, ofOther, kept, alsoKept] = await Promise.all([
        client.nonce(doors[0]),
        client.nonce(doors[1]),
        client.nonce(doors[0]),
        client.nonce(doors[1]),
      ]);
      const spend = async (door: Door, nonce: string) => {
        const answered = await request(door, client.account(), { method: "POST", body: client.sign(client.account(), "", nonce) });
        return answered.problem ?? answered.status;
      };
      expect(await spend(doors[1], ofFirst)).toBe(200);
      expect(await spend(doors[0], ofOther)).toBe(200);
      other.child.kill("SIGTERM");
      expect((await other.ended).exitCode).toBe(0);
      await startOther();
      expect(await spend(doors[1], kept)).toBe(200);
      expect(await spend(doors[1], alsoKept)).toBe(200);
      for (const nonce of [ofFirst, ofOther, kept, alsoKept]) {
        expect([await spend(doors[0], nonce), await spend(doors[1], nonce)]).toEqual(["badNonce", "badNonce"]);
      }
    },
  );

  test("by SIGTERM: every order ends valid, nobody sees a bad nonce or an error (AN-2, T-CRASH)", { timeout: 90_000 }, async () => {
    using crowd = crowdOf("term");
    for (let round = rounds(1, 10); round > 0; round -= 1) {
      await crowd.issued(clients);
      other.child.kill("SIGTERM");
      expect((await other.ended).exitCode).toBe(0);
      await crowd.issued(2);
      await startOther();
    }
    await crowd.issued(clients);
    const seen = await expectAllWell(crowd);
    // A connection that nobody takes is no answer.
    expect(seen.filter(({ status }) => status >= 400)).toEqual([]);
  });

  test("by SIGKILL: every order ends valid, also those that it was at (AK-10, T-CRASH)", { timeout: 90_000 }, async () => {
    using crowd = crowdOf("kill");
    for (let round = rounds(1, 10); round > 0; round -= 1) {
      await crowd.issued(clients);
      other.child.kill("SIGKILL");
      await other.ended;
      // What its leases and the time that others leave it would be waited for is over at once.
      await ask((sql) => sql`update acme_challenge set lease_until = now() where status = 'processing'`);
      const { ca } = standing.service;
      await settle({ ...ca, clock: clockOf(() => new Date(ca.clock.now().getTime() + 60_000)) });
      await startOther();
    }
    await crowd.issued(clients);
    await expectAllWell(crowd);
  });
});
