import { Fault } from "../fault.ts";
import { tag } from "./der.ts";
import { time, type Der } from "./der-writer.ts";

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
  return 2 + 2 + serialOctets + time(revokedAt).length + (reason === 0 ? 0 : reasonExtension.length + 1);
}

/**
 * DER of the entries, one after the other, in the order given.
 * @param days what the batches of one list share, to be quick; empty for the first.
 * @throws Fault `internal` for a serial number, time or reason that a CRL of ours cannot have.
 * @see RFC 5280 §5.1.2.6, §5.3.1
 */
export function encodeEntries(entries: CrlEntries, days: Days = new Map()): Uint8Array<ArrayBuffer> {
  if (days.size > mostDays) days.clear();
  const writing: Writing = { entries, target: new Uint8Array(entries.count * maximumEntryOctets), at: 0, days };
  for (let index = 0; index < entries.count; index++) writeEntry(writing, index);
  return writing.target.subarray(0, writing.at);
}

/** DER of the midnights that have occurred, by days since 1970: entries of a list share their days. */
export type Days = Map<number, Der>;

/** Ten years of them. */
const mostDays = 3653;

/** crlEntryExtensions with reasonCode, not critical, up to the reason's octet. */
export const reasonExtension = Uint8Array.of(0x30, 0x0c, 0x30, 0x0a, 0x06, 0x03, 0x55, 0x1d, 0x15, 0x04, 0x03, 0x0a, 0x01);

/** Of a serial number of 20 octets and a sign octet, a GeneralizedTime, a reason. */
export const maximumEntryOctets = 2 + 2 + 21 + 17 + 14;

type Writing = {
  readonly entries: CrlEntries;
  readonly target: Uint8Array<ArrayBuffer>;
  /** Where the next octet goes. */
  at: number;
  readonly days: Days;
};

// This runs once for each of a million entries: no object, no view, no string.
function writeEntry(writing: Writing, index: number): void {
  const { entries, target, at } = writing;
  const { source, reasons, revokedAt } = entries;
  const serialStart = entries.serialStarts[index] ?? 0;
  const serialEnd = entries.serialEnds[index] ?? 0;
  const reason = reasons[index] ?? 0;
  const first = source[serialStart] ?? 0;
  const length = serialEnd - serialStart;
  if (length < 1 || length > 20 || first === 0 || serialEnd > source.length) {
    throw new Fault("internal", `a serial number of ${length} octets that begins with ${first} is no magnitude`);
  }
  if (!crlReasons.has(reason)) throw new Fault("internal", `CRLReason ${reason} is in no CRL of ours`);
  let next = at + 2;
  target[next++] = tag.integer;
  target[next++] = length + (first >> 7);
  if (first >= 0x80) target[next++] = 0;
  for (let octet = serialStart; octet < serialEnd; octet++) target[next++] = source[octet] ?? 0;
  next = writeTime(writing, next, revokedAt[index] ?? Number.NaN);
  if (reason !== 0) {
    for (let octet = 0; octet < reasonExtension.length; octet++) target[next++] = reasonExtension[octet] ?? 0;
    target[next++] = reason;
  }
  target[at] = tag.sequence;
  target[at + 1] = next - at - 2;
  writing.at = next;
}

/** The midnight before, with the digits of the hour, minute and second over its zeros. */
function writeTime({ target, days }: Writing, at: number, seconds: number): number {
  const day = Math.floor(seconds / 86_400);
  const second = seconds - day * 86_400;
  let midnight = days.get(day);
  if (midnight === undefined) {
    midnight = time(new Date(day * 86_400_000));
    days.set(day, midnight);
  }
  if (!Number.isInteger(second)) throw new Fault("internal", `${seconds} is no whole number of seconds`);
  const end = at + midnight.length;
  for (let octet = 0; octet < midnight.length; octet++) target[at + octet] = midnight[octet] ?? 0;
  writeTwo(target, end - 7, (second / 3600) | 0);
  writeTwo(target, end - 5, ((second / 60) | 0) % 60);
  writeTwo(target, end - 3, second % 60);
  return end;
}

function writeTwo(target: Uint8Array, at: number, number: number): void {
  target[at] = 0x30 + ((number / 10) | 0);
  target[at + 1] = 0x30 + (number % 10);
}
