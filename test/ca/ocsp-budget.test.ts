import { describe, expect, test } from "vitest";
import { openBudget } from "../../src/ca/ocsp-budget.ts";
import { fixedClock } from "../support/clock.ts";

const start = "2026-01-01T00:00:00Z";

describe("signatures that a client may ask for (XO-15)", () => {
  test("ten times as many at once as in a second, then so many a second", () => {
    const clock = fixedClock(start);
    const take = openBudget({ perSecond: 2, atOnce: 1_000 }, clock);
    const taken = (count: number) =>
      Array.from({ length: count }, () => take("192.0.2.1")).filter((granted) => granted !== undefined).length;
    expect(taken(30)).toBe(20);
    clock.advance(1);
    expect(taken(30)).toBe(2);
    clock.advance(3_600);
    expect(taken(30)).toBe(20);
  });

  test("each client has a budget of its own", () => {
    const take = openBudget({ perSecond: 0.1, atOnce: 1_000 }, fixedClock(start));
    expect([take("192.0.2.1"), take("192.0.2.1"), take("192.0.2.2")].map((granted) => granted !== undefined)).toEqual([true, false, true]);
  });

  test("whoever asks, no more are under way at once than are allowed; one that is made leaves its place", () => {
    const take = openBudget({ perSecond: 100, atOnce: 2 }, fixedClock(start));
    const first = take("192.0.2.1");
    expect([first, take("192.0.2.2"), take("192.0.2.3")].map((granted) => granted !== undefined)).toEqual([true, true, false]);
    first?.[Symbol.dispose]();
    expect([take("192.0.2.3"), take("192.0.2.4")].map((granted) => granted !== undefined)).toEqual([true, false]);
  });

  test("one client has an eighth of them under way, the others the rest", () => {
    const take = openBudget({ perSecond: 1_000, atOnce: 32 }, fixedClock(start));
    const taken = (client: string, count: number) =>
      Array.from({ length: count }, () => take(client)).filter((granted) => granted !== undefined);
    const own = taken("192.0.2.1", 40);
    expect(own).toHaveLength(4);
    const others = [2, 3, 4, 5, 6, 7, 8, 9].map((last) => taken(`192.0.2.${last}`, 40).length);
    expect(others).toEqual([4, 4, 4, 4, 4, 4, 4, 0]);
    own[0]?.[Symbol.dispose]();
    expect([taken("192.0.2.1", 2), taken("192.0.2.9", 1)].map(({ length }) => length)).toEqual([1, 0]);
  });

  test("a client that has many under way is not taken for a new one, however many ask meanwhile", () => {
    const take = openBudget({ perSecond: 1_000, atOnce: 16 }, fixedClock(start));
    const held = [take("192.0.2.1"), take("192.0.2.1")];
    for (let index = 0; index < 20_000; index += 1) take(`client ${index}`)?.[Symbol.dispose]();
    expect([held.length, take("192.0.2.1")]).toEqual([2, undefined]);
  });

  test("what was refused costs nothing, and a clock that goes back refills nothing", () => {
    const clock = fixedClock(start);
    const take = openBudget({ perSecond: 1, atOnce: 1_000 }, clock);
    for (let index = 0; index < 10; index += 1) expect(take("192.0.2.1")).toBeDefined();
    for (let index = 0; index < 10; index += 1) expect(take("192.0.2.1")).toBeUndefined();
    clock.advance(-60);
    expect(take("192.0.2.1")).toBeUndefined();
    clock.advance(1);
    expect([take("192.0.2.1") !== undefined, take("192.0.2.1") !== undefined]).toEqual([true, false]);
  });

  test("none a second is none at all", () => {
    expect(openBudget({ perSecond: 0, atOnce: 1_000 }, fixedClock(start))("192.0.2.1")).toBeUndefined();
  });
});
