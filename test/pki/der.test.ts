import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Fault } from "../../src/fault.ts";
import {
  bytesOf,
  compareBytes,
  contentOf,
  defaultLimits,
  fieldsOf,
  openOctetString,
  readDer,
  readHead,
  type DerValue,
} from "../../src/pki/der.ts";
import { readNamedBits, readOid, readSmallInteger, readText, readTime, readUnsigned } from "../../src/pki/der-field.ts";
import * as writer from "../../src/pki/der-writer.ts";

function hex(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(Buffer.from(text, "hex"));
}

function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

function faultOf(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    if (error instanceof Fault) return `${error.code}: ${error.detail}`;
    throw error;
  }
  return "";
}

function nest(levels: number): Uint8Array {
  let value: Uint8Array = writer.sequence();
  for (let level = 1; level < levels; level++) value = writer.sequence(value);
  return value;
}

function wide(count: number): Uint8Array {
  return writer.sequence(...Array.from({ length: count - 1 }, () => writer.nullValue));
}

describe("the gate takes a value at each limit and refuses one past it (XG-1, S-20)", () => {
  test.for([
    { name: "depth 16", der: nest(16), fault: "" },
    { name: "depth 17", der: nest(17), fault: "malformed: values are nested deeper than 16" },
    { name: "2,000 values", der: wide(2000), fault: "" },
    { name: "2,001 values", der: wide(2001), fault: "malformed: there are too many values" },
    { name: "an OID of 64 octets", der: hex(`0640${"2a".repeat(64)}`), fault: "" },
    { name: "an OID of 65 octets", der: hex(`0641${"2a".repeat(65)}`), fault: "more than 64 octets" },
    { name: "a length of 127 in one octet", der: hex(`047f${"00".repeat(127)}`), fault: "" },
    { name: "a length of 127 in two octets", der: hex(`04817f${"00".repeat(127)}`), fault: "fewest octets" },
    { name: "a length of 128 in two octets", der: hex(`048180${"00".repeat(128)}`), fault: "" },
    { name: "a length of 255 in three octets", der: hex(`048200ff${"00".repeat(255)}`), fault: "fewest octets" },
    { name: "a length of 4 GiB", der: hex("0484ffffffff"), fault: "longer than what holds it" },
    { name: "INTEGER 7f", der: hex("02017f"), fault: "" },
    { name: "INTEGER 007f", der: hex("0202007f"), fault: "not minimal" },
    { name: "INTEGER 0080", der: hex("02020080"), fault: "" },
    { name: "INTEGER ff80", der: hex("0202ff80"), fault: "not minimal" },
    { name: "INTEGER ff7f", der: hex("0202ff7f"), fault: "" },
    { name: "BOOLEAN of two octets", der: hex("0102ffff"), fault: "neither 00 nor FF" },
    { name: "an empty BIT STRING", der: hex("030100"), fault: "" },
    { name: "an empty BIT STRING with unused bits", der: hex("030101"), fault: "count of unused bits" },
    { name: "a BIT STRING without its first octet", der: hex("0300"), fault: "count of unused bits" },
    { name: "a SET in order", der: hex("3106020101020102"), fault: "" },
    { name: "a SET out of order", der: hex("3106020102020101"), fault: "ascending order" },
    { name: "a UTCTime with an offset", der: hex(`1711${Buffer.from("260101000000+0100").toString("hex")}`), fault: "form of RFC 5280" },
    { name: "a BMPString of odd length", der: hex("1e03006100"), fault: "broken length" },
    { name: "a constructed context tag", der: hex("a003020105"), fault: "" },
    { name: "a PRIVATE tag", der: hex("c000"), fault: "class that no X.509" },
  ])("$name", ({ der, fault }) => {
    const found = faultOf(() => readDer(der, "the value"));
    if (fault === "") expect(found).toBe("");
    else expect(found).toContain(fault);
  });

  test("values inside opened OCTET STRINGs count towards the document's caps", () => {
    const inner = writer.octetString(wide(1500));
    const document = readDer(writer.sequence(inner, inner), "the value");
    expect(faultOf(() => openOctetString(document.children[0], "the first"))).toBe("");
    expect(faultOf(() => openOctetString(document.children[1], "the second"))).toBe("malformed: there are too many values");
    const deep = readDer(writer.sequence(writer.octetString(nest(14))), "the value");
    expect(faultOf(() => openOctetString(deep.children[0], "it"))).toBe("");
    const deeper = readDer(writer.sequence(writer.octetString(nest(15))), "the value");
    expect(faultOf(() => openOctetString(deeper.children[0], "it"))).toBe("malformed: values are nested deeper than 16");
  });
});

test("any octets are read to values that make up the input again, or refused as malformed (F-1, XG-2)", () => {
  const plausible = fc.oneof(
    fc.constantFrom(0x30, 0x31, 0xa0, 0x02, 0x04, 0x03, 0x06, 0x01, 0x05, 0x0c, 0x00, 0x80, 0x81),
    fc.nat(12),
    fc.nat(255),
  );
  let read = 0;
  fc.assert(
    fc.property(fc.array(plausible, { maxLength: 40 }), (octets) => {
      const bytes = Uint8Array.from(octets);
      const fault = faultOf(() => {
        const value = readDer(bytes, "the value");
        expect(toHex(rebuilt(value))).toBe(toHex(bytes));
        read += 1;
      });
      if (fault !== "") expect(fault).toMatch(/^malformed: ./);
    }),
    { numRuns: 6000 },
  );
  expect(read).toBeGreaterThan(20);
});

// From the leaves up: the writer knows one encoding of each value, so equality means that the reader took no other.
function rebuilt(value: DerValue): Uint8Array {
  return value.children.length === 0
    ? writer.encode(value.tag, contentOf(value))
    : writer.encode(value.tag, ...value.children.map(rebuilt));
}

test("what the writer writes, the reader reads back (F-1)", () => {
  fc.assert(
    fc.property(
      fc.record({
        number: fc.nat(0x7fffffff),
        magnitude: fc.uint8Array({ minLength: 1, maxLength: 40 }),
        bits: fc.uniqueArray(fc.nat(20)),
        text: fc.string({ unit: "grapheme", maxLength: 300 }),
        seconds: fc.integer({ min: Date.UTC(1950, 0) / 1000, max: Date.UTC(9999, 11, 31, 23, 59, 59) / 1000 }),
        arcs: fc.tuple(fc.nat(2), fc.nat(39), fc.array(fc.bigInt({ min: 0n, max: 2n ** 128n }), { maxLength: 3 })),
      }),
      ({ number, magnitude, bits, text, seconds, arcs }) => {
        const dotted = [arcs[0], arcs[1], ...arcs[2]].join(".");
        const instant = new Date(seconds * 1000);
        const der = writer.sequence(
          writer.smallInteger(number),
          writer.unsignedInteger(magnitude),
          writer.namedBits(bits),
          writer.utf8String(text),
          writer.time(instant),
          writer.objectIdentifier(dotted),
          writer.setOf(writer.octetString(magnitude), writer.octetString(Uint8Array.of(1)), writer.nullValue),
        );
        const fields = fieldsOf(readDer(der, "it"), "it");
        expect(readSmallInteger(fields.next("number"), "number")).toBe(number);
        expect(BigInt(`0x${toHex(readUnsigned(fields.next("magnitude"), "magnitude"))}`)).toBe(BigInt(`0x${toHex(magnitude)}`));
        expect(readNamedBits(fields.next("bits"), "bits")).toEqual(bits.toSorted((left, right) => left - right));
        expect(readText(fields.next("text"), "text")).toBe(text);
        expect(readTime(fields.next("time"), "time")).toEqual(instant);
        expect(readOid(fields.next("oid"), "oid")).toBe(dotted);
        expect(fields.next("set").children).toHaveLength(3);
        fields.end();
      },
    ),
    { numRuns: 2000 },
  );
});

test.for([
  { oid: "2.5.4.3", der: "0603550403" },
  { oid: "1.2.840.113549.1.1.11", der: "06092a864886f70d01010b" },
  { oid: "2.999.3", der: "0603883703" },
  { oid: "2.25.329800735698586629295641978511506172918", der: "06146983f09da7ebcfdee0c7a1a7b2c0948cc8f9d776" },
])("an OBJECT IDENTIFIER is read and written as X.690 §8.19 says: $oid", ({ oid, der }) => {
  expect(readOid(readDer(hex(der), "it"), "it")).toBe(oid);
  expect(toHex(writer.objectIdentifier(oid))).toBe(der);
});

test.for([
  { iso: "1950-01-01T00:00:00.000Z", tag: 0x17, text: "500101000000Z" },
  { iso: "2049-12-31T23:59:59.000Z", tag: 0x17, text: "491231235959Z" },
  { iso: "2050-01-01T00:00:00.000Z", tag: 0x18, text: "20500101000000Z" },
  { iso: "9999-12-31T23:59:59.000Z", tag: 0x18, text: "99991231235959Z" },
])("a time is UTCTime through 2049 and GeneralizedTime from 2050 (XP-4): $iso", ({ iso, tag, text }) => {
  const der = Buffer.concat([Uint8Array.of(tag, text.length), Buffer.from(text)]);
  expect(toHex(writer.time(new Date(iso)))).toBe(der.toString("hex"));
  expect(readTime(readDer(der, "it"), "it").toISOString()).toBe(iso);
});

test.for(["20491231235959Z", "20500230000000Z", "20501301000000Z", "20500101240000Z", "20500101000060Z", "00000000000000Z"])(
  "a GeneralizedTime that is no time of RFC 5280 is refused: %s",
  (text) => {
    const der = Buffer.concat([Uint8Array.of(0x18, text.length), Buffer.from(text)]);
    expect(faultOf(() => readTime(readDer(der, "it"), "it"))).toMatch(/^malformed: it is/);
  },
);

test.for([
  { bits: [], der: "030100" },
  { bits: [0, 2], der: "030205a0" },
  { bits: [5, 6], der: "03020106" },
  { bits: [0, 8], der: "0303078080" },
])("named bits have no trailing zeros (X.690 §11.2.2): $der", ({ bits, der }) => {
  expect(toHex(writer.namedBits(bits))).toBe(der);
  expect(readNamedBits(readDer(hex(der), "it"), "it")).toEqual(bits);
});

test("the head of a structure is read without its rest, however large or wrong that is", () => {
  const [first, second] = readHead(hex("300902010105003002ffff"), "it", 2);
  expect([first, second].map((value) => value && toHex(bytesOf(value)))).toEqual(["020101", "0500"]);
  expect(faultOf(() => readHead(hex("3003020101"), "it", 2))).toContain("missing");
  expect(faultOf(() => readHead(hex("300302010100"), "it", 1))).toContain("1 more octets");
});

test("the default caps are those of a CSR", () => expect(defaultLimits).toEqual({ depth: 16, nodes: 2000 }));

test("SETs are ordered by octets, a prefix first (X.690 §11.6)", () => {
  expect(Math.sign(compareBytes(hex("0201"), hex("020100")))).toBe(-1);
  expect(Math.sign(compareBytes(hex("ff"), hex("0201")))).toBe(1);
  expect(compareBytes(hex("0201"), hex("0201"))).toBe(0);
});
