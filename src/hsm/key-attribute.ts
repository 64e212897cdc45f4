import pkcs11js from "pkcs11js";
import type { Attribute } from "pkcs11js";

import type { KeyAlgorithm } from "../pki/algorithm.ts";
import type { KeySpecification } from "../ports/hsm.ts";
import { keyLabel } from "./key-label.ts";
import { curveParameters, mechanisms, modulusBits, signingMechanism } from "./mechanism.ts";

/** How the octets of an attribute are read as text. */
type Form = "boolean" | "number" | "octets" | "text" | "mechanisms";

/** One attribute of a key object: what is set at generation, and what must be read back. */
export type KeyAttribute = {
  readonly name: string;
  readonly type: number;
  readonly form: Form;
  /** Value of the template; absent where the token alone sets it. */
  readonly set?: (key: KeySpecification) => NonNullable<Attribute["value"]>;
  /** Text that must be read back from every signing key; absent where it is compared with the template or only recorded. */
  readonly required?: string;
  /** Whether a module may not know it: then it is recorded as "unknown" and required of nobody. */
  readonly optional?: true;
};

/**
 * Attributes of the private half of a signing key. Every row is set explicitly: what a bare template gives is SENSITIVE=0 and DECRYPT=1
 * on one module and EXTRACTABLE=1 on another.
 * @see PKCS#11 3.1 §4.9
 */
export const privateAttributes: readonly KeyAttribute[] = [
  boolean("CKA_TOKEN", pkcs11js.CKA_TOKEN, true),
  boolean("CKA_PRIVATE", pkcs11js.CKA_PRIVATE, true),
  ...identification(),
  boolean("CKA_SENSITIVE", pkcs11js.CKA_SENSITIVE, true),
  boolean("CKA_EXTRACTABLE", pkcs11js.CKA_EXTRACTABLE, false),
  boolean("CKA_SIGN", pkcs11js.CKA_SIGN, true),
  boolean("CKA_DECRYPT", pkcs11js.CKA_DECRYPT, false),
  boolean("CKA_UNWRAP", pkcs11js.CKA_UNWRAP, false),
  boolean("CKA_DERIVE", pkcs11js.CKA_DERIVE, false),
  boolean("CKA_SIGN_RECOVER", pkcs11js.CKA_SIGN_RECOVER, false),
  boolean("CKA_MODIFIABLE", pkcs11js.CKA_MODIFIABLE, false),
  { name: "CKA_ALWAYS_SENSITIVE", type: pkcs11js.CKA_ALWAYS_SENSITIVE, form: "boolean", required: "true" },
  { name: "CKA_NEVER_EXTRACTABLE", type: pkcs11js.CKA_NEVER_EXTRACTABLE, form: "boolean", required: "true" },
  { name: "CKA_KEY_GEN_MECHANISM", type: pkcs11js.CKA_KEY_GEN_MECHANISM, form: "number", optional: true },
  // A module that does not know the mechanism does not tell the truth about CKA_LOCAL either: see `readEvidence`.
  { name: "CKA_LOCAL", type: pkcs11js.CKA_LOCAL, form: "boolean", required: "true", optional: true },
  {
    name: "CKA_ALLOWED_MECHANISMS",
    type: pkcs11js.CKA_ALLOWED_MECHANISMS,
    form: "mechanisms",
    set: ({ algorithm }) => ulong(signingMechanism(algorithm)),
    optional: true,
  },
];

/** Attributes of the public half. */
export const publicAttributes: readonly KeyAttribute[] = [
  boolean("CKA_TOKEN", pkcs11js.CKA_TOKEN, true),
  boolean("CKA_PRIVATE", pkcs11js.CKA_PRIVATE, false),
  ...identification(),
  boolean("CKA_VERIFY", pkcs11js.CKA_VERIFY, true),
  boolean("CKA_ENCRYPT", pkcs11js.CKA_ENCRYPT, false),
  boolean("CKA_WRAP", pkcs11js.CKA_WRAP, false),
  boolean("CKA_DERIVE", pkcs11js.CKA_DERIVE, false),
  boolean("CKA_VERIFY_RECOVER", pkcs11js.CKA_VERIFY_RECOVER, false),
  boolean("CKA_MODIFIABLE", pkcs11js.CKA_MODIFIABLE, false),
];

/** The template of one half. `supported` leaves out what the token is known not to take. */
export function template(rows: readonly KeyAttribute[], key: KeySpecification, supported: (name: string) => boolean): Attribute[] {
  return rows.flatMap(({ name, type, set }) => (set && supported(name) ? [{ type, value: set(key) }] : []));
}

/** Attributes of the public half that say which key is generated. */
export function keyParameters(algorithm: KeyAlgorithm): Attribute[] {
  const bits = modulusBits(algorithm);
  if (bits !== undefined) {
    return [
      { type: pkcs11js.CKA_MODULUS_BITS, value: bits },
      { type: pkcs11js.CKA_PUBLIC_EXPONENT, value: Buffer.from([1, 0, 1]) },
    ];
  }
  return [{ type: pkcs11js.CKA_EC_PARAMS, value: Buffer.from(curveParameters[algorithm === "P-384" ? "P-384" : "P-256"]) }];
}

/** The mechanism that generates pairs of an algorithm. */
export function generationMechanism(algorithm: KeyAlgorithm): number {
  return modulusBits(algorithm) === undefined ? mechanisms.CKM_EC_KEY_PAIR_GEN : mechanisms.CKM_RSA_PKCS_KEY_PAIR_GEN;
}

/** Octets of an attribute as text: what evidence shows. */
export function attributeText(form: Form, value: Buffer): string {
  switch (form) {
    case "boolean":
      return value.length === 1 && value[0] === 0 ? "false" : value.length === 1 ? "true" : "malformed";
    case "number":
      return mechanismText(value, 0);
    case "mechanisms":
      return Array.from({ length: value.length / 8 }, (_, index) => mechanismText(value, index * 8)).join(",");
    case "text":
      return value.toString("utf8");
    case "octets":
      return value.toString("hex");
    default:
      return form satisfies never;
  }
}

function mechanismText(value: Buffer, offset: number): string {
  return value.length < offset + 8 ? "malformed" : `0x${value.readBigUInt64LE(offset).toString(16).padStart(4, "0")}`;
}

function boolean(name: string, type: number, value: boolean): KeyAttribute {
  return { name, type, form: "boolean", set: () => value, required: String(value) };
}

function identification(): readonly KeyAttribute[] {
  return [
    { name: "CKA_ID", type: pkcs11js.CKA_ID, form: "octets", set: ({ ckaId }) => Buffer.from(ckaId, "hex") },
    { name: "CKA_LABEL", type: pkcs11js.CKA_LABEL, form: "text", set: ({ name, purposes }) => keyLabel(name, purposes) },
  ];
}

/** A CK_ULONG, as 64-bit Unix modules lay it out. */
function ulong(value: number): Buffer {
  const octets = Buffer.alloc(8);
  octets.writeBigUInt64LE(BigInt(value));
  return octets;
}
