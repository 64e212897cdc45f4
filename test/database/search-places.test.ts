import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { searchPlaces } from "../../src/database/search-places.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const busy = { code: "busy" };

test("what finds no place takes turns, however those before it end; beyond 16 that wait it is busy at once", async () => {
  const inPlace = searchPlaces(2);
  const began: number[] = [];
  const held = Array.from({ length: 18 }, () => Promise.withResolvers<number>());
  const acts = held.map(({ promise }, index) => inPlace(() => (began.push(index), promise)));
  await expect(inPlace(() => Promise.resolve())).rejects.toMatchObject(busy);
  expect(began).toEqual([0, 1]);
  held[1]?.reject(new Error("failed"));
  await expect(acts[1]).rejects.toThrow("failed");
  held[0]?.resolve(0);
  expect(await acts[0]).toBe(0);
  await vi.advanceTimersByTimeAsync(0);
  expect(began).toEqual([0, 1, 2, 3]);
  for (const [index, { resolve }] of held.entries()) resolve(index);
  expect(await Promise.all(acts.slice(2))).toEqual(held.slice(2).map((_, index) => index + 2));
  expect(await inPlace(() => Promise.resolve("free"))).toBe("free");
});

test("what has waited for two seconds is busy, and takes nobody's turn", async () => {
  const inPlace = searchPlaces(1);
  const first = Promise.withResolvers<string>();
  const running = inPlace(() => first.promise);
  const refused = expect(inPlace(() => Promise.resolve("late"))).rejects.toMatchObject(busy);
  await vi.advanceTimersByTimeAsync(1_000);
  const next = inPlace(() => Promise.resolve("next"));
  await vi.advanceTimersByTimeAsync(1_000);
  await refused;
  first.resolve("first");
  expect(await Promise.all([running, next])).toEqual(["first", "next"]);
});
