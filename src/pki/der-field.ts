import { Fault } from "../fault.ts";
import { contentOf, expectTag, tag, type DerValue } from "./der.ts";

/** Dotted decimal of an OBJECT IDENTIFIER. @throws Fault `malformed` */
export function readOid(value: DerValue | undefined, what: string): string {
  const { source, contentStart, end } = expectTag(value, tag.objectIdentifier, what);
  let dotted = "";
  let arc = 0;
  for (let index = contentStart; index < end; index++) {
    const octet = source[index] ?? 0;
    // An arc of 2.25 has 128 bits (X.667): beyond what a number holds.
    if (arc >= 2 ** 45) return wideOid(source.subarray(contentStart, end));
    arc = arc * 128 + (octet & 0x7f);
    if (octet >= 0x80) continue;
    if (dotted !== "") dotted += `.${arc}`;
    else dotted = arc < 80 ? `${arc < 40 ? 0 : 1}.${arc % 40}` : `2.${arc - 80}`;
    arc = 0;
  }
  return dotted;
}

function wideOid(content: Uint8Array): string {
  const arcs: bigint[] = [];
  let arc = 0n;
  for (const octet of content) {
    arc = arc * 128n + BigInt(octet & 0x7f);
    if (octet >= 0x80) continue;
    if (arcs.length > 0) arcs.push(arc);
    else arcs.push(...(arc < 80n ? [arc / 40n, arc % 40n] : [2n, arc - 80n]));
    arc = 0n;
  }
  return arcs.join(".");
}

/** Magnitude of an INTEGER that is not negative: big-endian, without a leading zero octet (0 is one zero octet). @throws Fault `malformed` */
export function readUnsigned(value: DerValue | undefined, what: string): Uint8Array {
  const content = contentOf(expectTag(value, tag.integer, what));
  if ((content[0] ?? 0) >= 0x80) throw new Fault("malformed", `${what} is negative`);
  return content.length > 1 && content[0] === 0 ? content.subarray(1) : content;
}

/** An INTEGER from 0 to 2³¹ − 1: versions, path lengths. @throws Fault `malformed` */
export function readSmallInteger(value: DerValue | undefined, what: string): number {
  const magnitude = readUnsigned(value, what);
  const number = magnitude.length > 4 ? Infinity : magnitude.reduce((sum, octet) => sum * 256 + octet, 0);
  if (number > 0x7fffffff) throw new Fault("malformed", `${what} is above 2147483647`);
  return number;
}

/** Content of an OCTET STRING (a view). @throws Fault `malformed` */
export function readOctetString(value: DerValue | undefined, what: string): Uint8Array {
  return contentOf(expectTag(value, tag.octetString, what));
}

/** Octets of a BIT STRING that holds whole octets: keys and signatures (a view). @throws Fault `malformed` */
export function readBitString(value: DerValue | undefined, what: string): Uint8Array {
  const content = contentOf(expectTag(value, tag.bitString, what));
  if (content[0] !== 0) throw new Fault("malformed", `${what} does not hold whole octets`);
  return content.subarray(1);
}

/**
 * Numbers of the bits that are set in a BIT STRING with named bits (keyUsage: 0 is digitalSignature).
 * @throws Fault `malformed`, also when trailing zero bits are encoded (X.690 §11.2.2).
 */
export function readNamedBits(value: DerValue | undefined, what: string): readonly number[] {
  const content = contentOf(expectTag(value, tag.bitString, what));
  const length = (content.length - 1) * 8 - (content[0] ?? 0);
  const bits: number[] = [];
  for (let bit = 0; bit < length; bit++) if (((content[1 + (bit >> 3)] ?? 0) & (0x80 >> (bit & 7))) !== 0) bits.push(bit);
  if (length > 0 && bits.at(-1) !== length - 1) throw new Fault("malformed", `${what} has trailing zero bits`);
  return bits;
}

/**
 * A Time: UTCTime for 1950–2049, GeneralizedTime from 2050, in UTC, whole seconds.
 * @throws Fault `malformed`, also for days that no calendar has and for a GeneralizedTime before 2050.
 * @see RFC 5280 §4.1.2.5
 */
export function readTime(value: DerValue | undefined, what: string): Date {
  if (value?.tag !== tag.utcTime) {
    const time = readGeneralizedTime(value, what);
    if (time.getUTCFullYear() < 2050) throw new Fault("malformed", `${what} is a GeneralizedTime before 2050`);
    return time;
  }
  const years = twoDigits(value, 13);
  return calendarTime(value, years + (years < 50 ? 2000 : 1900), what);
}

/**
 * A GeneralizedTime of any year, in UTC, whole seconds, as OCSP has it.
 * @throws Fault `malformed`, also for days that no calendar has.
 * @see RFC 6960 §4.2.2.1, RFC 9919 §3.2.4
 */
export function readGeneralizedTime(value: DerValue | undefined, what: string): Date {
  const time = expectTag(value, tag.generalizedTime, what);
  return calendarTime(time, twoDigits(time, 13) + 100 * twoDigits(time, 15), what);
}

function twoDigits({ source, end }: DerValue, fromEnd: number): number {
  return (source[end - fromEnd] ?? 0) * 10 + (source[end - fromEnd + 1] ?? 0) - 48 * 11;
}

/** Month to second stand at the same distance from the end of both types. */
function calendarTime(value: DerValue, year: number, what: string): Date {
  const [month, day] = [twoDigits(value, 11), twoDigits(value, 9)];
  const [hour, minute, second] = [twoDigits(value, 7), twoDigits(value, 5), twoDigits(value, 3)];
  const time = new Date(Date.UTC(2000, month - 1, day, hour, minute, second));
  // Date.UTC takes years below 100 for those of the 20th century.
  time.setUTCFullYear(year, month - 1, day);
  const real = hour < 24 && minute < 60 && second < 60 && time.getUTCMonth() === month - 1 && time.getUTCDate() === day;
  if (!real) throw new Fault("malformed", `${what} is no date: ${ascii.decode(contentOf(value))}`);
  return time;
}

const ascii = new TextDecoder("ascii");

/** The octets as characters of the same number. */
export function latin1(octets: Uint8Array): string {
  return Buffer.from(octets.buffer, octets.byteOffset, octets.byteLength).toString("latin1");
}

/** The octets as characters of ASCII. @throws Fault `malformed` for an octet above 127. */
export function asciiText(octets: Uint8Array, what: string): string {
  const text = latin1(octets);
  if (/[^\0-\x7f]/.test(text)) throw new Fault("malformed", `a ${what} holds an octet above 127`);
  return text;
}

/** The characters of a string type (X.680 §41). TeletexString is read as ISO 8859-1, as its writers mean it. @throws Fault `malformed` */
export function readText(value: DerValue | undefined, what: string): string {
  if (value === undefined) throw new Fault("malformed", `${what} is missing`);
  const decoder = decoders[value.tag];
  if (decoder === undefined) throw new Fault("malformed", `${what} is not a string`);
  try {
    return decoder.decode(contentOf(value));
  } catch (cause) {
    throw new Fault("malformed", `${what} holds characters that do not exist`, { cause });
  }
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const decoders: { readonly [identifier: number]: { decode(bytes: Uint8Array): string } } = {
  0x0c: utf8,
  0x12: utf8,
  0x13: utf8,
  0x14: { decode: (bytes) => String.fromCharCode(...bytes) },
  0x16: utf8,
  0x1a: utf8,
  0x1b: utf8,
  0x1e: new TextDecoder("utf-16be", { fatal: true, ignoreBOM: true }),
};
