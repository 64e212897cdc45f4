import { expect, test } from "vitest";
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
