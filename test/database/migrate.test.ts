import { fork } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import { type Database, openDatabase } from "../../src/database/connect.ts";
import { migrate, pendingMigrations } from "../../src/database/migrate.ts";
import { freshDatabase } from "../support/database.ts";
import { recordedEvents } from "../support/events.ts";

const ours = join(import.meta.dirname, "../../migrations");

/** An empty database and a copy of our migrations that may be spoiled. */
async function ground(): Promise<{ database: Database; url: string; directory: URL; path: string }> {
  const fresh = await freshDatabase({ empty: true });
  onTestFinished(() => fresh[Symbol.asyncDispose]());
  const path = await mkdtemp(join(tmpdir(), "chancery-migrations-"));
  onTestFinished(() => rm(path, { recursive: true }));
  await cp(ours, path, { recursive: true });
  const database = await openDatabase({ url: fresh.url, poolSize: 2 }, { events: recordedEvents() });
  onTestFinished(() => database[Symbol.asyncDispose]());
  return { database, url: fresh.url, path, directory: pathToFileURL(`${path}/`) };
}

const applied = async (database: Database) =>
  (await database.read((sql) => sql`select name, sha256 from schema_migration order by name`)).map(({ name, sha256 }) => ({
    name,
    sha256,
  }));

test("an empty database gets every file once, in the order of their numbers, with its checksum", async () => {
  const { database } = await ground();
  const names = (await readdir(ours)).toSorted();
  expect(await pendingMigrations(database)).toEqual(names);
  expect(await migrate(database)).toEqual(names);
  const expected = names.map(async (name) => ({
    name,
    sha256: createHash("sha256")
      .update(await readFile(join(ours, name)))
      .digest("hex"),
  }));
  expect(await applied(database)).toEqual(await Promise.all(expected));
  expect(await pendingMigrations(database)).toEqual([]);
  expect(await migrate(database)).toEqual([]);
});

test(
  "four instances that start at once on an empty database all start, and each file runs once: five rounds (DB-6)",
  { timeout: 120_000 },
  async () => {
    const names = (await readdir(ours)).toSorted();
    const processes = Array.from({ length: 4 }, () => fork(join(import.meta.dirname, "migrate-child.ts"), { execArgv: [] }));
    onTestFinished(() => {
      for (const child of processes) child.kill();
    });
    await Promise.all(processes.map((child) => once(child, "message")));
    for (let round = 0; round < 5; round += 1) {
      await using fresh = await freshDatabase({ empty: true });
      const ran = await Promise.all(
        processes.map(async (child) => {
          child.send(fresh.url);
          const [answer] = await once(child, "message");
          return answer;
        }),
      );
      expect(ran.flat().toSorted()).toEqual(names);
    }
  },
);

test("a file that has changed since it was applied refuses the start", async () => {
  const { database, directory, path } = await ground();
  await migrate(database, directory);
  const [name = ""] = await readdir(path);
  await writeFile(join(path, name), `${await readFile(join(path, name), "utf8")}\n-- one line more`);
  const refusal = { code: "refusedToStart", detail: expect.stringContaining(`${name} has changed`) };
  await expect(migrate(database, directory)).rejects.toMatchObject(refusal);
  await expect(pendingMigrations(database, directory)).rejects.toMatchObject(refusal);
});

test("a schema newer than this release refuses the start", async () => {
  const { database, directory, path } = await ground();
  await writeFile(join(path, "9999_later.sql"), "create table later (id int)");
  await migrate(database, directory);
  await rm(join(path, "9999_later.sql"));
  await expect(migrate(database, directory)).rejects.toMatchObject({
    code: "refusedToStart",
    detail: expect.stringContaining("9999_later.sql"),
  });
});

test("a file that comes before one that was applied refuses the start", async () => {
  const { database, directory, path } = await ground();
  await migrate(database, directory);
  await writeFile(join(path, "0000_before.sql"), "select 1");
  await expect(migrate(database, directory)).rejects.toMatchObject({
    code: "refusedToStart",
    detail: expect.stringContaining("0000_before.sql"),
  });
});

test("a file that fails leaves nothing of itself, the files before it stand, and the next start goes on there", async () => {
  const { database, directory, path } = await ground();
  await writeFile(join(path, "9998_broken.sql"), "create table half (id int); select no_such_function();");
  await expect(migrate(database, directory)).rejects.toMatchObject({
    code: "refusedToStart",
    detail: expect.stringContaining("9998_broken.sql failed"),
  });
  expect(await pendingMigrations(database, directory)).toEqual(["9998_broken.sql"]);
  await writeFile(join(path, "9998_broken.sql"), "create table half (id int)");
  expect(await migrate(database, directory)).toEqual(["9998_broken.sql"]);
});

test("a table that another release keeps locked is waited for no longer than two seconds", async () => {
  const { database, directory, path } = await ground();
  await migrate(database, directory);
  await writeFile(join(path, "9997_wants_lock.sql"), "alter table audit_record add column later text");
  await database.transact(async ({ sql }) => {
    await sql`lock table audit_record in share mode`;
    const waiting = migrate(database, directory).catch((error: unknown) => error);
    // Keeps this transaction from being idle for longer than its own limit.
    const patience = Promise.all(Array.from({ length: 5 }, () => sql`select pg_sleep(0.5)`));
    expect(await waiting).toMatchObject({ code: "refusedToStart", detail: expect.stringContaining("lock timeout") });
    await patience;
  });
  expect(await migrate(database, directory)).toEqual(["9997_wants_lock.sql"]);
});
