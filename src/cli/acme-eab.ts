import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { type Command, InvalidArgumentError } from "commander";
import { createExternalAccountKey, type ExternalAccountKey, listExternalAccountKeys, revokeExternalAccountKey } from "../client/acme.ts";
import { createFile } from "../durable-file.ts";
import { Fault } from "../fault.ts";
import { addCommand, addGroup, wholeNumber } from "./command.ts";
import { parseTime } from "./duration.ts";
import { openService } from "./service.ts";
import { print, type Report, type Shell } from "./shell.ts";
import { members, table } from "./table.ts";

type CreateOptions = {
  readonly namespace: string;
  readonly directory: string;
  readonly uses: number | "any";
  readonly name?: readonly string[];
  readonly ipRange?: readonly string[];
  readonly expires?: string;
  readonly out?: string;
  readonly json?: boolean;
};

/** Adds `acme eab create`, `list` and `revoke`. */
export function addEabCommands(acme: Command, shell: Shell): void {
  const eab = addGroup(acme, {
    usage: "eab",
    description: "keys for external account binding (RFC 8555 §7.3.4): create, list, revoke",
    examples: ["npx chancery acme eab create", "npx chancery acme eab list"],
  });
  addCreate(eab, shell);
  addList(eab, shell);
  addRevoke(eab, shell);
}

function addCreate(eab: Command, shell: Shell): void {
  addCommand(eab, {
    usage: "create",
    summary: "create a key",
    description:
      "Create a key for external account binding: what an ACME client calls KID and HMAC key. The HMAC key is shown this once and cannot be shown again.",
    examples: [
      "npx chancery acme eab create",
      "npx chancery acme eab create --name .example.org --expires 30d",
      "npx chancery acme eab create --uses any --out eab.json",
    ],
  })
    .option("--directory <name>", "the ACME directory that it is for", "default")
    .option("--namespace <path>", "of the accounts that are made with it", "/")
    .option("--uses <number>", 'how many accounts may be made with it, or "any"', usesAllowed, 1)
    .option("--name <pattern...>", "names that its accounts may order: example.org, .example.org for all below it, or *")
    .option("--ip-range <cidr...>", "addresses that its accounts may order: 10.0.0.0/8")
    .option(
      "--expires <time>",
      "until when accounts are made with it: a duration (90d, 24h) or a time (2027-01-31T12:00:00Z)",
      (text: string) => parseTime(text, shell.now()),
    )
    .option("--out <file>", "write id and key to this new file as JSON, mode 0600, instead of printing them")
    .action(async (options: CreateOptions) => print(shell, await create(shell, options), options.json));
}

function usesAllowed(text: string): number | "any" {
  if (text === "any") return text;
  try {
    return wholeNumber(1, 1_000_000)(text);
  } catch {
    throw new InvalidArgumentError('It is a whole number from 1 to 1000000, or "any".');
  }
}

async function create(shell: Shell, options: CreateOptions): Promise<Report> {
  const { namespace, directory, uses, name, ipRange, expires, out } = options;
  const file = out === undefined ? undefined : resolve(shell.cwd, out);
  // Seen before it is asked for: a key that cannot be written would be lost.
  if (file !== undefined && existsSync(file))
    throw new Fault("refusedToStart", `${file} is there already and is not overwritten: use another --out`);
  await using service = openService(shell);
  const { macKey, ...created } = await createExternalAccountKey(service, {
    namespace,
    directory,
    usesAllowed: uses === "any" ? null : uses,
    ...(name && { names: name }),
    ...(ipRange && { ipRanges: ipRange }),
    ...(expires !== undefined && { expiresAt: expires }),
  });
  if (file === undefined) {
    return { document: { ...created, macKey }, text: members({ kid: created.id, hmacKey: macKey, ...rest(created) }) };
  }
  const remedy = `the new key ${created.id} is lost: revoke it and create another with another --out`;
  await createFile(file, { content: `${JSON.stringify({ kid: created.id, hmacKey: macKey })}\n`, mode: 0o600 }, remedy);
  return {
    document: { ...created, file },
    text: `wrote ${file} (kid and hmacKey, mode 0600)\n${members({ kid: created.id, ...rest(created) })}`,
  };
}

function rest(key: ExternalAccountKey): Readonly<Record<string, string>> {
  return { directory: key.directory, namespace: key.namespace, uses: usesText(key), expires: key.expiresAt ?? "never" };
}

function usesText({ uses, usesAllowed: allowed }: ExternalAccountKey): string {
  return `${uses} of ${allowed ?? "any number"}`;
}

function addList(eab: Command, shell: Shell): void {
  addCommand(eab, {
    usage: "list",
    summary: "list the keys",
    description: "List the keys for external account binding of your namespace, newest first, without the HMAC keys.",
    examples: ["npx chancery acme eab list", "npx chancery acme eab list --json"],
  }).action(async ({ json }: { json?: boolean }) => {
    await using service = openService(shell);
    const keys = await listExternalAccountKeys(service);
    const text = table(
      ["KID", "DIRECTORY", "NAMESPACE", "USES", "EXPIRES", "REVOKED"],
      keys.map((key) => [key.id, key.directory, key.namespace, usesText(key), key.expiresAt ?? "never", key.revokedAt ?? "-"]),
    );
    print(shell, { document: { externalAccountKeys: keys }, text }, json);
  });
}

function addRevoke(eab: Command, shell: Shell): void {
  addCommand(eab, {
    usage: "revoke <kid>",
    summary: "revoke a key",
    description:
      "Revoke a key: no account is made with it any more. Accounts that were live on. Put -- before a kid that begins with a hyphen.",
    examples: ["npx chancery acme eab revoke Zm9vYmFyYmF6cXV4MTIzNA"],
  }).action(async (id: string, { json }: { json?: boolean }) => {
    await using service = openService(shell);
    await revokeExternalAccountKey(service, id);
    print(shell, { document: { id, revoked: true }, text: `revoked ${id}` }, json);
  });
}
