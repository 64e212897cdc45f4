/** Administration of tokens by synchronous calls: a child of `token.ts` that serves one request and ends. */
import { Module, SessionFlag, TokenFlag, UserType } from "graphene-pk11";
import type { Slot, Token } from "graphene-pk11";
import pkcs11js from "pkcs11js";

import { returnCodeOf, returnName } from "./return-value.ts";
import type { TokenAnswer, TokenDescription, TokenRequest } from "./token.ts";

process.once("message", (request: TokenRequest) => {
  const answer = serve(request);
  process.send?.(answer, () => process.disconnect());
});

function serve(request: TokenRequest): TokenAnswer {
  const library = new pkcs11js.PKCS11();
  try {
    library.load(request.module);
  } catch (error) {
    return { failure: "module", detail: `the PKCS#11 module cannot be loaded: ${error instanceof Error ? error.message : String(error)}` };
  }
  const module = new Module(library);
  try {
    module.initialize({ flags: pkcs11js.CKF_OS_LOCKING_OK });
    if (request.act === "initialise") {
      const problem = initialise({ library, module }, request);
      if (problem) return problem;
    }
    const tokens = tokensOf(module).map(({ description }) => description);
    module.finalize();
    return { tokens };
  } catch (error) {
    const code = returnCodeOf(error);
    return { failure: "token", detail: code === undefined ? String(error) : `the PKCS#11 module answered ${returnName(code)}` };
  }
}

function initialise(
  { library, module }: { library: pkcs11js.PKCS11; module: Module },
  { label, soPin, userPin }: Extract<TokenRequest, { act: "initialise" }>,
): TokenAnswer | undefined {
  const tokens = tokensOf(module);
  if (tokens.some(({ description }) => description.initialised && description.label === label)) {
    return { failure: "label", detail: `a token with the label "${label}" is there already` };
  }
  const free = tokens.find(({ description }) => !description.initialised);
  if (!free) return { failure: "token", detail: "the PKCS#11 module shows no token that is not yet initialised" };
  // The standard pads a label with blanks to 32 characters; with NUL, as the binding pads, other tools do not find the token.
  // graphene's own `initToken` reads an answer that this version of the binding does not give.
  library.C_InitToken(free.slot.handle, soPin, label.padEnd(32));
  const session = free.slot.open(SessionFlag.SERIAL_SESSION | SessionFlag.RW_SESSION);
  try {
    session.login(soPin, UserType.SO);
    session.initPin(userPin);
    session.logout();
  } finally {
    session.close();
  }
  return undefined;
}

function tokensOf(module: Module): { slot: Slot; description: TokenDescription }[] {
  const slots = module.getSlots(true);
  return Array.from({ length: slots.length }, (_, index) => {
    const slot = slots.items(index);
    return { slot, description: describe(slot.getToken()) };
  });
}

function describe({ label, serialNumber, manufacturerID, model, flags }: Token): TokenDescription {
  const has = (flag: TokenFlag): boolean => (flags & flag) !== 0;
  return {
    label: withoutPadding(label),
    serial: withoutPadding(serialNumber),
    manufacturer: withoutPadding(manufacturerID),
    model: withoutPadding(model),
    initialised: has(TokenFlag.TOKEN_INITIALIZED),
    userPinInitialised: has(TokenFlag.USER_PIN_INITIALIZED),
    userPinCountLow: has(TokenFlag.USER_PIN_COUNT_LOW),
    userPinFinalTry: has(TokenFlag.USER_PIN_FINAL_TRY),
    userPinLocked: has(TokenFlag.USER_PIN_LOCKED),
  };
}

function withoutPadding(text: string): string {
  let end = text.length;
  while (end > 0 && (text[end - 1] === " " || text[end - 1] === "\0")) end -= 1;
  return text.slice(0, end);
}
