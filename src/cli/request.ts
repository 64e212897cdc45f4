// The decorators in @peculiar/x509 need it loaded before them.
// oxlint-disable-next-line import/no-unassigned-import
import "reflect-metadata";
import { webcrypto } from "node:crypto";
import * as x509 from "@peculiar/x509";
import type { GeneralName } from "../pki/general-name.ts";
import { encodePem } from "../pki/pem.ts";
import type { RequestKeyAlgorithm } from "./key-algorithm.ts";

/** A fresh key pair and the PKCS#10 request that it signed. */
export type KeyAndRequest = {
  /** PKCS#8 PrivateKeyInfo (RFC 5208 §5), PEM, unencrypted. */
  readonly privateKey: string;
  /** CertificationRequest (RFC 2986 §4), PEM: empty subject, the names in subjectAltName. */
  readonly csr: string;
};

/** Generates a key pair with the operating system's randomness and signs a request for `names` with it. */
export async function makeRequest(names: readonly GeneralName[], algorithm: RequestKeyAlgorithm): Promise<KeyAndRequest> {
  const parameters = keyParameters(algorithm);
  const keys = await webcrypto.subtle.generateKey(parameters, true, ["sign", "verify"]);
  const request = await x509.Pkcs10CertificateRequestGenerator.create(
    { keys, signingAlgorithm: parameters, extensions: [new x509.SubjectAlternativeNameExtension(names.map(sanName))] },
    webcrypto,
  );
  const privateKey = await webcrypto.subtle.exportKey("pkcs8", keys.privateKey);
  return {
    privateKey: encodePem("PRIVATE KEY", new Uint8Array(privateKey)),
    csr: encodePem("CERTIFICATE REQUEST", new Uint8Array(request.rawData)),
  };
}

/** What generates the key and what it signs the request with: SHA-256, SHA-384 for P-384. */
function keyParameters(algorithm: RequestKeyAlgorithm): webcrypto.EcKeyGenParams & webcrypto.EcdsaParams & webcrypto.RsaHashedKeyGenParams {
  const elliptic = algorithm === "P-256" || algorithm === "P-384";
  return {
    name: elliptic ? "ECDSA" : "RSASSA-PKCS1-v1_5",
    namedCurve: elliptic ? algorithm : "",
    modulusLength: elliptic ? 0 : Number(algorithm.slice("RSA-".length)),
    publicExponent: new Uint8Array([1, 0, 1]),
    hash: algorithm === "P-384" ? "SHA-384" : "SHA-256",
  };
}

function sanName({ type, value }: GeneralName): x509.GeneralName {
  return new x509.GeneralName(type === "uri" ? "url" : type, value);
}
