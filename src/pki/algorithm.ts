import { createHash, createPublicKey, createVerify, hash, verify, type KeyObject } from "node:crypto";
import { Fault } from "../fault.ts";
import { bytesOf, fieldsOf, readDer, tag, type DerValue } from "./der.ts";
import { readBitString, readOid, readUnsigned } from "./der-field.ts";
import { bitString, encode, nullValue, objectIdentifier, sequence, unsignedInteger, type Der } from "./der-writer.ts";
import { oid, oidName } from "./oid.ts";
import { hex } from "./hex.ts";

/** A kind of key that we certify or sign with. The number of an RSA key is its modulus length in bits, a multiple of 8 from 2048 to 4096. */
export type KeyAlgorithm = "P-256" | "P-384" | `RSA-${number}`;

/** Signature algorithms under the names of RFC 5758 and RFC 4055. */
export type SignatureAlgorithm =
  | "ecdsa-with-SHA256"
  | "ecdsa-with-SHA384"
  | "ecdsa-with-SHA512"
  | "sha256WithRSAEncryption"
  | "sha384WithRSAEncryption"
  | "sha512WithRSAEncryption";

/** The algorithm that our own key of this kind signs with: the hash fits the curve, PKCS#1 v1.5 with SHA-256 for RSA. */
export function signatureAlgorithm(key: KeyAlgorithm): SignatureAlgorithm {
  if (key === "P-256") return "ecdsa-with-SHA256";
  if (key === "P-384") return "ecdsa-with-SHA384";
  return "sha256WithRSAEncryption";
}

/** Whether a signature of this algorithm can come from a key of this kind. */
export function fits(algorithm: SignatureAlgorithm, key: KeyAlgorithm): boolean {
  return signatures[algorithm].family === (key.startsWith("RSA-") ? "RSA" : "EC");
}

type Signature = { readonly family: "EC" | "RSA"; readonly hash: "sha256" | "sha384" | "sha512"; readonly identifier: Der };

const signatures: Readonly<Record<SignatureAlgorithm, Signature>> = {
  // RFC 5758 §3.2: parameters absent. RFC 4055 §5: parameters NULL.
  "ecdsa-with-SHA256": { family: "EC", hash: "sha256", identifier: sequence(objectIdentifier(oid.ecdsaWithSHA256)) },
  "ecdsa-with-SHA384": { family: "EC", hash: "sha384", identifier: sequence(objectIdentifier(oid.ecdsaWithSHA384)) },
  "ecdsa-with-SHA512": { family: "EC", hash: "sha512", identifier: sequence(objectIdentifier(oid.ecdsaWithSHA512)) },
  sha256WithRSAEncryption: {
    family: "RSA",
    hash: "sha256",
    identifier: sequence(objectIdentifier(oid.sha256WithRSAEncryption), nullValue),
  },
  sha384WithRSAEncryption: {
    family: "RSA",
    hash: "sha384",
    identifier: sequence(objectIdentifier(oid.sha384WithRSAEncryption), nullValue),
  },
  sha512WithRSAEncryption: {
    family: "RSA",
    hash: "sha512",
    identifier: sequence(objectIdentifier(oid.sha512WithRSAEncryption), nullValue),
  },
};

/** DER AlgorithmIdentifier, byte for byte as RFC 5758 §3.2 and RFC 4055 §5 fix it. The caller must not change it. */
export function algorithmIdentifier(algorithm: SignatureAlgorithm): Uint8Array {
  return signatures[algorithm].identifier;
}

/** The algorithm whose one permitted encoding these bytes are; undefined for every other. */
export function parseAlgorithmIdentifier(der: Uint8Array): SignatureAlgorithm | undefined {
  return byIdentifier.get(hex(der));
}

const byIdentifier: ReadonlyMap<string, SignatureAlgorithm> = new Map(
  Object.entries(signatures).map(([name, { identifier }]) => [hex(identifier), name as SignatureAlgorithm]), // keys of a Record<SignatureAlgorithm, …>
);

/** Hash of `data` that a signature of this algorithm signs: 32, 48 or 64 bytes. */
export function digest(algorithm: SignatureAlgorithm, data: Uint8Array): Uint8Array<ArrayBuffer> {
  return hash(signatures[algorithm].hash, data, "buffer");
}

/** As `digest`, of data that comes in parts. */
export function hasher(algorithm: SignatureAlgorithm): { update(data: Uint8Array): void; digest(): Uint8Array<ArrayBuffer> } {
  const running = createHash(signatures[algorithm].hash);
  return { update: (data) => void running.update(data), digest: () => Uint8Array.from(running.digest()) };
}

/** The numbers of a SubjectPublicKeyInfo of a kind that we know, before anything is judged but their encoding. */
export type PublicNumbers =
  { readonly curve: "P-256" | "P-384"; readonly point: Uint8Array } | { readonly modulus: Uint8Array; readonly exponent: Uint8Array };

/**
 * Point or modulus and exponent of a SubjectPublicKeyInfo. The point is the BIT STRING's content, unjudged; modulus and exponent are
 * big-endian without leading zeros. `keyViolations` judges the numbers.
 * @throws Fault `malformed` for other algorithms, explicit curve parameters, negative numbers and bytes that are not DER.
 * @see RFC 5480 §2.1, RFC 3279 §2.3.1
 */
export function publicNumbers(spki: Uint8Array): PublicNumbers {
  const fields = fieldsOf(readDer(spki, "SubjectPublicKeyInfo"), "SubjectPublicKeyInfo");
  const algorithm = fields.next("algorithm");
  const subjectPublicKey = readBitString(fields.next("subjectPublicKey"), "subjectPublicKey");
  fields.end();
  const curve = curves.find(({ identifier }) => identifier === hex(bytesOf(algorithm)));
  if (curve !== undefined) return { curve: curve.name, point: subjectPublicKey };
  if (hex(bytesOf(algorithm)) !== rsaIdentifierHex)
    throw new Fault("malformed", `the public key is ${describeKey(algorithm)}, which is not accepted`);
  const key = fieldsOf(readDer(subjectPublicKey, "RSAPublicKey"), "RSAPublicKey");
  const modulus = readUnsigned(key.next("modulus"), "modulus");
  const exponent = readUnsigned(key.next("publicExponent"), "publicExponent");
  key.end();
  return { modulus, exponent };
}

const rsaIdentifier = sequence(objectIdentifier(oid.rsaEncryption), nullValue);
const rsaIdentifierHex = hex(rsaIdentifier);
const ecIdentifier = (curve: string): Der => sequence(objectIdentifier(oid.ecPublicKey), objectIdentifier(curve));
const curves = [
  { name: "P-256", identifier: hex(ecIdentifier(oid.prime256v1)) },
  { name: "P-384", identifier: hex(ecIdentifier(oid.secp384r1)) },
] as const;

function describeKey(algorithm: DerValue): string {
  const fields = fieldsOf(algorithm, "algorithm");
  const type = oidName(readOid(fields.next("algorithm"), "algorithm"));
  const parameters = fields.optional(tag.objectIdentifier);
  return parameters === undefined ? `${type} with these parameters` : `${type} on the curve ${oidName(readOid(parameters, "namedCurve"))}`;
}

/**
 * Kind of the key in a SubjectPublicKeyInfo.
 * @throws Fault `malformed` when it is not DER, not a kind that we know, a point of the wrong length, or a modulus outside 2048–4096 bits.
 */
export function keyAlgorithm(spki: Uint8Array): KeyAlgorithm {
  const numbers = publicNumbers(spki);
  if ("curve" in numbers) {
    if (numbers.point[0] !== 4 || numbers.point.length !== 1 + 2 * coordinateOctets[numbers.curve]) {
      throw new Fault("malformed", `the public key is not an uncompressed point of ${numbers.curve}`);
    }
    return numbers.curve;
  }
  const bits = bitLength(numbers.modulus);
  if (bits < 2048 || bits > 4096 || bits % 8 !== 0)
    throw new Fault("malformed", `the RSA modulus has ${bits} bits; accepted are multiples of 8 from 2048 to 4096`);
  return `RSA-${bits}`;
}

/** Octets of one coordinate. */
export const coordinateOctets = { "P-256": 32, "P-384": 48 } as const;

/** Bits of a big-endian magnitude without leading zero octets. */
export function bitLength(magnitude: Uint8Array): number {
  return magnitude.length * 8 - (Math.clz32(magnitude[0] ?? 0) - 24);
}

/** SHA-256 of a DER SubjectPublicKeyInfo, 64 lower-case hex digits. */
export function spkiSha256(spki: Uint8Array): string {
  return hash("sha256", spki, "hex");
}

/**
 * DER SubjectPublicKeyInfo of an uncompressed point (0x04, X, Y).
 * @throws Fault `malformed` when the point has another form or length. @see RFC 5480 §2
 */
export function spkiFromEcPoint(curve: "P-256" | "P-384", point: Uint8Array): Der {
  if (point[0] !== 4 || point.length !== 1 + 2 * coordinateOctets[curve])
    throw new Fault("malformed", `not an uncompressed point of ${curve}`);
  return sequence(ecIdentifier(curve === "P-256" ? oid.prime256v1 : oid.secp384r1), bitString(point));
}

/** DER SubjectPublicKeyInfo of an RSA key; both numbers big-endian, leading zeros allowed. @see RFC 3279 §2.3.1 */
export function spkiFromRsa(modulus: Uint8Array, exponent: Uint8Array): Der {
  return sequence(rsaIdentifier, bitString(sequence(unsignedInteger(modulus), unsignedInteger(exponent))));
}

/** A public key ready to verify with. Made by `verificationKey` alone; immutable, may be shared and kept. */
export type VerificationKey = { readonly algorithm: KeyAlgorithm; readonly spki: Uint8Array; readonly keyObject: KeyObject };

/**
 * The key of a SubjectPublicKeyInfo, to verify signatures with. The caller has judged foreign keys with `keyViolations` before.
 * @throws Fault `malformed`
 */
export function verificationKey(spki: Uint8Array): VerificationKey {
  const algorithm = keyAlgorithm(spki);
  try {
    // PEM is imported in half the time that { key, format, type } takes.
    const base64 = Buffer.from(spki).toString("base64");
    return { algorithm, spki, keyObject: createPublicKey(`-----BEGIN PUBLIC KEY-----\n${base64}\n-----END PUBLIC KEY-----`) };
  } catch (cause) {
    throw new Fault("malformed", "the public key is not usable", { cause });
  }
}

/**
 * Whether `signature` is this key's over `data`, verified off the event loop. False, never an error, for an algorithm that is not the
 * key's and for a signature in any but its one strict form: ECDSA as a DER SEQUENCE of r and s from 1 to n − 1, RSA as long as the modulus.
 * @see RFC 5758 §3.2, RFC 3279 §2.2.3, RFC 8017 §8.2.2
 */
export async function verifySignature(
  key: VerificationKey,
  algorithm: SignatureAlgorithm,
  data: Uint8Array,
  signature: Uint8Array,
): Promise<boolean> {
  if (!fits(algorithm, key.algorithm) || !isStrict(signature, key.algorithm)) return false;
  return new Promise((resolve, reject) => {
    // A bare KeyObject and no options: with any, Node throws and catches TypeErrors inside, four times the main thread's time.
    verify(signatures[algorithm].hash, data, key.keyObject, signature, (error, valid) =>
      error instanceof Error ? reject(error) : resolve(valid),
    );
  });
}

/** Verifies a signature over data that comes in parts. */
export type SignatureVerifier = {
  /** Takes the next part; it is not kept. */
  update(part: Uint8Array): void;
  /** As `verifySignature` for all parts together. To be called once, last. */
  verify(signature: Uint8Array): boolean;
};

/** A verifier for one signature under this key, with memory for none of the data. */
export function signatureVerifier(key: VerificationKey, algorithm: SignatureAlgorithm): SignatureVerifier {
  const verifier = createVerify(signatures[algorithm].hash);
  return {
    update: (part) => void verifier.update(part),
    verify: (signature) =>
      fits(algorithm, key.algorithm) && isStrict(signature, key.algorithm) && verifier.verify(key.keyObject, signature),
  };
}

function isStrict(signature: Uint8Array, key: KeyAlgorithm): boolean {
  if (key !== "P-256" && key !== "P-384") return signature.length * 8 === Number(key.slice("RSA-".length));
  try {
    const fields = fieldsOf(readDer(signature, "ECDSA-Sig-Value", { depth: 2, nodes: 3 }), "ECDSA-Sig-Value");
    const scalars = [readUnsigned(fields.next("r"), "r"), readUnsigned(fields.next("s"), "s")];
    fields.end();
    return scalars.every((scalar) => isScalar(scalar, orders[key]));
  } catch {
    return false;
  }
}

// SEC 2 §2.4.2, §2.5.1
const orders = {
  "P-256": Buffer.from("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551", "hex"),
  "P-384": Buffer.from("ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973", "hex"),
} as const;

// 1 ≤ scalar < order. Both are magnitudes without leading zeros, so the shorter is the smaller.
function isScalar(scalar: Uint8Array, order: Uint8Array): boolean {
  if (scalar.length === 1 && scalar[0] === 0) return false;
  if (scalar.length !== order.length) return scalar.length < order.length;
  return Buffer.compare(scalar, order) < 0;
}

/**
 * DER ECDSA-Sig-Value of r ‖ s as a token returns them, each half of the octets, with minimal INTEGERs.
 * @throws Fault `malformed` for an empty or odd length.
 * @see RFC 3279 §2.2.3, PKCS#11 v3.1 §6.3.1
 */
export function ecdsaDer(rs: Uint8Array): Der {
  if (rs.length === 0 || rs.length % 2 !== 0) throw new Fault("malformed", `a signature of ${rs.length} octets is not r ‖ s`);
  const half = rs.length / 2;
  return encode(tag.sequence, unsignedInteger(rs.subarray(0, half)), unsignedInteger(rs.subarray(half)));
}
