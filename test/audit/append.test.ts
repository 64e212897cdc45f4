import { createHash } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { appendAudit } from "../../src/audit/append.ts";
import { auditRow } from "../../src/audit/entry.ts";
import { fixedClock } from "../support/clock.ts";
import { openTestDatabase, type TestDatabase } from "../support/database.ts";
import { seeded } from "../support/random.ts";

const world = { clock: fixedClock("2026-01-01T00:00:00.123Z"), random: seeded(1), node: "node-1" };
const entry = { operation: "token.create", namespace: "/", principal: "system", outcome: "success" } as const;

let database: TestDatabase;
beforeAll(async () => {
  database = await openTestDatabase();
});
afterAll(() => database[Symbol.asyncDispose]());

test("a record stands with its exact bytes and leaf hash, and the id of its transaction (AUD-2)", async () => {
  const row = auditRow(entry, world);
  const transactionId = await database.transact(async (tx) => {
    await appendAudit(tx, row);
    const [current] = await tx.sql`select pg_current_xact_id()::text as id`;
    return current?.["id"];
  });
  const [stored] = await database.read(
    (sql) => sql`select bytes, leaf_hash, transaction_id::text as transaction_id from audit_record where id = ${row.id}`,
  );
  expect(Buffer.from(stored?.["bytes"]).equals(row.bytes)).toBe(true);
  const expected = createHash("sha256")
    .update(Buffer.concat([Buffer.of(0), row.bytes]))
    .digest("hex");
  expect(Buffer.from(stored?.["leaf_hash"]).toString("hex")).toBe(expected);
  expect(stored?.["transaction_id"]).toBe(transactionId);
});

test("a record goes with its act: undone together (AUD-1)", async () => {
  const row = auditRow(entry, world);
  await expect(
    database.transact(async (tx) => {
      await appendAudit(tx, row);
      throw new Error("the act failed");
    }),
  ).rejects.toThrow("the act failed");
  expect(await database.read((sql) => sql`select 1 from audit_record where id = ${row.id}`)).toHaveLength(0);
});

test.for([
  { statement: "update audit_record set bytes = '\\x0000'" },
  { statement: "delete from audit_record" },
  { statement: "truncate audit_record" },
])("nobody changes a record, the table's owner neither: $statement (AUD-12)", async ({ statement }) => {
  await database.transact((tx) => appendAudit(tx, auditRow(entry, world)));
  const before = await database.read((sql) => sql`select id, bytes from audit_record order by id`);
  await expect(database.read((sql) => sql.unsafe(statement))).rejects.toMatchObject({ code: "23001" });
  expect(await database.read((sql) => sql`select id, bytes from audit_record order by id`)).toEqual(before);
});

test("the table refuses a record that is no leaf: too short, too long, or with a hash of another length", async () => {
  const row = auditRow(entry, world);
  for (const wrong of [{ bytes: new Uint8Array(1) }, { bytes: new Uint8Array(65_536) }, { leafHash: new Uint8Array(31) }])
    await expect(database.transact((tx) => appendAudit(tx, { ...row, ...wrong }))).rejects.toThrow();
});
