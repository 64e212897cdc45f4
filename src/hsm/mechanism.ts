import { Fault } from "../fault.ts";
import { digest, signatureAlgorithm } from "../pki/algorithm.ts";
import type { KeyAlgorithm, SignatureAlgorithm } from "../pki/algorithm.ts";

/** CK_MECHANISM_TYPE and CK_KEY_TYPE numbers that a signing key needs. @see PKCS#11 3.1 §6.1, §6.3 */
export const mechanisms = {
  CKM_RSA_PKCS_KEY_PAIR_GEN: 0x0000,
  CKM_RSA_PKCS: 0x0001,
  CKM_EC_KEY_PAIR_GEN: 0x1040,
  CKM_ECDSA: 0x1041,
  CKM_AES_KEY_GEN: 0x1080,
  CKM_AES_KEY_WRAP_PAD: 0x210a,
} as const;

/** CKA_EC_PARAMS of the curves we use: the DER object identifiers. @see RFC 5480 §2.1.1.1 */
export const curveParameters: Readonly<Record<"P-256" | "P-384", Uint8Array>> = {
  "P-256": Uint8Array.of(0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07),
  "P-384": Uint8Array.of(0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22),
};

/** Modulus length of an RSA algorithm in bits; undefined for a curve. */
export function modulusBits(algorithm: KeyAlgorithm): number | undefined {
  return algorithm.startsWith("RSA-") ? Number(algorithm.slice(4)) : undefined;
}

/** The mechanism with which a key signs: both take the digest, so that the host alone decides what was hashed. */
export function signingMechanism(algorithm: KeyAlgorithm): number {
  return modulusBits(algorithm) === undefined ? mechanisms.CKM_ECDSA : mechanisms.CKM_RSA_PKCS;
}

/** Octets of a signature as the token gives it: r‖s for ECDSA, as long as the modulus for RSA. */
export function signatureLength(algorithm: KeyAlgorithm): number {
  if (algorithm === "P-256") return 64;
  if (algorithm === "P-384") return 96;
  return Number(algorithm.slice(4)) / 8;
}

/** What the token is given to sign `bytes`: their digest, for RSA inside a DigestInfo. */
export function signingInput(algorithm: KeyAlgorithm, bytes: Uint8Array): Uint8Array {
  const signature = signatureAlgorithm(algorithm);
  return inputOfDigest(signature, digest(signature, bytes));
}

/**
 * The token's input for a digest made by `algorithm`'s hash.
 * CKM_ECDSA signs input of any length and truncates it, so a digest of the wrong length is refused here.
 * @throws Fault `internal` when the digest has not the length of the hash.
 * @see RFC 8017 §9.2 note 1 (DigestInfo with NULL parameters)
 */
export function inputOfDigest(algorithm: SignatureAlgorithm, hash: Uint8Array): Uint8Array {
  const { octets, digestInfo } = hashes[algorithm];
  if (hash.length !== octets) throw new Fault("internal", `a digest for ${algorithm} has ${octets} octets, this one ${hash.length}`);
  return digestInfo === undefined ? hash : Buffer.concat([digestInfo, hash]);
}

const hashes: Readonly<Record<SignatureAlgorithm, { readonly octets: number; readonly digestInfo?: Uint8Array }>> = {
  "ecdsa-with-SHA256": { octets: 32 },
  "ecdsa-with-SHA384": { octets: 48 },
  "ecdsa-with-SHA512": { octets: 64 },
  sha256WithRSAEncryption: { octets: 32, digestInfo: digestInfoHead(0x01, 32) },
  sha384WithRSAEncryption: { octets: 48, digestInfo: digestInfoHead(0x02, 48) },
  sha512WithRSAEncryption: { octets: 64, digestInfo: digestInfoHead(0x03, 64) },
};

/** SEQUENCE { SEQUENCE { 2.16.840.1.101.3.4.2.n, NULL }, OCTET STRING }, up to the digest itself. */
function digestInfoHead(hash: number, octets: number): Uint8Array {
  return Uint8Array.of(0x30, 17 + octets, 0x30, 13, 0x06, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, hash, 5, 0, 4, octets);
}
