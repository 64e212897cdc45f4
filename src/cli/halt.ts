import type { Command } from "commander";
import { type Halt, haltIssuance, readHalt, resumeIssuance } from "../client/revocation.ts";
import { addCommand } from "./command.ts";
import { openService } from "./service.ts";
import { print, type Report, type Shell } from "./shell.ts";
import { members } from "./table.ts";

/** Adds `halt` and `resume`. */
export function addHaltCommands(chancery: Command, shell: Shell): void {
  addCommand(chancery, {
    usage: "halt",
    summary: "halt all issuance, or show whether it is halted",
    description:
      "Halt the issuance of certificates on every instance, until `resume`: CRLs, OCSP, revocation and the service's own certificates go on. Without --reason, show whether it is halted.",
    examples: ['npx chancery halt --reason "the key of issuing-1 may be lost"', "npx chancery halt"],
  })
    .option("--reason <text>", "why, in one line: those who ask for certificates over REST are told, and it stands in the audit log")
    .action(async ({ reason, json }: { reason?: string; json?: boolean }) => {
      await using service = openService(shell);
      print(shell, report(reason === undefined ? await readHalt(service) : await haltIssuance(service, reason)), json);
    });
  addCommand(chancery, {
    usage: "resume",
    summary: "let issuance go on",
    description: "Let the issuance of certificates go on after `halt`.",
    examples: ['npx chancery resume --reason "the key was not lost"'],
  })
    .requiredOption("--reason <text>", "why, in one line: it stands in the audit log")
    .action(async ({ reason, json }: { reason: string; json?: boolean }) => {
      await using service = openService(shell);
      print(shell, report(await resumeIssuance(service, reason)), json);
    });
}

function report(halt: Halt): Report {
  if (!halt.halted) return { document: halt, text: "issuance is not halted; `npx chancery halt --reason TEXT` halts it\n" };
  const { haltedAt, haltedBy, reason } = halt;
  return { document: halt, text: `issuance is halted\n${members({ since: haltedAt, by: haltedBy, reason })}` };
}
