/** What an ACME directory serves: one URL space with rules of its own. Configuration; frozen at the start. */
export type Directory = {
  /** Stands in every URL: lower-case letters, digits and hyphens. */
  readonly name: string;
  /** Of its accounts, and of the certificates they get; an external account key may narrow it. */
  readonly namespace: string;
  /** The profile of every certificate. */
  readonly profile: string;
  readonly identifiers: IdentifierPolicy;
  /** The challenges that are offered, in this order, where the identifier allows them. */
  readonly challengeTypes: readonly ChallengeType[];
  readonly externalAccountRequired: boolean;
  /** URL of the terms that a new account must agree to. */
  readonly termsOfService?: string;
  /** Whether changed terms must be agreed to before a new order (RFC 8555 §7.3.3). */
  readonly renewedConsent: boolean;
  readonly website?: string;
  readonly limits: Limits;
};

/** Which identifiers may stand in an order. */
export type IdentifierPolicy = {
  /** `example.org`: that name; `.example.org`: every name below it, and so `*.example.org`; `*`: every name. */
  readonly names: readonly string[];
  readonly wildcards: boolean;
  /** Whether names of one label are taken, `localhost` among them. */
  readonly singleLabels: boolean;
  /** CIDR. */
  readonly ipRanges: readonly string[];
};

/** How much of something is taken before more is refused with `rateLimited`; no limit where one is absent. */
export type Limits = {
  /** By IPv4 address or IPv6 /48. */
  readonly newAccountsPerAddress?: Limit;
  readonly newOrdersPerAccount?: Limit;
  /** Changes of its key and of its contacts, by account: each key that an account had is kept out of certificates for good. */
  readonly accountUpdates?: Limit;
  /** By account and name. */
  readonly failedValidations?: Limit;
  /** By account and set of identifiers. */
  readonly certificatesPerNames?: Limit;
};

/** A bucket of `count` that refills evenly in `seconds`. */
export type Limit = { readonly count: number; readonly seconds: number };

/** @see RFC 8555 §8.3, §8.4; RFC 8737 §3 */
export type ChallengeType = "http-01" | "dns-01" | "tls-alpn-01";
