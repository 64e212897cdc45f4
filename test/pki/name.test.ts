import * as fc from "fast-check";
import { expect, test } from "vitest";
import { Fault } from "../../src/fault.ts";
import { encodeName, formatName, parseName, type Attribute, type Name } from "../../src/pki/name.ts";

function hex(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(Buffer.from(text.replaceAll(" ", ""), "hex"));
}

test.for<{ name: string; value: Name; der: string }>([
  { name: "empty", value: [], der: "3000" },
  { name: "CN in UTF8String", value: [{ type: "CN", value: "é" }], der: "300d 310b 3009 0603550403 0c02c3a9" },
  { name: "C in PrintableString", value: [{ type: "C", value: "DE" }], der: "300d 310b 3009 0603550406 13024445" },
  { name: "DC in IA5String", value: [{ type: "DC", value: "a" }], der: "3013 3111 300f 060a0992268993f22c640119 160161" },
  { name: "serialNumber in PrintableString", value: [{ type: "serialNumber", value: "7" }], der: "300c 310a 3008 0603550405 130137" },
])("a Name is written as RFC 5280 Appendix A says (XP-3): $name", ({ value, der }) => {
  expect(Buffer.from(encodeName(value)).toString("hex")).toBe(der.replaceAll(" ", ""));
  expect(parseName(hex(der))).toEqual(value);
});

const inOrder: Name = [
  { type: "DC", value: "org" },
  { type: "DC", value: "example" },
  { type: "C", value: "DE" },
  { type: "ST", value: "Berlin" },
  { type: "L", value: "Berlin" },
  { type: "postalCode", value: "10115" },
  { type: "STREET", value: "Weg 1" },
  { type: "O", value: "Example" },
  { type: "SN", value: "Doe" },
  { type: "GN", value: "Jo" },
  { type: "OU", value: "PKI" },
  { type: "CN", value: "Root" },
];

test("RDNs are always in the order DC, C, ST, L, postalCode, STREET, O, …, OU, CN (XP-3, XN-14)", () => {
  expect(parseName(encodeName(inOrder))).toEqual(inOrder);
  const reversed = [...inOrder.filter(({ type }) => type !== "DC").toReversed(), ...inOrder.filter(({ type }) => type === "DC")];
  expect(parseName(encodeName(reversed))).toEqual(inOrder);
});

test.for<{ name: string; value: Name; detail: string }>([
  { name: "an empty value", value: [{ type: "O", value: "" }], detail: "O has 0 characters" },
  { name: "an O of 65 characters", value: [{ type: "O", value: "a".repeat(65) }], detail: "O has 65 characters" },
  { name: "an L of 129 characters", value: [{ type: "L", value: "a".repeat(129) }], detail: "L has 129 characters" },
  { name: "a C in lower case", value: [{ type: "C", value: "de" }], detail: "C holds characters" },
  { name: "a C of three letters", value: [{ type: "C", value: "DEU" }], detail: "C has 3 characters" },
  { name: "NUL", value: [{ type: "CN", value: "a\0b" }], detail: "CN holds characters" },
  { name: "a line break", value: [{ type: "O", value: "a\nb" }], detail: "O holds characters" },
  { name: "half a surrogate pair", value: [{ type: "O", value: "\ud800" }], detail: "O holds characters" },
  { name: "a DC outside ASCII", value: [{ type: "DC", value: "é" }], detail: "DC holds characters" },
  {
    name: "two CNs",
    value: [
      { type: "CN", value: "a" },
      { type: "CN", value: "b" },
    ],
    detail: "CN occurs twice",
  },
])("a Name with $name is not written (RFC 5280 Appendix A.1)", ({ value, detail }) => {
  expect(() => encodeName(value)).toThrow(expect.objectContaining({ code: "malformed", detail: expect.stringContaining(detail) }));
});

test("an O of 64 characters outside the basic plane is written: limits count characters", () => {
  const name: Name = [{ type: "O", value: "𝔸".repeat(64) }];
  expect(parseName(encodeName(name))).toEqual(name);
});

// RFC 4514 §4 gives the escaped ones.
test.for([
  { text: "", der: "3000" },
  {
    text: 'CN=James \\"Jim\\" Smith\\, III',
    der: `3021 311f 301d 0603550403 0c16 ${Buffer.from('James "Jim" Smith, III').toString("hex")}`,
  },
  { text: "CN=Before\\0dAfter", der: `3017 3115 3013 0603550403 0c0c ${Buffer.from("Before\rAfter").toString("hex")}` },
  { text: "CN=Lučić", der: `3012 3110 300e 0603550403 0c07 ${Buffer.from("Lučić").toString("hex")}` },
  { text: "CN=\\#a\\ ", der: "300e 310c 300a 0603550403 0c03 236120" },
  { text: "CN=\\ ", der: "300c 310a 3008 0603550403 0c0120" },
  { text: "CN=b,O=a", der: "3018 310a 3008 060355040a 0c0161 310a 3008 0603550403 0c0162" },
  { text: "CN=b+O=a", der: "3016 3114 3008 0603550403 0c0162 3008 060355040a 0c0161" },
  { text: "1.2.3.4=#0c0161", der: "300c 310a 3008 06032a0304 0c0161" },
  { text: "CN=#020105", der: "300c 310a 3008 0603550403 020105" },
])("a Name is told as RFC 4514 writes it: $text", ({ text, der }) => {
  expect(formatName(hex(der))).toBe(text);
});

const types = ["ST", "L", "O", "OU", "CN", "title", "UID"] as const;
const attribute = fc.record({
  type: fc.constantFrom(...types),
  value: fc.string({ unit: "grapheme-composite", minLength: 1, maxLength: 20 }),
});

test("names are read back as they were written, and told on one line (F-1)", () => {
  fc.assert(
    fc.property(fc.uniqueArray(attribute, { selector: ({ type }) => type, maxLength: 5 }), (name: Attribute[]) => {
      let der: Uint8Array;
      try {
        der = encodeName(name);
      } catch (error) {
        if (error instanceof Fault && error.code === "malformed") return;
        throw error;
      }
      expect(new Set(parseName(der).map(({ type, value }) => `${type}=${value}`))).toEqual(
        new Set(name.map(({ type, value }) => `${type}=${value}`)),
      );
      expect(formatName(der)).not.toMatch(/\p{Cc}/u);
    }),
    { numRuns: 2000 },
  );
});

test("any octets are a Name or a Fault (F-1)", () => {
  const octet = fc.oneof(fc.constantFrom(0x30, 0x31, 0x06, 0x03, 0x55, 0x04, 0x0c, 0x13, 0x02, 0x01), fc.nat(255));
  fc.assert(
    fc.property(fc.array(octet, { maxLength: 30 }), (octets) => {
      for (const read of [parseName, formatName]) {
        try {
          read(Uint8Array.from(octets));
        } catch (error) {
          if (!(error instanceof Fault)) throw error;
          expect(error.code).toBe("malformed");
        }
      }
    }),
    { numRuns: 2000 },
  );
});
