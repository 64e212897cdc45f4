/**
 * A problem document as it is kept in orders and challenges, and shown there (RFC 8555 §6.7, RFC 9457). `type` is an ACME error URN.
 * Holds no octet that a validated host sent.
 */
export type Problem = {
  readonly type: `urn:ietf:params:acme:error:${string}`;
  readonly detail: string;
  readonly status: number;
  readonly subproblems?: readonly (Omit<Problem, "subproblems" | "status"> & { readonly identifier?: Identifier })[];
};

/** What a certificate is asked for, in canonical text; a dns value may begin with `*.` in an order, never in an authorization (RFC 8555 §7.1.3, RFC 8738). */
export type Identifier = { readonly type: "dns" | "ip"; readonly value: string };
