import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { openDatabase } from "../../src/database/connect.ts";
import { startEmbedded } from "../../src/database/embedded.ts";
import { migrate } from "../../src/database/migrate.ts";
import { createDatabase, type DatabaseServer, dropDatabase } from "./server.ts";

declare module "vitest" {
  export interface ProvidedContext {
    /** The server of this run. */
    databaseServer: DatabaseServer;
  }
}

/** Once per run: a server, the one that DATABASE_URL names or an embedded one, and a migrated database that those of the tests are copied from. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  await using stack = new AsyncDisposableStack();
  const url = process.env["DATABASE_URL"] ?? (await embedded(stack));
  const template = await createDatabase(url);
  stack.defer(() => dropDatabase(url, template.name));
  {
    await using database = await openDatabase({ url: template.url, poolSize: 1 }, { events: { tell() {}, measure() {} } });
    await migrate(database);
  }
  project.provide("databaseServer", { url, template: template.name });
  const held = stack.move();
  return () => held.disposeAsync();
}

async function embedded(stack: AsyncDisposableStack): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "chancery-test-"));
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  return stack.use(await startEmbedded(directory)).url;
}
