/**
 * Acts on a token as another tool would, without our host: tries to widen a key, or makes one with wide attributes.
 * Argument: JSON with module, label, pin, and `ckaId` of the key to try or `wide`, the CKA_ID of the key to make. Prints JSON.
 */
import pkcs11js from "pkcs11js";

import { returnCodeOf, returnName } from "../../src/hsm/return-value.ts";

const { module, label, pin, ckaId, wide } = JSON.parse(process.argv[2] ?? "{}");
const library = new pkcs11js.PKCS11();
library.load(module);
library.C_Initialize({ flags: pkcs11js.CKF_OS_LOCKING_OK });
const slot = library.C_GetSlotList(true).find((each) => library.C_GetTokenInfo(each).label.trim() === label);
if (!slot) throw new Error(`no token ${label}`);
const session = library.C_OpenSession(slot, pkcs11js.CKF_SERIAL_SESSION | pkcs11js.CKF_RW_SESSION);
library.C_Login(session, pkcs11js.CKU_USER, pin);

function answer(act: () => unknown): string {
  try {
    act();
    return "CKR_OK";
  } catch (error) {
    return returnName(returnCodeOf(error) ?? -1);
  }
}

function tryToWiden(): Record<string, string> {
  library.C_FindObjectsInit(session, [
    { type: pkcs11js.CKA_CLASS, value: pkcs11js.CKO_PRIVATE_KEY },
    { type: pkcs11js.CKA_ID, value: Buffer.from(ckaId, "hex") },
  ]);
  const [key] = library.C_FindObjects(session, 1);
  library.C_FindObjectsFinal(session);
  if (!key) throw new Error(`no key ${ckaId}`);
  const extractable = [{ type: pkcs11js.CKA_EXTRACTABLE, value: true }];
  return {
    "set EXTRACTABLE": answer(() => library.C_SetAttributeValue(session, key, extractable)),
    "unset SENSITIVE": answer(() => library.C_SetAttributeValue(session, key, [{ type: pkcs11js.CKA_SENSITIVE, value: false }])),
    "copy with EXTRACTABLE": answer(() => library.C_CopyObject(session, key, extractable)),
    "copy without": answer(() => library.C_CopyObject(session, key, [{ type: pkcs11js.CKA_SENSITIVE, value: false }])),
    rename: answer(() => library.C_SetAttributeValue(session, key, [{ type: pkcs11js.CKA_LABEL, value: "fixed [certificate]" }])),
  };
}

function makeWide(): Record<string, string> {
  const identity = [
    { type: pkcs11js.CKA_TOKEN, value: true },
    { type: pkcs11js.CKA_ID, value: Buffer.from(wide, "hex") },
    { type: pkcs11js.CKA_LABEL, value: "wide [certificate]" },
  ];
  const curve = { type: pkcs11js.CKA_EC_PARAMS, value: Buffer.from("06082a8648ce3d030107", "hex") };
  const generate = (): unknown =>
    library.C_GenerateKeyPair(session, { mechanism: pkcs11js.CKM_EC_KEY_PAIR_GEN }, [...identity, curve], identity);
  return { generated: answer(generate) };
}

process.stdout.write(JSON.stringify(wide === undefined ? tryToWiden() : makeWide()));
