import { type Command, Option } from "commander";
import { type CertificateFilter, listCertificates } from "../client/certificate.ts";
import { namesText } from "./certificate-text.ts";
import { addCommand, firstOf, limitOption } from "./command.ts";
import { parseTime } from "./duration.ts";
import { openService } from "./service.ts";
import { print, type Shell } from "./shell.ts";
import { table } from "./table.ts";

type Options = CertificateFilter & { readonly limit: number; readonly json?: boolean };

/** Adds `cert list`: certificates that match, newest first. */
export function addCertList(cert: Command, shell: Shell): void {
  const time = (text: string) => parseTime(text, shell.now());
  const list = addCommand(cert, {
    usage: "list",
    summary: "list certificates",
    description: "List certificates, newest first.",
    examples: ["npx chancery cert list --status valid --not-after-before 30d", "npx chancery cert list --name www.example.org --json"],
  })
    .option("--name <name>", "only those with this name")
    .option("--serial <serial>", "only this serial (32 hex digits)")
    .addOption(new Option("--status <status>", "only those of this status").choices(["valid", "revoked", "expired"]))
    .option("--profile <profile>", "only those of this profile")
    .option("--not-after-from <time>", "only those that end at this time or later: 30d from now, or 2027-01-31T12:00:00Z", time)
    .option("--not-after-before <time>", "only those that end before this time: 30d from now, or 2027-01-31T12:00:00Z", time);
  limitOption(list, "certificates").action(async ({ limit, json, ...filter }: Options) => {
    await using service = openService(shell);
    const { items: certificates, more, rest } = await firstOf((pageSize) => listCertificates(service, filter, pageSize), limit);
    const text = table(
      ["SERIAL", "STATUS", "NOT AFTER", "PROFILE", "NAMES"],
      certificates.map(({ serial, status, notAfter, profile, names }) => [serial, status, notAfter, profile, namesText(names)]),
    );
    print(shell, { document: { certificates, more }, text: text + rest }, json);
  });
}
