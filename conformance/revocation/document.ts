import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Outcome } from "../matrix.ts";
import { checkout } from "../service.ts";
import { cannot, differences, expectation } from "./expectation.ts";
import { methods, tools, type Method, type ToolName } from "./method.ts";
import { cellsOf, lineOf } from "../table-row.ts";

/** What a run saw: of each tool its version, and how everything that it was asked ended. */
export type Seen = { readonly versions: Readonly<Record<string, string>>; readonly outcomes: readonly Outcome[] };

const heading = "## Revocation before verifiers";
const file = join(checkout, "docs/CONFORMANCE.md");

/** The lines of a table in Markdown. */
type Table = readonly string[];

/** What the document says otherwise than a run saw it and than the tables of differences have it; undefined when nothing. */
export function untoldOfRevocation(markdown: string, seen: Seen): string | undefined {
  const [told, ...reasons] = tablesBelow(markdown);
  const wrong = tools.filter((tool) => {
    const took = seen.outcomes.some(({ peer, subject }) => peer === tool && isMethod(subject));
    const cells = told
      ?.map(cellsOf)
      .find(([name]) => name === tool)
      ?.slice(2);
    return took && cells?.join() !== marks(tool, seen.outcomes).join();
  });
  const stale = reasons.length !== 2 || reasons.flat().join("\n") !== [...differenceTable(), ...cannotTable()].join("\n");
  if (wrong.length === 0 && !stale) return undefined;
  const where = [...wrong, ...(stale ? ["the tables of differences"] : [])].join(", ");
  return `of ${where} it says something else; node conformance/revocation/document.ts writes the tables`;
}

/** The document with the three tables written anew; a tool that took no part in the run keeps its line. */
export function withRevocation(markdown: string, seen: Seen): string {
  const before = tablesBelow(markdown)[0] ?? [];
  const lines = tools.flatMap((tool) => {
    const kept = before.filter((line) => cellsOf(line)[0] === tool);
    const version = seen.versions[tool];
    return version === undefined ? kept : [lineOf([tool, plainVersion(version), ...marks(tool, seen.outcomes)])];
  });
  const columns = ["Tool", "Version", ...methods];
  const written = [[lineOf(columns), lineOf(columns.map(() => "---")), ...lines], differenceTable(), cannotTable()];
  const all = markdown.split("\n");
  // From the last to the first, so that the places of the others stay.
  for (const [index, [first, last]] of placesBelow(all).entries().toArray().toReversed()) {
    all.splice(first, last - first, ...(written[index] ?? []));
  }
  return all.join("\n");
}

function marks(tool: ToolName, outcomes: readonly Outcome[]): string[] {
  return methods.map((method) => {
    const asked = outcomes.filter(({ peer, subject }) => peer === tool && subject === method);
    if (asked.length === 0) return "–";
    if (asked.some(({ complaint }) => complaint !== undefined)) return "no";
    return expectation(tool, method, "good")?.verdict === "good" ? "yes" : "refuses";
  });
}

function differenceTable(): Table {
  const rows = differences.map(({ tool, methods: by, conditions, verdict, because }) => [
    tool,
    by === undefined ? "all" : shortly(by),
    conditions === undefined
      ? "all"
      : conditions.every((one) => one.startsWith("revoked")) && conditions.length > 1
        ? "revoked"
        : conditions.join(", "),
    verdict,
    because,
  ]);
  return table(["Tool", "By", "Of a certificate that is", "Says", "Because"], rows);
}

function cannotTable(): Table {
  return table(
    ["Tool", "Not asked by", "Because"],
    cannot.map(({ tool, methods: by, because }) => [tool, shortly(by), because]),
  );
}

function shortly(by: readonly Method[]): string {
  const ocsp = methods.filter((method) => method.startsWith("OCSP"));
  return ocsp.every((method) => by.includes(method)) ? "OCSP" : by.join(", ");
}

function table(columns: readonly string[], rows: readonly (readonly string[])[]): Table {
  return [lineOf(columns), lineOf(columns.map(() => "---")), ...rows.map(lineOf)];
}

/** The tables of the section. */
function tablesBelow(markdown: string): Table[] {
  const lines = markdown.split("\n");
  return placesBelow(lines).map(([first, last]) => lines.slice(first, last));
}

/** Where the tables between the heading and the next one of its level begin and end. */
function placesBelow(lines: readonly string[]): (readonly [number, number])[] {
  const from = lines.indexOf(heading);
  const next = lines.findIndex((line, index) => index > from && line.startsWith("## "));
  const end = next === -1 ? lines.length : next;
  const inTable = (index: number): boolean => index > from && index < end && (lines[index]?.startsWith("|") ?? false);
  const firsts = [...lines.keys()].filter((index) => from >= 0 && inTable(index) && !inTable(index - 1));
  return firsts.map((first) => {
    const length = lines.slice(first).findIndex((line) => !line.startsWith("|"));
    return [first, length === -1 ? lines.length : first + length] as const;
  });
}

function isMethod(text: string): boolean {
  return methods.some((method) => method === text);
}

/** The number in what a program says of its version. */
function plainVersion(text: string): string {
  return /\d+(?:\.\d+)+[^\s,"]*/.exec(text)?.[0] ?? text;
}

/** Run after `npm run conformance -- revocation`: writes what that run saw into the document. */
function main(): void {
  const report = JSON.parse(readFileSync(join(checkout, "conformance/report/report.json"), "utf8")) as Seen;
  writeFileSync(file, withRevocation(readFileSync(file, "utf8"), report));
}

if (import.meta.main) main();
