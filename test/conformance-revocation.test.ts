import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { untoldOfRevocation, withRevocation, type Seen } from "../conformance/revocation/document.ts";
import { cannot, differences, expectation } from "../conformance/revocation/expectation.ts";
import { conditions, methods, tools } from "../conformance/revocation/method.ts";
import { batch } from "../conformance/revocation/tool.ts";

const markdown = readFileSync(new URL("../docs/CONFORMANCE.md", import.meta.url), "utf8");

const cells = tools.flatMap((tool) => methods.flatMap((method) => conditions.map((condition) => ({ tool, method, condition }))));

describe("what the verifiers of revocation must say", () => {
  test("every verifier is asked by every method about every certificate, or stands among those that cannot", () => {
    const open = cells.filter(({ tool, method, condition }) => expectation(tool, method, condition) === undefined);
    const excused = open.filter(({ tool, method }) => cannot.some((one) => one.tool === tool && one.methods.includes(method)));
    expect(excused).toEqual(open);
    expect(cells.length - open.length).toBeGreaterThan(400);
  });

  test("nobody may call good what is revoked, whatever else differs", () => {
    const revoked = cells.filter(({ condition }) => condition.startsWith("revoked"));
    const verdicts = revoked.map(({ tool, method, condition }) => expectation(tool, method, condition)?.verdict);
    expect(verdicts.filter((verdict) => verdict === "good" || verdict === "expired")).toEqual([]);
  });

  test("no OCSP client may call a serial number good that was never assigned (XO-5)", () => {
    const asked = cells.filter(({ method, condition }) => method.startsWith("OCSP") && condition === "unassigned serial");
    const verdicts = asked.map(({ tool, method, condition }) => expectation(tool, method, condition)?.verdict);
    expect(new Set(verdicts)).toEqual(new Set(["undetermined", undefined]));
  });

  test("every line of the table of differences is the first that fits somewhere", () => {
    const used = cells.map(({ tool, method, condition }) => expectation(tool, method, condition));
    expect(differences.filter((line) => !used.includes(line))).toEqual([]);
  });
});

/** What a program that writes `lines` answers to two questions. */
const answering = (lines: string) => batch(["sh", "-c", `cat >/dev/null; printf '${lines}'`], [["a"], ["b"]]);

describe("a program that is asked line by line", () => {
  test("gives a verdict a line, with the reason where it tells one", async () => {
    const answers = await answering(String.raw`revoked superseded\nrevoked\n`);
    expect(answers.map(({ verdict }) => verdict)).toEqual(["revoked superseded", "revoked"]);
  });

  test("refuses with any other word", async () => {
    const answers = await answering(String.raw`goodness\nnothing\n`);
    expect(answers.map(({ verdict }) => verdict)).toEqual(["refused", "refused"]);
  });

  test("fails when it leaves one out", async () => {
    await expect(answering(String.raw`good\n`)).rejects.toThrow("1 answers to 2 questions");
  });
});

describe("the tables of verifiers in docs/CONFORMANCE.md", () => {
  const outcomes = cells
    .filter(({ tool, method, condition }) => expectation(tool, method, condition) !== undefined)
    .map(({ tool, method, condition }) => ({ subject: method, peer: tool, check: condition, complaint: undefined }));
  const seen: Seen = { versions: Object.fromEntries(tools.map((tool) => [tool, "1.2.3"])), outcomes };

  test("say what a run sees in which everybody says what he must", () => {
    expect(untoldOfRevocation(markdown, seen)).toBeUndefined();
  });

  test("are found to say something else when one verdict was another", () => {
    const one = outcomes.map((outcome, index) => (index === 0 ? { ...outcome, complaint: "good, expected expired" } : outcome));
    expect(untoldOfRevocation(markdown, { ...seen, outcomes: one })).toContain("openssl");
  });

  test("are found to say something else when a difference is missing", () => {
    const [line = ""] = markdown.split("\n").filter((text) => text.includes("(XT-7)"));
    expect(untoldOfRevocation(markdown.replace(`${line}\n`, ""), seen)).toContain("the tables of differences");
  });

  test("are written from a run, and then say what it saw", () => {
    const bare = markdown.replaceAll(/^\| (openssl|nss) .*\n/gm, "");
    expect(untoldOfRevocation(bare, seen)).toBeDefined();
    expect(untoldOfRevocation(withRevocation(bare, seen), seen)).toBeUndefined();
  });
});
