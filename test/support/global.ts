import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { loadConfig } from "../../src/config.ts";
import { openDatabase } from "../../src/database/connect.ts";
import { startEmbedded } from "../../src/database/embedded.ts";
import { migrate } from "../../src/database/migrate.ts";
import { evaluationPlan, initialise } from "../../src/initialise.ts";
import { groundEnv } from "./ground-env.ts";
import { createDatabase, type DatabaseServer, dropDatabase } from "./server.ts";

declare module "vitest" {
  export interface ProvidedContext {
    /** The server of this run. */
    databaseServer: DatabaseServer;
    /** What is left of one ceremony: a database to copy, by its name, and a data directory. */
    standing: { readonly template: string; readonly directory: string };
  }
}

/** Once per run: a server, the one that DATABASE_URL names or an embedded one, and what those of the tests are copied from: a migrated database, and a hierarchy. */
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
  project.provide("standing", await heldCeremony(url, template.name, stack));
  const held = stack.move();
  return () => held.disposeAsync();
}

async function embedded(stack: AsyncDisposableStack): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "chancery-test-"));
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  return stack.use(await startEmbedded(directory)).url;
}

async function heldCeremony(url: string, template: string, stack: AsyncDisposableStack): Promise<{ template: string; directory: string }> {
  const database = await createDatabase(url, template);
  stack.defer(() => dropDatabase(url, database.name));
  const directory = await mkdtemp(join(tmpdir(), "chancery-standing-"));
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  await initialise(loadConfig({ env: groundEnv(directory, database.url), directory }), evaluationPlan);
  return { template: database.name, directory };
}
