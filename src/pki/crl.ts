import { Fault } from "../fault.ts";
import { algorithmIdentifier, signatureAlgorithm, type SignatureAlgorithm } from "./algorithm.ts";
import type { Issuer } from "./certificate.ts";
import { encodeAuthorityKeyIdentifier, encodeExtension } from "./certificate-extension.ts";
import { tag } from "./der.ts";
import { bitString, encodeHead, explicit, sequence, smallInteger, time, type Der } from "./der-writer.ts";
import { encodeCrlNumber, encodeIssuingDistributionPoint } from "./crl-extension.ts";
import { encodeEntries, type CrlEntries, type Days } from "./crl-entry.ts";
import { oid } from "./oid.ts";

/** What a CRL takes from the authority that signs it. */
export type CrlIssuer = Pick<Issuer, "subject" | "subjectKeyIdentifier" | "algorithm">;

/** What is known of a CRL before its first octet is written. Times are in whole seconds. */
export type CrlPlan = {
  /** CRLNumber, below 2^159. */
  readonly number: bigint;
  readonly thisUpdate: Date;
  readonly nextUpdate: Date;
  /** URI of the shard, as the certificates in it have it; undefined: the full CRL, which has no issuingDistributionPoint. */
  readonly distributionPoint: string | undefined;
  readonly entryCount: number;
  /** Sum of `entryOctets` over all entries. */
  readonly entriesOctets: number;
};

/** The TBSCertList before its first entry. @throws Fault `internal` for a time or number that cannot be encoded. @see RFC 5280 §5.1 */
export function tbsCrlHead(issuer: CrlIssuer, plan: CrlPlan): Uint8Array<ArrayBuffer> {
  return parts(issuer, plan).head;
}

/** The TBSCertList behind its last entry: crlExtensions. */
export function tbsCrlTail(issuer: CrlIssuer, plan: CrlPlan): Uint8Array<ArrayBuffer> {
  return parts(issuer, plan).tail;
}

/** Octets of the whole TBSCertList. */
export function tbsCrlOctets(issuer: CrlIssuer, plan: CrlPlan): number {
  const { head, tail } = parts(issuer, plan);
  return head.length + plan.entriesOctets + tail.length;
}

/**
 * The TBSCertList, part by part, with memory for one batch of entries.
 * @throws Fault `internal` when the entries are not those that the plan counted.
 */
export async function* tbsCrlParts(
  issuer: CrlIssuer,
  plan: CrlPlan,
  batches: AsyncIterable<CrlEntries>,
): AsyncGenerator<Uint8Array<ArrayBuffer>, undefined> {
  const { head, tail } = parts(issuer, plan);
  yield head;
  const days: Days = new Map();
  let [count, octets] = [0, 0];
  for await (const batch of batches) {
    const encoded = encodeEntries(batch, days);
    count += batch.count;
    octets += encoded.length;
    if (encoded.length > 0) yield encoded;
  }
  if (count !== plan.entryCount || octets !== plan.entriesOctets) {
    throw new Fault("internal", `${plan.entryCount} entries of ${plan.entriesOctets} octets were planned, ${count} of ${octets} came`);
  }
  yield tail;
}

/** What stands around a signed TBSCertList of so many octets: the CertificateList's head, and behind it algorithm and signature. @see RFC 5280 §5.1.1 */
export function crlFrame(
  tbsOctets: number,
  algorithm: SignatureAlgorithm,
  signature: Uint8Array,
): { readonly head: Uint8Array<ArrayBuffer>; readonly tail: Uint8Array<ArrayBuffer> } {
  const tail = joined(algorithmIdentifier(algorithm), bitString(signature));
  return { head: encodeHead(tag.sequence, tbsOctets + tail.length), tail };
}

function parts(issuer: CrlIssuer, plan: CrlPlan): { head: Der; tail: Der } {
  const fields = joined(
    version2,
    algorithmIdentifier(signatureAlgorithm(issuer.algorithm)),
    issuer.subject,
    time(plan.thisUpdate),
    time(plan.nextUpdate),
    // RFC 5280 §5.1.2.6: absent, not empty.
    plan.entryCount === 0 ? new Uint8Array() : encodeHead(tag.sequence, plan.entriesOctets),
  );
  const tail = explicit(0, sequence(...encodeExtensions(issuer, plan)));
  return { head: joined(encodeHead(tag.sequence, fields.length + plan.entriesOctets + tail.length), fields), tail };
}

const version2 = smallInteger(1);

// In the order of RFC 5280 §5.2, always.
function encodeExtensions({ subjectKeyIdentifier }: CrlIssuer, { number, distributionPoint }: CrlPlan): Der[] {
  const extensions = [
    encodeExtension(oid.authorityKeyIdentifier, false, encodeAuthorityKeyIdentifier(subjectKeyIdentifier)),
    encodeExtension(oid.cRLNumber, false, encodeCrlNumber(number)),
  ];
  if (distributionPoint !== undefined) {
    extensions.push(encodeExtension(oid.issuingDistributionPoint, true, encodeIssuingDistributionPoint(distributionPoint)));
  }
  return extensions;
}

function joined(...pieces: readonly Uint8Array[]): Der {
  const bytes = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let offset = 0;
  for (const piece of pieces) {
    bytes.set(piece, offset);
    offset += piece.length;
  }
  return bytes;
}
