import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseDatabaseUrl } from "../../src/database/address.ts";
import { type Database, openDatabase } from "../../src/database/connect.ts";
import { openConnection, type Sql } from "../../src/database/connection.ts";
import { group } from "../../src/database/group.ts";
import { openTestDatabase, type TestDatabase } from "../support/database.ts";
import { recordedEvents } from "../support/events.ts";
import { startProxy } from "../support/proxy.ts";

type TokenRow = { readonly id: string; readonly createdBy: string; readonly role: string };

const row = (createdBy = "test", role = "viewer"): TokenRow => ({ id: randomUUID(), createdBy, role });

function insertTokens(sql: Sql, rows: readonly TokenRow[]): Promise<number> {
  const text = (value: (each: TokenRow) => string) => sql.array(rows.map(value), 25);
  return sql`
    insert into api_token (id, namespace, role, secret_hash, created_at, expires_at, created_by)
    select id, '/', role, sha256(id::text::bytea), now(), now() + interval '1 day', created_by
    from unnest(${text((each) => each.id)}::uuid[], ${text((each) => each.role)}::text[], ${text((each) => each.createdBy)}::text[]) as u (id, role, created_by)
    on conflict do nothing`.then((result) => result.count);
}

async function standing(sql: Sql, rows: readonly TokenRow[]): Promise<Set<string>> {
  const text = (value: (each: TokenRow) => string) => sql.array(rows.map(value), 25);
  const found = await sql`
    select t.id from api_token t
    join unnest(${text((each) => each.id)}::uuid[], ${text((each) => each.createdBy)}::text[]) as u (id, created_by) using (id, created_by)`;
  return new Set(found.map((each) => each["id"]));
}

/** Tokens recorded in groups, with a record of what was sent. */
function recorder(on: Database, maximum = 64) {
  const batches: TokenRow[][] = [];
  const reread: TokenRow[][] = [];
  const record = group<TokenRow>({
    name: "token",
    maximum,
    events: recordedEvents(),
    key: ({ id }) => id,
    flush(rows) {
      batches.push(rows);
      return on.read((sql) => insertTokens(sql, rows));
    },
    reread(rows) {
      reread.push(rows);
      return on.read((sql) => standing(sql, rows));
    },
  });
  return { record, batches, reread };
}

let database: TestDatabase;
beforeAll(async () => {
  database = await openTestDatabase();
});
afterAll(() => database[Symbol.asyncDispose]());

const count = (outcomes: readonly PromiseSettledResult<string>[], what: string) =>
  outcomes.filter((outcome) => (outcome.status === "fulfilled" ? outcome.value === what : what === "error")).length;

describe("rows that share a statement (HP-1)", () => {
  test("rows of one moment go in one statement, sorted by key, and stand when told so", async () => {
    const { record, batches, reread } = recorder(database);
    const rows = Array.from({ length: 20 }, () => row());
    expect(new Set(await Promise.all(rows.map(record)))).toEqual(new Set(["recorded"]));
    expect(batches).toEqual([rows.toSorted((a, b) => (a.id < b.id ? -1 : 1))]);
    expect(reread).toEqual([]);
    expect((await database.read((sql) => standing(sql, rows))).size).toBe(20);
  });

  test("no statement has more than the maximum", async () => {
    const { record, batches } = recorder(database, 8);
    await Promise.all(Array.from({ length: 20 }, () => record(row())));
    expect(batches.map((batch) => batch.length)).toEqual([8, 8, 4]);
  });

  test("of two equal keys among 20, 19 are recorded and one conflicts", async () => {
    const { record } = recorder(database);
    const rows = Array.from({ length: 19 }, () => row());
    const twin = { ...row("twin"), id: rows[7]?.id ?? "" };
    const outcomes = await Promise.allSettled([...rows, twin].map(record));
    expect(count(outcomes, "recorded")).toBe(19);
    expect(outcomes.at(-1)).toEqual({ status: "fulfilled", value: "conflict" });
  });

  test("a twin whose elder fails takes its place", async () => {
    const { record } = recorder(database);
    const elder = row("elder", "no such role");
    const outcomes = await Promise.allSettled([record(elder), record({ ...elder, role: "viewer" })]);
    expect(outcomes).toMatchObject([{ status: "rejected" }, { status: "fulfilled", value: "recorded" }]);
  });

  test("a row that stands already conflicts, unless it is the very same", async () => {
    const { record } = recorder(database);
    const [ours, theirs] = [row("ours"), row("theirs")];
    await database.read((sql) => insertTokens(sql, [ours, theirs]));
    const others = Array.from({ length: 5 }, () => record(row()));
    expect(await Promise.all([record(ours), record({ ...theirs, createdBy: "ours" }), ...others])).toEqual([
      "recorded",
      "conflict",
      ...others.map(() => "recorded"),
    ]);
  });

  test("of 19 rows with one that the table refuses, 18 are recorded and one is an error", async () => {
    const { record } = recorder(database);
    const outcomes = await Promise.allSettled([...Array.from({ length: 18 }, () => row()), row("poison", "no such role")].map(record));
    expect(count(outcomes, "recorded")).toBe(18);
    expect(outcomes.at(-1)).toMatchObject({ status: "rejected", reason: { code: "23514" } });
  });
});

describe("a statement whose connection is lost (DB-10)", () => {
  test("after its commit: every row is read again and found", async () => {
    await using proxy = await startProxy(database.url);
    await using behind = await openDatabase({ url: proxy.url }, { events: recordedEvents() });
    const { record, reread } = recorder(behind);
    proxy.cutAt(/insert into api_token/, "after");
    const rows = Array.from({ length: 20 }, () => row());
    expect(new Set(await Promise.all(rows.map(record)))).toEqual(new Set(["recorded"]));
    expect(reread.map((each) => each.length)).toEqual([20]);
    expect(proxy.cuts()).toBe(1);
  });

  test("before its commit: every row is read again, none is found, each caller is told so", async () => {
    await using proxy = await startProxy(database.url);
    await using behind = await openDatabase({ url: proxy.url }, { events: recordedEvents() });
    const { record, reread } = recorder(behind);
    proxy.cutAt(/insert into api_token/, "before");
    const rows = Array.from({ length: 20 }, () => row());
    for (const outcome of await Promise.allSettled(rows.map(record)))
      expect(outcome).toMatchObject({ status: "rejected", reason: { code: "databaseUnavailable" } });
    expect(reread.map((each) => each.length)).toEqual([20]);
    expect((await database.read((sql) => standing(sql, rows))).size).toBe(0);
    expect(await record(row())).toBe("recorded");
  });

  test("a database that is gone refuses rows and readers alike", async () => {
    await using proxy = await startProxy(database.url);
    await using behind = await openDatabase({ url: proxy.url }, { events: recordedEvents() });
    const { record } = recorder(behind);
    await proxy.down();
    await expect(record(row())).rejects.toMatchObject({ code: "databaseUnavailable" });
  });

  test("who waited through a long failure is not made to wait through another", async () => {
    await using proxy = await startProxy(database.url);
    await using behind = await openDatabase({ url: proxy.url, deadlineMs: 600, connectTimeoutMs: 600 }, { events: recordedEvents() });
    const { record, batches } = recorder(behind, 4);
    await record(row());
    proxy.blackHole(true);
    const outcomes = await Promise.allSettled(Array.from({ length: 12 }, () => record(row())));
    expect(count(outcomes, "error")).toBe(12);
    expect(batches).toHaveLength(2);
  });
});

test(
  "two groups that record the same keys in opposite order do not deadlock; unsorted statements do, in the same run",
  { timeout: 60_000 },
  async () => {
    await database.read((sql) => sql.unsafe(`alter database ${database.name} set deadlock_timeout = '10ms'`));
    const limits = { deadlineMs: 20_000, connectTimeoutMs: 5000, statementTimeoutMs: 20_000, lockTimeoutMs: 20_000 };
    // Bare connections: a Database would run a deadlocked statement again by itself.
    const [left, right] = [0, 1].map(() => openConnection(parseDatabaseUrl(database.url), limits, { roundTrip() {}, lost() {} }));
    if (!left || !right) throw new Error("there are two connections");
    try {
      const rounds = async (send: (one: readonly TokenRow[], other: readonly TokenRow[]) => Promise<void>[]) => {
        let deadlocks = 0;
        for (let round = 0; round < 12; round += 1) {
          const rows = Array.from({ length: 2000 }, () => row());
          for (const outcome of await Promise.allSettled(send(rows, rows.toReversed())))
            if (outcome.status === "rejected") {
              expect(outcome.reason).toMatchObject({ code: "40P01" });
              deadlocks += 1;
            }
        }
        return deadlocks;
      };
      const unsorted = await rounds((one, other) => [
        insertTokens(left.sql, one).then(() => {}),
        insertTokens(right.sql, other).then(() => {}),
      ]);
      const errors: unknown[] = [];
      const grouped = ({ sql }: typeof left) =>
        group<TokenRow>({
          name: "token",
          maximum: 2000,
          events: recordedEvents(),
          key: ({ id }) => id,
          flush: (batch) => insertTokens(sql, batch).catch((error: unknown) => (errors.push(error), Promise.reject(error))),
          reread: (batch) => standing(sql, batch),
        });
      const [recordLeft, recordRight] = [grouped(left), grouped(right)];
      const sorted = await rounds((one, other) => [
        Promise.all(one.map(recordLeft)).then(() => {}),
        Promise.all(other.map(recordRight)).then(() => {}),
      ]);
      expect({ sorted, errors }).toEqual({ sorted: 0, errors: [] });
      expect(unsorted).toBeGreaterThan(0);
    } finally {
      await Promise.all([left.close(), right.close()]);
    }
  },
);
