import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { openDenials, type RecordDenial } from "../../src/access/denials.ts";
import type { Principal } from "../../src/access/principal.ts";
import { Fault } from "../../src/fault.ts";
import { type FixedClock, fixedClock } from "../support/clock.ts";
import { openTestDatabase, type TestDatabase } from "../support/database.ts";
import { seeded } from "../support/random.ts";

const random = seeded(11);
let database: TestDatabase;
let clock: FixedClock;
let recordDenial: RecordDenial;
beforeAll(async () => {
  database = await openTestDatabase();
});
afterAll(() => database[Symbol.asyncDispose]());
beforeEach(() => {
  clock = fixedClock("2026-01-01T00:00:00.750Z");
  recordDenial = openDenials({ database, clock, random, node: "node-1" });
});

const principal = (id: string): Principal => ({ id: `token:${id}`, namespace: "/team-a", role: "viewer" });
const denied = (id: string, operation: string, code: string) => recordDenial({ principal: principal(id), operation, code });
const records = async (id: string) =>
  (await database.read((sql) => sql`select bytes from audit_record`))
    .map((row) => JSON.parse(Buffer.from(row["bytes"]).toString("utf8")))
    .filter((entry) => entry.principal === `token:${id}`);

test("a denial leaves who, what, why and under which request (AUD-17)", async () => {
  await recordDenial({
    principal: principal("a"),
    operation: "certificate.issue",
    code: "badCSR",
    requestId: "r1",
    object: { profile: "server" },
  });
  expect(await records("a")).toMatchObject([
    {
      principal: "token:a",
      namespace: "/team-a",
      operation: "certificate.issue",
      outcome: "denied",
      requestId: "r1",
      object: { profile: "server", code: "badCSR" },
    },
  ]);
});

test("a thousand in one second leave one for each principal, operation and code; the next second has its own", async () => {
  await Promise.all(Array.from({ length: 1_000 }, () => denied("b", "certificate.issue", "policyDenied")));
  expect(await records("b")).toHaveLength(1);
  await denied("b", "certificate.issue", "badCSR");
  await denied("b", "token.create", "policyDenied");
  await denied("c", "certificate.issue", "policyDenied");
  expect([(await records("b")).length, (await records("c")).length]).toEqual([3, 1]);
  clock.advance(0.25);
  await denied("b", "certificate.issue", "policyDenied");
  expect(await records("b")).toHaveLength(4);
});

test("one that could not be recorded is tried again", async () => {
  const away = new Fault("databaseUnavailable", "away");
  const failing = { ...database, transact: () => Promise.reject(away) };
  let current = failing as typeof database;
  const recorder = openDenials({
    clock,
    random,
    node: "node-1",
    database: { ...database, transact: (act) => current.transact(act) },
  });
  const denial = { principal: principal("d"), operation: "token.create", code: "policyDenied" };
  await expect(recorder(denial)).rejects.toBe(away);
  current = database;
  await recorder(denial);
  expect(await records("d")).toHaveLength(1);
});
