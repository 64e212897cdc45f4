import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Limited, takeOne } from "../../src/acme/rate.ts";
import { forgetBuckets } from "../../src/acme/rate-store.ts";
import { type Database, openDatabase } from "../../src/database/connect.ts";
import type { Clock } from "../../src/ports/clock.ts";
import { fixedClock } from "../support/clock.ts";
import { openTestDatabase, type TestDatabase } from "../support/database.ts";
import { recordedEvents } from "../support/events.ts";

let first: TestDatabase;
let second: Database;
beforeAll(async () => {
  first = await openTestDatabase();
  second = await openDatabase({ url: first.url }, { events: recordedEvents() });
});
afterAll(async () => {
  await second[Symbol.asyncDispose]();
  await first[Symbol.asyncDispose]();
});

let accounts = 0;
const someone = (): Limited => ({ what: "newOrder", account: `account-${(accounts += 1)}` });
const limit = { count: 10, seconds: 3_600 };

/** How many of `tries` at once over two instances are taken. */
async function taken(limited: Limited, clock: Clock, tries: number): Promise<number> {
  const outcomes = await Promise.allSettled(
    Array.from({ length: tries }, (_, index) => takeOne({ database: index % 2 ? first : second, clock }, limited, limit)),
  );
  for (const outcome of outcomes) if (outcome.status === "rejected") expect(outcome.reason).toMatchObject({ code: "rateLimited" });
  return outcomes.filter(({ status }) => status === "fulfilled").length;
}

describe("a bucket that two instances share (AN-3)", () => {
  test("of 64 requests at once gives what is in it: 20 buckets", async () => {
    const clock = fixedClock("2026-03-01T12:00:00Z");
    for (let round = 0; round < 20; round++) expect(await taken(someone(), clock, 64)).toBe(10);
  });

  test("refills evenly, to the second that Retry-After names, and never beyond its size", async () => {
    const clock = fixedClock("2026-03-01T12:00:00Z");
    const limited = someone();
    await taken(limited, clock, 10);
    const refused = takeOne({ database: first, clock }, limited, limit);
    await expect(refused).rejects.toMatchObject({ code: "rateLimited", members: { retryAfterSeconds: 360 } });
    for (let times = 0; times < 30; times++) {
      clock.advance(359);
      expect(await taken(limited, clock, 2)).toBe(0);
      clock.advance(1);
      expect(await taken(limited, clock, 2)).toBe(1);
    }
    clock.advance(86_400);
    expect(await taken(limited, clock, 20)).toBe(10);
  });

  test("never gives more for a clock that is ahead or set back", async () => {
    const [clock, ahead] = [fixedClock("2026-03-01T12:00:00Z"), fixedClock("2026-03-01T12:06:00Z")];
    const limited = someone();
    expect(await taken(limited, clock, 20)).toBe(10);
    expect(await taken(limited, ahead, 20)).toBe(1);
    expect(await taken(limited, clock, 20)).toBe(0);
    clock.advance(360);
    expect(await taken(limited, clock, 20)).toBe(0);
  });

  test("asks to come back after ten minutes at most (AT-3), and is none without a limit", async () => {
    const clock = fixedClock("2026-03-01T12:00:00Z");
    const limited = someone();
    const world = { database: first, clock };
    const rare = { count: 1, seconds: 604_800 };
    await takeOne(world, limited, rare);
    await expect(takeOne(world, limited, rare)).rejects.toMatchObject({ members: { retryAfterSeconds: 600 } });
    for (let times = 0; times < 20; times++) await takeOne(world, limited, undefined);
  });

  test.for([
    { name: "an IPv4 address, mapped or not", same: ["192.0.2.1", "::ffff:c000:201", "::ffff:192.0.2.1"], other: "192.0.2.2" },
    { name: "an IPv6 /48", same: ["2001:db8:1::1", "2001:db8:1:ffff::", "2001:db8:1:2:3:4:5:6"], other: "2001:db8:2::1" },
    { name: "the shortest IPv6 /48", same: ["::", "::1", "::2:3:4:5:6"], other: "1::1" },
  ])("is one for $name", async ({ same, other }) => {
    const world = { database: first, clock: fixedClock("2026-03-01T12:00:00Z") };
    const take = (address: string) => takeOne(world, { what: "newAccount", address }, { count: same.length, seconds: 3_600 });
    for (const address of same) await take(address);
    for (const address of same) await expect(take(address)).rejects.toMatchObject({ code: "rateLimited" });
    await take(other);
  });

  test("has a key for a hundred names of 253 characters", async () => {
    const names = Array.from({ length: 100 }, (_, index) => `${index}${"a".repeat(250)}`).join(",");
    await takeOne({ database: first, clock: fixedClock("2026-03-01T12:00:00Z") }, { what: "certificate", account: "x", names }, limit);
  });

  test("that nobody took from for a time is forgotten; others stay", async () => {
    await first.read((sql) => sql`delete from acme_bucket`);
    const clock = fixedClock("2026-03-01T12:00:00Z");
    const [old, young] = [someone(), someone()];
    await taken(old, clock, 10);
    clock.advance(3_600);
    await taken(young, clock, 10);
    await first.read((sql) => forgetBuckets(sql, clock.now()));
    expect(await first.read((sql) => sql`select key from acme_bucket`)).toHaveLength(1);
    expect(await taken(young, clock, 10)).toBe(0);
  });
});
