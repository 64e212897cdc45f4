import type { Command } from "commander";
import { type AcmeAuthorization, type AcmeChallenge, listAcmeOrders, readAcmeOrder } from "../client/acme.ts";
import { idOf } from "./acme-account.ts";
import { namesText } from "./certificate-text.ts";
import { addCommand, addGroup, firstOf, limitOption } from "./command.ts";
import { openService } from "./service.ts";
import { print, type Shell } from "./shell.ts";
import { members, printable, table } from "./table.ts";

/** Adds `acme order list` and `show`. */
export function addAcmeOrderCommands(acme: Command, shell: Shell): void {
  const order = addGroup(acme, {
    usage: "order",
    description: "ACME orders: list, show (why did it fail?)",
    examples: ["npx chancery acme order list"],
  });
  addList(order, shell);
  addShow(order, shell);
}

function addList(order: Command, shell: Shell): void {
  limitOption(
    addCommand(order, {
      usage: "list",
      summary: "list the orders",
      description: "List the ACME orders of your namespace, newest first.",
      examples: ["npx chancery acme order list --limit 20", "npx chancery acme order list --json"],
    }).option("--account <id>", "only those of this account (its id or URL)", idOf),
    "orders",
  ).action(async ({ account, limit, json }: { account?: string; limit: number; json?: boolean }) => {
    await using service = openService(shell);
    const { items: orders, more, rest } = await firstOf((pageSize) => listAcmeOrders(service, account, pageSize), limit);
    const text = table(
      ["ID", "STATUS", "CREATED", "NAMES", "WHY"],
      orders.map(({ id, status, createdAt, identifiers, error }) => [id, status, createdAt, namesText(identifiers), error ?? "-"]),
    );
    print(shell, { document: { orders, more }, text: text + rest }, json);
  });
}

function addShow(order: Command, shell: Shell): void {
  addCommand(order, {
    usage: "show <id>",
    summary: "show an order, and why it failed",
    description:
      "Show an ACME order by its id or URL: each authorization with its challenges, what was asked and seen, and what went wrong. Put -- before an id that begins with a hyphen.",
    examples: ["npx chancery acme order show Zm9vYmFyYmF6cXV4MTIzNA"],
  }).action(async (id: string, { json }: { json?: boolean }) => {
    await using service = openService(shell);
    const { authorizations, document, ...found } = await readAcmeOrder(service, idOf(id));
    const head = members({
      id: found.id,
      account: found.account,
      status: found.status,
      names: namesText(found.identifiers),
      profile: found.profile,
      createdAt: found.createdAt,
      expiresAt: found.expiresAt,
      ...(found.error !== undefined && { error: found.error }),
      ...(found.serial !== undefined && { certificate: found.serial }),
    });
    print(shell, { document, text: [head, ...authorizations.map(authorizationText)].join("\n") }, json);
  });
}

function authorizationText({ identifier, wildcard, status, expiresAt, challenges }: AcmeAuthorization): string {
  const heading = `${printable(`${wildcard ? "*." : ""}${identifier.value}`)}: ${status}, until ${expiresAt}\n`;
  return heading + challenges.map(challengeText).join("");
}

/** Attempts that are counted are those that found no answer: an answer ends a challenge at once. */
function challengeText({ type, status, attempts, validatedAt, error, evidence }: AcmeChallenge): string {
  const tried = attempts > 0 ? `, ${attempts} ${attempts === 1 ? "attempt" : "attempts"} without an answer` : "";
  const lines = [
    `${type}: ${status}${tried}${validatedAt === undefined ? "" : `, met ${validatedAt}`}`,
    ...(error === undefined ? [] : [`  why: ${error}`]),
    ...Object.entries(evidence).flatMap(([name, value]) => evidenceLine(name, value)),
  ];
  return lines.map((line) => `  ${printable(line)}\n`).join("");
}

function evidenceLine(name: string, value: unknown): string[] {
  const text = Array.isArray(value) ? value.map(String).join(", ") : String(value);
  return text === "" ? [] : [`  ${name}: ${text}`];
}
