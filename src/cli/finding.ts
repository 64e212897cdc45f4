import { printable } from "./table.ts";

/** What one check of `doctor` found. The detail of a warning and of what is wrong says what to do. */
export type Finding = { readonly check: string; readonly verdict: "ok" | "warning" | "wrong"; readonly detail: string };

/** One line a finding: verdict, what was looked at, what was seen. */
export function findingsText(findings: readonly Finding[]): string {
  const width = Math.max(...findings.map(({ check }) => check.length));
  return findings.map(({ check, verdict, detail }) => `${verdict.padEnd(7)}  ${check.padEnd(width)}  ${printable(detail)}\n`).join("");
}
