import type { Command } from "commander";
import { listAuthorities } from "../client/authority.ts";
import { addCommand, addGroup } from "./command.ts";
import { openService } from "./service.ts";
import { print, type Shell } from "./shell.ts";
import { table } from "./table.ts";

/** Adds `ca list`: the certification authorities of the service. */
export function addCaCommands(program: Command, shell: Shell): void {
  const ca = addGroup(program, { usage: "ca", description: "certification authorities: list", examples: ["npx chancery ca list"] });
  addCommand(ca, {
    usage: "list",
    summary: "list the authorities",
    description: "List the certification authorities, roots and issuing ones, by the slugs that stand in their certificates' URLs.",
    examples: ["npx chancery ca list", "npx chancery ca list --json"],
  }).action(async ({ json }: { json?: boolean }) => {
    await using service = openService(shell);
    const authorities = await listAuthorities(service);
    const text = table(
      ["SLUG", "KIND", "ISSUER", "KEY", "NOT AFTER", "SUBJECT"],
      authorities.map(({ slug, kind, issuer, keyAlgorithm, notAfter, subject }) => [slug, kind, issuer, keyAlgorithm, notAfter, subject]),
    );
    print(shell, { document: { authorities }, text }, json);
  });
}
