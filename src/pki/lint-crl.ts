import { Fault } from "../fault.ts";
import { certListReader, type CertListField } from "./cert-list.ts";
import type { CrlIssuer } from "./crl.ts";
import type { CrlEntries } from "./crl-entry.ts";
import { crlFieldRules } from "./lint-crl-fields.ts";
import { crlEntryRules, entryWitness, type EntryRuleName } from "./lint-crl-entries.ts";
import type { Finding } from "./lint.ts";
import type { DerValue } from "./der.ts";

/** What the CRL was meant to be. Rules that need a member which is not given do not apply. */
export type CrlLintContext = {
  readonly issuer?: CrlIssuer;
  /** The slot it is for: the URI of its shard, or undefined for the full CRL. */
  readonly slot?: { readonly distributionPoint: string | undefined };
  /** Number and thisUpdate of the CRL that is published there. */
  readonly publishedNumber?: bigint;
  readonly publishedThisUpdate?: Date;
  /** Whether it lists certificates of authorities: those have a reason always, and a CRL that may be older. @see BR 7.2.2, 4.9.7 */
  readonly listsAuthorities?: boolean;
};

/** One rule: under zlint's name where zlint has it, else with the prefix `chancery_`. */
export type CrlRule = {
  readonly name: string;
  readonly severity: "e" | "w" | "n";
  readonly citation: string;
  /** What is wrong, as a sentence with the offending value; undefined when the rule holds or does not apply. May throw Fault `malformed`. */
  readonly check: (subject: CrlLintSubject) => string | undefined;
};

/** A TBSCertList as the rules see it, when its entries have gone by. */
export type CrlLintSubject = {
  readonly context: CrlLintContext;
  readonly fields: ReadonlyMap<CertListField, DerValue>;
  /** What was found in entries: the first of each kind, as a sentence. */
  readonly entries: ReadonlyMap<EntryRuleName, string>;
};

/** Every rule, in the order in which findings are told. */
export const crlRules: readonly CrlRule[] = [...crlFieldRules, ...crlEntryRules];

/** Takes the octets of a TBSCertList, part by part. */
export type CrlLinter = {
  push(part: Uint8Array): void;
  /** What is wrong with the whole. A finding, whatever its severity, stops the signature. */
  end(): Finding[];
};

/**
 * The linter of a TBSCertList that comes in parts, as it goes to be signed, with memory for one part. Never throws for any bytes.
 * @param seen is given the entries that have a form of ours as they go by.
 * @see RFC 5280 §5
 */
export function crlLinter(context: CrlLintContext, seen: (entries: CrlEntries) => void = () => {}): CrlLinter {
  const fields = new Map<CertListField, DerValue>();
  const { visitor, found } = entryWitness(fields, context);
  const reader = certListReader("TBSCertList", {
    ...visitor,
    field: (name, value) => fields.set(name, value),
    entries(entries) {
      visitor.entries(entries);
      seen(entries);
    },
  });
  let malformed: string | undefined;
  const read = (act: () => void): void => {
    // After the first fault nothing more can be read.
    malformed ??= unlessMalformed(() => {
      act();
      return undefined;
    });
  };
  return {
    push: (part) => read(() => reader.push(part)),
    end() {
      read(() => reader.end());
      if (malformed !== undefined) return [{ rule: "chancery_crl_malformed", severity: "e", detail: malformed, citation: "RFC 5280 §5.1" }];
      const subject = { context, fields, entries: found };
      return crlRules.flatMap(({ name, severity, citation, check }) => {
        // A check that cannot read what it judges has found something.
        const detail = unlessMalformed(() => check(subject));
        return detail === undefined ? [] : [{ rule: name, severity, detail, citation }];
      });
    },
  };
}

/** Looks at the entries of a list as well, beside the rules. Disposed of when the list is over or given up. */
export type EntryJudge = AsyncDisposable & {
  /** The entries as they come; they are not kept. */
  follow(entries: CrlEntries): Promise<void>;
  /** What is wrong with the whole. */
  end(): Promise<Finding[]>;
};

/**
 * The parts of a TBSCertList as they come, on their way to the token. Where anything is found in them the last one is followed by a fault
 * and not by the end, so that nothing is signed.
 * @throws Fault `lintRefused` with the rules and what they found.
 */
export async function* lintedParts(
  parts: AsyncIterable<Uint8Array>,
  context: CrlLintContext,
  judge?: EntryJudge,
): AsyncGenerator<Uint8Array, undefined> {
  await using held = judge;
  const seen: CrlEntries[] = [];
  const linter = crlLinter(context, held && ((entries) => void seen.push(entries)));
  for await (const part of parts) {
    linter.push(part);
    for (const entries of seen.splice(0)) await held?.follow(entries);
    yield part;
  }
  const findings = [...linter.end(), ...((await held?.end()) ?? [])];
  if (findings.length === 0) return;
  const rules = findings.map(({ rule }) => rule);
  throw new Fault("lintRefused", findings.map(({ rule, detail }) => `${rule}: ${detail}`).join("; "), { members: { rules } });
}

function unlessMalformed(act: () => string | undefined): string | undefined {
  try {
    return act();
  } catch (error) {
    if (error instanceof Fault && error.code === "malformed") return error.detail;
    throw error;
  }
}
