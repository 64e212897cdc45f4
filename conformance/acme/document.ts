import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Outcome } from "../matrix.ts";
import { checkout } from "../service.ts";
import { abilities, cachedClients, fixedClients, passes } from "./ability.ts";
import { cellsOf, lineOf } from "../table-row.ts";

/** What a run saw: of each client its version, and how everything that it tried ended. */
export type Seen = { readonly versions: Readonly<Record<string, string>>; readonly outcomes: readonly Outcome[] };

const heading = "## ACME clients";
const file = join(checkout, "docs/CONFORMANCE.md");
const subjects = [...abilities, ...passes];

/** The lines of the table, by client: for each ability and pass whether it was seen to work. */
export function clientLines(markdown: string): Map<string, readonly string[]> {
  return new Map(
    tableLines(markdown)
      .map(cellsOf)
      .map(([client = "", , ...cells]) => [client, cells] as const),
  );
}

/** What the table says otherwise than a run saw it, for the clients that took part; undefined when nothing. */
export function untold(markdown: string, { versions, outcomes }: Seen): string | undefined {
  const told = clientLines(markdown);
  const seen = Object.keys(versions).filter((client) => outcomes.some(({ peer }) => peer === client));
  const wrong = seen.filter((client) => told.get(client)?.join() !== marks(client, outcomes).join());
  if (wrong.length === 0) return undefined;
  return `of ${wrong.join(", ")} it says something else; node conformance/acme/document.ts writes the table`;
}

/** The document with the table of a run in place of the one that it had; a client that did not take part keeps its line. */
export function withClients(markdown: string, { versions, outcomes }: Seen): string {
  const before = tableLines(markdown);
  const lines = [...fixedClients, ...cachedClients].flatMap((client) => {
    const took = outcomes.some(({ peer }) => peer === client);
    const kept = before.filter((line) => cellsOf(line)[0] === client);
    return took ? [lineOf([client, versions[client] ?? "", ...marks(client, outcomes)])] : kept;
  });
  const columns = ["Client", "Version", ...subjects];
  const table = [lineOf(columns), lineOf(columns.map(() => "---")), ...lines];
  const all = markdown.split("\n");
  const [first, last] = tableOf(all);
  return all.toSpliced(first, last - first, ...table).join("\n");
}

function marks(client: string, outcomes: readonly Outcome[]): string[] {
  return subjects.map((subject) => {
    const tried = outcomes.filter((one) => one.peer === client && one.subject === subject);
    return tried.length === 0 ? "–" : tried.every(({ complaint }) => complaint === undefined) ? "yes" : "no";
  });
}

function tableLines(markdown: string): string[] {
  const lines = markdown.split("\n");
  return lines.slice(...tableOf(lines));
}

/** Where the first table below the heading begins and ends. */
function tableOf(lines: readonly string[]): [number, number] {
  const first = lines.findIndex((text, index) => text.startsWith("|") && index > lines.indexOf(heading));
  const length = lines.slice(first).findIndex((text) => !text.startsWith("|"));
  return [first, first + length];
}

/** Run after `npm run conformance`: writes what that run saw into the document. */
function main(): void {
  const report = JSON.parse(readFileSync(join(checkout, "conformance/report/report.json"), "utf8")) as Seen;
  writeFileSync(file, withClients(readFileSync(file, "utf8"), report));
}

if (import.meta.main) main();
