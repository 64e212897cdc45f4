import { basename } from "node:path";
import { outputOf } from "../execute.ts";
import type { Run } from "../matrix.ts";
import { pkilint, zlint, type Finding, type Linter } from "../peer/linter.ts";

/** What is linted: CRLs of an issuer of end entities, CRLs of a root, and OCSP responses; DER files. */
export type Linted = { readonly crls: readonly string[]; readonly rootCrls: readonly string[]; readonly responses: readonly string[] };

/**
 * zlint and pkilint find nothing, warnings included, in what the service signs; and each finds the fault that was planted for it, in the files
 * that conformance/python/bad_crls.py wrote.
 */
export async function statusLinters(
  { matrix, peers }: Run,
  { crls, rootCrls, responses }: Linted,
  bad: (name: string) => string,
): Promise<void> {
  const judge = async (linter: Linter, subject: string, files: readonly string[]): Promise<void> => {
    const findings = await linter.findings(files);
    for (const [index, file] of files.entries()) {
      await matrix.check({ subject, peer: linter.peer, check: `nothing in ${basename(file)}` }, async () => told(findings[index]));
    }
  };
  const planted = async (linter: Linter, file: string, rule: string): Promise<void> => {
    const [findings] = await linter.findings([bad(file)]);
    await matrix.check({ subject: "negative controls", peer: linter.peer, check: `${rule} is found in ${file}.crl` }, async () =>
      findings?.some((finding) => finding.rule === rule) ? undefined : `found: ${told(findings) ?? "nothing"}`,
    );
  };
  if (peers.zlint !== undefined) {
    // zlint reads PEM alone.
    const inPem = (program: Linter): Linter => ({
      ...program,
      findings: async (files) => program.findings(await Promise.all(files.map(asPem))),
    });
    const linter = inPem(zlint(peers.zlint, "all"));
    await judge(linter, "CRLs", crls);
    // By the rules of the CA/Browser Forum it takes every CRL for one of end entities, which lives ten days at most.
    await judge(inPem(zlint(peers.zlint, "private")), "CRLs", rootCrls);
    await planted(linter, "reason-0", "e_cab_crl_has_valid_reason_code");
    await planted(linter, "critical-reason", "e_cab_crl_reason_code_not_critical");
    await planted(linter, "eleven-days", "e_crl_next_update_invalid");
  }
  if (peers.pkilint !== undefined) {
    const beside = (name: string): string => (peers.pkilint ?? "").replace(/[^/]+$/, name);
    const ofCrls = (kind: "CRL" | "ARL", profile: "PKIX" | "BR"): Linter => pkilint(beside("lint_crl"), ["-t", kind, "-p", profile]);
    await judge(ofCrls("CRL", "PKIX"), "CRLs", crls);
    await judge(ofCrls("CRL", "BR"), "CRLs by the Baseline Requirements", crls);
    await judge(ofCrls("ARL", "PKIX"), "CRLs", rootCrls);
    await judge(pkilint(beside("lint_ocsp_response"), []), "OCSP responses", responses);
    await planted(ofCrls("CRL", "BR"), "reason-0", "cabf.crl_prohibited_reason_code");
    await planted(ofCrls("CRL", "PKIX"), "critical-reason", "pkix.crl_reason_code_extension_critical");
    await planted(ofCrls("CRL", "BR"), "eleven-days", "cabf.crl_invalid_validity_period");
  }
}

function told(findings: readonly Finding[] | undefined): string | undefined {
  if (findings === undefined) return "no report";
  const found = findings.filter(({ level }) => level !== "info").map(({ rule, level }) => `${rule} (${level})`);
  return found.length === 0 ? undefined : found.join(", ");
}

async function asPem(file: string): Promise<string> {
  await outputOf("openssl", ["crl", "-in", file, "-inform", "DER", "-out", `${file}.pem`]);
  return `${file}.pem`;
}
