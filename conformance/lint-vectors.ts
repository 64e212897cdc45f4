import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Run } from "./matrix.ts";
import { zlint } from "./peer/linter.ts";

/** What `expected.json` says of a bad certificate or CRL: the rule that refuses it, and whether that is a rule of zlint's. */
type Expectation = { readonly rule: string; readonly zlint: boolean };

/**
 * A rule of ours that has zlint's name means what zlint means by it: zlint reports that rule for each bad file in `directory`, and reports
 * none of these rules, and nothing at error level, for the good ones beside them.
 */
export async function lintVectors({ matrix, peers }: Run, directory: string): Promise<void> {
  if (peers.zlint === undefined) return;
  const where = { subject: "lint vectors", peer: "zlint" } as const;
  const expected = JSON.parse(await readFile(join(directory, "expected.json"), "utf8")) as Readonly<Record<string, Expectation>>;
  const bad = Object.entries(expected).filter(([, expectation]) => expectation.zlint);
  const found = await zlint(peers.zlint, "all").findings(bad.map(([file]) => join(directory, file)));
  for (const [index, [file, { rule }]] of bad.entries()) {
    await matrix.check({ ...where, check: file }, async () =>
      found[index]?.some((finding) => finding.rule === rule) ? undefined : `${rule} is not reported`,
    );
  }
  const rules = new Set(bad.map(([, { rule }]) => rule));
  const good = (await readdir(directory)).filter((file) => file.startsWith("good") && file.endsWith(".pem"));
  const clean = await zlint(peers.zlint, "private").findings(good.map((file) => join(directory, file)));
  for (const [index, file] of good.entries()) {
    const refused = (clean[index] ?? []).filter(({ rule, level }) => rules.has(rule) || level === "error" || level === "fatal");
    await matrix.check({ ...where, check: file }, async () =>
      refused.length === 0 ? undefined : refused.map(({ rule }) => rule).join(", "),
    );
  }
}
