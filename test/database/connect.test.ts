import { jsonb, pgTable, text, timestamp } from "drizzle-orm/pg-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openDatabase } from "../../src/database/connect.ts";
import { violatedConstraint } from "../../src/database/sqlstate.ts";
import { openTestDatabase, type TestDatabase } from "../support/database.ts";
import { recordedEvents } from "../support/events.ts";
import { administer } from "../support/server.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await openTestDatabase();
  await administer(database.url, (sql) =>
    sql.unsafe(
      "create table scratch (id text primary key, at timestamptz, document jsonb); create table counter (id text primary key, n int not null)",
    ),
  );
});
afterAll(() => database[Symbol.asyncDispose]());

const scratch = pgTable("scratch", {
  id: text("id"),
  at: timestamp("at", { withTimezone: true, mode: "date" }),
  document: jsonb("document"),
});

const ids = () => database.read((sql) => sql`select id from scratch order by id`.then((rows) => rows.map((row) => row["id"])));

describe("types", () => {
  test("a Date goes and comes as a Date, in templates and in drizzle, in whatever order they are used (DB-1)", async () => {
    const at = new Date("2026-01-01T00:00:00Z");
    const seen = await database.transact(async ({ sql, orm }) => {
      await sql`insert into scratch (id, at) values ('template', ${at})`;
      await orm.insert(scratch).values({ id: "drizzle", at });
      await sql`insert into scratch (id, at) values ('after drizzle', ${at})`;
      const rows = await sql`select at from scratch`;
      return [...rows.map((row) => row["at"]), ...(await orm.select({ at: scratch.at }).from(scratch)).map((row) => row.at)];
    });
    expect(seen).toEqual([at, at, at, at, at, at]);
    await database.read((sql) => sql`delete from scratch`);
  });

  test("jsonb is encoded once, in templates and in drizzle", async () => {
    const document = { label: "a", nested: { list: [1, "2"] } };
    await database.transact(async ({ sql, orm }) => {
      await sql`insert into scratch (id, document) values ('template', ${sql.json(document)})`;
      await orm.insert(scratch).values({ id: "drizzle", document });
      expect((await orm.select({ document: scratch.document }).from(scratch)).map((row) => row.document)).toEqual([document, document]);
    });
    const rows = await database.read((sql) => sql`select document, document->>'label' as label from scratch`);
    expect(rows.map(({ document: stored, label }) => ({ stored, label }))).toEqual([
      { stored: document, label: "a" },
      { stored: document, label: "a" },
    ]);
    await database.read((sql) => sql`delete from scratch`);
  });

  test("a bigint is text, bytea is bytes (DB-4)", async () => {
    const [row] = await database.read((sql) => sql`select ${"9007199254740993"}::bigint as big, ${Uint8Array.of(0, 255)} as bytes`);
    expect(row?.["big"]).toBe("9007199254740993");
    expect(Buffer.from(row?.["bytes"]).toString("hex")).toBe("00ff");
  });

  test("every session commits synchronously, in UTC, with time-outs on the server (DB-2, DB-8)", async () => {
    const [row] = await database.read(
      (
        sql,
      ) => sql`select current_setting('synchronous_commit') as commit, current_setting('TimeZone') as zone, current_setting('statement_timeout') as statement,
        current_setting('lock_timeout') as lock, current_setting('idle_in_transaction_session_timeout') as idle`,
    );
    expect(row).toEqual({ commit: "on", zone: "UTC", statement: "4s", lock: "2s", idle: "5s" });
  });

  test("a statement that was prepared costs one round trip", async () => {
    const ask = () => database.read((sql) => sql`select ${"x"}::text as one`);
    await ask();
    const before = database.roundTrips();
    for (let i = 0; i < 10; i += 1) await ask();
    expect(database.roundTrips() - before).toBe(10);
  });

  test("the clocks of this machine and of a server on it agree", async () => {
    expect(Math.abs(await database.clockSkewSeconds())).toBeLessThan(1);
  });
});

describe("transactions", () => {
  test("what throws is undone, and its error is given on", async () => {
    const act = database.transact(async ({ sql }) => {
      await sql`insert into scratch (id) values ('undone')`;
      throw new Error("no");
    });
    await expect(act).rejects.toThrow("no");
    expect(await ids()).toEqual([]);
  });

  test("a transaction that went on after a failed statement is no success", async () => {
    const act = database.transact(async ({ sql }) => {
      await sql`insert into scratch (id) values ('swallowed')`;
      await sql`select 1 / 0`.catch(() => {});
    });
    await expect(act).rejects.toMatchObject({ code: "internal" });
    expect(await ids()).toEqual([]);
  });

  test.for([
    { name: "serialization failure", code: "40001" },
    { name: "deadlock", code: "40P01" },
  ])("is run again after a $name, three times at most (DB-9)", async ({ code }) => {
    let attempts = 0;
    const failing = (times: number) =>
      database.transact(async ({ sql }) => {
        attempts += 1;
        if (attempts <= times) await sql.unsafe(`do $$ begin raise exception using errcode = '${code}'; end $$`);
        return attempts;
      });
    expect(await failing(3)).toBe(4);
    attempts = 0;
    await expect(failing(4)).rejects.toMatchObject({ code });
    expect(attempts).toBe(4);
  });

  test("two that deadlock both succeed", async () => {
    await administer(database.url, (sql) => sql.unsafe(`alter database ${database.name} set deadlock_timeout = '50ms'`));
    await using second = await openDatabase({ url: database.url, poolSize: 2 }, { events: recordedEvents() });
    await second.read((sql) => sql`insert into counter values ('a', 0), ('b', 0)`);
    const bothHold = barrier(2);
    const count = (first: string, then: string) =>
      second.transact(async ({ sql }) => {
        await sql`update counter set n = n + 1 where id = ${first}`;
        await bothHold();
        await sql`update counter set n = n + 1 where id = ${then}`;
      });
    await Promise.all([count("a", "b"), count("b", "a")]);
    expect((await second.read((sql) => sql`select n from counter order by id`)).map((row) => row["n"])).toEqual([2, 2]);
  });

  test.for([{ when: "while it waits for nothing" }, { when: "within a statement" }])(
    "a backend that ends $when ends its transaction as databaseUnavailable, and nothing of it stands",
    async ({ when }) => {
      const act = database.transact(async ({ sql }) => {
        await sql`insert into scratch (id) values ('lost')`;
        const [row] = await sql`select pg_backend_pid() as pid`;
        const kill = () => administer(database.url, (admin) => admin`select pg_terminate_backend(${row?.["pid"]}::int, 5000)`);
        if (when === "within a statement") await Promise.all([sql`select pg_sleep(3)`, kill()]);
        else await kill();
        await sql`insert into scratch (id) values ('outside of the transaction')`;
      });
      await expect(act).rejects.toMatchObject({ code: "databaseUnavailable" });
      // Many at once: none of them meets the connection that ended.
      await Promise.all(Array.from({ length: 32 }, () => database.read((sql) => sql`select 1`)));
      expect(await ids()).toEqual([]);
    },
  );

  test("runs alone with a time limit of its own", async () => {
    const setting = await database.transactAlone(60_000, async ({ sql }) => {
      const [row] = await sql`select current_setting('statement_timeout') as value`;
      return row?.["value"];
    });
    expect(setting).toBe("1min");
  });
});

const raise = (code: string) => database.read((sql) => sql.unsafe(`do $$ begin raise exception 'no' using errcode = '${code}'; end $$`));

describe("errors (DB-9)", () => {
  test.for(["08006", "25P03", "53100", "53200", "53300", "55P03", "57014", "57P01", "57P02", "57P03"])(
    "%s is databaseUnavailable",
    async (code) => {
      await expect(raise(code)).rejects.toMatchObject({ name: "Fault", code: "databaseUnavailable", cause: { code } });
    },
  );

  test.for(["22012", "23503", "42P01", "XX000"])("%s is passed on as it is", async (code) => {
    await expect(raise(code)).rejects.toMatchObject({ name: "PostgresError", code });
  });

  test("a duplicate key tells the name of its constraint, every other error none", async () => {
    const twice = await database.read((sql) => sql`insert into scratch (id) values ('twice'), ('twice')`).catch((error: unknown) => error);
    expect(violatedConstraint(twice)).toBe("scratch_pkey");
    expect(violatedConstraint(await raise("23503").catch((error: unknown) => error))).toBeUndefined();
  });

  test("a real statement over its time, and a real lock not granted", async () => {
    await using hasty = await openDatabase(
      { url: database.url, poolSize: 2, statementTimeoutMs: 100, lockTimeoutMs: 50 },
      { events: recordedEvents() },
    );
    await expect(hasty.read((sql) => sql`select pg_sleep(2)`)).rejects.toMatchObject({
      code: "databaseUnavailable",
      cause: { code: "57014" },
    });
    await hasty.transact(async ({ sql }) => {
      await sql`lock table scratch`;
      await expect(hasty.read((other) => other`select from scratch`)).rejects.toMatchObject({
        code: "databaseUnavailable",
        cause: { code: "55P03" },
      });
    });
  });

  test("a server that turned read-only loses its connection, the next one is new (25006)", async () => {
    await using single = await openDatabase({ url: database.url, poolSize: 1 }, { events: recordedEvents() });
    await single.read((sql) => sql`set session characteristics as transaction read only`);
    await expect(single.read((sql) => sql`insert into scratch (id) values ('read-only')`)).rejects.toMatchObject({
      code: "databaseUnavailable",
    });
    await single.read((sql) => sql`insert into scratch (id) values ('read-write')`);
    expect(await ids()).toEqual(["read-write"]);
  });

  test("who finds no free connection in time is told so, and his statement is never run", async () => {
    await using narrow = await openDatabase({ url: database.url, poolSize: 1, deadlineMs: 200 }, { events: recordedEvents() });
    await narrow.transact(async ({ sql }) => {
      const waiting = narrow.read((other) => other`insert into scratch (id) values ('too late')`);
      const answers = Promise.allSettled([waiting]);
      // The connection's own user is never silent for as long as the deadline.
      for (let i = 0; i < 8; i += 1) await sql`select pg_sleep(0.05)`;
      expect((await answers)[0]).toMatchObject({ status: "rejected", reason: { code: "databaseUnavailable" } });
    });
    expect(await ids()).not.toContain("too late");
  });
});

/** Opens the database under a URI that was changed. */
const openChanged = (change: (url: URL) => void) => {
  const url = new URL(database.url);
  change(url);
  return openDatabase({ url: url.href }, { events: recordedEvents() });
};

describe("a server that is not to be trusted with acknowledged rows is refused", () => {
  test.for([
    { setting: "server_version_num", value: "140011", detail: "PostgreSQL 14; 15 or newer" },
    { setting: "fsync", value: "off", detail: "fsync=off" },
    { setting: "synchronous_commit", value: "off", detail: "synchronous_commit=on" },
    { setting: "max_connections", value: "11", detail: "wants 9 connections, and the database has 8" },
  ])("$setting = $value (DB-8, DB-13)", async ({ setting, value, detail }) => {
    await using server = await pretending(setting, value);
    await expect(openDatabase({ url: server.url }, { events: recordedEvents() })).rejects.toMatchObject({
      code: "refusedToStart",
      detail: expect.stringContaining(detail),
    });
  });

  test("full_page_writes = off is a warning", async () => {
    await using server = await pretending("full_page_writes", "off");
    const events = recordedEvents();
    await using opened = await openDatabase({ url: server.url }, { events });
    expect(opened.health().ready).toBe(true);
    expect(events.told).toContainEqual(
      expect.objectContaining({ level: "warn", fields: { detail: expect.stringContaining("full_page_writes") } }),
    );
  });

  test("a database that does not exist, a user who does not, a URL that is none", async () => {
    await expect(openChanged((url) => (url.pathname = "/absent"))).rejects.toMatchObject({
      code: "refusedToStart",
      detail: expect.stringContaining("absent"),
    });
    await expect(openChanged((url) => url.searchParams.set("user", "nobody-known"))).rejects.toMatchObject({ code: "refusedToStart" });
    await expect(openDatabase({ url: "postgresql://u@192.0.2.1/x", production: true }, { events: recordedEvents() })).rejects.toMatchObject(
      {
        code: "refusedToStart",
        detail: expect.stringContaining("sslmode"),
      },
    );
    await expect(openDatabase({ url: "mysql://localhost/x" }, { events: recordedEvents() })).rejects.toMatchObject({
      code: "refusedToStart",
    });
  });

  test("a server that cannot be reached is databaseUnavailable", async () => {
    await expect(openDatabase({ url: "postgresql:///x?host=/nonexistent&user=x" }, { events: recordedEvents() })).rejects.toMatchObject({
      code: "databaseUnavailable",
    });
  });
});

/** Resolves for everybody when `count` wait; later comers, of a second attempt, pass. */
function barrier(count: number): () => Promise<void> {
  const all = Promise.withResolvers<void>();
  let arrived = 0;
  return () => {
    arrived += 1;
    if (arrived === count) all.resolve();
    return all.promise;
  };
}

/** A database whose pg_settings say otherwise: its search path finds a view of ours before the catalogue's. */
async function pretending(setting: string, value: string): Promise<TestDatabase> {
  const server = await openTestDatabase({ poolSize: 1 });
  await administer(server.url, async (sql) => {
    await sql.unsafe(`create schema pretence; create view pretence.pg_settings as
      select name, case name when '${setting}' then '${value}' else setting end as setting from pg_catalog.pg_settings`);
    await sql.unsafe(`alter database ${server.name} set search_path = pretence, pg_catalog`);
  });
  return server;
}
