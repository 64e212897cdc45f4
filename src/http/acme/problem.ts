import { Fault, type FaultCode } from "../../fault.ts";
import type { Urls } from "./urls.ts";

/** What only this door can find wrong. */
type DoorCode = "methodNotAllowed" | "unsupportedMediaType" | "notImplemented" | "overloaded";

/** Every code that becomes a problem document of ACME. */
export type ProblemCode = FaultCode | DoorCode;

/** Last part of an error URN. @see RFC 8555 §6.7, RFC 9773 §7.4; `invalidProfile` of draft-ietf-acme-profiles */
type ErrorType =
  | "accountDoesNotExist"
  | "alreadyReplaced"
  | "alreadyRevoked"
  | "badCSR"
  | "badNonce"
  | "badPublicKey"
  | "badRevocationReason"
  | "badSignatureAlgorithm"
  | "compound"
  | "externalAccountRequired"
  | "invalidContact"
  | "invalidProfile"
  | "malformed"
  | "orderNotReady"
  | "rateLimited"
  | "rejectedIdentifier"
  | "serverInternal"
  | "unauthorized"
  | "unsupportedContact"
  | "unsupportedIdentifier"
  | "userActionRequired";

type Meaning = {
  readonly type: ErrorType;
  readonly status: 400 | 401 | 403 | 404 | 405 | 409 | 413 | 415 | 429 | 500 | 501 | 503;
  /** When asking again makes sense; never a date, which clients cannot reckon with. */
  readonly retryAfterSeconds?: number;
};

/**
 * The status decides who recovers: an ACME client gives an order up for most of 4xx, and repeats what failed with 5xx. So what passes by
 * itself is 5xx, always with Retry-After.
 */
const meanings: Readonly<Record<ProblemCode, Meaning>> = {
  malformed: { type: "malformed", status: 400 },
  badCSR: { type: "badCSR", status: 400 },
  tooLarge: { type: "malformed", status: 413 },
  unauthenticated: { type: "unauthorized", status: 401 },
  // The account may not, or no longer, have what it asked for. To a finalize this makes clients read the order again.
  policyDenied: { type: "unauthorized", status: 403 },
  notFound: { type: "malformed", status: 404 },
  idempotencyMismatch: { type: "malformed", status: 400 },
  lifetimeOutOfRange: { type: "badCSR", status: 400 },
  lintRefused: { type: "badCSR", status: 400 },
  // Never 4xx: the order stays as it is, and its client comes back.
  issuanceHalted: { type: "serverInternal", status: 503, retryAfterSeconds: 60 },
  issuerRevoked: { type: "serverInternal", status: 503, retryAfterSeconds: 3_600 },
  certificateExpired: { type: "unauthorized", status: 403 },
  hsmUnavailable: { type: "serverInternal", status: 503, retryAfterSeconds: 5 },
  databaseUnavailable: { type: "serverInternal", status: 503, retryAfterSeconds: 5 },
  busy: { type: "serverInternal", status: 503, retryAfterSeconds: 2 },
  validatorUnavailable: { type: "serverInternal", status: 503, retryAfterSeconds: 5 },
  refusedToStart: { type: "serverInternal", status: 500 },
  internal: { type: "serverInternal", status: 500 },
  badNonce: { type: "badNonce", status: 400 },
  badSignatureAlgorithm: { type: "badSignatureAlgorithm", status: 400 },
  badPublicKey: { type: "badPublicKey", status: 400 },
  accountDoesNotExist: { type: "accountDoesNotExist", status: 400 },
  // RFC 8555 §7.3.6: 401
  accountInactive: { type: "unauthorized", status: 401 },
  unauthorized: { type: "unauthorized", status: 403 },
  userActionRequired: { type: "userActionRequired", status: 403 },
  externalAccountRequired: { type: "externalAccountRequired", status: 403 },
  invalidContact: { type: "invalidContact", status: 400 },
  unsupportedContact: { type: "unsupportedContact", status: 400 },
  unsupportedIdentifier: { type: "unsupportedIdentifier", status: 400 },
  rejectedIdentifier: { type: "rejectedIdentifier", status: 400 },
  compound: { type: "compound", status: 400 },
  invalidProfile: { type: "invalidProfile", status: 400 },
  // RFC 8555 §7.4: 403
  orderNotReady: { type: "orderNotReady", status: 403 },
  alreadyRevoked: { type: "alreadyRevoked", status: 400 },
  badRevocationReason: { type: "badRevocationReason", status: 400 },
  tooManyRevocations: { type: "rateLimited", status: 429 },
  // RFC 9773 §5: 409
  alreadyReplaced: { type: "alreadyReplaced", status: 409 },
  // RFC 8555 §7.3.5: 409
  keyInUse: { type: "malformed", status: 409 },
  rateLimited: { type: "rateLimited", status: 429, retryAfterSeconds: 60 },
  methodNotAllowed: { type: "malformed", status: 405 },
  unsupportedMediaType: { type: "malformed", status: 415 },
  notImplemented: { type: "malformed", status: 501 },
  overloaded: { type: "rateLimited", status: 503, retryAfterSeconds: 5 },
};

/** What went wrong, before it is written for a client. */
export type Problem = {
  readonly code: ProblemCode;
  readonly detail: string;
  readonly members?: Readonly<Record<string, unknown>>;
};

/** A problem document as it is sent: status, headers, JSON text. */
export type ProblemDocument = {
  readonly status: Meaning["status"];
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
};

/** What a thrown error tells a client; of what nobody expected, where the log tells of it and no more. */
export function problemOf(error: unknown, requestId: string): Problem {
  if (error instanceof Fault && meanings[error.code].status !== 500) return error;
  return { code: "internal", detail: `something went wrong inside the service; its log tells of it under ${requestId}` };
}

/**
 * The problem document of `problem`. Of its members those stand in the document that clients know: `subproblems`, `algorithms` and
 * `instance`. `account`, `order` and `retryAfterSeconds` become headers.
 * @see RFC 8555 §6.7, RFC 9457 §3
 */
export function problemDocument({ code, detail, members = {} }: Problem, urls: Urls | undefined): ProblemDocument {
  const { type, status, retryAfterSeconds } = meanings[code];
  const { subproblems, algorithms, instance, account, order } = members;
  const wait = typeof members["retryAfterSeconds"] === "number" ? members["retryAfterSeconds"] : retryAfterSeconds;
  const location = typeof account === "string" ? urls?.account(account) : typeof order === "string" ? urls?.order(order) : undefined;
  return {
    status,
    headers: {
      "content-type": "application/problem+json",
      ...(wait !== undefined && { "retry-after": String(wait) }),
      ...(location !== undefined && { location }),
    },
    body: JSON.stringify({
      type: urn(type),
      detail,
      status,
      ...(Array.isArray(subproblems) && { subproblems: subproblems.map(subproblem) }),
      ...(algorithms !== undefined && { algorithms }),
      ...(instance !== undefined && { instance }),
    }),
  };
}

/** What a Fault says of one identifier. */
type Subproblem = { readonly code: FaultCode; readonly detail: string; readonly identifier: unknown };

/** @see RFC 8555 §6.7.1 */
function subproblem({ code, detail, identifier }: Subproblem) {
  return { type: urn(meanings[code].type), detail, identifier };
}

function urn(type: ErrorType): string {
  return `urn:ietf:params:acme:error:${type}`;
}
