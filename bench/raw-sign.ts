import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import type * as Pkcs11 from "pkcs11js";

/**
 * What the token does when nothing stands between: C_SignInit and C_Sign of pkcs11js in a loop on one session, over a digest made anew each time.
 * Started with the module's path; initialises a token of its own (SOFTHSM2_CONF), then answers each message { signatures } with { seconds }.
 */
const pkcs11: typeof Pkcs11 = createRequire(import.meta.url)("pkcs11js");
const [, , modulePath = "", message = ""] = process.argv;
const library = new pkcs11.PKCS11();
library.load(modulePath);
library.C_Initialize({ flags: pkcs11.CKF_OS_LOCKING_OK });
const session = openSession();
const privateKey = generate();
const bytes = Buffer.from(message, "base64");

process.on("message", ({ signatures }: { signatures: number }) => {
  const begun = performance.now();
  for (let count = 0; count < signatures; count++) sign();
  process.send?.({ seconds: (performance.now() - begun) / 1000 });
});
process.on("disconnect", () => library.C_Finalize());
process.send?.({ ready: true });

function openSession(): Pkcs11.Handle {
  const [slot] = library.C_GetSlotList(false);
  if (slot === undefined) throw new Error(`${modulePath} has no slot`);
  library.C_InitToken(slot, "12345678", "bench");
  // SoftHSM numbers the slot anew once its token is initialised.
  const [initialised = slot] = library.C_GetSlotList(true);
  const opened = library.C_OpenSession(initialised, pkcs11.CKF_SERIAL_SESSION | pkcs11.CKF_RW_SESSION);
  library.C_Login(opened, pkcs11.CKU_SO, "12345678");
  library.C_InitPIN(opened, "12345678");
  library.C_Logout(opened);
  library.C_Login(opened, pkcs11.CKU_USER, "12345678");
  return opened;
}

function generate(): Pkcs11.Handle {
  const curve = Buffer.from("06082a8648ce3d030107", "hex"); // OID of P-256
  const pair = library.C_GenerateKeyPair(
    session,
    { mechanism: pkcs11.CKM_EC_KEY_PAIR_GEN },
    [
      { type: pkcs11.CKA_EC_PARAMS, value: curve },
      { type: pkcs11.CKA_VERIFY, value: true },
    ],
    [
      { type: pkcs11.CKA_TOKEN, value: true },
      { type: pkcs11.CKA_PRIVATE, value: true },
      { type: pkcs11.CKA_SENSITIVE, value: true },
      { type: pkcs11.CKA_EXTRACTABLE, value: false },
      { type: pkcs11.CKA_SIGN, value: true },
    ],
  );
  return pair.privateKey;
}

function sign(): void {
  const digest = createHash("sha256").update(bytes).digest();
  library.C_SignInit(session, { mechanism: pkcs11.CKM_ECDSA }, privateKey);
  library.C_Sign(session, digest, Buffer.alloc(64));
}
