/** A problem document (RFC 9457 §3) as the service sends it with every 4xx and 5xx. */
export type Problem = {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly code: string;
  readonly requestId: string;
  /** Extension members, such as `rules` of lintRefused. */
  readonly members: Readonly<Record<string, unknown>>;
};

/**
 * Why a call has no answer to give: the service `refused` it (4xx: repeating it changes nothing), the service is `unavailable`
 * (no connection, no trust in its certificate, 503: later may do), or it `failed` (500, an answer that is not ours).
 */
export type ClientErrorReason = "refused" | "unavailable" | "failed";

/** What a ClientError may carry beside its sentence. */
export type ClientErrorOptions = {
  readonly problem?: Problem;
  /** False when the request may have been carried out although no answer told so. */
  readonly outcomeKnown: boolean;
  readonly cause?: unknown;
};

/** The one error of the client, beside Fault `malformed` for a base URL that cannot be used. Its detail is a sentence for the person who called. */
export class ClientError extends Error {
  readonly reason: ClientErrorReason;
  readonly detail: string;
  readonly problem: Problem | undefined;
  readonly outcomeKnown: boolean;

  constructor(reason: ClientErrorReason, detail: string, options: ClientErrorOptions) {
    super(detail, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "ClientError";
    this.reason = reason;
    this.detail = detail;
    this.problem = options.problem;
    this.outcomeKnown = options.outcomeKnown;
  }
}
