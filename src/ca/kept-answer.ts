import type { CertStatus } from "../pki/ocsp.ts";

/** What a responder answers to one request. */
export type OcspAnswer = {
  /** DER OCSPResponse; an error response is unsigned and 5 octets long. */
  readonly response: Uint8Array;
  /** Where others are given the same response for a while: not an error, and without a nonce. */
  readonly kept?: KeptAnswer;
  /** The request is answered with `kept` as long as that is current: not where it has a nonce, which may get an answer of its own next time. */
  readonly repeatable?: boolean;
};

/**
 * A signed response that is given to whoever asks the same until it is superseded. One record lives as long as the answer: whoever keeps it
 * looks at `current` each time.
 */
export type KeptAnswer = {
  /** DER OCSPResponse. */
  readonly response: Uint8Array;
  /** What it says of its certificate, as the database has it. */
  readonly status: CertStatus;
  /** What issuer's name and key are hashed with in the CertID that it answers: only who asks by the same one is given it. */
  readonly hash: "sha1" | "sha256";
  /** As they stand in the response, which says the same of each of its certificates. */
  readonly thisUpdate: Date;
  readonly nextUpdate: Date;
  /** When another is to be made, before `nextUpdate`: caches are to ask again by then. */
  readonly refreshAt: Date;
  /**
   * Turns false for good, by its maker alone, once the status is another, a newer answer is there, or the maker no longer keeps it: it could
   * not be told any more that the status has changed.
   */
  current: boolean;
};
