/** What an ACME client may be able to do, in the order of the matrix. */
export const abilities = [
  "register",
  "EAB",
  "http-01",
  "dns-01",
  "tls-alpn-01",
  "several names",
  "wildcard",
  "IP",
  "ARI",
  "key roll-over",
  "revoke",
  "deactivate",
] as const;

/** Passes of their own: good nonces refused, one of two instances restarted again and again, and the token away in the middle of an order. */
export const passes = ["nonces refused", "restarts", "HSM away"] as const;

export type Ability = (typeof abilities)[number];

/** The clients without which a run proves too little: apt, pip, npm and Go bring them in a few minutes. */
export const fixedClients = [
  "certbot",
  "certbot (Debian)",
  "lego",
  "lego (Debian)",
  "dehydrated",
  "uacme",
  "lacme",
  "acme-tiny",
  "mod_md",
  "Caddy (Debian)",
  "acme-client",
  "x/crypto/acme",
  "acmez",
  "cert-manager",
] as const;

/** Clients that take minutes to build: they run where `node conformance/acme/build-cached.ts` has put them into the cache. */
export const cachedClients = ["instant-acme", "acme4j", "Caddy"] as const;

export type ClientName = (typeof fixedClients)[number] | (typeof cachedClients)[number];
