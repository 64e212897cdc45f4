import { Fault, type ServiceFaultCode } from "../../fault.ts";

/** What only this door can find wrong. */
type DoorCode = "unsupportedMediaType" | "notAcceptable" | "methodNotAllowed" | "requestTimeout" | "headersTooLarge" | "notImplemented";

/** Every `code` of a problem document. */
export type ProblemCode = ServiceFaultCode | DoorCode;

/** What a code means to a client: its status, its title, and what to do about it. */
type Meaning = {
  readonly status: 400 | 401 | 403 | 404 | 405 | 406 | 408 | 409 | 413 | 415 | 422 | 431 | 500 | 501 | 503;
  readonly title: string;
  readonly explanation: string;
  /** When asking again makes sense (RFC 9110 §10.2.3). */
  readonly retryAfterSeconds?: number;
};

const internal: Meaning = {
  status: 500,
  title: "Something went wrong inside the service",
  explanation: "This is a fault of the service, not of the request. Its log holds the cause under the same requestId.",
};

const meanings: Readonly<Record<ProblemCode, Meaning>> = {
  malformed: {
    status: 400,
    title: "The request is malformed",
    explanation:
      "A header, parameter or the body is not what the interface takes. The detail names it. Sending the same request again changes nothing.",
  },
  badCSR: {
    status: 400,
    title: "The certificate request is not acceptable",
    explanation:
      "The PKCS#10 request (RFC 2986) is not valid DER, its signature does not verify, its key is one we refuse, or it asks for names in a way we do not take. Names stand in subjectAltName.",
  },
  unauthenticated: {
    status: 401,
    title: "A valid token is needed",
    explanation: "Send the header “Authorization: Bearer …” with a token that has neither expired nor been revoked.",
  },
  policyDenied: {
    status: 403,
    title: "The policy does not allow this",
    explanation: "The token's role and namespace, or the profile's rules, do not allow what was asked.",
  },
  notFound: {
    status: 404,
    title: "There is no such thing",
    explanation: "Nothing stands under this path, or the token may not see it: the two look the same.",
  },
  methodNotAllowed: {
    status: 405,
    title: "The method is not allowed here",
    explanation: "The Allow header lists the methods of this path.",
  },
  notAcceptable: {
    status: 406,
    title: "None of the accepted media types is offered",
    explanation: "The detail lists the media types that this path offers. Without an Accept header the answer is application/json.",
  },
  requestTimeout: {
    status: 408,
    title: "The request did not arrive in time",
    explanation: "Headers and body must arrive within seconds; the connection was closed.",
  },
  alreadyRevoked: {
    status: 409,
    title: "The certificate is revoked already",
    explanation:
      "A revocation is for good, and its reason stands; keyCompromise alone takes the place of another one. With the Idempotency-Key of the request that revoked it, the answer is 200.",
  },
  certificateExpired: {
    status: 409,
    title: "The certificate has expired",
    explanation: "Nobody accepts it any more, and no CRL would list it: there is nothing to revoke.",
  },
  tooLarge: {
    status: 413,
    title: "The body is too large",
    explanation: "The detail names the limit: 64 KiB for a body, 16 KiB of DER for a certificate request.",
  },
  unsupportedMediaType: {
    status: 415,
    title: "The body must be JSON",
    explanation: "Send the body with “Content-Type: application/json” and without Content-Encoding.",
  },
  idempotencyMismatch: {
    status: 422,
    title: "The Idempotency-Key belongs to another request",
    explanation:
      "The same key came before with another body. A new request needs a new key; the first one's answer comes with the first one's body.",
  },
  lifetimeOutOfRange: {
    status: 422,
    title: "The lifetime is outside the profile's range",
    explanation: "The detail names the range. Without lifetimeSeconds the certificate gets the profile's default.",
  },
  lintRefused: {
    status: 422,
    title: "The certificate would not pass lint",
    explanation: "What would have been signed breaks the rules that the member “rules” lists. Nothing was signed.",
  },
  badRevocationReason: {
    status: 422,
    title: "The reason is not one that this may be revoked with",
    explanation: "The detail lists the reasons that may be given, by their names in RFC 5280 §5.3.1.",
  },
  tooManyRevocations: {
    status: 409,
    title: "The namespace has as many revocations running as it may have",
    explanation: "Wait until one has ended, or stop one: POST /v1/revocations/{id}/stop.",
  },
  headersTooLarge: {
    status: 431,
    title: "The header section is too large",
    explanation: "All headers together may take 16 KiB; the connection was closed.",
  },
  notImplemented: {
    status: 501,
    title: "The transfer coding is not one that we have",
    explanation: "Send the body with Content-Length, or with “Transfer-Encoding: chunked” alone.",
  },
  hsmUnavailable: {
    status: 503,
    title: "The HSM cannot sign at the moment",
    explanation: "Retry-After says when to try again; with the same Idempotency-Key nothing is issued twice.",
    retryAfterSeconds: 5,
  },
  issuanceHalted: {
    status: 503,
    title: "Issuance is halted",
    explanation:
      "An administrator has halted it; the member “reason” says why. CRLs, OCSP and revocation go on. With the same Idempotency-Key nothing is issued twice once it is resumed.",
    retryAfterSeconds: 60,
  },
  issuerRevoked: {
    status: 503,
    title: "The authority that would issue is revoked",
    explanation:
      "Its own certificate is revoked, so nobody would accept what it issues. An administrator has to set up another one. CRLs, OCSP and revocation go on.",
    retryAfterSeconds: 3_600,
  },
  databaseUnavailable: {
    status: 503,
    title: "The database cannot be reached at the moment",
    explanation: "Retry-After says when to try again; with the same Idempotency-Key nothing is issued twice.",
    retryAfterSeconds: 5,
  },
  busy: {
    status: 503,
    title: "The service has more work than it can take",
    explanation: "Retry-After says when to try again; with the same Idempotency-Key nothing is issued twice.",
    retryAfterSeconds: 1,
  },
  refusedToStart: internal,
  internal,
};

/** Every code that a problem document may have. */
export const problemCodes: readonly ProblemCode[] = Object.keys(meanings).filter(isProblemCode);

/** Whether `text` is one of our codes. */
export function isProblemCode(text: string): text is ProblemCode {
  return Object.hasOwn(meanings, text);
}

/** What went wrong, before it is written for a client. */
export type Problem = {
  readonly code: ProblemCode;
  /** Absent where nothing may be told. */
  readonly detail?: string;
  /** Extension members (RFC 9457 §3.2). */
  readonly members?: Readonly<Record<string, unknown>>;
  /** What is wrong with the token that came (RFC 6750 §3.1); absent when none came, or when it is not the token. */
  readonly tokenError?: "invalid_token" | "insufficient_scope";
};

/** A problem document as it is sent: status, headers, JSON text. */
export type ProblemDocument = {
  readonly status: Meaning["status"];
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
};

/** What a thrown error tells a client: a Fault its code and detail, a fault of our own or anything unknown only that it happened. */
export function problemOf(error: unknown): Problem {
  if (!(error instanceof Fault) || !isProblemCode(error.code) || meanings[error.code].status === 500) return { code: "internal" };
  return { code: error.code, detail: error.detail, members: error.members };
}

/**
 * The problem document of `problem`.
 * @see RFC 9457 §3; RFC 6750 §3 for WWW-Authenticate; RFC 9110 §10.2.3 for Retry-After
 */
export function problemDocument(problem: Problem, { baseUrl, requestId }: { baseUrl: string; requestId: string }): ProblemDocument {
  const { status, title, retryAfterSeconds } = meanings[problem.code];
  const { tokenError } = problem;
  const body = JSON.stringify({
    ...problem.members,
    type: `${baseUrl}/problems/${problem.code}`,
    title,
    status,
    ...(problem.detail !== undefined && { detail: problem.detail }),
    code: problem.code,
    requestId,
  });
  return {
    status,
    headers: {
      "content-type": "application/problem+json",
      "cache-control": "no-store",
      ...((status === 401 || tokenError !== undefined) && { "www-authenticate": challenge(tokenError) }),
      ...(retryAfterSeconds !== undefined && { "retry-after": String(retryAfterSeconds) }),
    },
    body,
  };
}

function challenge(error: Problem["tokenError"]): string {
  return `Bearer realm="chancery"${error === undefined ? "" : `, error="${error}"`}`;
}

/** What a person reads who follows the `type` of a problem document. */
export function problemExplanation(code: ProblemCode): string {
  const { status, title, explanation } = meanings[code];
  return `${code} (${status})\n\n${title}.\n\n${explanation}\n`;
}
