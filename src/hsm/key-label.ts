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
  if (!namePattern.test(name)) {
    throw new Fault(
      "malformed",
      `a key's name is 1 to 64 printable ASCII characters, no brackets, no outer blanks, not "${name.slice(0, 80)}"`,
    );
  }
  if (purposes.length === 0) throw new Fault("malformed", `key ${name} has no purpose`);
  return `${name} [${allPurposes.filter((purpose) => purposes.includes(purpose)).join(",")}]`;
}

/** Printable ASCII without brackets, which end the name in a label. */
const namePattern = /^(?! )[\x20-\x5a\x5c\x5e-\x7e]{1,64}(?<! )$/;

/** The purposes a label names; none for a label that is not ours or names one that we do not know. */
export function purposesOfLabel(label: string): ReadonlySet<Purpose> {
  const [, name = "", list = ""] = /^([^[\]]+) \[([a-z,]+)\]$/.exec(label) ?? [];
  const named = namePattern.test(name) ? list.split(",") : [];
  const known = allPurposes.filter((purpose) => named.includes(purpose));
  return new Set(known.length === named.length ? known : []);
}
