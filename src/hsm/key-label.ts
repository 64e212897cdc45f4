import { Fault } from "../fault.ts";
import type { Purpose } from "../ports/hsm.ts";

/** Every purpose, in the order in which a label names them. */
export const allPurposes: readonly Purpose[] = [
  "certificate",
  "subordinate",
  "crl",
  "ocsp",
  "request",
  "checkpoint",
  "binding",
  "health",
  "data",
];

/**
 * CKA_LABEL of a key: its name for people, then what it may sign, as in `issuing-1 [certificate,crl,binding]`.
 * The label cannot be changed (CKA_MODIFIABLE is false), so neither the database nor a front that was taken over widens a key.
 * @throws Fault `malformed` for a name that would not read back, or without a purpose.
 */
export function keyLabel(name: string, purposes: readonly Purpose[]): string {
  if (!/^[a-z0-9]+(?:[-.][a-z0-9]+)*$/.test(name) || name.length > 64) {
    throw new Fault(
      "malformed",
      `a key's name is up to 64 lower-case letters, digits and single hyphens or dots, not "${name.slice(0, 80)}"`,
    );
  }
  if (purposes.length === 0) throw new Fault("malformed", `key ${name} has no purpose`);
  return `${name} [${allPurposes.filter((purpose) => purposes.includes(purpose)).join(",")}]`;
}

/** The purposes a label names; none for a label that is not ours or names one that we do not know. */
export function purposesOfLabel(label: string): ReadonlySet<Purpose> {
  const named = /^[a-z0-9.-]+ \[([a-z,]+)\]$/.exec(label)?.[1]?.split(",") ?? [];
  const known = allPurposes.filter((purpose) => named.includes(purpose));
  return new Set(known.length === named.length ? known : []);
}
