import type { Command } from "commander";
import { Fault } from "../fault.ts";
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
      "Renew the CRL of a root, which lasts 180 days: opens the root's token for this one act, beside a running service or without one. Instances serve the new CRL within seconds. CRLs of issuing authorities are renewed by the service itself. With --after-restore: after the database was restored from a backup, let the authority's CRLs go on, which are held until then.",
    examples: [
      "npx chancery ca crl root-1",
      "npx chancery ca crl root-1 --config /etc/chancery.yaml --json",
      'npx chancery ca crl issuing-1 --after-restore --reason "restored the backup of 02:00, see INC-12"',
    ],
  })
    .option("--after-restore", "let CRLs go on that are held since the database is older than they are; needs --reason")
    .option(
      "--without-take-over",
      "with --after-restore, where the file of a CRL is lost for good: give up what it lists and the database lacks",
    )
    .option("--reason <text>", "why the database is older, in one line: it stands in the audit log")
    .option("--config <file>", "YAML file with options; the environment wins over it")
    .action(async (slug: string, { config: file, json, afterRestore, withoutTakeOver = false, reason }: CrlOptions) => {
      if (afterRestore || withoutTakeOver || reason !== undefined)
        return await agree(shell, slug, { file, json, withoutTakeOver, reason: requiredReason(afterRestore, reason) });
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

type CrlOptions = { config?: string; json?: boolean; afterRestore?: boolean; withoutTakeOver?: boolean; reason?: string };

function requiredReason(afterRestore: boolean | undefined, reason: string | undefined): string {
  if (!afterRestore) throw new Fault("malformed", "--reason and --without-take-over go with --after-restore");
  if (reason === undefined || !/^[^\p{Cc}]{1,200}$/u.test(reason.trim())) {
    throw new Fault("malformed", "--after-restore needs --reason TEXT, one line of at most 200 characters");
  }
  return reason.trim();
}

type Agreement = {
  readonly file: string | undefined;
  readonly json: boolean | undefined;
  readonly reason: string;
  readonly withoutTakeOver: boolean;
};

/** Lets the CRLs of an authority go on after a restore; a root's next one is made at once. */
async function agree(shell: Shell, slug: string, { file, json, ...given }: Agreement): Promise<void> {
  const config = await readConfig(shell, file);
  const { agreeToRestore } = await import("../root-crl.ts");
  const { released, crl } = await agreeToRestore(config, { slug, ...given });
  const document = {
    authority: slug,
    released: released.map(({ path, number, takenOver }) => ({ crl: path, number: String(number), revocations: takenOver ?? null })),
    ...(crl && { number: String(crl.number), nextUpdate: shown(crl.nextUpdate) }),
  };
  const rows = document.released.map(({ crl: path, number, revocations }) => [
    path,
    number,
    revocations === null ? "given up" : String(revocations),
  ]);
  print(shell, { document, text: table(["CRL", "LOST NUMBER", "REVOCATIONS TAKEN OVER"], rows) }, json);
}

/** RFC 3339 in UTC, whole seconds, as the service shows times. */
function shown(time: Date): string {
  return time.toISOString().replace(/\.\d{3}Z$/, "Z");
}
