import { Fault } from "../fault.ts";
import type { Certificate } from "./certificate.ts";
import { extensionRules } from "./lint-extensions.ts";
import { fieldRules } from "./lint-fields.ts";
import { nameRules } from "./lint-names.ts";
import { profileRules } from "./lint-profile.ts";
import { lintSubject, type LintContext, type Rule } from "./lint-subject.ts";

/** A rule that the bytes break. */
export type Finding = Pick<Rule, "severity" | "citation"> & { readonly rule: string; readonly detail: string };

/** What `examine` gives. */
export type Examination = { readonly findings: readonly Finding[]; readonly certificate: Certificate | undefined };

/** Every rule, in the order in which findings are told. */
export const rules: readonly Rule[] = [...fieldRules, ...nameRules, ...extensionRules, ...profileRules];

/**
 * What is wrong with a TBSCertificate before it is signed: the RFCs' rules under zlint's names, and ours that hold it against profile,
 * issuer and request. Any finding, whatever its severity, stops issuance. Never throws for any bytes.
 */
export function lint(tbs: Uint8Array, context: LintContext): Finding[] {
  return [...examine(tbs, context).findings];
}

/** `lint`, with the certificate that was read on the way; it is there whenever nothing was found. */
export function examine(tbs: Uint8Array, context: LintContext): Examination {
  const subject = unlessMalformed(() => lintSubject(tbs, context));
  if (typeof subject === "string") {
    const citation = "RFC 5280 §4.1";
    return { findings: [{ rule: "chancery_tbs_malformed", severity: "e", detail: subject, citation }], certificate: undefined };
  }
  const findings: Finding[] = [];
  for (const { name, severity, citation, check } of rules) {
    // A check that cannot read what it judges has found something.
    const detail = unlessMalformed(() => check(subject));
    if (detail !== undefined) findings.push({ rule: name, severity, detail, citation });
  }
  return { findings, certificate: subject.certificate };
}

/** What `act` gives, or why its bytes are malformed. */
export function unlessMalformed<T>(act: () => T): T | string {
  try {
    return act();
  } catch (error) {
    if (error instanceof Fault && error.code === "malformed") return error.detail;
    throw error;
  }
}
