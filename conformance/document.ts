import { existsSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { checkout } from "./service.ts";

/** A line of docs/CONFORMANCE.md: what is claimed of a section, and the tests that hold it. */
export type Claim = {
  /** The heading the line stands under: `RFC 5280`. */
  readonly document: string;
  readonly section: string;
  readonly state: string;
  readonly tests: readonly NamedTest[];
};

/** A test as the document names it: its file, and its title as it stands in the source (`$name` stands for a row's name). */
export type NamedTest = { readonly file: string; readonly title: string };

/** What of vitest's JSON report is read here. */
type TestReport = {
  readonly testResults: readonly {
    readonly name: string;
    readonly assertionResults: readonly { readonly title: string; readonly status: string }[];
  }[];
};

/** Every claim of the document: the rows of its tables, below headings of the second level. */
export function claims(markdown: string): Claim[] {
  let document = "";
  return markdown.split("\n").flatMap((line) => {
    if (line.startsWith("## ")) document = line.slice(3).trim();
    const cells = line.split(/(?<!\\)\|/).map((cell) => cell.trim());
    const [, section = "", state = "", , held = ""] = cells;
    if (cells.length !== 6 || section === "Section" || /^-+$/.test(section)) return [];
    const tests = [...held.matchAll(/`([^`]+\.ts)` "([^"]+)"/g)].map(([, file = "", title = ""]) => ({
      file,
      title: title.replaceAll("\\|", "|"),
    }));
    return [{ document, section, state, tests }];
  });
}

/** What is wrong with the claims against the sources: an unknown state, no test, a test that does not stand in its file under that title. */
export function unfounded(found: readonly Claim[], root: string): string[] {
  return found.flatMap(({ document, section, state, tests }) => {
    const where = `${document} ${section}`;
    return [
      ...(["done", "chosen", "different"].includes(state) ? [] : [`${where}: state "${state}" is not done, chosen or different`]),
      ...(tests.length > 0 ? [] : [`${where}: no test is named`]),
      ...tests.filter((test) => !standsInSource(test, root)).map(({ file, title }) => `${where}: no test "${title}" in ${file}`),
    ];
  });
}

/**
 * Tests of the claims that did not pass in `report` (vitest's JSON): each title must have run at least once, and every row of it must have passed.
 * Checks of conformance/ are not in that report: a run of theirs fails as a whole when one of them does.
 */
export function notPassed(found: readonly Claim[], report: TestReport, root: string): string[] {
  const results = report.testResults.flatMap(({ name, assertionResults }) =>
    assertionResults.map(({ title, status }) => ({ file: relative(root, name), title, status })),
  );
  const named = found.flatMap(({ tests }) => tests).filter(({ file }) => file.startsWith("test/"));
  return named.flatMap(({ file, title }) => {
    const pattern = titlePattern(title);
    const runs = results.filter((one) => one.file === file && pattern.test(one.title));
    if (runs.length === 0) return [`${file}: "${title}" did not run`];
    return runs.some(({ status }) => status !== "passed") ? [`${file}: "${title}" did not pass`] : [];
  });
}

function standsInSource({ file, title }: NamedTest, root: string): boolean {
  const path = join(root, file);
  if (!existsSync(path)) return false;
  const source = readFileSync(path, "utf8");
  return ['"', "'", "`"].some((quote) => source.includes(`${quote}${title}${quote}`));
}

/** A title of the source as it appears in a report: `$name`, `$index`, `%s` and their kind stand for any text. */
function titlePattern(title: string): RegExp {
  const parts = title.split(/\$[\w.]+|%[a-z#%]/).map((part) => part.replaceAll(/[\\^$.*+?()[\]{}|]/g, String.raw`\$&`));
  return new RegExp(`^${parts.join(".*")}$`, "s");
}

/** Run after `npm test` and `npm run test:faults`: holds the document against the sources and the reports of those runs. */
function main(): void {
  const found = claims(readFileSync(join(checkout, "docs/CONFORMANCE.md"), "utf8"));
  const reports = ["var/test-report.json", "var/faults-report.json"].map(
    (file) => JSON.parse(readFileSync(join(checkout, file), "utf8")) as TestReport,
  );
  const report = { testResults: reports.flatMap(({ testResults }) => testResults) };
  const complaints = [...unfounded(found, checkout), ...notPassed(found, report, checkout)];
  for (const complaint of complaints) process.stdout.write(`${complaint}\n`);
  process.stdout.write(`docs/CONFORMANCE.md: ${found.length} claims, ${complaints.length} unfounded\n`);
  process.exitCode = complaints.length > 0 || found.length === 0 ? 1 : 0;
}

if (import.meta.main) main();
