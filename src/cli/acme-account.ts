import type { Command } from "commander";
import { type AcmeAccount, listAcmeAccounts, readAcmeAccount, revokeAcmeAccount } from "../client/acme.ts";
import { addCommand, addGroup, firstOf, limitOption } from "./command.ts";
import { openService } from "./service.ts";
import { print, type Shell } from "./shell.ts";
import { members, table } from "./table.ts";

/** Adds `acme account list`, `show` and `revoke`. */
export function addAcmeAccountCommands(acme: Command, shell: Shell): void {
  const account = addGroup(acme, {
    usage: "account",
    description: "ACME accounts: list, show, revoke",
    examples: ["npx chancery acme account list"],
  });
  limitOption(
    addCommand(account, {
      usage: "list",
      summary: "list the accounts",
      description: "List the ACME accounts of your namespace, newest first.",
      examples: ["npx chancery acme account list", "npx chancery acme account list --json"],
    }),
    "accounts",
  ).action(async ({ limit, json }: { limit: number; json?: boolean }) => {
    await using service = openService(shell);
    const { items: accounts, more, rest } = await firstOf((pageSize) => listAcmeAccounts(service, pageSize), limit);
    const text = table(
      ["ID", "STATUS", "DIRECTORY", "NAMESPACE", "CREATED", "CONTACT"],
      accounts.map(({ id, status, directory, namespace, createdAt, contact }) => [
        id,
        status,
        directory,
        namespace,
        createdAt,
        contact.join(", ") || "-",
      ]),
    );
    print(shell, { document: { accounts, more }, text: text + rest }, json);
  });
  addCommand(account, {
    usage: "show <id>",
    summary: "show an account",
    description: "Show an ACME account by its id, or by its URL. Put -- before an id that begins with a hyphen.",
    examples: ["npx chancery acme account show Zm9vYmFyYmF6cXV4MTIzNA"],
  }).action(async (id: string, { json }: { json?: boolean }) => {
    await using service = openService(shell);
    const found = await readAcmeAccount(service, idOf(id));
    print(shell, { document: found, text: accountText(found) }, json);
  });
  addCommand(account, {
    usage: "revoke <id>",
    summary: "end an account",
    description:
      "End an ACME account by its id or URL: its requests are refused, its orders and authorizations end. Its certificates live on. Put -- before an id that begins with a hyphen.",
    examples: ['npx chancery acme account revoke --reason "the server was sold" Zm9vYmFyYmF6cXV4MTIzNA'],
  })
    .requiredOption("--reason <text>", "why, for the audit record")
    .action(async (id: string, { reason, json }: { reason: string; json?: boolean }) => {
      await using service = openService(shell);
      const ended = await revokeAcmeAccount(service, idOf(id), reason);
      print(shell, { document: ended, text: accountText(ended) }, json);
    });
}

/** The id that a URL of ours ends with; another text as it is. */
export function idOf(text: string): string {
  return text.replace(/^https:\/\/.*\/(?:acct|order)\/([A-Za-z0-9_-]+).*$/, "$1");
}

function accountText({ id, status, directory, namespace, contact, thumbprint, externalAccountKey, createdAt }: AcmeAccount): string {
  return members({
    id,
    status,
    directory,
    namespace,
    contact: contact.join(", ") || "-",
    thumbprint,
    externalAccountKey: externalAccountKey ?? "-",
    createdAt,
  });
}
