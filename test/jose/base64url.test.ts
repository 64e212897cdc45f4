import * as fc from "fast-check";
import { expect, test } from "vitest";
import { Fault } from "../../src/fault.ts";
import { decodeBase64url, encodeBase64url } from "../../src/jose/base64url.ts";

// RFC 4648 §10, without padding
test.for([
  { octets: "", text: "" },
  { octets: "f", text: "Zg" },
  { octets: "fo", text: "Zm8" },
  { octets: "foo", text: "Zm9v" },
  { octets: "foob", text: "Zm9vYg" },
  { octets: "fooba", text: "Zm9vYmE" },
  { octets: "foobar", text: "Zm9vYmFy" },
])('"$octets" is $text (RFC 4648 §10, RFC 7515 §2)', ({ octets, text }) => {
  expect(encodeBase64url(new TextEncoder().encode(octets))).toBe(text);
  expect(decodeBase64url(text, "the value")).toEqual(new TextEncoder().encode(octets));
});

test("62 and 63 are written as - and _ (RFC 4648 §5)", () => {
  expect(encodeBase64url(Uint8Array.of(0xfb, 0xef, 0xff))).toBe("--__");
  expect(decodeBase64url("--__", "the value")).toEqual(Uint8Array.of(0xfb, 0xef, 0xff));
});

test("only the octets of a view are encoded", () => {
  expect(encodeBase64url(Uint8Array.of(1, 0x66, 2).subarray(1, 2))).toBe("Zg");
});

test.for([
  { name: "padding", text: "Zg==" },
  { name: "one = of two", text: "Zg=" },
  { name: "padding behind whole groups", text: "Zm9v=" },
  { name: "+", text: "Zm+v" },
  { name: "/", text: "Zm/v" },
  { name: "a blank", text: "Zm 9v" },
  { name: "a blank at the end", text: "Zm9v " },
  { name: "a line feed", text: "Zm\n9v" },
  { name: "a line feed at the end", text: "Zm9v\n" },
  { name: "last bits that are not zero (2 octets)", text: "Zm9" },
  { name: "last bits that are not zero (1 octet)", text: "Zh" },
  { name: "one character that encodes nothing", text: "Z" },
  { name: "five characters", text: "Zm9vZ" },
  { name: "NUL", text: "Zm9\0v" },
  { name: "a letter that is not ASCII", text: "Zm9\u0456" },
])("refuses $name (AJ-11, TR-7)", ({ text }) => {
  expect(() => decodeBase64url(text, "the payload")).toThrow(
    expect.objectContaining({ code: "malformed", detail: expect.stringMatching(/^the payload is not base64url/) }),
  );
});

test("every octet string comes back, and of all texts of up to 4 characters only those of the alphabet that an encoder writes are taken", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (octets) => {
      expect(decodeBase64url(encodeBase64url(octets), "the value")).toEqual(octets);
    }),
    { numRuns: 1000 },
  );
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(..."AQgwZz09-_+/= \n\u00e9"), maxLength: 4 }), (text) => {
      // As RFC 4648 reads it: the last character encodes 2 or 4 bits that matter, the others of it are zero.
      const canonical = /^(?:[\w-]{4})*(?:[\w-][AQgw]|[\w-]{2}[AEIMQUYcgkosw048])?$/.test(text) && /^[A-Za-z0-9_-]*$/.test(text);
      expect(taken(text)).toBe(canonical);
    }),
    { numRuns: 3000 },
  );
});

function taken(text: string): boolean {
  try {
    decodeBase64url(text, "the value");
    return true;
  } catch (error) {
    if (error instanceof Fault && error.code === "malformed") return false;
    throw error;
  }
}
