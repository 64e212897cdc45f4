import { randomUUID } from "node:crypto";
import type { Command } from "commander";
import { createRevocation, type MassRevocation, previewRevocation, readRevocation, stopRevocation } from "../client/revocation.ts";
import { reasonOption, requireSerial } from "./cert-revoke.ts";
import { namesText } from "./certificate-text.ts";
import { addCommand, addGroup } from "./command.ts";
import { parseTime } from "./duration.ts";
import { openService } from "./service.ts";
import { print, type Report, type Shell } from "./shell.ts";
import { members, table } from "./table.ts";

type Options = {
  readonly serial?: readonly string[];
  readonly spkiSha256?: string;
  readonly account?: string;
  readonly authority?: string;
  readonly profile?: string;
  readonly name?: string;
  readonly issuedFrom?: string;
  readonly issuedBefore?: string;
  readonly reason: string;
  readonly blockKey?: boolean;
  readonly dryRun?: boolean;
  readonly json?: boolean;
};

/** Adds `revocation create`, `show` and `stop`. */
export function addRevocationCommands(chancery: Command, shell: Shell): void {
  const revocation = addGroup(chancery, {
    usage: "revocation",
    description: "revocations of many certificates at once: create, show, stop",
    examples: ["npx chancery revocation create --profile mtls --reason superseded --dry-run"],
  });
  addCreate(revocation, shell);
  addCommand(revocation, {
    usage: "show <id>",
    summary: "show how far a revocation is",
    description: "Show a revocation of many certificates: its state, and how many it has revoked.",
    examples: ["npx chancery revocation show 8b0e4d5f2a1c4b7f9d3e6a5c0f1b2d4e"],
  }).action(async (id: string, { json }: { json?: boolean }) => {
    await using service = openService(shell);
    print(shell, report(await readRevocation(service, id)), json);
  });
  addCommand(revocation, {
    usage: "stop <id>",
    summary: "stop a revocation",
    description: "Stop a revocation of many certificates: it revokes nothing more. What it has revoked stays revoked.",
    examples: ['npx chancery revocation stop 8b0e4d5f2a1c4b7f9d3e6a5c0f1b2d4e --reason "begun with a stolen token"'],
  })
    .requiredOption("--reason <text>", "why, in one line: it stands in the audit log")
    .action(async (id: string, { json, reason }: { json?: boolean; reason: string }) => {
      await using service = openService(shell);
      print(shell, report(await stopRevocation(service, id, reason)), json);
    });
}

function addCreate(revocation: Command, shell: Shell): void {
  const time = (text: string) => parseTime(text, shell.now());
  addCommand(revocation, {
    usage: "create",
    summary: "revoke everything that fits",
    description:
      "Revoke every certificate of your namespace that fits all that is given, those that are issued meanwhile too. Look first with --dry-run. The service goes on with it by itself.",
    examples: [
      "npx chancery revocation create --profile mtls --issued-before 2026-11-01 --reason superseded --dry-run",
      "npx chancery revocation create --account Zm9vYmFyYmF6cXV4MTIzNA --reason cessationOfOperation",
    ],
  })
    .option("--serial <serial...>", "these serials (32 hex digits each)", (text: string, all: readonly string[] = []) => [
      ...all,
      requireSerial(text),
    ])
    .option("--spki-sha256 <hex>", "those of this key: SHA-256 of its SubjectPublicKeyInfo, as `cert show` prints it")
    .option("--account <id>", "those that were issued for this ACME account")
    .option("--authority <slug>", "those of this issuer")
    .option("--profile <profile>", "those of this profile")
    .option("--name <name>", "those with this name")
    .option("--issued-from <time>", "those issued at this time or later: 2026-10-31T12:00:00Z", time)
    .option("--issued-before <time>", "those issued before this time: 2026-10-31T12:00:00Z", time)
    .addOption(reasonOption().makeOptionMandatory())
    .option(
      "--block-key",
      "with keyCompromise: block the key of --spki-sha256 for good (administrators of /; the default where that is all)",
    )
    .option("--no-block-key", "do not block it")
    .option("--dry-run", "revoke nothing: print how many it would be, and ten of them at most")
    .action(async ({ json, dryRun, reason, blockKey, serial, ...filter }: Options) => {
      const request = { filter: { ...filter, ...(serial && { serials: serial }) }, reason, ...(blockKey !== undefined && { blockKey }) };
      await using service = openService(shell);
      if (!dryRun) return print(shell, report(await createRevocation(service, request, randomUUID())), json);
      const { count, sample } = await previewRevocation(service, request);
      const rows = sample.map((one) => [one.serial, one.notAfter, one.profile, namesText(one.names)]);
      const shown = count > 0 ? table(["SERIAL", "NOT AFTER", "PROFILE", "NAMES"], rows) : "";
      return print(shell, { document: { count, sample }, text: `${count} would be revoked\n${shown}` }, json);
    });
}

function report(revocation: MassRevocation): Report {
  const { id, state, revoked, reason, namespace, createdAt, endedAt, stopReason } = revocation;
  const text = members({
    id,
    state,
    revoked: String(revoked),
    reason,
    namespace,
    createdAt,
    ...(endedAt !== undefined && { endedAt }),
    ...(stopReason !== undefined && { stopReason }),
  });
  const next = state !== "running" ? "" : `the service goes on with it: npx chancery revocation show ${id}\n`;
  return { document: revocation, text: text + next };
}
