import { createHash } from "node:crypto";
import type { KeyAlgorithm } from "./algorithm.ts";
import type { GeneralName } from "./general-name.ts";

/** Bits of the keyUsage extension in the order of their numbers (RFC 5280 §4.2.1.3). */
export const keyUsageBits = [
  "digitalSignature",
  "nonRepudiation",
  "keyEncipherment",
  "dataEncipherment",
  "keyAgreement",
  "keyCertSign",
  "cRLSign",
  "encipherOnly",
  "decipherOnly",
] as const;

/** A bit of keyUsage. @see RFC 5280 §4.2.1.3 */
export type KeyUsage = (typeof keyUsageBits)[number];

/** A purpose we put into extendedKeyUsage. @see RFC 5280 §4.2.1.12 */
export type ExtendedKeyUsage = "serverAuth" | "clientAuth" | "OCSPSigning";

/**
 * What a certificate of one kind contains. Data only: its canonical document is hashed, and each certificate is recorded with the hash
 * of the profile it was made from. An old profile is never edited; a changed one is another document.
 */
export type Profile = {
  readonly name: string;
  readonly kind: "end-entity" | "ocsp-responder" | "subordinate" | "root";
  /** Seconds from notBefore to notAfter, both ends counted (RFC 5280 §4.1.2.5). */
  readonly lifetimeSeconds: { readonly default: number; readonly minimum: number; readonly maximum: number };
  /** notBefore lies this many seconds before the time of issuance, for peers whose clock is behind. */
  readonly backdateSeconds: number;
  readonly subject: "empty" | "given";
  readonly names: {
    readonly types: readonly GeneralName["type"][];
    readonly minimum: number;
    readonly maximum: number;
    /** How many of the names may be URIs. */
    readonly uris: number;
    /** Whether a dNSName may begin with "*.". */
    readonly wildcard: boolean;
  };
  readonly keyAlgorithms: readonly ("P-256" | "P-384" | "RSA")[];
  readonly keyUsage: readonly KeyUsage[];
  /** keyUsage of an RSA key, where it differs: only RSA keys can encipher (RFC 8813 §3). */
  readonly rsaKeyUsage?: readonly KeyUsage[];
  /** Absent from the certificate when empty. */
  readonly extendedKeyUsage: readonly ExtendedKeyUsage[];
  /** pathLenConstraint of a CA certificate; absent: no limit. */
  readonly pathLength?: number;
  /** Access methods, in the order in which they stand in the extension. */
  readonly authorityInfoAccess: readonly ("ocsp" | "caIssuers")[];
  readonly crlDistributionPoint: boolean;
  /** In how many shards of the issuer's CRL its certificates fall; absent: they name the full CRL. */
  readonly crlShards?: number;
  readonly subjectKeyIdentifier: boolean;
  /** id-pkix-ocsp-nocheck (RFC 6960 §4.2.2.2.1). */
  readonly ocspNoCheck: boolean;
};

const hour = 3_600;
const day = 86_400;

const leaf = {
  kind: "end-entity",
  backdateSeconds: 300,
  subject: "empty",
  keyAlgorithms: ["P-256", "P-384", "RSA"],
  keyUsage: ["digitalSignature"],
  authorityInfoAccess: ["ocsp", "caIssuers"],
  crlDistributionPoint: true,
  subjectKeyIdentifier: false,
  ocspNoCheck: false,
} as const satisfies Partial<Profile>;

const authority = {
  backdateSeconds: 300,
  subject: "given",
  names: { types: [], minimum: 0, maximum: 0, uris: 0, wildcard: false },
  keyAlgorithms: ["P-256", "P-384", "RSA"],
  // Without digitalSignature the key signs no OCSP response: a delegated responder does (RFC 6960 §4.2.2.2).
  keyUsage: ["keyCertSign", "cRLSign"],
  extendedKeyUsage: [],
  subjectKeyIdentifier: true,
  ocspNoCheck: false,
} as const satisfies Partial<Profile>;

/** The profiles the service comes with: all for a private trust anchor (RFC 5280 and our policy). Frozen through and through. */
export const builtInProfiles: readonly Profile[] = freeze([
  {
    ...leaf,
    name: "server",
    lifetimeSeconds: { default: 90 * day, minimum: hour, maximum: 90 * day },
    names: { types: ["dns", "ip"], minimum: 1, maximum: 100, uris: 0, wildcard: true },
    rsaKeyUsage: ["digitalSignature", "keyEncipherment"],
    extendedKeyUsage: ["serverAuth"],
  },
  {
    ...leaf,
    name: "client",
    lifetimeSeconds: { default: 90 * day, minimum: hour, maximum: 90 * day },
    names: { types: ["dns", "ip", "uri"], minimum: 1, maximum: 100, uris: 1, wildcard: false },
    extendedKeyUsage: ["clientAuth"],
  },
  {
    ...leaf,
    name: "mtls",
    lifetimeSeconds: { default: 24 * hour, minimum: hour, maximum: 24 * hour },
    names: { types: ["dns", "ip", "uri"], minimum: 1, maximum: 100, uris: 1, wildcard: false },
    extendedKeyUsage: ["serverAuth", "clientAuth"],
  },
  {
    ...authority,
    name: "root",
    kind: "root",
    lifetimeSeconds: { default: 3_650 * day, minimum: 2_922 * day, maximum: 9_132 * day },
    authorityInfoAccess: [],
    crlDistributionPoint: false,
  },
  {
    ...authority,
    name: "subordinate",
    kind: "subordinate",
    lifetimeSeconds: { default: 1_825 * day, minimum: 90 * day, maximum: 3_650 * day },
    pathLength: 0,
    authorityInfoAccess: ["caIssuers"],
    crlDistributionPoint: true,
  },
  {
    ...authority,
    name: "ocsp-responder",
    kind: "ocsp-responder",
    lifetimeSeconds: { default: 30 * day, minimum: 30 * day, maximum: 90 * day },
    // A response is signed faster by P-256 than by any other key, whatever signs the certificates.
    keyAlgorithms: ["P-256"],
    keyUsage: ["digitalSignature"],
    extendedKeyUsage: ["OCSPSigning"],
    authorityInfoAccess: [],
    // With nocheck nobody asks for the responder's own status, so no place to ask is named (RFC 6960 §4.2.2.2.1).
    crlDistributionPoint: false,
    ocspNoCheck: true,
  },
]);

/** The built-in profile of that name, or undefined. */
export function profileByName(name: string): Profile | undefined {
  return builtInProfiles.find((profile) => profile.name === name);
}

/** The profile as canonical JSON: members sorted by name, no white space, absent members absent. What `profileSha256` hashes. */
export function profileDocument(profile: Profile): string {
  return canonicalJson(profile);
}

/**
 * The shard of the issuer's CRL that a certificate of this profile falls into; undefined: it names the full CRL. Decided once, when the serial
 * number is drawn, and kept with the certificate: another count later moves none.
 * @param serial hex digits, eight at least, of which the last are random.
 */
export function crlShardOf({ crlShards }: Profile, serial: string): number | undefined {
  return crlShards === undefined ? undefined : Number.parseInt(serial.slice(-8), 16) % crlShards;
}

/** SHA-256 of the profile's document in UTF-8, lower-case hex: the profile's identity. */
export function profileSha256(profile: Profile): string {
  return createHash("sha256").update(profileDocument(profile), "utf8").digest("hex");
}

/** Which keyUsage the profile gives a key of that algorithm. */
export function keyUsageFor(profile: Profile, keyAlgorithm: KeyAlgorithm): readonly KeyUsage[] {
  return (keyFamily(keyAlgorithm) === "RSA" ? profile.rsaKeyUsage : undefined) ?? profile.keyUsage;
}

/** Whether the profile certifies a key of that algorithm; RSA from 2048 to 4096 bits, a multiple of 8. */
export function allowsKey(profile: Profile, keyAlgorithm: KeyAlgorithm): boolean {
  const family = keyFamily(keyAlgorithm);
  return profile.keyAlgorithms.includes(family) && (family !== "RSA" || isAllowedModulus(keyAlgorithm));
}

/** What a request asks for, already parsed and canonical. */
export type ProfileRequest = {
  readonly names: readonly GeneralName[];
  readonly keyAlgorithm: KeyAlgorithm;
  readonly lifetimeSeconds: number;
};

/** One thing of a request that its profile does not allow, with the value and the limit. */
export type Violation = { readonly code: "policyDenied" | "lifetimeOutOfRange" | "badCSR"; readonly detail: string };

/** Everything in the request that the profile does not allow; empty when the certificate may be made. */
export function violations(profile: Profile, { names, keyAlgorithm, lifetimeSeconds }: ProfileRequest): Violation[] {
  return [
    ...lifetimeViolations(profile, lifetimeSeconds),
    ...keyAlgorithmViolations(profile, keyAlgorithm),
    ...nameViolations(profile, names),
  ];
}

function lifetimeViolations(profile: Profile, seconds: number): Violation[] {
  const { minimum, maximum } = profile.lifetimeSeconds;
  if (Number.isInteger(seconds) && seconds >= minimum && seconds <= maximum) return [];
  const detail = `lifetimeSeconds is ${seconds}; profile ${profile.name} allows whole numbers from ${minimum} to ${maximum}`;
  return [{ code: "lifetimeOutOfRange", detail }];
}

function keyAlgorithmViolations(profile: Profile, keyAlgorithm: KeyAlgorithm): Violation[] {
  if (allowsKey(profile, keyAlgorithm)) return [];
  const allowed = profile.keyAlgorithms.map((name) => (name === "RSA" ? "RSA of 2048 to 4096 bits" : name)).join(", ");
  return [{ code: "badCSR", detail: `the key is ${keyAlgorithm}; profile ${profile.name} allows ${allowed}` }];
}

function nameViolations(profile: Profile, names: readonly GeneralName[]): Violation[] {
  const { types, minimum, maximum, uris, wildcard } = profile.names;
  const found: Violation[] = [];
  if (names.length < minimum && names.length === 0) {
    found.push({ code: "badCSR", detail: `subjectAltName has no name; profile ${profile.name} needs ${minimum} or more` });
  } else if (names.length < minimum || names.length > maximum) {
    const detail = `subjectAltName has ${names.length} names; profile ${profile.name} allows ${minimum} to ${maximum}`;
    found.push({ code: "badCSR", detail });
  }
  const seen = new Set<string>();
  for (const { type, value } of names) {
    if (!types.includes(type))
      found.push({ code: "policyDenied", detail: `profile ${profile.name} allows no name of type ${type}: ${value}` });
    if (type === "dns" && value.startsWith("*.") && !wildcard) {
      found.push({ code: "policyDenied", detail: `profile ${profile.name} allows no wildcard: ${value}` });
    }
    if (seen.has(`${type}:${value}`)) found.push({ code: "badCSR", detail: `${type} name ${value} occurs twice in subjectAltName` });
    seen.add(`${type}:${value}`);
  }
  const uriCount = names.filter(({ type }) => type === "uri").length;
  if (types.includes("uri") && uriCount > uris) {
    found.push({ code: "badCSR", detail: `subjectAltName has ${uriCount} URIs; profile ${profile.name} allows ${uris}` });
  }
  return found;
}

function keyFamily(keyAlgorithm: KeyAlgorithm): "P-256" | "P-384" | "RSA" {
  return keyAlgorithm === "P-256" || keyAlgorithm === "P-384" ? keyAlgorithm : "RSA";
}

function isAllowedModulus(keyAlgorithm: KeyAlgorithm): boolean {
  const bits = Number(keyAlgorithm.slice("RSA-".length));
  return bits >= 2_048 && bits <= 4_096 && bits % 8 === 0;
}

function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const members = Object.entries(value).toSorted(([left], [right]) => (left < right ? -1 : 1));
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${canonicalJson(member)}`).join(",")}}`;
}

function freeze<T extends object>(value: T): T {
  for (const member of Object.values(value)) if (typeof member === "object" && member !== null) freeze(member);
  return Object.freeze(value);
}
