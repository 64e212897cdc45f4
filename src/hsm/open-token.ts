import { randomInt } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";

import pkcs11js from "pkcs11js";
import type { Handle, PKCS11, TokenInfo } from "pkcs11js";

import type { TokenOpening } from "./frame.ts";
import { attempt, OpeningError, ReturnError } from "./host-failure.ts";
import { returnName } from "./return-value.ts";
import { SessionPool } from "./session-pool.ts";

/** A token in which the host has logged in. */
export type OpenToken = {
  readonly library: PKCS11;
  readonly slot: Handle;
  readonly sessions: SessionPool;
  readonly manufacturer: string;
  /** Logs in again after somebody ended the login of the process. The PIN was right once in this host's life. */
  login(): void;
};

/**
 * Loads the module, finds the token by its label, opens the pool and logs in, once.
 *
 * CKR_GENERAL_ERROR or a missing token, while several processes start on one, can mean that another was writing: the module is finalised
 * and initialised again, up to five times. A refused PIN is final: real tokens lock after a few.
 * @param tell told of what an operator should know: fewer sessions, a PIN count that is low.
 * @throws OpeningError with a sentence for the operator.
 */
export async function openToken(
  opening: TokenOpening,
  tell: (event: "sessions" | "pin", fields: Readonly<Record<string, unknown>>) => void,
): Promise<OpenToken> {
  const library = load(opening.module);
  for (let tries = 1; ; tries += 1) {
    try {
      return openOnce(library, opening, tell);
    } catch (error) {
      if (tries > retriesOf(error)) throw error instanceof ReturnError ? openingError(error) : error;
      finalize(library);
      await pause(randomInt(10, 100));
    }
  }
}

const generalError = 0x05;
const userPinNotInitialized = 0x102;

/** How often an error of a start is looked at again: another process that logs in at this moment shows the token half-written, or not at all. */
function retriesOf(error: unknown): number {
  if (error instanceof ReturnError && error.code === generalError) return 5;
  if (error instanceof ReturnError && error.code === userPinNotInitialized) return 1;
  return error instanceof OpeningError && error.failure === "token" ? 5 : 0;
}

function load(path: string): PKCS11 {
  const library = new pkcs11js.PKCS11();
  try {
    library.load(path);
    return library;
  } catch (error) {
    throw new OpeningError("module", `the PKCS#11 module cannot be loaded: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function openOnce(library: PKCS11, opening: TokenOpening, tell: Parameters<typeof openToken>[1]): OpenToken {
  // Without CKF_OS_LOCKING_OK the calls of the thread pool meet in a module that does not lock.
  attempt("C_Initialize", () => library.C_Initialize({ flags: pkcs11js.CKF_OS_LOCKING_OK }));
  const { slot, information } = findToken(library, opening.token);
  requireTriesLeft(information, tell);
  const sessions = new SessionPool(library, slot, {
    wanted: opening.sessions,
    reduced: (size) => tell("sessions", { size, wanted: opening.sessions }),
  });
  const login = (): void => void attempt("C_Login", () => library.C_Login(sessions.readWriteSession(), pkcs11js.CKU_USER, opening.pin));
  login();
  return { library, slot, sessions, manufacturer: information.manufacturerID.replace(padding, ""), login };
}

/** Blank or NUL, with which modules fill up fixed-length texts. */
// eslint-disable-next-line no-control-regex
const padding = /[\u0000 ]+$/;

function findToken(library: PKCS11, label: string): { slot: Handle; information: TokenInfo } {
  const slots = attempt("C_GetSlotList", () => library.C_GetSlotList(true)) ?? [];
  const tokens = slots
    .map((slot) => ({ slot, information: attempt("C_GetTokenInfo", () => library.C_GetTokenInfo(slot)) }))
    .filter(
      (token): token is { slot: Handle; information: TokenInfo } =>
        ((token.information?.flags ?? 0) & pkcs11js.CKF_TOKEN_INITIALIZED) !== 0,
    );
  const [match, ...others] = tokens.filter(({ information }) => information.label.replace(padding, "") === label);
  if (match && others.length === 0) return match;
  const found = tokens.map(
    ({ information }) => `"${information.label.replace(padding, "")}" (serial ${information.serialNumber.replace(padding, "")})`,
  );
  throw new OpeningError(
    "token",
    `${match ? `${others.length + 1} tokens have` : "no token has"} the label "${label}"; the module shows ${found.length === 0 ? "no token" : found.join(", ")}`,
  );
}

function requireTriesLeft({ flags }: TokenInfo, tell: Parameters<typeof openToken>[1]): void {
  if ((flags & pkcs11js.CKF_USER_PIN_LOCKED) !== 0) throw new OpeningError("pin", "the token's user PIN is locked");
  if ((flags & pkcs11js.CKF_USER_PIN_FINAL_TRY) !== 0) {
    throw new OpeningError("pin", "the token has one try of the PIN left, which a start does not spend: log in with another tool first");
  }
  if ((flags & pkcs11js.CKF_USER_PIN_COUNT_LOW) !== 0) tell("pin", { detail: "a wrong PIN was tried since the last login" });
}

function finalize(library: PKCS11): void {
  try {
    library.C_Finalize();
  } catch {
    // A module that could not initialise cannot finalise either; what follows is C_Initialize again, whose own answer counts.
  }
}

function openingError(error: ReturnError): OpeningError {
  if (error.class === "pin") return new OpeningError("pin", `the token refused the PIN: ${returnName(error.code)}`);
  return new OpeningError("device", error.message);
}
