import type { Identifier, Problem } from "./problem.ts";

/** @see RFC 8555 §7.1.6 */
export type OrderStatus = "pending" | "ready" | "processing" | "valid" | "invalid";

/** An order as it stands; its status is derived from authorizations and issuance, and never moves backwards. @see RFC 8555 §7.1.3 */
export type Order = {
  /** 128 random bits in base64url. */
  readonly id: string;
  readonly accountId: string;
  /** The identity of its issuance, 32 octets. */
  readonly requestId: Uint8Array;
  readonly status: OrderStatus;
  /** Canonical, sorted, each once. */
  readonly identifiers: readonly Identifier[];
  readonly profile: string;
  readonly notBefore?: Date;
  readonly notAfter?: Date;
  /** certID of the certificate that it replaces, as it was given (RFC 9773 §5). */
  readonly replaces?: string;
  /** Why it is invalid. */
  readonly error?: Problem;
  /** Ids of its authorizations, in the order of its identifiers. */
  readonly authorizations: readonly string[];
  readonly createdAt: Date;
  readonly expiresAt: Date;
  /** The certificate it ended with; `serial` in lower-case hex. */
  readonly certificate?: { readonly authority: string; readonly serial: string };
};
