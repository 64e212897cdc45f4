import { inject } from "vitest";
import { type Database, type DatabaseOptions, openDatabase } from "../../src/database/connect.ts";
import type { Events } from "../../src/ports/events.ts";
import { recordedEvents } from "./events.ts";
import { createDatabase, dropDatabase } from "./server.ts";

/** A database of a test file's own; dropped when it is disposed of. */
export type FreshDatabase = AsyncDisposable & {
  readonly url: string;
  readonly name: string;
};

/** A migrated database without rows, a copy of `template`, or with `empty` one without tables. */
export async function freshDatabase({ empty = false, template }: { empty?: boolean; template?: string } = {}): Promise<FreshDatabase> {
  const server = inject("databaseServer");
  const { name, url } = await createDatabase(server.url, empty ? undefined : (template ?? server.template));
  return { name, url, [Symbol.asyncDispose]: () => dropDatabase(server.url, name) };
}

/** A database with everything a test wants of it. */
export type TestDatabase = Database & FreshDatabase;

/** Opens a fresh migrated database. */
export async function openTestDatabase(options: Partial<DatabaseOptions> = {}, events: Events = recordedEvents()): Promise<TestDatabase> {
  const fresh = await freshDatabase();
  const database = await openDatabase({ url: fresh.url, ...options }, { events });
  return {
    ...database,
    url: fresh.url,
    name: fresh.name,
    async [Symbol.asyncDispose]() {
      await database[Symbol.asyncDispose]();
      await fresh[Symbol.asyncDispose]();
    },
  };
}
