import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { formatToken, parseToken } from "../../src/access/token-text.ts";

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const zeros = `chancery_${"0".repeat(65)}_`;

/** CRC-32 of ISO 3309 bit by bit, as in RFC 1952 §8: not the code under test, nor its library. */
function crc(text: string): number {
  let register = 0xffffffff;
  for (const byte of Buffer.from(text)) {
    register ^= byte;
    for (let bit = 0; bit < 8; bit += 1) register = (register & 1) === 1 ? (register >>> 1) ^ 0xedb88320 : register >>> 1;
  }
  return (register ^ 0xffffffff) >>> 0;
}

function checksum(text: string): string {
  const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  let rest = crc(text);
  return Array.from({ length: 6 }, () => {
    const digit = digits.charAt(rest % 62);
    rest = Math.floor(rest / 62);
    return digit;
  })
    .toReversed()
    .join("");
}

test("its text is prefix, 65 digits of id and secret, checksum over all before it", () => {
  expect(formatToken({ id: new Uint8Array(16), secret: new Uint8Array(32) })).toBe(zeros + checksum(zeros));
  const one = formatToken({ id: new Uint8Array(16), secret: Uint8Array.of(...new Uint8Array(31), 61) });
  expect(one.slice(0, -6)).toBe(`chancery_${"0".repeat(64)}z_`);
});

test("every id and secret come back from their text, in characters that URLs, shells and headers leave alone", () => {
  fc.assert(
    fc.property(bytes(16), bytes(32), (id, secret) => {
      const text = formatToken({ id, secret });
      expect(text).toMatch(/^chancery_[0-9A-Za-z]{65}_[0-9A-Za-z]{6}$/);
      const parsed = parseToken(text);
      expect(parsed && [Buffer.from(parsed.id), Buffer.from(parsed.secret)]).toEqual([Buffer.from(id), Buffer.from(secret)]);
    }),
  );
});

test("any other text is undefined, and what is accepted is what would be written", () => {
  fc.assert(
    fc.property(fc.oneof(fc.string({ unit: "binary" }), fc.stringMatching(/^chancery_[0-9A-Za-z]{65}_[0-9A-Za-z]{6}$/)), (text) => {
      const parsed = parseToken(text);
      if (parsed) expect(formatToken(parsed)).toBe(text);
    }),
  );
});

test("one character changed is never a token: the checksum sees every such error (S-40)", () => {
  const token = formatToken({ id: new Uint8Array(16).fill(1), secret: new Uint8Array(32).fill(2) });
  for (let position = 0; position < token.length; position += 1)
    for (const character of ["0", "A", "z", "_", "-", " "])
      if (token.charAt(position) !== character)
        expect(parseToken(token.slice(0, position) + character + token.slice(position + 1))).toBeUndefined();
});

const signed = (body: string) => body + checksum(body);

describe("what is no token, though its checksum be right", () => {
  test.for([
    { name: "a digit short", text: signed(`chancery_${"0".repeat(64)}_`) },
    { name: "a digit long", text: signed(`chancery_${"0".repeat(66)}_`) },
    { name: "another prefix", text: signed(`chancerY_${"0".repeat(65)}_`) },
    { name: "a number beyond 48 bytes", text: signed(`chancery_${"z".repeat(65)}_`) },
    { name: "a line feed behind it", text: `${signed(zeros)}\n` },
    { name: "nothing", text: "" },
  ])("$name", ({ text }) => {
    expect(parseToken(text)).toBeUndefined();
  });
  test("while the same of the right form is one", () => {
    expect(parseToken(signed(zeros))).toBeDefined();
  });
});
