import { basename, join } from "node:path";
import { outputOf, several } from "../execute.ts";
import type { Run } from "../matrix.ts";
import { pkilint, zlint, type Finding, type Linter } from "../peer/linter.ts";
import { fetchFile, fileOf } from "./evidence.ts";
import { answerable, nonceResponseOf } from "./openssl.ts";
import { crlPaths, type Stage } from "./stage.ts";
import type { Question } from "./tool.ts";

/** What is linted: CRLs of an issuer of end entities, CRLs of a root, and OCSP responses; DER files. */
type Linted = { readonly crls: readonly string[]; readonly rootCrls: readonly string[]; readonly responses: readonly string[] };

/**
 * zlint and pkilint find nothing, warnings included, in the CRLs of the service and in the OCSP responses that the questions got, with those that OpenSSL
 * got to a nonce.
 */
export async function statusLinters(run: Run, { url, place }: Stage, questions: readonly Question[]): Promise<void> {
  const fetched = (paths: readonly string[]): Promise<string[]> =>
    several(paths, 2, (path) => fetchFile(url(path), fileOf(place.directory, url(path))));
  const signed = questions
    .filter(({ specimen }) => answerable(specimen))
    .map(({ method, specimen, response }) => (method === "OCSP nonce" ? nonceResponseOf(specimen) : response));
  const linted = {
    crls: await fetched([crlPaths.full, ...crlPaths.shards]),
    rootCrls: await fetched([crlPaths.root]),
    responses: [...new Set(signed.filter((file) => file !== undefined))],
  };
  await lintFiles(run, linted, (file) => (linted.responses.includes(file) ? "OCSP responses" : "CRLs"));
}

/** They find nothing in any of these files; `subjectOf` names what a file is in the matrix. */
export async function lintFiles(run: Run, { crls, rootCrls, responses }: Linted, subjectOf: (file: string) => string): Promise<void> {
  const linters = lintersOf(run);
  const judgements = [
    { linter: linters.zlint, files: crls, rules: "all rules" },
    // By the rules of the CA/Browser Forum zlint takes every CRL for one of end entities, which lives ten days at most.
    { linter: linters.zlintForPrivate, files: rootCrls, rules: "RFC 5280" },
    { linter: linters.pkilint?.crl, files: crls, rules: "RFC 5280" },
    { linter: linters.pkilint?.crlByBaseline, files: crls, rules: "the Baseline Requirements" },
    { linter: linters.pkilint?.rootCrl, files: rootCrls, rules: "RFC 5280" },
    { linter: linters.pkilint?.response, files: responses, rules: "RFC 6960" },
  ];
  for (const { linter, files, rules } of judgements) {
    const findings = await linter?.findings(files);
    for (const [index, file] of files.entries()) {
      if (linter === undefined || findings === undefined) continue;
      const check = `nothing in ${basename(file)} by ${rules}`;
      await run.matrix.check({ subject: subjectOf(file), peer: linter.peer, check }, async () => told(findings[index]));
    }
  }
}

/** Each linter finds the faults that were planted for it in the CRLs of `directory`, which conformance/python/bad_crls.py wrote. */
export async function plantedFaults(run: Run, directory: string): Promise<void> {
  const { zlint: byZlint, pkilint: byPkilint } = lintersOf(run);
  const planted = [
    { linter: byZlint, file: "reason-0.crl", rule: "e_cab_crl_has_valid_reason_code" },
    { linter: byZlint, file: "critical-reason.crl", rule: "e_cab_crl_reason_code_not_critical" },
    { linter: byZlint, file: "eleven-days.crl", rule: "e_crl_next_update_invalid" },
    { linter: byPkilint?.crlByBaseline, file: "reason-0.crl", rule: "cabf.crl_prohibited_reason_code" },
    { linter: byPkilint?.crl, file: "critical-reason.crl", rule: "pkix.crl_reason_code_extension_critical" },
    { linter: byPkilint?.crlByBaseline, file: "eleven-days.crl", rule: "cabf.crl_invalid_validity_period" },
  ];
  for (const { linter, file, rule } of planted) {
    if (linter === undefined) continue;
    await run.matrix.check({ subject: "negative controls", peer: linter.peer, check: `${rule} is found in ${file}` }, async () => {
      const [findings] = await linter.findings([join(directory, file)]);
      return findings?.some((finding) => finding.rule === rule) ? undefined : `found: ${told(findings) ?? "nothing"}`;
    });
  }
}

function lintersOf({ peers }: Run) {
  // The programs of pkilint lie beside each other.
  const beside = (name: string): string => (peers.pkilint ?? "").replace(/[^/]+$/, name);
  const ofCrls = (kind: "CRL" | "ARL", profile: "PKIX" | "BR"): Linter => pkilint(beside("lint_crl"), ["-t", kind, "-p", profile]);
  return {
    zlint: peers.zlint === undefined ? undefined : inPem(zlint(peers.zlint, "all")),
    zlintForPrivate: peers.zlint === undefined ? undefined : inPem(zlint(peers.zlint, "private")),
    pkilint:
      peers.pkilint === undefined
        ? undefined
        : {
            crl: ofCrls("CRL", "PKIX"),
            crlByBaseline: ofCrls("CRL", "BR"),
            rootCrl: ofCrls("ARL", "PKIX"),
            response: pkilint(beside("lint_ocsp_response")),
          },
  };
}

function told(findings: readonly Finding[] | undefined): string | undefined {
  if (findings === undefined) return "no report";
  const found = findings.filter(({ level }) => level !== "info").map(({ rule, level }) => `${rule} (${level})`);
  return found.length === 0 ? undefined : found.join(", ");
}

/** zlint reads PEM alone. */
function inPem(linter: Linter): Linter {
  return { ...linter, findings: async (files) => linter.findings(await Promise.all(files.map(asPem))) };
}

async function asPem(file: string): Promise<string> {
  await outputOf("openssl", ["crl", "-in", file, "-inform", "DER", "-out", `${file}.pem`]);
  return `${file}.pem`;
}
