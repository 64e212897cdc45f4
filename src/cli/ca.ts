import type { Command } from "commander";
import { listAuthorities } from "../client/authority.ts";
import { addCommand, addGroup } from "./command.ts";
import { readConfig } from "./read-config.ts";
import { openService } from "./service.ts";
import { print, type Shell } from "./shell.ts";
import { members, table } from "./table.ts";

/** Adds `ca list` and `ca crl`: the certification authorities of the service, and a root's CRL. */
export function addCaCommands(program: Command, shell: Shell): void {
  const ca = addGroup(program, {
    usage: "ca",
    description: "certification authorities: list, crl",
    examples: ["npx chancery ca list", "npx chancery ca crl root-1"],
  });
  addCommand(ca, {
    usage: "list",
    summary: "list the authorities",
    description: "List the certification authorities, roots and issuing ones, by the slugs that stand in their certificates' URLs.",
    examples: ["npx chancery ca list", "npx chancery ca list --json"],
  }).action(async ({ json }: { json?: boolean }) => {
    await using service = openService(shell);
    const authorities = await listAuthorities(service);
    const text = table(
      ["SLUG", "KIND", "ISSUER", "KEY", "NOT AFTER", "CRL", "THIS UPDATE", "NEXT UPDATE", "ENTRIES", "SUBJECT"],
      authorities.map(({ slug, kind, issuer, keyAlgorithm, notAfter, crl, subject }) => [
        slug,
        kind,
        issuer,
        keyAlgorithm,
        notAfter,
        ...(crl ? [crl.number, crl.thisUpdate, crl.nextUpdate, String(crl.entries)] : ["none", "", "", ""]),
        subject,
      ]),
    );
    print(shell, { document: { authorities }, text }, json);
  });
  addCrl(ca, shell);
}

function addCrl(ca: Command, shell: Shell): void {
  addCommand(ca, {
    usage: "crl <slug>",
    summary: "renew the CRL of a root",
    description:
      "Renew the CRL of a root, which lasts 180 days: opens the root's token for this one act, beside a running service or without one. Instances serve the new CRL within seconds. CRLs of issuing authorities are renewed by the service itself.",
    examples: ["npx chancery ca crl root-1", "npx chancery ca crl root-1 --config /etc/chancery.yaml --json"],
  })
    .option("--config <file>", "YAML file with options; the environment wins over it")
    .action(async (slug: string, { config: file, json }: { config?: string; json?: boolean }) => {
      const config = await readConfig(shell, file);
      const { renewRootCrl } = await import("../root-crl.ts");
      const { number, thisUpdate, nextUpdate, entries, sha256 } = await renewRootCrl(config, slug);
      const crl = {
        authority: slug,
        number: String(number),
        thisUpdate: shown(thisUpdate),
        nextUpdate: shown(nextUpdate),
        entries,
        sha256,
      };
      print(shell, { document: crl, text: members({ ...crl, entries: String(entries) }) }, json);
    });
}

/** RFC 3339 in UTC, whole seconds, as the service shows times. */
function shown(time: Date): string {
  return time.toISOString().replace(/\.\d{3}Z$/, "Z");
}
