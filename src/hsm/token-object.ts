import pkcs11js from "pkcs11js";
import type { Handle, PKCS11 } from "pkcs11js";

import type { KeyAlgorithm } from "../pki/algorithm.ts";
import { attempt, HostFailure } from "./host-failure.ts";
import { curveParameters } from "./mechanism.ts";

/** Handles of the objects of a class, of one CKA_ID where one is given. */
export function findObjects(
  library: PKCS11,
  session: Handle,
  { class: kind, ckaId }: { class: "private" | "public"; ckaId?: string },
): Handle[] {
  const template = [
    { type: pkcs11js.CKA_CLASS, value: kind === "private" ? pkcs11js.CKO_PRIVATE_KEY : pkcs11js.CKO_PUBLIC_KEY },
    { type: pkcs11js.CKA_TOKEN, value: true },
    ...(ckaId === undefined ? [] : [{ type: pkcs11js.CKA_ID, value: Buffer.from(ckaId, "hex") }]),
  ];
  attempt("C_FindObjectsInit", () => library.C_FindObjectsInit(session, template));
  const found: Handle[] = [];
  for (;;) {
    const some = attempt("C_FindObjects", () => library.C_FindObjects(session, 100)) ?? [];
    if (some.length === 0) break;
    found.push(...some);
  }
  attempt("C_FindObjects", () => library.C_FindObjectsFinal(session));
  return found;
}

/** One attribute of an object. @throws ReturnError, CKR_ATTRIBUTE_TYPE_INVALID where the module does not know it. */
export function readAttribute(library: PKCS11, session: Handle, object: Handle, type: number): Buffer {
  const [attribute] = attempt("C_GetAttributeValue", () => library.C_GetAttributeValue(session, object, [{ type }])) ?? [];
  return attribute?.value ?? Buffer.alloc(0);
}

/** Algorithm of a key object, from its own attributes. @throws HostFailure `fatal` for a key type that we do not use. */
export function algorithmOf(library: PKCS11, session: Handle, key: Handle): KeyAlgorithm {
  const keyType = readAttribute(library, session, key, pkcs11js.CKA_KEY_TYPE).readUInt32LE(0);
  if (keyType === pkcs11js.CKK_RSA) {
    const modulus = readAttribute(library, session, key, pkcs11js.CKA_MODULUS);
    // A modulus of these lengths has its highest bit set; some modules put a zero octet before it.
    return `RSA-${(modulus[0] === 0 ? modulus.length - 1 : modulus.length) * 8}`;
  }
  if (keyType === pkcs11js.CKK_EC) {
    const parameters = readAttribute(library, session, key, pkcs11js.CKA_EC_PARAMS);
    if (parameters.equals(curveParameters["P-256"])) return "P-256";
    if (parameters.equals(curveParameters["P-384"])) return "P-384";
  }
  throw new HostFailure("fatal", "the key is neither RSA nor on P-256 or P-384");
}
