import { Fault } from "../fault.ts";
import { algorithmIdentifier, signatureAlgorithm, type SignatureAlgorithm } from "./algorithm.ts";
import type { Issuer } from "./certificate.ts";
import { encodeAuthorityKeyIdentifier, encodeExtension } from "./certificate-extension.ts";
import { contextTag, tag } from "./der.ts";
import {
  bitString,
  encode,
  encodeHead,
  explicit,
  implicit,
  sequence,
  smallInteger,
  time,
  unsignedInteger,
  type Der,
} from "./der-writer.ts";
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

/**
 * Entries side by side, without an object for each: entry `i` says that the certificate whose serial number is
 * `source[serialStarts[i]] … source[serialEnds[i] - 1]` was revoked at `revokedAt[i]`. Arrays may be longer than `count`.
 */
export type CrlEntries = {
  readonly count: number;
  readonly source: Uint8Array;
  /** The serial number's magnitude, without leading zero octets: 1 to 20 octets from here … */
  readonly serialStarts: Uint32Array;
  /** … up to here. */
  readonly serialEnds: Uint32Array;
  /** Whole seconds since 1970-01-01T00:00:00Z, of the years 1950 to 9999. */
  readonly revokedAt: Float64Array;
  /** CRLReason; 0 (unspecified) stands for an entry without one. @see RFC 5280 §5.3.1 */
  readonly reasons: Uint8Array;
};

/** CRLReasons that an entry may say: 0 by its absence, and neither certificateHold nor removeFromCRL. @see RFC 5280 §5.3.1, BR 7.2.2 */
export const crlReasons: ReadonlySet<number> = new Set([0, 1, 3, 4, 5, 9]);

/**
 * Octets of the entry of a serial number, by arithmetic.
 * @param serialOctets octets of the INTEGER's content: those of the magnitude, one more where its first bit is set.
 */
export function entryOctets(serialOctets: number, revokedAt: Date, reason: number): number {
  const dateOctets = revokedAt.getTime() / 1000 < year2050 ? 15 : 17;
  return 2 + 2 + serialOctets + dateOctets + (reason === 0 ? 0 : reasonExtension.length + 1);
}

/**
 * DER of the entries, one after the other, in the order given.
 * @throws Fault `internal` for a serial number, time or reason that a CRL of ours cannot have.
 * @see RFC 5280 §5.1.2.6, §5.3.1
 */
export function encodeEntries(entries: CrlEntries): Uint8Array<ArrayBuffer> {
  const target = new Uint8Array(entries.count * maximumEntryOctets);
  let offset = 0;
  for (let index = 0; index < entries.count; index++) offset = writeEntry(target, offset, entries, index);
  return target.subarray(0, offset);
}

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
  let [count, octets] = [0, 0];
  for await (const batch of batches) {
    const encoded = encodeEntries(batch);
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
    encodeExtension(oid.cRLNumber, false, crlNumber(number)),
  ];
  if (distributionPoint !== undefined) {
    extensions.push(encodeExtension(oid.issuingDistributionPoint, true, encodeIssuingDistributionPoint(distributionPoint)));
  }
  return extensions;
}

// RFC 5280 §5.2.3: at most 20 octets, and not negative.
function crlNumber(number: bigint): Der {
  if (number < 0n || number >= 1n << 159n) throw new Fault("internal", `${number} is no CRLNumber`);
  const digits = number.toString(16);
  return unsignedInteger(Buffer.from(digits.padStart(digits.length + (digits.length % 2), "0"), "hex"));
}

/** One fullName and onlyContainsUserCerts, which is implicitly tagged [1]. @see RFC 5280 §5.2.5 */
function encodeIssuingDistributionPoint(uri: string): Der {
  const fullName = encode(contextTag(0, "constructed"), implicit(6, new TextEncoder().encode(uri)));
  return sequence(explicit(0, fullName), implicit(1, Uint8Array.of(0xff)));
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

/** crlEntryExtensions with reasonCode, not critical, up to the reason's octet. */
const reasonExtension = Uint8Array.of(0x30, 0x0c, 0x30, 0x0a, 0x06, 0x03, 0x55, 0x1d, 0x15, 0x04, 0x03, 0x0a, 0x01);

/** Of a serial number of 20 octets and a sign octet, a GeneralizedTime, a reason. */
const maximumEntryOctets = 2 + 2 + 21 + 17 + 14;

// This runs once for each of a million entries: no object, no view, no string.
function writeEntry(target: Uint8Array, start: number, entries: CrlEntries, index: number): number {
  const { source } = entries;
  const serialStart = entries.serialStarts[index] ?? 0;
  const serialEnd = entries.serialEnds[index] ?? 0;
  const reason = entries.reasons[index] ?? 0;
  const first = source[serialStart] ?? 0;
  const length = serialEnd - serialStart;
  if (length < 1 || length > 20 || first === 0 || serialEnd > source.length) {
    throw new Fault("internal", `a serial number of ${length} octets that begins with ${first} is no magnitude`);
  }
  if (!crlReasons.has(reason)) throw new Fault("internal", `CRLReason ${reason} is in no CRL of ours`);
  let offset = start + 2;
  target[offset++] = tag.integer;
  target[offset++] = length + (first >> 7);
  if (first >= 0x80) target[offset++] = 0;
  for (let octet = serialStart; octet < serialEnd; octet++) target[offset++] = source[octet] ?? 0;
  offset = writeTime(target, offset, entries.revokedAt[index] ?? Number.NaN);
  if (reason !== 0) {
    for (let octet = 0; octet < reasonExtension.length; octet++) target[offset++] = reasonExtension[octet] ?? 0;
    target[offset++] = reason;
  }
  target[start] = tag.sequence;
  target[start + 1] = offset - start - 2;
  return offset;
}

const year1950 = Date.UTC(1950, 0, 1) / 1000;
const year2050 = Date.UTC(2050, 0, 1) / 1000;
const year10000 = Date.UTC(10_000, 0, 1) / 1000;

/** Time of so many seconds since 1970, as `time` of the DER writer gives it. @see RFC 5280 §4.1.2.5 */
function writeTime(target: Uint8Array, start: number, seconds: number): number {
  if (!(seconds >= year1950 && seconds < year10000) || !Number.isInteger(seconds)) {
    throw new Fault("internal", `${seconds} s is no time of a CRL`);
  }
  const days = Math.floor(seconds / 86_400);
  const rest = seconds - days * 86_400;
  // The proleptic Gregorian calendar in cycles of 400 years of 146,097 days, each year beginning in March, so that leap days come last.
  const shifted = days + 719_468;
  const cycle = Math.floor(shifted / 146_097);
  const dayOfCycle = shifted - cycle * 146_097;
  const yearOfCycle = Math.floor(
    (dayOfCycle - Math.floor(dayOfCycle / 1460) + Math.floor(dayOfCycle / 36_524) - Math.floor(dayOfCycle / 146_096)) / 365,
  );
  const dayOfYear = dayOfCycle - (365 * yearOfCycle + (yearOfCycle >> 2) - Math.floor(yearOfCycle / 100));
  const march = Math.floor((5 * dayOfYear + 2) / 153);
  const month = march < 10 ? march + 3 : march - 9;
  const year = yearOfCycle + cycle * 400 + (month <= 2 ? 1 : 0);
  let offset = start + 2;
  if (year >= 2050) offset = writeTwo(target, offset, Math.floor(year / 100));
  offset = writeTwo(target, offset, year % 100);
  offset = writeTwo(target, offset, month);
  offset = writeTwo(target, offset, dayOfYear - Math.floor((153 * march + 2) / 5) + 1);
  offset = writeTwo(target, offset, Math.floor(rest / 3600));
  offset = writeTwo(target, offset, Math.floor(rest / 60) % 60);
  offset = writeTwo(target, offset, rest % 60);
  target[offset++] = 0x5a;
  target[start] = year < 2050 ? tag.utcTime : tag.generalizedTime;
  target[start + 1] = offset - start - 2;
  return offset;
}

function writeTwo(target: Uint8Array, offset: number, number: number): number {
  target[offset] = 0x30 + Math.floor(number / 10);
  target[offset + 1] = 0x30 + (number % 10);
  return offset + 2;
}
