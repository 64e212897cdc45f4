import type { Command } from "commander";
import { addCommand } from "./command.ts";
import { readConfig } from "./read-config.ts";
import { print, type Shell } from "./shell.ts";

/** Adds `migrate`: brings the database's schema up to this release. */
export function addMigrate(program: Command, shell: Shell): void {
  addCommand(program, {
    usage: "migrate",
    summary: "bring the database's schema up to this release",
    description:
      "Bring the database's schema up to this release, under a lock. `serve` does the same when it starts; this is for those who want it done before.",
    examples: ["npx chancery migrate", "npx chancery migrate --config /etc/chancery.yaml"],
  })
    .option("--config <file>", "YAML file with options; the environment wins over it")
    .action(async ({ config: file, json }: { config?: string; json?: boolean }) => {
      const config = await readConfig(shell, file);
      const { migrateDatabase } = await import("../world.ts");
      const applied = await migrateDatabase(config);
      const text = applied.length === 0 ? "the schema is up to date" : applied.map((name) => `applied ${name}\n`).join("");
      print(shell, { document: { applied }, text }, json);
    });
}
