/** What a token may do: each role may do what those before it may. */
export type Role = "viewer" | "requester" | "admin";

/** Roles from least to most. */
export const roles: readonly Role[] = ["viewer", "requester", "admin"];

/** Who acts. */
export type Principal = {
  /**
   * "token:<uuid>"; or what no credential gives: "system", the service itself, and "host:<uid>", the operating system's user who ran a command beside
   * the database.
   */
  readonly id: string;
  /** It acts in this namespace and those within it. */
  readonly namespace: string;
  readonly role: Role;
};

/** What can be asked for. Every route declares one. */
export type Action =
  | "certificate:issue"
  | "certificate:read"
  | "certificate:revoke"
  | "revocation:create"
  | "revocation:read"
  | "revocation:stop"
  | "issuance:halt"
  | "key:block"
  | "authority:read"
  | "profile:read"
  | "token:create"
  | "token:read"
  | "token:revoke"
  | "external-account-key:create"
  | "external-account-key:read"
  | "external-account-key:revoke"
  | "acme-account:read"
  | "acme-account:revoke"
  | "acme-order:read";
