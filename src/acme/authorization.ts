import type { ChallengeType } from "./directory.ts";
import type { Identifier, Problem } from "./problem.ts";

/** @see RFC 8555 §7.1.6 */
export type AuthorizationStatus = "pending" | "valid" | "invalid" | "deactivated" | "expired" | "revoked";

/** What an account has shown, or is to show, of one identifier. @see RFC 8555 §7.1.4 */
export type Authorization = {
  /** 128 random bits in base64url. */
  readonly id: string;
  readonly accountId: string;
  /** Without `*.`. */
  readonly identifier: Identifier;
  readonly wildcard: boolean;
  readonly status: AuthorizationStatus;
  readonly expiresAt: Date;
  readonly challenges: readonly Challenge[];
};

/** @see RFC 8555 §7.1.5, §8 */
export type Challenge = {
  /** 128 random bits in base64url. */
  readonly id: string;
  readonly type: ChallengeType;
  /** 32 random octets in base64url. */
  readonly token: string;
  readonly status: "pending" | "processing" | "valid" | "invalid";
  /** What the last attempt found wrong; may stand while it is still processing (RFC 8555 §8.2). */
  readonly error?: Problem;
  readonly validatedAt?: Date;
  /** Attempts that found no answer. */
  readonly attempts: number;
  /** What the last attempt asked and saw: for administrators. */
  readonly evidence?: Readonly<Record<string, unknown>>;
};
