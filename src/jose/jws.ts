import { verify } from "node:crypto";
import { Fault } from "../fault.ts";
import { ecdsaDer } from "../pki/algorithm.ts";
import { decodeBase64url } from "./base64url.ts";
import { isJsonObject, readJson, type Json, type JsonObject } from "./json.ts";
import type { AccountKey } from "./jwk.ts";

/** Names of signature algorithms that are taken; Ed25519 stands beside its older name. @see RFC 7518 §3.1, RFC 9864 §2.2 */
export const jwsAlgorithms = ["RS256", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"] as const;
/** One of `jwsAlgorithms`. */
export type JwsAlgorithm = (typeof jwsAlgorithms)[number];

/** What ACME reads of a protected header. */
export type ProtectedHeader = {
  readonly alg: string;
  readonly kid?: string;
  readonly jwk?: JsonObject;
  readonly nonce?: string;
  readonly url?: string;
};

/** A JWS whose form is good and whose signature nobody has looked at. */
export type Jws = {
  readonly protected: ProtectedHeader;
  /** Decoded; empty for POST-as-GET. */
  readonly payload: Uint8Array;
  /** Decoded; at least one octet. */
  readonly signature: Uint8Array;
  /** The octets that are signed: both texts as they came, with a full stop between. */
  readonly signingInput: Uint8Array;
};

/**
 * The one JWS that `bytes` holds, in the flattened JSON serialization.
 * @throws Fault `malformed`
 * @see RFC 7515 §7.2.2, RFC 8555 §6.2
 */
export function parseJws(bytes: Uint8Array): Jws {
  return jwsFromJson(readJson(bytes));
}

/**
 * The JWS that a JSON value is, as in `externalAccountBinding`: members `protected`, `payload` and `signature`, and no others that mean
 * something. Everything signed is protected; members that we do not know are ignored, as RFC 7515 §7.2.1 asks.
 * @throws Fault `malformed`
 * @see RFC 8555 §6.2 and §7.3.4
 */
export function jwsFromJson(value: Json): Jws {
  if (!isJsonObject(value)) throw new Fault("malformed", "the JWS is not a JSON object (RFC 8555 §6.2)");
  for (const name of ["header", "signatures"])
    if (name in value) throw new Fault("malformed", `the JWS has the member "${name}", which RFC 8555 §6.2 forbids`);
  const header = member(value, "protected");
  const payload = member(value, "payload");
  const signature = decodeBase64url(member(value, "signature"), "the signature");
  if (signature.length === 0) throw new Fault("malformed", "the signature is empty");
  return {
    protected: readHeader(decodeBase64url(header, "the protected header")),
    payload: decodeBase64url(payload, "the payload"),
    signature,
    signingInput: Buffer.from(`${header}.${payload}`, "latin1"),
  };
}

/**
 * `alg` as one of `jwsAlgorithms`.
 * @throws Fault `badSignatureAlgorithm` with the member `algorithms`. @see RFC 8555 §6.2
 */
export function requireAlgorithm(alg: string): JwsAlgorithm {
  const known = jwsAlgorithms.find((name) => name === alg);
  if (known !== undefined) return known;
  const detail = `the algorithm of the JWS is not one of ${jwsAlgorithms.join(", ")}`;
  throw new Fault("badSignatureAlgorithm", detail, { members: { algorithms: jwsAlgorithms } });
}

/**
 * Resolves when the signature is this key's, verified off the event loop; which algorithm that takes, the key decides.
 * @param options.mismatch the code for an algorithm that the key does not sign with; by default `badPublicKey` when the JWS brings its
 *   `jwk`, else `badSignatureAlgorithm`.
 * @throws Fault `malformed` when it is not, `badSignatureAlgorithm`, `badPublicKey`
 * @see RFC 7515 §5.2, RFC 7518 §3, RFC 8037 §3.1
 */
export async function verifyJws(
  jws: Jws,
  key: AccountKey,
  options: { readonly mismatch?: "badPublicKey" | "badSignatureAlgorithm" } = {},
): Promise<void> {
  const algorithm = requireAlgorithm(jws.protected.alg);
  if (!key.algorithms.includes(algorithm)) {
    const code = options.mismatch ?? (jws.protected.jwk === undefined ? "badSignatureAlgorithm" : "badPublicKey");
    const detail = `the algorithm of the JWS is ${algorithm}; its key signs with ${key.algorithms.join(" or ")}`;
    throw new Fault(code, detail, code === "badPublicKey" ? {} : { members: { algorithms: key.algorithms } });
  }
  const signature = algorithm in scalars ? ecdsaSignature(algorithm as keyof typeof scalars, jws.signature) : jws.signature; // `in` is the proof
  if (!(await verifies(hashes[algorithm], jws.signingInput, key, signature)))
    throw new Fault("malformed", "the signature does not verify with the key of the JWS");
}

const hashes = { RS256: "sha256", ES256: "sha256", ES384: "sha384", ES512: "sha512", EdDSA: null, Ed25519: null } as const;

// Octets of r and of s, and the order of the curve's group, below which both are (SEC 2 §2.4.2, §2.5.1, §2.6.1).
const scalars = {
  ES256: { octets: 32, order: scalar(32, 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n) },
  ES384: {
    octets: 48,
    order: scalar(48, 0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973n),
  },
  ES512: {
    octets: 66,
    order: scalar(
      66,
      0x1fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409n,
    ),
  },
} as const;

function scalar(octets: number, value: bigint): Buffer {
  return Buffer.from(value.toString(16).padStart(2 * octets, "0"), "hex");
}

// RFC 7518 §3.4: r ‖ s, each as long as the order. As DER, which is what goes into `verify` without options.
function ecdsaSignature(algorithm: keyof typeof scalars, rs: Uint8Array): Uint8Array {
  const { octets, order } = scalars[algorithm];
  if (rs.length !== 2 * octets)
    throw new Fault("malformed", `the signature does not verify: it has ${rs.length} octets, and r and s of ${algorithm} ${2 * octets}`);
  for (const half of [rs.subarray(0, octets), rs.subarray(octets)])
    if (half.every((octet) => octet === 0) || Buffer.compare(half, order) >= 0)
      throw new Fault("malformed", "the signature does not verify: r or s is not between 1 and n − 1");
  return ecdsaDer(rs);
}

function verifies(hash: string | null, data: Uint8Array, key: AccountKey, signature: Uint8Array): Promise<boolean> {
  return new Promise((resolve, reject) => {
    // A bare KeyObject and no options: with any, Node throws and catches TypeErrors inside, four times the main thread's time.
    verify(hash, data, key.keyObject, signature, (error, valid) => (error instanceof Error ? reject(error) : resolve(valid)));
  });
}

function member(jws: JsonObject, name: string): string {
  const value = jws[name];
  if (typeof value === "string") return value;
  throw new Fault("malformed", `the member "${name}" of the JWS is ${value === undefined ? "missing" : "not a string"}`);
}

function readHeader(bytes: Uint8Array): ProtectedHeader {
  const header = readHeaderJson(bytes);
  if (!isJsonObject(header)) throw new Fault("malformed", "the protected header is not a JSON object");
  // What these ask for we would have to do, and RFC 8555 §6.2 forbids the second: RFC 7515 §4.1.11, RFC 7797 §3.
  for (const name of ["crit", "b64"])
    if (name in header) throw new Fault("malformed", `the protected header has the member "${name}", which is not accepted`);
  const alg = parameter(header, "alg");
  if (alg === undefined) throw new Fault("malformed", 'the protected header lacks the member "alg"');
  const { jwk } = header;
  if (jwk !== undefined && !isJsonObject(jwk)) throw new Fault("malformed", 'the member "jwk" of the protected header is not an object');
  const [kid, nonce, url] = [parameter(header, "kid"), parameter(header, "nonce"), parameter(header, "url")];
  return {
    alg,
    ...(kid === undefined ? {} : { kid }),
    ...(jwk === undefined ? {} : { jwk }),
    ...(nonce === undefined ? {} : { nonce }),
    ...(url === undefined ? {} : { url }),
  };
}

function readHeaderJson(bytes: Uint8Array): Json {
  try {
    return readJson(bytes);
  } catch (error) {
    throw error instanceof Fault ? new Fault(error.code, `the protected header: ${error.detail}`, { cause: error }) : error;
  }
}

function parameter(header: JsonObject, name: string): string | undefined {
  const value = header[name];
  if (value === undefined || typeof value === "string") return value;
  throw new Fault("malformed", `the member "${name}" of the protected header is not a string`);
}
