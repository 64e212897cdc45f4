import { afterAll, beforeAll, expect, test } from "vitest";
import { contains } from "../../src/access/namespace.ts";
import { isWithin } from "../../src/access/namespace-store.ts";
import { openTestDatabase, type TestDatabase } from "../support/database.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await openTestDatabase();
});
afterAll(() => database[Symbol.asyncDispose]());

const all = ["/", "/a", "/a/b", "/a/b/c", "/ab", "/a-b", "/b", "/b/a"];

test.for(all)("rows of %s and those within it are found, as the rule of namespaces has it", async (outer) => {
  const rows = await database.read(
    (sql) => sql<{ n: string }[]>`select n from unnest(${sql.array(all, 25)}::text[]) as t (n) where ${isWithin(sql, sql`t.n`, outer)}`,
  );
  expect(rows.map(({ n }) => n)).toEqual(all.filter((inner) => contains(outer, inner)));
});
