import { Fault } from "../fault.ts";
import { compareBytes, tag } from "./der.ts";
import { oid } from "./oid.ts";

/** DER bytes of our own making. */
export type Der = Uint8Array<ArrayBuffer>;

/** One value: identifier octet, minimal definite length, the parts one after the other. @see X.690 §10.1 */
export function encode(identifier: number, ...parts: readonly Uint8Array[]): Der {
  let length = 0;
  for (const part of parts) length += part.length;
  const header = length < 0x80 ? 2 : length < 0x100 ? 3 : length < 0x10000 ? 4 : 5;
  const bytes = new Uint8Array(header + length);
  bytes[0] = identifier;
  if (header === 2) bytes[1] = length;
  else {
    bytes[1] = 0x80 | (header - 2);
    for (let index = header - 1, rest = length; index > 1; index--, rest >>>= 8) bytes[index] = rest & 0xff;
  }
  let offset = header;
  for (const part of parts) {
    bytes.set(part, offset);
    offset += part.length;
  }
  return bytes;
}

/** Identifier and length octets of a value whose content is written elsewhere: `length` below 2^32. @see X.690 §10.1 */
export function encodeHead(identifier: number, length: number): Der {
  if (length < 0x80) return Uint8Array.of(identifier, length);
  const octets = [length >>> 24, (length >>> 16) & 0xff, (length >>> 8) & 0xff, length & 0xff];
  const significant = octets.slice(octets.findIndex((octet) => octet !== 0));
  return Uint8Array.of(identifier, 0x80 | significant.length, ...significant);
}

/** SEQUENCE of these fields, in this order. */
export function sequence(...fields: readonly Uint8Array[]): Der {
  return encode(tag.sequence, ...fields);
}

/** SET OF these values, in ascending order. @see X.690 §11.6 */
export function setOf(...values: readonly Uint8Array[]): Der {
  return encode(tag.set, ...values.toSorted(compareBytes));
}

/** Explicitly tagged value `[number]`. */
export function explicit(number: number, value: Uint8Array): Der {
  return encode(0xa0 | number, value);
}

/** Implicitly tagged primitive value `[number]` with these content octets. */
export function implicit(number: number, content: Uint8Array): Der {
  return encode(0x80 | number, content);
}

/** BOOLEAN TRUE. FALSE is never written: where we use BOOLEAN it is the default. */
export const booleanTrue: Uint8Array = Uint8Array.of(tag.boolean, 1, 0xff);

/** NULL. */
export const nullValue: Uint8Array = Uint8Array.of(tag.null, 0);

/** INTEGER of a magnitude: big-endian octets of a number that is not negative, leading zeros allowed. */
export function unsignedInteger(magnitude: Uint8Array): Der {
  let start = 0;
  while (start < magnitude.length - 1 && magnitude[start] === 0) start += 1;
  const minimal = magnitude.subarray(start);
  return (minimal[0] ?? 0x80) < 0x80 ? encode(tag.integer, minimal) : encode(tag.integer, Uint8Array.of(0), minimal);
}

/** INTEGER from 0 to 2³¹ − 1. */
export function smallInteger(number: number): Der {
  return unsignedInteger(Uint8Array.of(number >>> 24, number >>> 16, number >>> 8, number));
}

/** OCTET STRING with this content; wraps an extension's value too. */
export function octetString(content: Uint8Array): Der {
  return encode(tag.octetString, content);
}

/** BIT STRING of whole octets. */
export function bitString(octets: Uint8Array): Der {
  return encode(tag.bitString, Uint8Array.of(0), octets);
}

/** BIT STRING with these named bits set, without trailing zero bits. @see X.690 §11.2.2 */
export function namedBits(bits: readonly number[]): Der {
  const last = Math.max(-1, ...bits);
  const octets = new Uint8Array((last + 8) >> 3);
  for (const bit of bits) octets[bit >> 3] = (octets[bit >> 3] ?? 0) | (0x80 >> (bit & 7));
  return encode(tag.bitString, Uint8Array.of(octets.length * 8 - last - 1), octets);
}

/** OBJECT IDENTIFIER of a dotted decimal. @throws Fault `internal` when it is none. */
export function objectIdentifier(dotted: string): Der {
  return known.get(dotted) ?? encodeOid(dotted);
}

// Those of our table are encoded once: a certificate has about twenty.
const known: ReadonlyMap<string, Der> = new Map(Object.values(oid).map((dotted) => [dotted, encodeOid(dotted)]));

function encodeOid(dotted: string): Der {
  if (!/^[012](\.(0|[1-9]\d*))+$/.test(dotted)) throw new Fault("internal", `${dotted} is no OBJECT IDENTIFIER`);
  const [first = 0n, second = 0n, ...rest] = dotted.split(".").map(BigInt);
  return encode(tag.objectIdentifier, Uint8Array.from([first * 40n + second, ...rest].flatMap(arcOctets)));
}

/** UTF8String. */
export function utf8String(text: string): Der {
  return encode(tag.utf8String, encoder.encode(text));
}

/** PrintableString; the caller has checked the characters. */
export function printableString(text: string): Der {
  return encode(tag.printableString, encoder.encode(text));
}

/** IA5String; the caller has checked the characters. */
export function ia5String(text: string): Der {
  return encode(tag.ia5String, encoder.encode(text));
}

/**
 * Time: UTCTime from 1950 through 2049, GeneralizedTime from 2050 through 9999.
 * @throws Fault `internal` for other years and for fractions of a second.
 * @see RFC 5280 §4.1.2.5
 */
export function time(date: Date): Der {
  const year = date.getUTCFullYear();
  if (!(year >= 1950 && year <= 9999) || date.getTime() % 1000 !== 0)
    throw new Fault("internal", `${String(date.getTime())} ms is no time of a certificate`);
  const digits = date.toISOString().replace(/[-:T]|\.000/g, "");
  return year < 2050 ? encode(tag.utcTime, encoder.encode(digits.slice(2))) : encode(tag.generalizedTime, encoder.encode(digits));
}

/**
 * GeneralizedTime of any year, as OCSP has it: in UTC, whole seconds.
 * @throws Fault `internal` for years above 9999 and for fractions of a second.
 * @see RFC 6960 §4.2.2.1; RFC 9919 §3.2.4
 */
export function generalizedTime(date: Date): Der {
  const year = date.getUTCFullYear();
  if (!(year >= 0 && year <= 9999) || date.getTime() % 1000 !== 0)
    throw new Fault("internal", `${String(date.getTime())} ms is no GeneralizedTime of whole seconds`);
  return encode(tag.generalizedTime, encoder.encode(date.toISOString().replace(/[-:T]|\.000/g, "")));
}

const encoder = new TextEncoder();

function arcOctets(arc: bigint): number[] {
  const octets = [Number(arc & 0x7fn)];
  for (let rest = arc >> 7n; rest > 0n; rest >>= 7n) octets.unshift(Number(rest & 0x7fn) | 0x80);
  return octets;
}
