import { execute, several } from "../execute.ts";

/** What a linter found in a certificate, CRL or OCSP response: "fatal" and "error" refuse it, the others advise. */
export type Finding = { readonly rule: string; readonly level: "fatal" | "error" | "warn" | "info" };

/** A linter: findings of each file, in the order of the files. */
export type Linter = { readonly peer: "zlint" | "pkilint"; findings(files: readonly string[]): Promise<Finding[][]> };

/** Sources of zlint that bind publicly trusted authorities only. */
const publicSources = "CABF_BR,CABF_CS_BR,CABF_EV,CABF_SMIME_BR";

/** zlint, program in the file `program`; with `all`, the rules of the CA/Browser Forum too. */
export function zlint(program: string, rules: "all" | "private"): Linter {
  return {
    peer: "zlint",
    findings: (files) =>
      several(files, 2, async (file) => {
        const ended = await execute(program, [...(rules === "private" ? ["-excludeSources", publicSources] : []), file]);
        // A certificate that zlint's own parser refuses has no rules: that is a finding as well.
        if (ended.status !== 0) return [{ rule: `parser: ${ended.stderr.trim().slice(-300)}`, level: "fatal" }];
        const results: unknown = JSON.parse(ended.stdout);
        return Object.entries(results ?? {}).flatMap(([rule, value]) => {
          const level = (value as { result?: unknown }).result; // every value is an object with a result
          return level === "fatal" || level === "error" || level === "warn" || level === "info" ? [{ rule, level }] : [];
        });
      }),
  };
}

/** A linter of pkilint, in the file `program`, with parameters of its own: `lint_pkix_cert` takes none, and goes by RFC 5280 alone. */
export function pkilint(program: string, parameters: readonly string[] = []): Linter {
  return {
    peer: "pkilint",
    findings: (files) =>
      several(files, 2, async (file) => {
        const ended = await execute(program, ["lint", ...parameters, "-s", "WARNING", "-f", "JSON", file]);
        if (!ended.stdout.startsWith("{")) return [{ rule: `loader: ${ended.stderr.trim().slice(-300)}`, level: "fatal" }];
        const { results } = JSON.parse(ended.stdout) as PkilintReport;
        return results
          .flatMap((result) => result.finding_descriptions)
          .map(({ code, severity }) => ({ rule: code, level: severity === "WARNING" ? "warn" : severity === "ERROR" ? "error" : "fatal" }));
      }),
  };
}

type PkilintReport = {
  readonly results: readonly { readonly finding_descriptions: readonly { readonly code: string; readonly severity: string }[] }[];
};
