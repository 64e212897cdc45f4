import { Fault } from "../fault.ts";
import { tag } from "./der.ts";

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

/** crlEntryExtensions with reasonCode, not critical, up to the reason's octet. */
export const reasonExtension = Uint8Array.of(0x30, 0x0c, 0x30, 0x0a, 0x06, 0x03, 0x55, 0x1d, 0x15, 0x04, 0x03, 0x0a, 0x01);

/** Of a serial number of 20 octets and a sign octet, a GeneralizedTime, a reason. */
export const maximumEntryOctets = 2 + 2 + 21 + 17 + 14;

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
