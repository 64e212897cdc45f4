import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { outputOf } from "./execute.ts";
import type { Specimen } from "./certificates.ts";
import type { Run } from "./matrix.ts";
import { pkilint, zlint, type Finding, type Linter } from "./peer/linter.ts";

/** zlint without the CA/Browser Forum's rules, and pkilint for RFC 5280, find nothing at error level in any specimen; both find a planted fault. */
export async function linters({ matrix, peers }: Run, specimens: readonly Specimen[], directory: string): Promise<void> {
  const present: Linter[] = [
    ...(peers.zlint === undefined ? [] : [zlint(peers.zlint, "private")]),
    ...(peers.pkilint === undefined ? [] : [pkilint(peers.pkilint)]),
  ];
  const bad = await withoutCriticalName(directory);
  for (const linter of present) {
    const findings = await linter.findings(specimens.map(({ certificate }) => certificate));
    for (const [index, { label }] of specimens.entries()) {
      await matrix.check({ subject: label, peer: linter.peer, check: "nothing at error level" }, async () => errors(findings[index]));
    }
    const [control] = await linter.findings([bad]);
    await matrix.check({ subject: "planted fault", peer: linter.peer, check: "found at error level" }, async () =>
      errors(control) === undefined
        ? "nothing found in a certificate with an empty subject and a subjectAltName that is not critical"
        : undefined,
    );
  }
}

function errors(findings: readonly Finding[] | undefined): string | undefined {
  if (findings === undefined) return "no report";
  const found = findings.filter(({ level }) => level === "error" || level === "fatal").map(({ rule }) => rule);
  return found.length === 0 ? undefined : found.join(", ");
}

/** A certificate that RFC 5280 §4.2.1.6 forbids: no subject, and the subjectAltName not critical. */
async function withoutCriticalName(directory: string): Promise<string> {
  const [file, extensions] = [join(directory, "planted-fault.pem"), join(directory, "planted-fault.cnf")];
  await writeFile(extensions, "[req]\ndistinguished_name=name\n[name]\n[bad]\nsubjectAltName=DNS:bad.example.org\n");
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", `${file}.key`];
  const content = ["-subj", "/", "-days", "1", "-config", extensions, "-extensions", "bad"];
  await outputOf("openssl", ["req", "-x509", ...key, ...content, "-out", file]);
  return file;
}
