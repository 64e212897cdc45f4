import { readFile } from "node:fs/promises";
import { setTimeout as pause } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Sql } from "../../src/database/connection.ts";
import { certificateRequest } from "../support/acme-client.ts";
import { type Crowd, harmful, startCrowd } from "../support/acme-crowd.ts";
import { type Fleet, fleetGround, startFleet } from "../support/acme-fleet.ts";
import { brokenAcmeInvariants } from "../support/acme-invariants.ts";
import { gateBefore } from "../support/held-statement.ts";
import { politeClient, type Seen } from "../support/polite-client.ts";
import { type DatabaseProxy, startProxy } from "../support/proxy.ts";
import { rounds } from "../support/rounds.ts";
import { administer } from "../support/server.ts";
import { type Shim, shimAvailable, type ShimFault, shimmed } from "../support/shim.ts";
import { modulePath } from "../support/token.ts";
import { brokenStatus } from "../support/status-invariants.ts";

/** How long something is away each time. */
const awayMs = 1_000;
const clients = 8;

let fleet: Fleet;
let proxy: DatabaseProxy;
let shim: Shim | undefined;
const gate = gateBefore(/insert into issuance/);

beforeAll(async () => {
  const grounds = await fleetGround(async ({ databaseUrl, directory }) => {
    proxy = await startProxy(databaseUrl);
    shim = shimAvailable ? shimmed({ module: modulePath(), directory }) : undefined;
    return { DATABASE_URL: proxy.url, ...(shim && { CHANCERY_PKCS11_MODULE: shim.module }) };
  });
  fleet = await startFleet({ grounds, overrides: { database: gate.database } });
});
afterAll(async () => {
  await fleet[Symbol.asyncDispose]();
  await proxy[Symbol.asyncDispose]();
  await fleet.grounds[Symbol.asyncDispose]();
});

const ask = <T>(query: (sql: Sql) => PromiseLike<T>) => administer(fleet.grounds.ground.databaseUrl, query);
const crowdOf = (name: string, orders = rounds(2, 20)): Crowd =>
  startCrowd(() => fleet.doors, { host: fleet.grounds.host, clients, orders, name });

/** Every issuance came to its end with a certificate of its own, and nothing that clients saw would have ended an order of theirs. */
async function expectAllWell(crowd: Crowd): Promise<readonly Seen[]> {
  const { ended, seen } = await crowd.finish();
  expect(harmful(seen)).toEqual([]);
  expect(ended.length).toBeGreaterThanOrEqual(clients);
  expect(new Set(ended.map(({ serial }) => serial)).size).toBe(ended.length);
  expect(await ask(brokenAcmeInvariants)).toEqual([]);
  return seen;
}

/** How many intents stand whose certificate does not. */
async function openAttempts(sql: Sql): Promise<number> {
  const rows = await sql`select from issuance left join certificate c using (authority, serial) where c.serial is null`;
  return rows.length;
}

/** The processes that this one has started with this file of ours. */
async function children(file: string): Promise<number[]> {
  const pids = (await readFile(`/proc/self/task/${process.pid}/children`, "utf8")).trim().split(" ").map(Number);
  const lines = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")));
  return pids.filter((_, index) => lines[index]?.split("\0").some((argument) => argument.endsWith(file)));
}

/** Sends a signal to the children of both instances; whom it reached. */
async function signal(file: string, name: "SIGKILL" | "SIGSTOP"): Promise<readonly number[]> {
  const pids = await children(file);
  for (const pid of pids) process.kill(pid, name);
  return pids;
}

describe("under running orders of two instances", () => {
  test(
    "validators are killed and stopped again and again: no authorization fails, every order ends valid (AV-6, T-NET)",
    { timeout: 90_000 },
    async () => {
      using crowd = crowdOf("validators");
      for (let round = rounds(2, 30); round > 0; round -= 1) {
        await crowd.issued(2);
        expect(await signal("/net/validator.ts", "SIGKILL")).toHaveLength(2);
        await crowd.issued(2);
        const stopped = await signal("/net/validator.ts", "SIGSTOP");
        await pause(awayMs);
        for (const pid of stopped) process.kill(pid, "SIGCONT");
      }
      await expectAllWell(crowd);
    },
  );

  const faults: readonly ShimFault[] = [
    { function: "C_Sign", fault: "return", argument: 0x30 },
    ...(rounds(0, 1) === 1 ? [{ function: "C_Sign", fault: "abort" } as const] : []),
    { function: "C_Sign", fault: "hang", argument: 0 },
  ];
  test.runIf(shimAvailable)(
    "the HSM gives device errors, hangs, its hosts are killed: every order ends valid, nobody sees a 4xx (AF-11, W-28, T-NET)",
    { timeout: 90_000 },
    async () => {
      using crowd = crowdOf("hsm");
      for (let round = rounds(1, 10); round > 0; round -= 1) {
        for (const fault of faults) {
          await crowd.issued(clients);
          shim?.fault(fault);
          // It meets orders between their intent and their signature, and for as long as it lasts those that are ready.
          await expect.poll(() => ask(openAttempts), { timeout: 10_000 }).toBeGreaterThan(1);
          await pause(awayMs);
          shim?.fault();
        }
        await crowd.issued(clients);
        expect(await signal("/hsm/host.ts", "SIGKILL")).toHaveLength(2);
      }
      await expectAllWell(crowd);
      expect(shim?.calls("C_Sign").filter(({ result }) => result === 0x30).length).toBeGreaterThan(0);
    },
  );

  const commits = [
    { statement: /insert into acme_open_order/, when: "before" },
    { statement: /insert into acme_open_order/, when: "after" },
    { statement: /insert into acme_nonce/, when: "after" },
    { statement: /update acme_challenge c set status = 'processing'/, when: "before" },
    { statement: /update acme_challenge c set status = 'processing'/, when: "after" },
    { statement: /update acme_challenge set status = 'valid'/, when: "before" },
    { statement: /update acme_challenge set status = 'valid'/, when: "after" },
    { statement: /insert into issuance/, when: "before" },
    { statement: /insert into issuance/, when: "after" },
    { statement: /insert into certificate /, when: "before" },
    { statement: /insert into certificate /, when: "after" },
  ] as const;
  test(
    "the database is cut off before and after each commit of an order's way, all at once, and for a while: every order ends valid (T-NET)",
    { timeout: 120_000 },
    async () => {
      using crowd = crowdOf("database");
      for (let round = rounds(1, 20); round > 0; round -= 1) {
        const cuts = proxy.cuts();
        for (const { statement, when } of commits) proxy.cutAt(statement, when);
        await expect.poll(() => proxy.cuts(), { timeout: 20_000 }).toBe(cuts + commits.length);
        await crowd.issued(2);
        proxy.cut();
        await crowd.issued(2);
        await proxy.down();
        await pause(awayMs);
        await proxy.up();
      }
      const seen = await expectAllWell(crowd);
      expect(seen.filter(({ status }) => status === 503).length).toBeGreaterThan(0);
    },
  );

  test("the database falls silent at the intent: 503 before the client gives up, and the order ends valid (AN-5, AF-11)", async () => {
    const client = politeClient(() => fleet.doors, { host: fleet.grounds.host });
    await client.register();
    const order = await client.prove(await client.order(["silent.localhost"]));
    const csr = await certificateRequest(["silent.localhost"]);
    // Every connection of the pool stands and is idle: the next statements are sent over them, and nothing says that nobody hears.
    const { database } = fleet.first.service.acme;
    await Promise.all(Array.from({ length: 8 }, () => database.read((sql) => sql`select pg_sleep(0.2)`)));
    gate.shut();
    const finalizing = client.once(fleet.doors[0], String(order.json["finalize"]), { csr });
    await expect.poll(() => gate.waiting(), { timeout: 5_000 }).toBe(1);
    proxy.blackHole(true);
    gate.open();
    expect((await finalizing).status).toBe(503);
    proxy.blackHole(false);
    const ended = await client.finalize(order.header("location") ?? "", String(order.json["finalize"]), csr);
    expect(ended.json["status"]).toBe("valid");
    expect(await ask(brokenAcmeInvariants)).toEqual([]);
  });

  test(
    "without any of it 32 clients see no error at all, nor wait beyond their own limit of 10 s (AK-9, AN-5, T-NET)",
    { timeout: 90_000 },
    async () => {
      using crowd = startCrowd(() => fleet.doors, { host: fleet.grounds.host, clients: 32, orders: rounds(2, 50), name: "many" });
      const { ended, seen } = await crowd.finish();
      expect(ended).toHaveLength(32 * rounds(2, 50));
      expect(seen.filter(({ status }) => status >= 400 || status === 0)).toEqual([]);
      expect(await ask(brokenAcmeInvariants)).toEqual([]);
      expect(await brokenStatus(fleet.first.service, fleet.second)).toEqual([]);
    },
  );
});
