import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { claims, notPassed, unfounded } from "../conformance/document.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const markdown = readFileSync(new URL("../docs/CONFORMANCE.md", import.meta.url), "utf8");

const line = (state: string, held: string): string => `## RFC 5280\n\n| §4.1 | ${state} | A certificate has a version. | ${held} |\n`;
const ownFile = "test/conformance-document.test.ts";

test("every test that docs/CONFORMANCE.md names stands in the tree under that title", () => {
  const found = claims(markdown);
  expect(found.length).toBeGreaterThan(20);
  expect(unfounded(found, root)).toEqual([]);
});

test("every requirement for which the sources point to docs/CONFORMANCE.md stands in it", () => {
  const files = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".ts"));
  const cited = files.flatMap((file) => [...readFileSync(join(root, "src", file), "utf8").matchAll(/CONFORMANCE\.md ([A-Z]+-\d+)/g)]);
  const ids = new Set(cited.map(([, id]) => id));
  expect(ids.size).toBeGreaterThan(0);
  expect([...ids].filter((id) => !new RegExp(`\\((?:[A-Z]+-\\d+, )*${id}[,)]`).test(markdown))).toEqual([]);
});

test.for([
  { name: "a title that no file has", markdown: line("done", `\`${ownFile}\` "water runs uphill, ${"always"}"`), complaint: "no test" },
  { name: "a file that is not there", markdown: line("done", '`test/none.test.ts` "a title"'), complaint: "no test" },
  { name: "a line without a test", markdown: line("done", "by inspection"), complaint: "no test is named" },
  { name: "a state that is none", markdown: line("planned", `\`${ownFile}\` "$name is unfounded"`), complaint: 'state "planned"' },
])("$name is unfounded", ({ markdown: text, complaint }) => {
  expect(unfounded(claims(text), root)).toEqual([expect.stringContaining(complaint)]);
});

test.for([
  { name: "no row ran", titles: [], complaints: 1 },
  { name: "every row passed", titles: [{ title: "one is unfounded", status: "passed" }], complaints: 0 },
  {
    name: "one row of two failed",
    titles: [
      { title: "one is unfounded", status: "passed" },
      { title: "two is unfounded", status: "failed" },
    ],
    complaints: 1,
  },
  { name: "the only row was skipped", titles: [{ title: "one is unfounded", status: "skipped" }], complaints: 1 },
  { name: "another title passed", titles: [{ title: "one is unfounded, says another", status: "passed" }], complaints: 1 },
])("a claim counts as passed only when every row of its test ran and passed: $name", ({ titles, complaints }) => {
  const found = claims(line("done", `\`${ownFile}\` "$name is unfounded"`));
  const report = { testResults: [{ name: `${root}${ownFile}`, assertionResults: titles }] };
  expect(notPassed(found, report, root)).toHaveLength(complaints);
});
