/** Every kind of failure that crosses a module's border. The doors map each code to a status; the command line to an exit code. */
export type FaultCode = ServiceFaultCode | AcmeFaultCode;

/** What any part may find wrong. */
export type ServiceFaultCode =
  // Bytes and requests (pki, doors)
  | "malformed"
  | "badCSR"
  | "tooLarge"
  // Who may do what (access)
  | "unauthenticated"
  | "policyDenied"
  | "notFound"
  // Issuance and revocation (ca)
  | "idempotencyMismatch"
  | "lifetimeOutOfRange"
  | "lintRefused"
  // An administrator has halted issuance: it goes on when it is resumed
  | "issuanceHalted"
  // The certificate of the authority itself is revoked: it issues nothing any more
  | "issuerRevoked"
  | "alreadyRevoked"
  | "badRevocationReason"
  | "tooManyRevocations"
  | "certificateExpired"
  // The world outside is away or full
  | "hsmUnavailable"
  | "databaseUnavailable"
  | "busy"
  // A start that must not go on, or a command that cannot: the detail names the option or the remedy
  | "refusedToStart"
  // Never expected: a bug, or a dependency that broke its contract
  | "internal";

/** What ACME alone finds wrong, in the words of its error types (RFC 8555 §6.7, RFC 9773 §5) where there is one. Only its door meets these. */
export type AcmeFaultCode =
  | "badNonce"
  | "badSignatureAlgorithm"
  | "badPublicKey"
  | "accountDoesNotExist"
  // The account is deactivated or revoked (RFC 8555 §7.3.6)
  | "accountInactive"
  | "unauthorized"
  | "userActionRequired"
  | "externalAccountRequired"
  | "invalidContact"
  | "unsupportedContact"
  | "unsupportedIdentifier"
  | "rejectedIdentifier"
  // Several identifiers, refused for different reasons: the `subproblems` say which
  | "compound"
  | "invalidProfile"
  | "orderNotReady"
  | "alreadyReplaced"
  // Another account has this key already (RFC 8555 §7.3.5)
  | "keyInUse"
  | "rateLimited"
  // The process that validates cannot be asked: nothing was found out
  | "validatorUnavailable";

/** What a Fault may carry beside its detail. */
export type FaultOptions = {
  /** For the log only: never shown to a caller. */
  readonly cause?: unknown;
  /** Extension members of a problem document (RFC 9457 §3.2), safe to show. */
  readonly members?: Readonly<Record<string, unknown>>;
};

/**
 * The one error class that crosses modules: a code of a closed set, a detail that is safe to show to the caller, a cause for the log.
 * It knows nothing of HTTP; each door has its own exhaustive table.
 */
export class Fault extends Error {
  readonly code: FaultCode;
  readonly detail: string;
  readonly members: Readonly<Record<string, unknown>>;

  constructor(code: FaultCode, detail: string, options: FaultOptions = {}) {
    super(`${code}: ${detail}`, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "Fault";
    this.code = code;
    this.detail = detail;
    this.members = options.members ?? {};
  }
}
