import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { recognise, type Presented } from "../../src/acme/account-store.ts";
import { type Nonces, openNonces } from "../../src/acme/nonce.ts";
import { type Database, openDatabase } from "../../src/database/connect.ts";
import { gather } from "../../src/database/gather.ts";
import type { Clock } from "../../src/ports/clock.ts";
import { clockOf, type FixedClock, fixedClock } from "../support/clock.ts";
import { freshDatabase, type FreshDatabase } from "../support/database.ts";
import { recordedEvents } from "../support/events.ts";
import { seeded } from "../support/random.ts";
import { rounds } from "../support/rounds.ts";
import { administer } from "../support/server.ts";

/** Nonces as an instance of the service has them: one connection pool, one batch of recognitions under way. */
type Instance = AsyncDisposable & {
  readonly database: Database;
  readonly nonces: Nonces;
  /** Whether a request with this nonce goes on. */
  readonly spend: (nonce: string) => Promise<boolean>;
  /** The same in a statement of its own. */
  readonly spendAlone: (nonce: string) => Promise<boolean>;
};

let seed = 0;

async function instance({ url }: FreshDatabase, clock: Clock): Promise<Instance> {
  await using stack = new AsyncDisposableStack();
  const database = stack.use(await openDatabase({ url }, { events: recordedEvents() }));
  const nonces = await openNonces({ database, clock, random: seeded((seed += 1)) });
  const ask = (presented: readonly Presented[]) => database.read((sql) => recognise(sql, presented));
  const together = gather({ ask });
  const spending = (recognised: typeof together) => async (nonce: string) => {
    const minted = nonces.open(nonce);
    if (!minted) return false;
    const { fresh, epoch } = await recognised({ nonce: minted, account: undefined });
    await nonces.sawEpoch(epoch);
    return fresh;
  };
  const alone = async (presented: Presented) => {
    const [answer] = await ask([presented]);
    if (!answer) throw new Error("no answer");
    return answer;
  };
  const held = stack.move();
  return { database, nonces, spend: spending(together), spendAlone: spending(alone), [Symbol.asyncDispose]: () => held.disposeAsync() };
}

type Pair = AsyncDisposable & { readonly fresh: FreshDatabase; readonly clock: FixedClock; readonly a: Instance; readonly b: Instance };

/** Two instances on a database of their own. The second one's clock is ahead by `aheadSeconds`. */
async function pair({ aheadSeconds = 0, time = "2026-03-01T12:30:00Z" } = {}): Promise<Pair> {
  await using stack = new AsyncDisposableStack();
  const fresh = stack.use(await freshDatabase());
  const clock = fixedClock(time);
  const a = stack.use(await instance(fresh, clock));
  const b = stack.use(
    await instance(
      fresh,
      clockOf(() => new Date(clock.now().getTime() + aheadSeconds * 1000)),
    ),
  );
  const held = stack.move();
  return { fresh, clock, a, b, [Symbol.asyncDispose]: () => held.disposeAsync() };
}

const octets = (nonce: string) => Buffer.from(nonce, "base64url");
const spentRows = async ({ fresh }: Pair) =>
  Number((await administer(fresh.url, (sql) => sql`select count(*) as count from acme_nonce`))[0]?.["count"]);

let standing: Pair;
beforeAll(async () => {
  standing = await pair();
});
afterAll(() => standing[Symbol.asyncDispose]());

describe("a nonce", () => {
  test("is at most 64 characters of base64url, and never the same twice (AN-1, RFC 8555 §6.5.1)", () => {
    const nonces = Array.from({ length: 2_000 }, (_, index) => (index % 2 ? standing.a : standing.b).nonces.mint());
    expect(new Set(nonces).size).toBe(2_000);
    for (const nonce of nonces) expect(nonce).toMatch(/^[A-Za-z0-9_-]{1,64}$/);
  });

  test("has 96 random bits (AN-1): of 2,000 each of these bits is set in about half", () => {
    const randoms = Array.from({ length: 2_000 }, () => octets(standing.a.nonces.mint()).subarray(9, 21));
    for (let bit = 0; bit < 96; bit++) {
      const set = randoms.filter((random) => ((random[bit >> 3] ?? 0) >> (bit & 7)) & 1).length;
      expect(set).toBeGreaterThan(800);
      expect(set).toBeLessThan(1_200);
    }
  });

  test("costs no statement to mint (AN-1)", () => {
    const before = standing.a.database.roundTrips();
    for (let count = 0; count < 1_000; count++) standing.a.nonces.mint();
    expect(standing.a.database.roundTrips()).toBe(before);
  });

  test.for([
    { name: "padding", text: (nonce: string) => `${nonce}==` },
    { name: "the other alphabet", text: () => "ab+/".repeat(10) },
    { name: "a blank", text: (nonce: string) => ` ${nonce}` },
    { name: "bits that encode nothing", text: (nonce: string) => `${nonce.slice(0, 49)}${nonce.endsWith("B") ? "D" : "B"}` },
    { name: "a character outside ASCII", text: (nonce: string) => `${nonce.slice(0, 49)}ä` },
  ])("with $name is malformed (AJ-29, RFC 8555 §6.5.2)", ({ text }) => {
    expect(() => standing.a.nonces.open(text(standing.a.nonces.mint()))).toThrow(
      expect.objectContaining({ code: "malformed", detail: expect.stringContaining("the nonce is not base64url") as unknown }),
    );
  });

  test("with any bit changed, cut or lengthened is refused before any statement (AN-1)", () => {
    const nonce = octets(standing.a.nonces.mint());
    const changed = Array.from({ length: nonce.length * 8 }, (_, bit) => {
      const other = Buffer.from(nonce);
      other[bit >> 3] = (other[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      return other;
    });
    const others = [...changed, nonce.subarray(1), nonce.subarray(0, -1), Buffer.concat([nonce, nonce]), Buffer.alloc(0)];
    for (const other of others) expect(standing.a.nonces.open(other.toString("base64url"))).toBeUndefined();
    expect(standing.a.nonces.open(nonce.toString("base64url"))).toBeDefined();
  });

  test.for([
    { name: "on the second", seconds: 0, good: true },
    { name: "after an hour", seconds: 3_600, good: true },
    { name: "after an hour and a second", seconds: 3_601, good: false },
    { name: "ten minutes before it was minted, by a clock that is behind", seconds: -600, good: true },
    { name: "more than ten minutes before", seconds: -601, good: false },
  ])("$name: honoured is $good (AN-2)", async ({ seconds, good }) => {
    await using world = await pair();
    const nonce = world.a.nonces.mint();
    world.clock.advance(seconds);
    expect(await world.b.spend(nonce)).toBe(good);
    expect(await world.b.spend(nonce)).toBe(false);
  });

  test("of one instance is honoured once, by whichever instance, and after a restart (AN-2, S-11)", async () => {
    await using world = await pair();
    const nonces = Array.from({ length: 6 }, (_, index) => (index % 2 ? world.a : world.b).nonces.mint());
    const spent = world.a.nonces.mint();
    expect(await world.b.spend(spent)).toBe(true);
    await using restarted = await instance(world.fresh, world.clock);
    const outcomes = [];
    for (const [index, nonce] of nonces.entries()) outcomes.push(await [world.a, world.b, restarted][index % 3]?.spend(nonce));
    expect(outcomes).toEqual(nonces.map(() => true));
    for (const nonce of [...nonces, spent]) for (const each of [world.a, world.b, restarted]) expect(await each.spend(nonce)).toBe(false);
  });
});

describe("keys that seal nonces", () => {
  test("are made once by instances that start at once", async () => {
    await using fresh = await freshDatabase();
    const clock = fixedClock("2026-03-01T12:30:00Z");
    const instances = await Promise.all(Array.from({ length: 5 }, () => instance(fresh, clock)));
    try {
      expect(await administer(fresh.url, (sql) => sql`select id from acme_nonce_key`)).toHaveLength(1);
      for (const minter of instances) for (const spender of instances) expect(await spender.spend(minter.nonces.mint())).toBe(true);
    } finally {
      for (const each of instances) await each[Symbol.asyncDispose]();
    }
  });

  test("change after a day: every instance has a new one a minute before it is used, and what the old one sealed is honoured (AN-1)", async () => {
    await using world = await pair();
    const { a, b, clock } = world;
    const first = octets(a.nonces.mint())[0];
    clock.advance(86_401);
    const before = b.nonces.mint();
    await a.nonces.refresh();
    expect(octets(a.nonces.mint())[0]).toBe(first);
    clock.advance(30);
    await b.nonces.refresh();
    clock.advance(30);
    const after = a.nonces.mint();
    expect(octets(after)[0]).not.toBe(first);
    expect(octets(b.nonces.mint())[0]).toBe(octets(after)[0]);
    expect([await a.spend(before), await b.spend(after)]).toEqual([true, true]);
  });

  test("do not pile up, and ids that are used again do no harm: 300 days", async () => {
    await using world = await pair();
    for (let day = 0; day < 300; day++) {
      world.clock.advance(86_401);
      const old = world.a.nonces.mint();
      await world.a.nonces.refresh();
      world.clock.advance(61);
      expect([await world.a.spend(old), await world.a.spend(world.a.nonces.mint())]).toEqual([true, true]);
    }
    const keys = await administer(world.fresh.url, (sql) => sql`select id from acme_nonce_key`);
    expect(keys.length).toBeLessThanOrEqual(3);
  });

  test("of a service that was away for a week are replaced, and it goes on", async () => {
    await using world = await pair();
    world.clock.advance(7 * 86_400);
    await using restarted = await instance(world.fresh, world.clock);
    expect(await restarted.spend(restarted.nonces.mint())).toBe(true);
    expect(await administer(world.fresh.url, (sql) => sql`select id from acme_nonce_key`)).toHaveLength(1);
  });
});

describe("spent nonces", () => {
  test.for([0, 300, 599])(
    "are forgotten past their life and not before, by clocks %i s apart: seven hours in steps of ten minutes (AN-1)",
    async (aheadSeconds) => {
      await using world = await pair({ aheadSeconds, time: "2026-03-01T22:00:00Z" });
      const { a, b, clock } = world;
      const alive: { readonly nonce: string; readonly until: number }[] = [];
      let most = 0;
      for (let step = 0; step < 7 * 6; step++) {
        const minted = [a.nonces.mint(), b.nonces.mint()];
        expect([await b.spend(minted[0] ?? ""), await a.spend(minted[1] ?? "")]).toEqual([true, true]);
        alive.push(...minted.map((nonce) => ({ nonce, until: step + 6 + 1 })));
        clock.advance(600);
        await a.nonces.refresh();
        await b.nonces.refresh();
        const replayed = alive.filter(({ until }) => until >= step);
        const outcomes = await Promise.all(replayed.map(({ nonce }, index) => (index % 2 ? a : b).spend(nonce)));
        expect(outcomes.filter(Boolean)).toEqual([]);
        most = Math.max(most, await spentRows(world));
      }
      expect(most).toBeLessThanOrEqual(3 * 12);
    },
  );

  test("of an instance that is nine minutes ahead are not emptied with the slot of an earlier hour (S-11)", async () => {
    await using world = await pair({ aheadSeconds: 540, time: "2026-03-01T12:52:00Z" });
    const nonce = world.b.nonces.mint();
    expect(await world.b.spend(nonce)).toBe(true);
    await world.a.nonces.refresh();
    expect(await world.b.spend(nonce)).toBe(false);
  });
});

/** What a crash leaves of the tables of nonces and buckets. */
const crash = ({ fresh }: Pair) =>
  administer(fresh.url, (sql) => sql.unsafe("truncate acme_nonce_epoch, acme_nonce_0, acme_nonce_1, acme_nonce_2, acme_bucket"));

describe("after a crash of the database, which empties unlogged tables (AN-2, S-11)", () => {
  test("nonces of before are refused, spent or not, and minting goes on", async () => {
    await using world = await pair();
    const { a, b } = world;
    const [unspent, spent, third] = [a.nonces.mint(), a.nonces.mint(), b.nonces.mint()];
    expect(await b.spend(spent)).toBe(true);
    await crash(world);
    for (const nonce of [unspent, spent, third]) for (const each of [a, b]) expect(await each.spend(nonce)).toBe(false);
    for (const minter of [a, b]) for (const spender of [a, b]) expect(await spender.spend(minter.nonces.mint())).toBe(true);
  });

  test("the nonces of an instance that knows of it are honoured by one that does not", async () => {
    await using world = await pair();
    const { a, b } = world;
    await crash(world);
    await a.nonces.refresh();
    const nonce = a.nonces.mint();
    expect([await b.spend(nonce), await b.spend(nonce), await a.spend(nonce)]).toEqual([true, false, false]);
    expect(await a.spend(b.nonces.mint())).toBe(true);
  });

  test("an epoch that is over is refused before any statement, also when word of it comes late", async () => {
    await using world = await pair();
    const { a } = world;
    const old = a.nonces.mint();
    const epoch = octets(old).subarray(1, 5);
    await crash(world);
    await a.nonces.refresh();
    await a.nonces.sawEpoch(epoch);
    const before = a.database.roundTrips();
    expect(a.nonces.open(old)).toBeUndefined();
    expect(a.database.roundTrips()).toBe(before);
    expect(await a.spend(a.nonces.mint())).toBe(true);
  });

  test("word of an epoch that came and went meanwhile does not take the place of the one that stands", async () => {
    await using world = await pair();
    const { a, b } = world;
    await crash(world);
    await b.nonces.refresh();
    const passed = octets(b.nonces.mint()).subarray(1, 5);
    await crash(world);
    await a.nonces.refresh();
    await a.nonces.sawEpoch(passed);
    expect(await a.spend(a.nonces.mint())).toBe(true);
  });

  test("ten crashes while two instances spend: no nonce is accepted twice", async () => {
    await using world = await pair();
    const { a, b } = world;
    const accepted = new Map<string, number>();
    for (let round = 0; round < 10; round++) {
      const nonces = Array.from({ length: 20 }, (_, index) => (index % 2 ? a : b).nonces.mint());
      const trying = Promise.all(
        [...nonces, ...nonces, ...accepted.keys()].map(async (nonce, index) => {
          if (await (index % 3 ? a : b).spend(nonce)) accepted.set(nonce, (accepted.get(nonce) ?? 0) + 1);
        }),
      );
      await Promise.all([trying, crash(world)]);
    }
    expect([...accepted.values()].filter((times) => times !== 1)).toEqual([]);
    expect((await a.spend(a.nonces.mint())) || (await a.spend(a.nonces.mint()))).toBe(true);
  });
});

const others = (winners: readonly number[]) => winners.filter((count) => count !== 1);

/** How many of 64 requests went on, for each trial. */
async function race({ a, b }: Pair, trials: number, how: "spend" | "spendAlone"): Promise<number[]> {
  const winners: number[] = [];
  for (let trial = 0; trial < trials; trial++) {
    const nonce = (trial % 2 ? a : b).nonces.mint();
    const outcomes = await Promise.all(Array.from({ length: 64 }, (_, index) => (index % 2 ? a : b)[how](nonce)));
    winners.push(outcomes.filter(Boolean).length);
  }
  return winners;
}

describe("one nonce in 64 requests over two instances (AK-1, S-11, T-NET)", () => {
  test("that share statements: exactly one goes on", { timeout: 600_000 }, async () => {
    const winners = await race(standing, rounds(500, 10_000), "spend");
    expect(winners.length).toBeGreaterThanOrEqual(500);
    expect(others(winners)).toEqual([]);
  });

  test("each with a statement of its own: exactly one goes on", { timeout: 600_000 }, async () => {
    expect(others(await race(standing, rounds(100, 2_000), "spendAlone"))).toEqual([]);
  });

  test("in a database without the unique key several go on: the race is one", async () => {
    await using world = await pair();
    await administer(world.fresh.url, (sql) => sql.unsafe("alter table acme_nonce drop constraint acme_nonce_pkey"));
    expect(others(await race(world, 20, "spendAlone")).length).toBeGreaterThan(0);
    expect(others(await race(world, 20, "spend")).length).toBeGreaterThan(0);
  });
});

describe("recognition", () => {
  test("of 64 requests at once takes two statements at most, each answered its own (AN-1)", async () => {
    await using world = await pair();
    const { a } = world;
    await a.spend(a.nonces.mint());
    const nonces = Array.from({ length: 32 }, () => a.nonces.mint());
    const before = a.database.roundTrips();
    const outcomes = await Promise.all([...nonces, ...nonces].map((nonce) => a.spend(nonce)));
    expect(a.database.roundTrips() - before).toBeLessThanOrEqual(2);
    expect(outcomes.slice(0, 32)).toEqual(nonces.map(() => true));
    expect(outcomes.slice(32)).toEqual(nonces.map(() => false));
  });

  test("of the same nonces in opposite orders by two instances never waits in a circle: 100 rounds", async () => {
    await using world = await pair();
    const { a, b } = world;
    for (let round = 0; round < 100; round++) {
      const nonces = Array.from({ length: 24 }, () => a.nonces.mint());
      const [first, second] = await Promise.all([
        Promise.all(nonces.map((nonce) => a.spend(nonce))),
        Promise.all(nonces.toReversed().map((nonce) => b.spend(nonce))),
      ]);
      expect([...first, ...second].filter(Boolean)).toHaveLength(24);
    }
    const [{ deadlocks } = { deadlocks: -1 }] = await administer(
      world.fresh.url,
      (sql) =>
        sql<{ deadlocks: number }[]>`select deadlocks::integer as deadlocks from pg_stat_database where datname = current_database()`,
    );
    expect(deadlocks).toBe(0);
  });
});
