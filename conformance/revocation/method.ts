/** How a certificate's status is had, in the order of the matrix. */
export const methods = ["full CRL", "shard CRL", "OCSP GET", "OCSP POST", "OCSP nonce", "OCSP batch"] as const;

export type Method = (typeof methods)[number];

/** The reasons that a certificate can be revoked for, by their names in RFC 5280 §5.3.1. */
export const reasons = [
  "unspecified",
  "keyCompromise",
  "affiliationChanged",
  "superseded",
  "cessationOfOperation",
  "privilegeWithdrawn",
] as const;

export type Reason = (typeof reasons)[number];

/**
 * In what condition the certificates are that everybody is asked about. "unassigned serial" is signed with the authority's key behind the service's
 * back; "another issuer's" names our URLs, and the tools are told to trust its root.
 */
export const conditions = [
  "good",
  "revoked unspecified",
  "revoked keyCompromise",
  "revoked affiliationChanged",
  "revoked superseded",
  "revoked cessationOfOperation",
  "revoked privilegeWithdrawn",
  "expired",
  "unassigned serial",
  "another issuer's",
] as const;

export type Condition = (typeof conditions)[number];

/** What a tool makes of a certificate: "undetermined" where it cannot learn the status and therefore does not accept; "refused" for any other reason. */
export type Verdict = "good" | "revoked" | `revoked ${Reason}` | "expired" | "undetermined" | "refused";

/** The tools that judge, in the order of the matrix. */
export const tools = ["openssl", "gnutls", "java", "bouncycastle", "go", "nss", "rustls-webpki", "pyhanko", "nginx+curl"] as const;

export type ToolName = (typeof tools)[number];

/** Which of the two families of certificates a method is tried on: their CDP names the full CRL, or a shard. */
export function familyOf(method: Method): Family {
  return method === "shard CRL" ? "shard" : "full";
}

export type Family = "full" | "shard";
