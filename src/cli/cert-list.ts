import { type Command, Option } from "commander";
import { type CertificateFilter, type ListedCertificate, listCertificates } from "../client/certificate.ts";
import { namesText } from "./certificate-text.ts";
import { addCommand, wholeNumber } from "./command.ts";
import { parseTime } from "./duration.ts";
import { openService } from "./service.ts";
import { print, type Shell } from "./shell.ts";
import { table } from "./table.ts";

type Options = CertificateFilter & { readonly limit: number; readonly json?: boolean };

const largestPage = 1000;

/** Adds `cert list`: certificates that match, newest first. */
export function addCertList(cert: Command, shell: Shell): void {
  const time = (text: string) => parseTime(text, shell.now());
  addCommand(cert, {
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
    .option("--not-after-before <time>", "only those that end before this time: 30d from now, or 2027-01-31T12:00:00Z", time)
    .option("--limit <number>", "at most this many certificates, 1 to 1000000", wholeNumber(1, 1_000_000), 100)
    .action(async ({ limit, json, ...filter }: Options) => {
      const { certificates, more } = await firstCertificates(shell, filter, limit);
      const text = table(
        ["SERIAL", "STATUS", "NOT AFTER", "PROFILE", "NAMES"],
        certificates.map(({ serial, status, notAfter, profile, names }) => [serial, status, notAfter, profile, namesText(names)]),
      );
      const rest = more ? `there are more: raise --limit (now ${limit}) or narrow the search\n` : "";
      print(shell, { document: { certificates, more }, text: text + rest }, json);
    });
}

async function firstCertificates(
  shell: Shell,
  filter: CertificateFilter,
  limit: number,
): Promise<{ certificates: readonly ListedCertificate[]; more: boolean }> {
  await using service = openService(shell);
  const certificates: ListedCertificate[] = [];
  for await (const page of listCertificates(service, filter, Math.min(limit + 1, largestPage))) {
    certificates.push(...page);
    if (certificates.length > limit) break;
  }
  return { certificates: certificates.slice(0, limit), more: certificates.length > limit };
}
