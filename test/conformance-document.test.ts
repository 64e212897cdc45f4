import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { abilities, cachedClients, fixedClients, passes } from "../conformance/acme/ability.ts";
import { clientLines, untold, withClients } from "../conformance/acme/document.ts";
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

function outcome(peer: "certbot" | "lego", subject: string, complaint?: string) {
  return { peer, subject, check: subject, complaint };
}

describe("the table of ACME clients", () => {
  const seen = {
    versions: { certbot: "9.9", lego: "9.9" },
    outcomes: [outcome("certbot", "register"), outcome("certbot", "IP"), outcome("certbot", "IP", "no"), outcome("lego", "revoke")],
  };

  test("in docs/CONFORMANCE.md it has every client of the conformance run, every ability and every pass", () => {
    const lines = clientLines(markdown);
    expect([...lines.keys()].slice(2)).toEqual([...fixedClients, ...cachedClients]);
    expect(lines.get("Client")).toEqual([...abilities, ...passes]);
  });

  test("in docs/CONFORMANCE.md no client is said to have failed, and each of the fixed list registers and issues", () => {
    const lines = clientLines(markdown);
    expect([...lines.values()].flat()).not.toContain("no");
    for (const client of fixedClients) expect(lines.get(client)?.slice(0, 3)).toEqual(["yes", expect.anything(), "yes"]);
  });

  test("a run that saw something else is told, and writes it; who did not take part keeps a line", () => {
    expect(untold(markdown, seen)).toContain("of certbot, lego it says something else");
    const written = withClients(markdown, seen);
    expect(untold(written, seen)).toBeUndefined();
    expect(clientLines(written).get("certbot")?.slice(0, 8)).toEqual(["yes", "–", "–", "–", "–", "–", "–", "no"]);
    expect(clientLines(written).get("uacme")).toEqual(clientLines(markdown).get("uacme"));
    expect(claims(written)).toEqual(claims(markdown));
  });
});
