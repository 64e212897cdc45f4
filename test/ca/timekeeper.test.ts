import { describe, expect, test } from "vitest";
import { timekeeper } from "../../src/ca/timekeeper.ts";
import { fixedClock } from "../support/clock.ts";

test.for([
  { name: "agrees", skew: 0, recorded: "2026-11-01T12:00:00.000Z" },
  { name: "is as far away as the comparison may err", skew: 1, recorded: "2026-11-01T12:00:00.000Z" },
  { name: "is two seconds ahead", skew: 2, recorded: "2026-11-01T11:59:58.000Z" },
  { name: "is an hour ahead", skew: 3_600, recorded: "2026-11-01T11:00:00.000Z" },
  { name: "is a day behind", skew: -86_400, recorded: "2026-11-02T12:00:00.000Z" },
])("what must be recorded has the time of the database's clock, in whole seconds, where the service's $name", ({ skew, recorded }) => {
  const kept = timekeeper(fixedClock("2026-11-01T12:00:00.750Z"), undefined);
  kept.compared(skew);
  expect(kept.recordingTime().toISOString()).toBe(recorded);
});

describe("a clock that is set after it was compared with the database's (XV-8)", () => {
  const compared = { now: "2026-11-01T12:00:00.000Z", elapsedMs: 5_000, skew: 1.5 };
  const told = (now: string, elapsedMs: number) => {
    const moved = { now: compared.now, elapsedMs: compared.elapsedMs };
    const kept = timekeeper({ now: () => new Date(moved.now), elapsedMs: () => moved.elapsedMs }, undefined);
    kept.compared(compared.skew);
    Object.assign(moved, { now, elapsedMs });
    return kept;
  };

  test.for([
    { name: "not set, an hour later", now: "2026-11-01T13:00:00Z", elapsedMs: 3_605_000 },
    { name: "set to the bound", now: "2026-11-01T12:00:05.500Z", elapsedMs: 7_000 },
  ])("$name: its time is signed with", ({ now, elapsedMs }) => {
    expect(told(now, elapsedMs).signingTime().toISOString()).toBe(`${now.slice(0, 19)}.000Z`);
  });

  test.for([
    { name: "forward, beyond the bound by a tenth of a second", now: "2026-11-01T12:00:05.600Z", elapsedMs: 7_000 },
    { name: "forward by a day", now: "2026-11-02T12:00:01.500Z", elapsedMs: 5_010 },
    { name: "back by an hour", now: "2026-11-01T11:00:01.500Z", elapsedMs: 5_010 },
  ])("$name: nothing is signed until it is right again, and a record has the time that it would have been", ({ now, elapsedMs }) => {
    const kept = told(now, elapsedMs);
    expect(() => kept.signingTime()).toThrow(/away from the database's/);
    expect(kept.problem()).toMatch(/away from the database's/);
    expect(kept.recordingTime().toISOString()).toBe(elapsedMs === 7_000 ? "2026-11-01T12:00:00.000Z" : "2026-11-01T11:59:58.000Z");
    kept.compared(0);
    expect(kept.signingTime().toISOString()).toBe(`${now.slice(0, 19)}.000Z`);
  });
});
