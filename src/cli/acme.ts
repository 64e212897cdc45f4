import type { Command } from "commander";
import { addAcmeAccountCommands } from "./acme-account.ts";
import { addEabCommands } from "./acme-eab.ts";
import { addAcmeOrderCommands } from "./acme-order.ts";
import { addGroup } from "./command.ts";
import type { Shell } from "./shell.ts";

/** Adds `acme`: what its administrators do with external account keys, accounts and orders. */
export function addAcmeCommands(program: Command, shell: Shell): void {
  const acme = addGroup(program, {
    usage: "acme",
    description: "ACME: external account keys (eab), accounts, orders",
    examples: ["npx chancery acme eab create", "npx chancery acme order list"],
  });
  addEabCommands(acme, shell);
  addAcmeAccountCommands(acme, shell);
  addAcmeOrderCommands(acme, shell);
}
