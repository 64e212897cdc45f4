import type { KeyAlgorithm } from "../pki/algorithm.ts";

/**
 * What a signature is for. The host of the token refuses bytes that are not what the purpose says, and a key whose CKA_LABEL does not
 * name the purpose.
 *
 * - `certificate`: a TBSCertificate without CA:TRUE; `subordinate`: one with CA:TRUE (RFC 5280 §4.1, self-signed roots included)
 * - `crl`: a TBSCertList (RFC 5280 §5.1); `ocsp`: ResponseData (RFC 6960 §4.2.1); `request`: CertificationRequestInfo (RFC 2986 §4.1)
 * - `checkpoint`: a signed-note text of the audit tree; `data`: bytes of a caller of the key service
 * - `binding`: the text of the binding test; `health`: the text of the health check. Neither begins with 0x30.
 */
export type Purpose = "certificate" | "subordinate" | "crl" | "ocsp" | "request" | "checkpoint" | "binding" | "health" | "data";

/** Which key: its CKA_ID (32 hex digits), its algorithm, and the hash that ties it to the database's record. */
export type KeyReference = {
  /** CKA_LABEL of the token that holds it. */
  readonly token: string;
  /** CKA_ID, 16 octets as 32 lower-case hex digits. */
  readonly ckaId: string;
  readonly algorithm: KeyAlgorithm;
  /** SHA-256 of the DER SubjectPublicKeyInfo, lower-case hex. */
  readonly spkiSha256: string;
};

/** What is to be generated. The CKA_ID comes from a durable intent and is never reused. */
export type KeySpecification = {
  readonly ckaId: string;
  readonly name: string;
  readonly algorithm: KeyAlgorithm;
  readonly purposes: readonly Purpose[];
};

/** A PKCS#11 attribute read back from the token: its value as text, or "unknown" where the module does not know it, never "yes". */
export type KeyEvidence = Readonly<Record<string, string>>;

/** A key pair as it stands in the token. */
export type TokenKey = {
  /** DER SubjectPublicKeyInfo, built from CKA_EC_POINT or CKA_MODULUS and CKA_PUBLIC_EXPONENT. */
  readonly spki: Uint8Array<ArrayBuffer>;
  readonly evidence: KeyEvidence;
};

/** Which half of a pair a find by CKA_ID saw. */
export type FoundKey = { readonly privateKeys: number; readonly publicKeys: number };

/**
 * Order in which waiting signatures are served: CRLs, then answers about status, then issuing, then background. Each has a queue of its own,
 * and one of each is served now and then whatever waits before it.
 */
export type Priority = "crl" | "status" | "issue" | "background";

/**
 * One token, reached through its host process. Calls may be made concurrently; the host serves them with a pool of sessions.
 *
 * Contract: `sign` returns a signature as it stands in a certificate (ECDSA: DER SEQUENCE of two INTEGERs; RSA: octets), not yet
 * verified: the caller verifies with the recorded public key. A call is retried once inside where its class allows; after that
 * it fails with Fault `hsmUnavailable` (device, deadline, breaker open, key missing) or `busy` (its queue full), never later than its deadline.
 * A Fault `internal` is a refusal by the host itself (wrong purpose, wrong bytes, no administration): nothing was done.
 */
export type Hsm = AsyncDisposable & {
  /** CKA_LABEL of the token. */
  readonly token: string;
  /** Whether `generate` and `destroy` are served; the host refuses them otherwise. */
  readonly administration: boolean;
  /** Signs the whole `bytes`; the host hashes them. */
  sign(key: KeyReference, purpose: Purpose, bytes: Uint8Array, priority?: Priority): Promise<Uint8Array<ArrayBuffer>>;
  /**
   * Signs what `parts` give, one after the other, without ever holding the whole: they go to the host as it takes them, and the host hashes
   * and checks them on the way. A TBSCertList alone is long enough for that; it is served as `crl`. The deadline counts for each part, not for the whole, and
   * nothing is asked again: a host that ends in between fails the call. When `parts` throw, the call fails with that and nothing is signed.
   */
  signParts(key: KeyReference, purpose: "crl", parts: AsyncIterable<Uint8Array>): Promise<Uint8Array<ArrayBuffer>>;
  /** Generates a pair with the attributes of a CA key, reads every one back and destroys both halves where one deviates. */
  generate(specification: KeySpecification): Promise<TokenKey>;
  /** Reads a pair's SPKI and attributes; undefined when no pair has this CKA_ID. */
  read(ckaId: string): Promise<TokenKey | undefined>;
  /** Counts the objects that have this CKA_ID. */
  find(ckaId: string): Promise<FoundKey>;
  /** CKA_ID of every private key of the token. */
  list(): Promise<readonly string[]>;
  /** Destroys private half, then public half, then finds nothing: resolves only when nothing has this CKA_ID any more. */
  destroy(ckaId: string): Promise<void>;
  /** Discards the host and starts another: asked for by who saw a signature that does not verify. */
  replaceHost(reason: string): void;
  /**
   * From now on signs the health text with this key every few seconds and verifies it under `spki`: the only evidence of readiness.
   * Called once, when the health key's record has been read.
   */
  watch(key: KeyReference, spki: Uint8Array): void;
  /** Whether signatures can be had: age of the last verified health signature, breaker, queue. Never waits for the token. */
  health(): HsmHealth;
};

export type HsmHealth = {
  readonly ready: boolean;
  /** A sentence for the operator: why not ready, or what shows that it is. */
  readonly detail: string;
  /** Time since the last verified health signature was made; absent before the first. */
  readonly ageSeconds?: number;
  readonly queued: number;
  readonly sessions: number;
};
