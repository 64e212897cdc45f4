import { generateKeyPairSync, sign, type KeyObject } from "node:crypto";
import type { JwsAlgorithm } from "../../src/jose/jws.ts";

/** A JWS in the flattened JSON serialization, as a client writes it. */
export type FlattenedJws = { readonly protected: string; readonly payload: string; readonly signature: string };

/** A key pair of a client, made by Node alone. */
export type Signer = {
  readonly algorithm: JwsAlgorithm;
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
  readonly jwk: Readonly<Record<string, string>>;
};

/** A new key pair for this algorithm. */
export function signerOf(algorithm: JwsAlgorithm): Signer {
  const { privateKey, publicKey } = keyPair(algorithm);
  return { algorithm, privateKey, publicKey, jwk: publicKey.export({ format: "jwk" }) as Readonly<Record<string, string>> }; // a public JWK has strings only
}

function keyPair(algorithm: JwsAlgorithm): { readonly privateKey: KeyObject; readonly publicKey: KeyObject } {
  if (algorithm === "RS256") return generateKeyPairSync("rsa", { modulusLength: 2048 });
  if (algorithm === "EdDSA" || algorithm === "Ed25519") return generateKeyPairSync("ed25519");
  return generateKeyPairSync("ec", { namedCurve: { ES256: "P-256", ES384: "P-384", ES512: "P-521" }[algorithm] });
}

/** base64url of a text or of octets, by Node. */
export function base64url(value: string | Uint8Array): string {
  return (typeof value === "string" ? Buffer.from(value) : Buffer.from(value)).toString("base64url");
}

/** UTF-8 octets of a text, or of a value as JSON. */
export function utf8(value: unknown): Uint8Array {
  return new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value));
}

/** A JWS of this header and payload; `alg` and `jwk` are the signer's unless the header says otherwise. */
export function signedJws(signer: Signer, header: object = {}, payload = "{}"): FlattenedJws {
  const text = JSON.stringify({ alg: signer.algorithm, jwk: signer.jwk, nonce: "bm9uY2U", url: "https://ca.example/acme", ...header });
  const parts = { protected: base64url(text), payload: base64url(payload) };
  return { ...parts, signature: base64url(rawSignature(signer, `${parts.protected}.${parts.payload}`)) };
}

/** Signature over `signingInput` in the form that JWS has: r ‖ s for ECDSA. */
function rawSignature(signer: Signer, signingInput: string): Uint8Array {
  const hash = { RS256: "sha256", ES256: "sha256", ES384: "sha384", ES512: "sha512", EdDSA: null, Ed25519: null }[signer.algorithm];
  return sign(hash, Buffer.from(signingInput), { key: signer.privateKey, dsaEncoding: "ieee-p1363" });
}
