import { createHash, createPublicKey, type KeyObject } from "node:crypto";
import { Fault } from "../fault.ts";
import { bitLength, spkiFromRsa, spkiSha256 } from "../pki/algorithm.ts";
import { bitString, objectIdentifier, sequence, type Der } from "../pki/der-writer.ts";
import { ed25519Violations } from "../pki/ed25519.ts";
import { pointViolations, rsaViolations } from "../pki/key-policy.ts";
import { oid } from "../pki/oid.ts";
import { publishedIn } from "../pki/published-keys.ts";
import { decodeBase64url } from "./base64url.ts";
import { isJsonObject, type Json, type JsonObject } from "./json.ts";
import type { JwsAlgorithm } from "./jws.ts";

/** A public key that signs JWS. Immutable; may be shared and kept. */
export type AccountKey = {
  /** Its required members alone, in the order of RFC 7638 §3.2. */
  readonly jwk: JsonObject;
  /** RFC 7638 thumbprint: base64url of SHA-256, 43 characters. */
  readonly thumbprint: string;
  /** DER SubjectPublicKeyInfo. */
  readonly spki: Uint8Array;
  /** SHA-256 of `spki`, 64 lower-case hex digits. */
  readonly spkiSha256: string;
  /** Those that this key may sign with. */
  readonly algorithms: readonly JwsAlgorithm[];
  readonly keyObject: KeyObject;
};

/**
 * The key of a JWK, once it is found good: RSA of 2048 to 8192 bits, P-256, P-384, P-521 or Ed25519, by the rules of `pki/key-policy.ts`.
 * Members that say nothing about the key itself are ignored. Whether an RSA modulus is a prime is asked apart: `refusePrimeModulus`.
 * @throws Fault `malformed` when it is no object, or a member is missing or has another form; `badPublicKey` for a key that is not taken.
 * @see RFC 7517 §4, RFC 7518 §6, RFC 8037 §2
 */
export function parseJwk(value: Json): AccountKey {
  if (!isJsonObject(value)) throw new Fault("malformed", "the JWK is not a JSON object");
  refusePrivateMembers(value);
  const key = readPublicKey(value);
  const algorithms = allowedAlgorithms(value, key.algorithms);
  const source = publishedIn(spkiSha256(key.spki));
  const broken = [...key.violations(), ...(source === undefined ? [] : [`the private key is published in ${source}`])];
  if (broken.length > 0) throw new Fault("badPublicKey", broken.join("; "));
  return accountKey(key, algorithms);
}

/**
 * The key whose `jwk` was kept from an AccountKey. It is imported and not judged again; what the JWK's `alg` had ruled out is forgotten.
 * Whatever brought it, a signature of it is verified within two milliseconds: RSA has up to 8192 bits, and an exponent of up to 32.
 * @throws Fault `internal` when it is no such JWK.
 */
export function storedKey(jwk: JsonObject): AccountKey {
  try {
    const key = readPublicKey(jwk);
    if (!key.bounded) throw new Fault("badPublicKey", "the RSA key is longer than any that is used");
    return accountKey(key, key.algorithms);
  } catch (cause) {
    throw new Fault("internal", "a stored account key is not usable", { cause });
  }
}

/**
 * Refuses an RSA key whose modulus is a prime, so that its private key follows from the public one. For the request that brings a key, once,
 * after everything that costs less: `modulusIsPrime`, which is asked of RSA keys alone, takes up to 140 ms of a processor.
 * @throws Fault `badPublicKey`, and what `modulusIsPrime` throws
 */
export async function refusePrimeModulus(key: AccountKey, modulusIsPrime: (spki: Uint8Array) => Promise<boolean>): Promise<void> {
  if (key.jwk["kty"] === "RSA" && (await modulusIsPrime(key.spki))) throw new Fault("badPublicKey", "the RSA modulus is a prime");
}

/** Longest RSA modulus of an account key. Only verified with, never certified: longer than a certificate's may be. */
const maximumRsaBits = 8192;
/** A verification takes as many squarings: with an exponent as long as the modulus it would cost what a signature does. */
const maximumExponentBits = 32;

// RFC 7518 §6.2.2, §6.3.2, §6.4; RFC 8037 §2
const privateMembers = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

// A key whose private half came here is in the hands of others, whether or not we keep it.
function refusePrivateMembers(jwk: JsonObject): void {
  const found = privateMembers.find((name) => name in jwk);
  if (found !== undefined) throw new Fault("badPublicKey", `the JWK has the member "${found}" of a private or secret key`);
}

// A JWK that says what it is for is taken at its word. A public half that a library exported beside `sign` is for verifying.
function allowedAlgorithms(jwk: JsonObject, fitting: readonly JwsAlgorithm[]): readonly JwsAlgorithm[] {
  const { use, key_ops: operations, alg } = jwk;
  if (use !== undefined && use !== "sig") throw new Fault("badPublicKey", 'the member "use" of the JWK is not "sig"');
  if (operations !== undefined && !(Array.isArray(operations) && operations.some((name) => name === "verify" || name === "sign")))
    throw new Fault("badPublicKey", 'the member "key_ops" of the JWK does not list "verify"');
  if (alg === undefined) return fitting;
  const allowed = fitting.filter((algorithm) => algorithm === alg);
  if (allowed.length === 0) throw new Fault("badPublicKey", `the member "alg" of the JWK is not ${fitting.join(" or ")}`);
  return allowed;
}

type PublicKey = {
  /** Required members in lexicographic order. */
  readonly members: Readonly<Record<string, string>>;
  readonly spki: Der;
  readonly algorithms: readonly JwsAlgorithm[];
  readonly violations: () => string[];
  /** Whether a signature is verified in little time, however weak the key is. */
  readonly bounded: boolean;
};

function readPublicKey(jwk: JsonObject): PublicKey {
  const kty = text(jwk, "kty");
  if (kty === "RSA") return readRsa(jwk);
  if (kty === "EC") return readEc(jwk);
  if (kty === "OKP") return readOkp(jwk);
  throw new Fault("badPublicKey", 'the key type "kty" of the JWK is not RSA, EC or OKP');
}

function readRsa(jwk: JsonObject): PublicKey {
  const [e, n] = [text(jwk, "e"), text(jwk, "n")];
  const [exponent, modulus] = [unsigned(e, "e"), unsigned(n, "n")];
  return {
    members: { e, kty: "RSA", n },
    spki: spkiFromRsa(modulus, exponent),
    algorithms: ["RS256"],
    violations: () => rsaViolations(modulus, exponent, maximumRsaBits),
    bounded: bitLength(modulus) <= maximumRsaBits && bitLength(exponent) <= maximumExponentBits,
  };
}

const curves = {
  "P-256": { octets: 32, algorithm: "ES256", identifier: curveIdentifier(oid.prime256v1) },
  "P-384": { octets: 48, algorithm: "ES384", identifier: curveIdentifier(oid.secp384r1) },
  "P-521": { octets: 66, algorithm: "ES512", identifier: curveIdentifier(oid.secp521r1) },
} as const;

function curveIdentifier(curve: string): Der {
  return sequence(objectIdentifier(oid.ecPublicKey), objectIdentifier(curve));
}

function readEc(jwk: JsonObject): PublicKey {
  const crv = text(jwk, "crv");
  if (crv !== "P-256" && crv !== "P-384" && crv !== "P-521")
    throw new Fault("badPublicKey", 'the curve "crv" of the EC key is not P-256, P-384 or P-521');
  const { octets, algorithm, identifier } = curves[crv];
  const [x, y] = [text(jwk, "x"), text(jwk, "y")];
  const point = Uint8Array.of(4, ...coordinate(x, "x", octets), ...coordinate(y, "y", octets));
  return {
    members: { crv, kty: "EC", x, y },
    spki: sequence(identifier, bitString(point)),
    algorithms: [algorithm],
    violations: () => pointViolations(crv, point),
    bounded: true,
  };
}

const ed25519Identifier = sequence(objectIdentifier(oid.ed25519));

function readOkp(jwk: JsonObject): PublicKey {
  if (text(jwk, "crv") !== "Ed25519") throw new Fault("badPublicKey", 'the curve "crv" of the OKP key is not Ed25519');
  const x = text(jwk, "x");
  const point = coordinate(x, "x", 32);
  return {
    members: { crv: "Ed25519", kty: "OKP", x },
    spki: sequence(ed25519Identifier, bitString(point)),
    algorithms: ["EdDSA", "Ed25519"],
    violations: () => ed25519Violations(point),
    bounded: true,
  };
}

function text(jwk: JsonObject, name: string): string {
  const value = jwk[name];
  if (typeof value === "string") return value;
  throw new Fault("malformed", `the member "${name}" of the JWK is ${value === undefined ? "missing" : "not a string"}`);
}

// RFC 7518 §6.2.1.2: always as long as the field, leading zeros included.
function coordinate(value: string, name: string, octets: number): Uint8Array {
  const decoded = decodeBase64url(value, `the member "${name}" of the JWK`);
  if (decoded.length !== octets)
    throw new Fault("badPublicKey", `the member "${name}" of the JWK has ${decoded.length} octets; this curve takes ${octets}`);
  return decoded;
}

// RFC 7518 §2, Base64urlUInt: as few octets as hold the number.
function unsigned(value: string, name: string): Uint8Array {
  const decoded = decodeBase64url(value, `the member "${name}" of the JWK`);
  if (decoded.length === 0 || (decoded.length > 1 && decoded[0] === 0))
    throw new Fault("malformed", `the member "${name}" of the JWK is not a number in as few octets as hold it (RFC 7518 §2)`);
  return decoded;
}

function accountKey(key: PublicKey, algorithms: readonly JwsAlgorithm[]): AccountKey {
  return {
    jwk: Object.assign(Object.create(null), key.members),
    // The members stand in lexicographic order, and base64url needs no escape: this is the text of RFC 7638 §3.
    thumbprint: createHash("sha256").update(JSON.stringify(key.members)).digest("base64url"),
    spki: key.spki,
    spkiSha256: spkiSha256(key.spki),
    algorithms,
    keyObject: imported(key.spki),
  };
}

// PEM is imported in half the time that a JWK or DER takes.
function imported(spki: Der): KeyObject {
  try {
    return createPublicKey(`-----BEGIN PUBLIC KEY-----\n${Buffer.from(spki).toString("base64")}\n-----END PUBLIC KEY-----`);
  } catch (cause) {
    throw new Fault("badPublicKey", "the public key is not usable", { cause });
  }
}
