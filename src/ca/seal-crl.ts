import { createHash } from "node:crypto";
import { signatureAlgorithm, signatureVerifier, verificationKey } from "../pki/algorithm.ts";
import type { Certificate } from "../pki/certificate.ts";
import { crlFrame } from "../pki/crl.ts";
import type { Ca } from "./ca.ts";
import { recordCrlPart } from "./crl-part-store.ts";
import { crlParts } from "./crl-parts.ts";
import type { SignedTbs } from "./write-crl.ts";

/** A CertificateList as it lies in the database. */
export type SealedCrl = {
  /** Length of the DER. */
  readonly octets: number;
  /** SHA-256 of the DER, lower-case hex. */
  readonly sha256: string;
};

/**
 * Writes what stands around a signed TBSCertList, and reads the whole CertificateList back: parts 0 to `parts` + 1.
 * @returns undefined when what lies there is not, octet by octet, a list that this signature under the authority's recorded key is over.
 */
export async function sealCrl(ca: Pick<Ca, "database">, signed: SignedTbs, { spki }: Certificate): Promise<SealedCrl | undefined> {
  const { publication, octets, parts, signature } = signed;
  const key = verificationKey(spki);
  const algorithm = signatureAlgorithm(key.algorithm);
  const { head, tail } = crlFrame(octets, algorithm, signature);
  await ca.database.read((sql) => recordCrlPart(sql, publication, parts + 1, tail));
  await ca.database.read((sql) => recordCrlPart(sql, publication, 0, head));

  const verifier = signatureVerifier(key, algorithm);
  const whole = createHash("sha256");
  const frame: Uint8Array[] = [];
  let at = 0;
  for await (const piece of crlParts(ca, { publication, octets })) {
    whole.update(piece);
    verifier.update(within(piece, head.length - at, head.length + octets - at));
    frame.push(within(piece, 0, head.length - at).slice(), within(piece, head.length + octets - at, piece.length).slice());
    at += piece.length;
  }
  const framed = Buffer.concat(frame).equals(Buffer.concat([head, tail]));
  return framed && verifier.verify(signature) ? { octets: at, sha256: whole.digest("hex") } : undefined;
}

/** The octets of a piece from one offset to another, either of which may lie outside of it. */
function within(piece: Uint8Array, from: number, to: number): Uint8Array {
  return piece.subarray(Math.max(0, from), Math.max(0, to));
}
