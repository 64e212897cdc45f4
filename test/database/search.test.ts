import { expect, test } from "vitest";
import { openDatabase } from "../../src/database/connect.ts";
import { search } from "../../src/database/search.ts";
import { freshDatabase } from "../support/database.ts";
import { recordedEvents } from "../support/events.ts";

test("a search that takes too long is busy, and says nothing against the database; another statement that does says so", async () => {
  await using fresh = await freshDatabase();
  const events = recordedEvents();
  await using database = await openDatabase({ url: fresh.url, poolSize: 2, statementTimeoutMs: 200 }, { events });
  await expect(search(database, (sql) => sql`select pg_sleep(60)`)).rejects.toMatchObject({ code: "busy" });
  expect([database.health().ready, events.told.filter(({ event }) => event === "database.failed")]).toEqual([true, []]);
  expect(await search(database, async (sql) => (await sql`select 1`).length)).toBe(1);
  await expect(database.read((sql) => sql`select pg_sleep(60)`)).rejects.toMatchObject({ code: "databaseUnavailable" });
  expect(database.health().ready).toBe(false);
});
