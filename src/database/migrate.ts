import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { setTimeout } from "node:timers/promises";
import { Fault } from "../fault.ts";
import type { Database, Tx } from "./connect.ts";
import type { Sql } from "./connection.ts";

/** One step of the schema: forward only, run whole in one transaction. */
type Migration = { readonly name: string; readonly text: string; readonly sha256: string };

/**
 * Brings the schema up to this checkout's `migrations/` and gives the names of the files that it ran. Instances may start at once: each file runs in
 * one of them, the others wait.
 * @throws Fault `refusedToStart` when a file that was run has changed since, the schema is newer than this checkout, or a file fails.
 */
export async function migrate(database: Database, directory = ownMigrations): Promise<string[]> {
  const migrations = await readMigrations(directory);
  const done: string[] = [];
  for (;;) {
    const step = await database.transactAlone(fileMs, (tx) => applyNext(tx, migrations));
    if (step === "upToDate") return done;
    if (step === "locked") await setTimeout(pollMs);
    else done.push(step.name);
  }
}

/**
 * Names of the files that `migrate` would run now. Changes nothing.
 * @throws Fault `refusedToStart` where `migrate` would refuse.
 */
export async function pendingMigrations(database: Database, directory = ownMigrations): Promise<string[]> {
  const migrations = await readMigrations(directory);
  const applied = await database.read(async (sql) => {
    const [table] = await sql`select to_regclass('schema_migration') is not null as exists`;
    return table?.exists === true ? readApplied(sql) : [];
  });
  refuseDifferences(applied, migrations);
  return migrations.slice(applied.length).map(({ name }) => name);
}

/** The files of a directory in the order of their names, which begin with a number. */
async function readMigrations(directory: URL): Promise<readonly Migration[]> {
  const names = (await readdir(directory)).filter((name) => /^\d{4}_[a-z0-9_]+\.sql$/.test(name)).toSorted();
  return Promise.all(
    names.map(async (name) => {
      const text = await readFile(new URL(name, directory), "utf8");
      return { name, text, sha256: createHash("sha256").update(text).digest("hex") };
    }),
  );
}

const ownMigrations = new URL("../../migrations/", import.meta.url);

/** A file may rewrite a large table. */
const fileMs = 30 * 60_000;
const pollMs = 50;

/** The first eight bytes of SHA-256 of "chancery schema_migration", as a signed number: an advisory lock is shared by whoever names it. */
const lock = createHash("sha256").update("chancery schema_migration").digest().readBigInt64BE(0).toString();

async function applyNext({ sql }: Tx, migrations: readonly Migration[]): Promise<Migration | "upToDate" | "locked"> {
  // Not waited for inside the statement: a waiting backend would hold a snapshot, and the wait would end with the time limit.
  const [row] = await sql`select pg_try_advisory_xact_lock(${lock}::bigint) as locked`;
  if (row?.locked !== true) return "locked";
  await sql`create table if not exists schema_migration (name text primary key, sha256 text not null, applied_at timestamptz not null default now())`;
  const applied = await readApplied(sql);
  refuseDifferences(applied, migrations);
  const next = migrations[applied.length];
  if (!next) return "upToDate";
  // An old release may still serve: a lock that it holds must not queue the whole service behind this file.
  await sql`set local lock_timeout = '2s'`;
  try {
    await sql.unsafe(next.text);
  } catch (error) {
    throw new Fault("refusedToStart", `migration ${next.name} failed: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
  await sql`insert into schema_migration (name, sha256) values (${next.name}, ${next.sha256})`;
  return next;
}

type Applied = { readonly name: string; readonly sha256: string };

async function readApplied(sql: Sql): Promise<readonly Applied[]> {
  return sql<Applied[]>`select name, sha256 from schema_migration order by name collate "C"`;
}

/** What was applied must be the beginning of what is here, byte for byte. */
function refuseDifferences(applied: readonly Applied[], migrations: readonly Migration[]): void {
  for (const [index, { name, sha256 }] of applied.entries()) {
    const known = migrations.find((migration) => migration.name === name);
    if (!known)
      throw new Fault(
        "refusedToStart",
        `the schema has the migration ${name}, which this release does not know: start the release that made it`,
      );
    if (known.sha256 !== sha256) throw new Fault("refusedToStart", `migration ${name} has changed since it was applied: restore the file`);
    if (known !== migrations[index])
      throw new Fault("refusedToStart", `migration ${migrations[index]?.name} was never applied, but ${name}, which follows it, was`);
  }
}
