import { Fault } from "../fault.ts";
import { forkModuleProcess } from "./host-process.ts";

/** Which module, and for SoftHSM which configuration. */
export type ModuleOptions = { readonly module: string; readonly softHsmConf?: string };

export type TokenInitialisation = ModuleOptions & { readonly label: string; readonly soPin: string; readonly userPin: string };

/** A token as it describes itself. */
export type TokenDescription = {
  readonly label: string;
  readonly serial: string;
  readonly manufacturer: string;
  readonly model: string;
  /** C_InitToken has been called. */
  readonly initialised: boolean;
  readonly userPinInitialised: boolean;
  /** A wrong PIN was tried since the last login. */
  readonly userPinCountLow: boolean;
  /** One more wrong PIN locks the token. */
  readonly userPinFinalTry: boolean;
  readonly userPinLocked: boolean;
};

/** Frames to the child that administers tokens: one request, one answer, then it ends. */
export type TokenRequest =
  | { readonly act: "initialise"; readonly module: string; readonly label: string; readonly soPin: string; readonly userPin: string }
  | { readonly act: "list"; readonly module: string };
export type TokenAnswer =
  { readonly tokens: readonly TokenDescription[] } | { readonly failure: "module" | "token" | "label"; readonly detail: string };

/**
 * Initialises the first token that is not yet initialised, and sets its user PIN.
 * @throws Fault `refusedToStart` when the module does not load, a token has this label already or none is free.
 */
export async function initialiseToken({ softHsmConf, module, label, soPin, userPin }: TokenInitialisation): Promise<void> {
  if (!/^[\x21-\x7e](?:[\x20-\x7e]{0,30}[\x21-\x7e])?$/.test(label)) {
    throw new Fault("refusedToStart", `a token's label is 1 to 32 visible ASCII characters, not "${label}"`);
  }
  await administer({ act: "initialise", module, label, soPin, userPin }, softHsmConf);
}

/**
 * Every token that the module shows.
 * @throws Fault `refusedToStart` when the module does not load.
 */
export async function listTokens({ softHsmConf, module }: ModuleOptions): Promise<readonly TokenDescription[]> {
  return administer({ act: "list", module }, softHsmConf);
}

/** A module sees new tokens only after it was initialised anew, and may hang: each act has a process of its own. */
async function administer(request: TokenRequest, softHsmConf: string | undefined): Promise<readonly TokenDescription[]> {
  const child = await forkModuleProcess("token-host.ts", softHsmConf === undefined ? {} : { softHsmConf });
  const answer = await new Promise<TokenAnswer>((resolve) => {
    const fail = (detail: string): void => resolve({ failure: "token", detail });
    const late = setTimeout(() => {
      child.kill("SIGKILL");
      fail(`the PKCS#11 module did not answer within ${deadlineMs} ms`);
    }, deadlineMs);
    child.once("message", (message: TokenAnswer) => resolve(message));
    child.once("error", (error) => fail(error.message));
    child.once("exit", () => {
      clearTimeout(late);
      fail("the process that loaded the PKCS#11 module ended without an answer");
    });
    child.send(request, () => {});
  });
  if (child.connected) child.disconnect();
  if ("tokens" in answer) return answer.tokens;
  const remedy = answer.failure === "module" ? "; set CHANCERY_PKCS11_MODULE to the path of a PKCS#11 module" : "";
  throw new Fault("refusedToStart", `${answer.detail}${remedy}`);
}

const deadlineMs = 20_000;
