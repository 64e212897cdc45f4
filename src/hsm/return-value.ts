/** How the host reacts to a return value, in the words of `docs/ARCHITECTURE.md`. */
export type ReturnClass =
  /** The call succeeded, or what it asked for is already so. */
  | "done"
  /** Wrong for every repeat: the call fails, and at the start so does the start. */
  | "fatal"
  /** The PIN was refused or may not be tried: no host of this process logs in again. */
  | "pin"
  /** The session, the login or the handle is spent: one retry on a new session. */
  | "session"
  /** The token or its module is unwell: one retry on a new host. */
  | "device";

/** The calls whose meaning of a return value differs from the others'. */
export type Call =
  | "C_Initialize"
  | "C_GetSlotList"
  | "C_GetTokenInfo"
  | "C_GetMechanismList"
  | "C_OpenSession"
  | "C_Login"
  | "C_SignInit"
  | "C_Sign"
  | "C_FindObjectsInit"
  | "C_FindObjects"
  | "C_GenerateKeyPair"
  | "C_GetAttributeValue"
  | "C_SetAttributeValue"
  | "C_WrapKey"
  | "C_DestroyObject";

/** One return value of PKCS#11: its class for every call, and the calls for which it is another. */
export type ReturnValue = {
  readonly code: number;
  readonly name: string;
  readonly class: ReturnClass;
  readonly except?: Readonly<Partial<Record<Call, ReturnClass>>>;
};

/**
 * Class of a return value of `call`. A code that no row names is `device`.
 * @see PKCS#11 3.2 §5.1 (return values)
 */
export function returnClass(code: number, call: Call): ReturnClass {
  const row = byCode.get(code);
  return row?.except?.[call] ?? row?.class ?? "device";
}

/** Name of a return value, or its number in hexadecimal. */
export function returnName(code: number): string {
  return byCode.get(code)?.name ?? `0x${code.toString(16).padStart(8, "0")}`;
}

/**
 * The return value that an error of the native binding carries: its `code`, or else the number in "CKR_…:n".
 * `undefined` for an error that is none of PKCS#11, such as a module that cannot be loaded.
 */
export function returnCodeOf(error: unknown): number | undefined {
  if (!(error instanceof Error)) return undefined;
  const code: unknown = Reflect.get(error, "code");
  if (typeof code === "number" && code > 0) return code;
  const match = /CKR_\w+:(\d+)/.exec(error.message);
  return match ? Number(match[1]) : undefined;
}

/** Every return value of PKCS#11 3.2, one row each. */
export const returnValues: readonly ReturnValue[] = [
  { code: 0x000, name: "CKR_OK", class: "done" },
  { code: 0x001, name: "CKR_CANCEL", class: "device" },
  // NSS answers so after somebody else logged out (C_Logout ends the login of every session of the process).
  { code: 0x002, name: "CKR_HOST_MEMORY", class: "device", except: { C_SignInit: "session", C_Sign: "session" } },
  { code: 0x003, name: "CKR_SLOT_ID_INVALID", class: "device" },
  { code: 0x005, name: "CKR_GENERAL_ERROR", class: "device" },
  { code: 0x006, name: "CKR_FUNCTION_FAILED", class: "device" },
  { code: 0x007, name: "CKR_ARGUMENTS_BAD", class: "fatal" },
  { code: 0x008, name: "CKR_NO_EVENT", class: "device" },
  { code: 0x009, name: "CKR_NEED_TO_CREATE_THREADS", class: "fatal" },
  { code: 0x00a, name: "CKR_CANT_LOCK", class: "fatal" },
  { code: 0x010, name: "CKR_ATTRIBUTE_READ_ONLY", class: "fatal" },
  { code: 0x011, name: "CKR_ATTRIBUTE_SENSITIVE", class: "fatal" },
  { code: 0x012, name: "CKR_ATTRIBUTE_TYPE_INVALID", class: "fatal" },
  { code: 0x013, name: "CKR_ATTRIBUTE_VALUE_INVALID", class: "fatal" },
  { code: 0x01b, name: "CKR_ACTION_PROHIBITED", class: "fatal" },
  { code: 0x020, name: "CKR_DATA_INVALID", class: "fatal" },
  { code: 0x021, name: "CKR_DATA_LEN_RANGE", class: "fatal" },
  { code: 0x030, name: "CKR_DEVICE_ERROR", class: "device" },
  { code: 0x031, name: "CKR_DEVICE_MEMORY", class: "device" },
  { code: 0x032, name: "CKR_DEVICE_REMOVED", class: "device" },
  { code: 0x040, name: "CKR_ENCRYPTED_DATA_INVALID", class: "fatal" },
  { code: 0x041, name: "CKR_ENCRYPTED_DATA_LEN_RANGE", class: "fatal" },
  { code: 0x042, name: "CKR_AEAD_DECRYPT_FAILED", class: "fatal" },
  { code: 0x050, name: "CKR_FUNCTION_CANCELED", class: "session" },
  { code: 0x051, name: "CKR_FUNCTION_NOT_PARALLEL", class: "fatal" },
  { code: 0x054, name: "CKR_FUNCTION_NOT_SUPPORTED", class: "fatal" },
  { code: 0x060, name: "CKR_KEY_HANDLE_INVALID", class: "session" },
  { code: 0x062, name: "CKR_KEY_SIZE_RANGE", class: "fatal" },
  { code: 0x063, name: "CKR_KEY_TYPE_INCONSISTENT", class: "fatal" },
  { code: 0x064, name: "CKR_KEY_NOT_NEEDED", class: "fatal" },
  { code: 0x065, name: "CKR_KEY_CHANGED", class: "fatal" },
  { code: 0x066, name: "CKR_KEY_NEEDED", class: "fatal" },
  { code: 0x067, name: "CKR_KEY_INDIGESTIBLE", class: "fatal" },
  { code: 0x068, name: "CKR_KEY_FUNCTION_NOT_PERMITTED", class: "fatal" },
  { code: 0x069, name: "CKR_KEY_NOT_WRAPPABLE", class: "fatal" },
  { code: 0x06a, name: "CKR_KEY_UNEXTRACTABLE", class: "fatal" },
  { code: 0x070, name: "CKR_MECHANISM_INVALID", class: "fatal" },
  { code: 0x071, name: "CKR_MECHANISM_PARAM_INVALID", class: "fatal" },
  // A destroyed key, a handle of before a new login, or a token whose objects are out of sight: found again, or told apart then.
  { code: 0x082, name: "CKR_OBJECT_HANDLE_INVALID", class: "session" },
  { code: 0x090, name: "CKR_OPERATION_ACTIVE", class: "session" },
  { code: 0x091, name: "CKR_OPERATION_NOT_INITIALIZED", class: "session" },
  { code: 0x0a0, name: "CKR_PIN_INCORRECT", class: "pin" },
  { code: 0x0a1, name: "CKR_PIN_INVALID", class: "pin" },
  { code: 0x0a2, name: "CKR_PIN_LEN_RANGE", class: "pin" },
  { code: 0x0a3, name: "CKR_PIN_EXPIRED", class: "pin" },
  { code: 0x0a4, name: "CKR_PIN_LOCKED", class: "pin" },
  { code: 0x0b0, name: "CKR_SESSION_CLOSED", class: "session" },
  { code: 0x0b1, name: "CKR_SESSION_COUNT", class: "session" },
  { code: 0x0b3, name: "CKR_SESSION_HANDLE_INVALID", class: "session" },
  { code: 0x0b4, name: "CKR_SESSION_PARALLEL_NOT_SUPPORTED", class: "fatal" },
  { code: 0x0b5, name: "CKR_SESSION_READ_ONLY", class: "fatal" },
  { code: 0x0b6, name: "CKR_SESSION_EXISTS", class: "session" },
  { code: 0x0b7, name: "CKR_SESSION_READ_ONLY_EXISTS", class: "session" },
  { code: 0x0b8, name: "CKR_SESSION_READ_WRITE_SO_EXISTS", class: "session" },
  { code: 0x0c0, name: "CKR_SIGNATURE_INVALID", class: "fatal" },
  { code: 0x0c1, name: "CKR_SIGNATURE_LEN_RANGE", class: "fatal" },
  { code: 0x0d0, name: "CKR_TEMPLATE_INCOMPLETE", class: "fatal" },
  { code: 0x0d1, name: "CKR_TEMPLATE_INCONSISTENT", class: "fatal" },
  { code: 0x0e0, name: "CKR_TOKEN_NOT_PRESENT", class: "device" },
  { code: 0x0e1, name: "CKR_TOKEN_NOT_RECOGNIZED", class: "device" },
  { code: 0x0e2, name: "CKR_TOKEN_WRITE_PROTECTED", class: "device" },
  { code: 0x0f0, name: "CKR_UNWRAPPING_KEY_HANDLE_INVALID", class: "session" },
  { code: 0x0f1, name: "CKR_UNWRAPPING_KEY_SIZE_RANGE", class: "fatal" },
  { code: 0x0f2, name: "CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT", class: "fatal" },
  { code: 0x100, name: "CKR_USER_ALREADY_LOGGED_IN", class: "session", except: { C_Login: "done" } },
  { code: 0x101, name: "CKR_USER_NOT_LOGGED_IN", class: "session" },
  // Two processes that log in at once can see the flags half-written: the start looks once more, then believes it.
  { code: 0x102, name: "CKR_USER_PIN_NOT_INITIALIZED", class: "pin" },
  { code: 0x103, name: "CKR_USER_TYPE_INVALID", class: "fatal" },
  { code: 0x104, name: "CKR_USER_ANOTHER_ALREADY_LOGGED_IN", class: "fatal" },
  { code: 0x105, name: "CKR_USER_TOO_MANY_TYPES", class: "fatal" },
  { code: 0x110, name: "CKR_WRAPPED_KEY_INVALID", class: "fatal" },
  { code: 0x112, name: "CKR_WRAPPED_KEY_LEN_RANGE", class: "fatal" },
  { code: 0x113, name: "CKR_WRAPPING_KEY_HANDLE_INVALID", class: "session" },
  { code: 0x114, name: "CKR_WRAPPING_KEY_SIZE_RANGE", class: "fatal" },
  { code: 0x115, name: "CKR_WRAPPING_KEY_TYPE_INCONSISTENT", class: "fatal" },
  { code: 0x120, name: "CKR_RANDOM_SEED_NOT_SUPPORTED", class: "fatal" },
  { code: 0x121, name: "CKR_RANDOM_NO_RNG", class: "fatal" },
  { code: 0x130, name: "CKR_DOMAIN_PARAMS_INVALID", class: "fatal" },
  { code: 0x140, name: "CKR_CURVE_NOT_SUPPORTED", class: "fatal" },
  { code: 0x150, name: "CKR_BUFFER_TOO_SMALL", class: "fatal" },
  { code: 0x160, name: "CKR_SAVED_STATE_INVALID", class: "fatal" },
  { code: 0x170, name: "CKR_INFORMATION_SENSITIVE", class: "fatal" },
  { code: 0x180, name: "CKR_STATE_UNSAVEABLE", class: "fatal" },
  { code: 0x190, name: "CKR_CRYPTOKI_NOT_INITIALIZED", class: "device" },
  { code: 0x191, name: "CKR_CRYPTOKI_ALREADY_INITIALIZED", class: "device", except: { C_Initialize: "done" } },
  { code: 0x1a0, name: "CKR_MUTEX_BAD", class: "device" },
  { code: 0x1a1, name: "CKR_MUTEX_NOT_LOCKED", class: "device" },
  { code: 0x1b0, name: "CKR_NEW_PIN_MODE", class: "pin" },
  { code: 0x1b1, name: "CKR_NEXT_OTP", class: "pin" },
  { code: 0x1b5, name: "CKR_EXCEEDED_MAX_ITERATIONS", class: "fatal" },
  { code: 0x1b6, name: "CKR_FIPS_SELF_TEST_FAILED", class: "device" },
  { code: 0x1b7, name: "CKR_LIBRARY_LOAD_FAILED", class: "device" },
  { code: 0x1b8, name: "CKR_PIN_TOO_WEAK", class: "pin" },
  { code: 0x1b9, name: "CKR_PUBLIC_KEY_INVALID", class: "fatal" },
  { code: 0x200, name: "CKR_FUNCTION_REJECTED", class: "fatal" },
  { code: 0x201, name: "CKR_TOKEN_RESOURCE_EXCEEDED", class: "device" },
  { code: 0x202, name: "CKR_OPERATION_CANCEL_FAILED", class: "session" },
  { code: 0x203, name: "CKR_KEY_EXHAUSTED", class: "fatal" },
  { code: 0x204, name: "CKR_PENDING", class: "device" },
  { code: 0x205, name: "CKR_SESSION_ASYNC_NOT_SUPPORTED", class: "fatal" },
  { code: 0x206, name: "CKR_SEED_RANDOM_REQUIRED", class: "device" },
  { code: 0x207, name: "CKR_OPERATION_NOT_VALIDATED", class: "fatal" },
  { code: 0x208, name: "CKR_TOKEN_NOT_INITIALIZED", class: "device" },
  { code: 0x209, name: "CKR_PARAMETER_SET_NOT_SUPPORTED", class: "fatal" },
  { code: 0x8000_0000, name: "CKR_VENDOR_DEFINED", class: "device" },
];

const byCode: ReadonlyMap<number, ReturnValue> = new Map(returnValues.map((row) => [row.code, row]));
