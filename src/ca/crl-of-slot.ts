import { signatureVerifier, verificationKey } from "../pki/algorithm.ts";
import { keyIdentifier, parseCertificate } from "../pki/certificate.ts";
import { type CrlHead, type CrlTail, readCrl } from "../pki/read-crl.ts";
import { sameBytes } from "../pki/tbs-certificate.ts";
import { Fault } from "../fault.ts";
import type { CrlSlot, PublishedCrl } from "./crl-slot.ts";

/**
 * What a CRL says of itself that was found outside of the database; undefined unless it was signed for this slot by its authority: by name, key,
 * issuingDistributionPoint and signature. Nobody else's may be served, whatever its number.
 * @param certificate DER, as it is recorded for the slot's authority.
 * @param parts the octets from the first on, once more with each call.
 */
export async function readCrlOfSlot(
  { url }: Pick<CrlSlot, "url">,
  certificate: Uint8Array,
  parts: () => AsyncIterable<Uint8Array>,
): Promise<Pick<PublishedCrl, "number" | "thisUpdate" | "nextUpdate" | "entries"> | undefined> {
  const read = await aroundEntries(parts());
  if (!read) return undefined;
  const { head, tail } = read;
  const issuer = parseCertificate(certificate);
  const isOfSlot =
    sameBytes(head.issuer, issuer.subject) &&
    sameBytes(tail.authorityKeyIdentifier, issuer.subjectKeyIdentifier ?? keyIdentifier(issuer.spki)) &&
    tail.distributionPoint === url;
  if (!isOfSlot || !(await verifies(read, issuer.spki, parts()))) return undefined;
  return { number: tail.number, thisUpdate: head.thisUpdate, nextUpdate: head.nextUpdate, entries: tail.entryCount };
}

type Around = { readonly head: CrlHead; readonly tail: CrlTail };

/** What stands around the entries of a CRL; undefined when it is none. */
async function aroundEntries(parts: AsyncIterable<Uint8Array>): Promise<Around | undefined> {
  let [head, tail]: [CrlHead?, CrlTail?] = [];
  try {
    for await (const piece of readCrl(parts)) {
      if (piece.piece === "head") head = piece;
      if (piece.piece === "tail") tail = piece;
    }
  } catch (error) {
    if (error instanceof Fault && error.code === "malformed") return undefined;
    throw error;
  }
  return head && tail && { head, tail };
}

async function verifies({ head, tail }: Around, spki: Uint8Array, parts: AsyncIterable<Uint8Array>): Promise<boolean> {
  const signature = signatureVerifier(verificationKey(spki), head.signatureAlgorithm);
  let octets = 0;
  for await (const part of parts) {
    signature.update(part.subarray(Math.max(0, head.tbsStart - octets), Math.max(0, head.tbsEnd - octets)));
    octets += part.length;
  }
  return signature.verify(tail.signature);
}
