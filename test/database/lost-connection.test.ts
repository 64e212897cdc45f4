import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { type Database, type DatabaseOptions, openDatabase } from "../../src/database/connect.ts";
import { freshDatabase, type FreshDatabase } from "../support/database.ts";
import { type RecordedEvents, recordedEvents } from "../support/events.ts";
import { type DatabaseProxy, startProxy } from "../support/proxy.ts";
import { rounds } from "../support/rounds.ts";
import { administer } from "../support/server.ts";

const cuts = rounds(100, 1000);
const unavailable = { name: "Fault", code: "databaseUnavailable" };

let fresh: FreshDatabase;
beforeAll(async () => {
  fresh = await freshDatabase();
  await administer(fresh.url, (sql) => sql.unsafe("create table scratch (id text primary key)"));
});
afterAll(() => fresh[Symbol.asyncDispose]());

type Ground = AsyncDisposable & { readonly proxy: DatabaseProxy; readonly database: Database; readonly events: RecordedEvents };

/** A database behind a proxy. */
async function ground(options: Partial<DatabaseOptions> = {}): Promise<Ground> {
  await using stack = new AsyncDisposableStack();
  const proxy = stack.use(await startProxy(fresh.url));
  const events = recordedEvents();
  const database = stack.use(await openDatabase({ url: proxy.url, probeMs: 20, ...options }, { events }));
  const held = stack.move();
  return { proxy, database, events, [Symbol.asyncDispose]: () => held.disposeAsync() };
}

const insert = (database: Database, id: string) => database.read((sql) => sql`insert into scratch values (${id})`);
const stands = async (id: string) => (await administer(fresh.url, (sql) => sql`select 1 from scratch where id = ${id}`)).length === 1;

describe("black hole: packets that nobody answers (DB-2, T-NET)", () => {
  test("a statement fails at its deadline, and those that wait for its connection with it", async () => {
    await using world = await ground({ deadlineMs: 300, connectTimeoutMs: 300, poolSize: 2 });
    await world.database.read((sql) => sql`select 1`);
    world.proxy.blackHole(true);
    const outcomes = await Promise.allSettled(Array.from({ length: 8 }, () => world.database.read((sql) => sql`select 1`)));
    for (const outcome of outcomes) expect(outcome).toMatchObject({ status: "rejected", reason: unavailable });
    world.proxy.blackHole(false);
    await vi.waitFor(() => world.database.read((sql) => sql`select 1`), { timeout: 5000 });
  });

  test("a transaction that has begun fails, though its answer began to arrive", async () => {
    await using world = await ground({ deadlineMs: 300, connectTimeoutMs: 300 });
    const act = world.database.transact(async ({ sql }) => {
      await sql`insert into scratch values ('begun')`;
      world.proxy.blackHole(true);
      await sql`select 1`;
    });
    await expect(act).rejects.toMatchObject(unavailable);
    expect(await stands("begun")).toBe(false);
  });

  test("what was reported as failed does not happen when the network comes back", async () => {
    await using world = await ground({ deadlineMs: 300, connectTimeoutMs: 300 });
    await world.database.read((sql) => sql`select 1`);
    world.proxy.blackHole(true);
    await expect(insert(world.database, "late")).rejects.toMatchObject(unavailable);
    world.proxy.blackHole(false);
    await vi.waitFor(() => insert(world.database, "after it"), { timeout: 5000 });
    expect(await stands("late")).toBe(false);
  });

  test("readiness is lost although nobody asks, and comes back by itself", async () => {
    await using world = await ground({ deadlineMs: 200, connectTimeoutMs: 200 });
    expect(world.database.health()).toEqual({ ready: true, detail: "the database answers" });
    world.proxy.blackHole(true);
    await vi.waitFor(() => expect(world.database.health()).toMatchObject({ ready: false }), { timeout: 5000 });
    world.proxy.blackHole(false);
    await vi.waitFor(() => expect(world.database.health()).toMatchObject({ ready: true }), { timeout: 5000 });
    expect(world.events.told.map(({ event }) => event)).toEqual(expect.arrayContaining(["database.failed", "database.connected"]));
  });

  test("closing does not wait for it for ever", async () => {
    await using world = await ground({ deadlineMs: 200 });
    await world.database.read((sql) => sql`select 1`);
    world.proxy.blackHole(true);
    await world.database[Symbol.asyncDispose]();
  });
});

describe("cut connections (DB-10)", () => {
  test("before COMMIT arrives nothing stands; after it everything does; both tell the same, so that the caller reads again", async () => {
    await using world = await ground();
    const record = (id: string) => world.database.transact(async ({ sql }) => void (await sql`insert into scratch values (${id})`));
    world.proxy.cutAt(/^commit$/, "before");
    await expect(record("before commit")).rejects.toMatchObject(unavailable);
    world.proxy.cutAt(/^commit$/, "after");
    await expect(record("after commit")).rejects.toMatchObject(unavailable);
    expect(world.proxy.cuts()).toBe(2);
    expect(await stands("before commit")).toBe(false);
    expect(await stands("after commit")).toBe(true);
  });

  test(`${cuts} cuts under load: every acknowledged row stands, every other caller is told (T-NET)`, async () => {
    await using world = await ground({ poolSize: 4 });
    const acknowledged: string[] = [];
    let refused = 0;
    const load = { done: false };
    const writer = async (name: number) => {
      for (let n = 0; !load.done; n += 1) {
        const id = `load ${name} ${n}`;
        try {
          await (n % 2 === 0
            ? insert(world.database, id)
            : world.database.transact(async ({ sql }) => void (await sql`insert into scratch values (${id})`)));
          acknowledged.push(id);
        } catch (error) {
          expect(error).toMatchObject(unavailable);
          refused += 1;
        }
      }
    };
    const writers = Promise.all(Array.from({ length: 8 }, (_, name) => writer(name)));
    for (let cut = 0; cut < cuts; cut += 1) {
      const before = acknowledged.length;
      await vi.waitFor(() => expect(acknowledged.length).toBeGreaterThan(before), { interval: 1, timeout: 5000 });
      world.proxy.cut();
    }
    load.done = true;
    await writers;
    const rows = await administer(fresh.url, (sql) => sql`select id from scratch where id like 'load %'`);
    const standing = new Set(rows.map((row) => row["id"]));
    expect(acknowledged.filter((id) => !standing.has(id))).toEqual([]);
    // The faults bit: callers were told of them.
    expect(refused).toBeGreaterThan(0);
  });

  test("a database that is down refuses at once, and serves as soon as it is back", async () => {
    await using world = await ground();
    await world.proxy.down();
    await expect(insert(world.database, "down")).rejects.toMatchObject(unavailable);
    await world.proxy.up();
    await insert(world.database, "up");
    expect(await stands("up")).toBe(true);
  });
});

test("200 ms each way are no failure (T-NET)", async () => {
  await using world = await ground();
  world.proxy.latency(200);
  await insert(world.database, "slow");
  expect(await stands("slow")).toBe(true);
});
