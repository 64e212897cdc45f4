import { randomBytes } from "node:crypto";
import { parseDatabaseUrl } from "../../src/database/address.ts";
import { openConnection, type Sql } from "../../src/database/connection.ts";

/** Where databases for tests are made. */
export type DatabaseServer = {
  /** URI of a database that is there already; its user may create others. */
  readonly url: string;
  /** Name of the migrated database to copy. */
  readonly template: string;
};

/** Creates a database of a random name: a copy of `template`, or an empty one. */
export async function createDatabase(serverUrl: string, template = "template1"): Promise<{ name: string; url: string }> {
  const name = `chancery_test_${randomBytes(8).toString("hex")}`;
  await administer(serverUrl, (sql) => sql.unsafe(`create database ${name} template ${template}`));
  const url = new URL(serverUrl);
  url.pathname = `/${name}`;
  return { name, url: url.href };
}

/** Drops a database with whoever is still connected to it. */
export async function dropDatabase(serverUrl: string, name: string): Promise<void> {
  await administer(serverUrl, (sql) => sql.unsafe(`drop database if exists ${name} with (force)`));
}

/** Runs statements on a connection of their own. */
export async function administer<T>(url: string, act: (sql: Sql) => PromiseLike<T>): Promise<T> {
  const limits = { deadlineMs: 20_000, connectTimeoutMs: 5000, statementTimeoutMs: 20_000, lockTimeoutMs: 20_000 };
  const connection = openConnection(parseDatabaseUrl(url), limits, { roundTrip() {}, lost() {} });
  try {
    return await connection.run(async () => act(connection.sql));
  } finally {
    await connection.close();
  }
}
