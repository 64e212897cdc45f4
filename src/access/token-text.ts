import { crc32 } from "node:zlib";
import { hex } from "../pki/hex.ts";

/** A token as its holder has it. */
export type TokenText = {
  /** 16 bytes: which token, not secret. */
  readonly id: Uint8Array;
  /** 32 random bytes. */
  readonly secret: Uint8Array;
};

/**
 * The text of a token: `chancery_`, 65 digits in base 62 (id, then secret, as one number of 48 bytes), `_`, 6 digits in base 62: CRC-32 of all
 * that precedes it. A scanner of leaked secrets, or the service without its database, tells it from noise.
 */
export function formatToken({ id, secret }: TokenText): string {
  const body = `${prefix}${base62(BigInt(`0x${hex(id)}${hex(secret)}`), bodyDigits)}_`;
  return body + checksum(body);
}

/** Id and secret of a token's text; undefined for any other text. */
export function parseToken(text: string): TokenText | undefined {
  if (text.length !== textLength || !/^chancery_[0-9A-Za-z]{65}_[0-9A-Za-z]{6}$/.test(text)) return undefined;
  const body = text.slice(0, -checksumDigits);
  if (checksum(body) !== text.slice(-checksumDigits)) return undefined;
  const number = fromBase62(text.slice(prefix.length, prefix.length + bodyDigits));
  // 65 digits reach a little beyond 48 bytes: one token has one text.
  if (number >= 1n << 384n) return undefined;
  const bytes = Buffer.from(number.toString(16).padStart(96, "0"), "hex");
  return { id: bytes.subarray(0, 16), secret: bytes.subarray(16) };
}

const prefix = "chancery_";
const bodyDigits = 65;
const checksumDigits = 6;
const textLength = prefix.length + bodyDigits + 1 + checksumDigits;
const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

function checksum(body: string): string {
  return base62(BigInt(crc32(body)), checksumDigits);
}

function base62(number: bigint, digits: number): string {
  let text = "";
  for (let rest = number; text.length < digits; rest /= 62n) text = alphabet.charAt(Number(rest % 62n)) + text;
  return text;
}

function fromBase62(text: string): bigint {
  let number = 0n;
  for (const digit of text) number = number * 62n + BigInt(alphabet.indexOf(digit));
  return number;
}
