import { decode, encode, type Answer } from "dns-packet";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

import { encodeQuestion, mixCase, readAnswer } from "../../src/net/dns-message.ts";
import type { DnsQuestion, DnsReading } from "../../src/net/dns-message.ts";

const question: DnsQuestion = { id: 0x1234, name: "ExAmple.org", type: "A" };
const txtQuestion: DnsQuestion = { id: 0x1234, name: "_aCme-chAllenge.example.org", type: "TXT" };
const sections = { questions: [{ name: question.name, type: "A" as const }], id: question.id, type: "response" as const };

function answer(...answers: Answer[]): Buffer {
  return encode({ ...sections, answers });
}

/** Header and question of an answer to `question`, with the counts and flags given; records follow as hex. */
function message({ flags = "8180", answers = 1, others = 0 }, records: string): Buffer {
  const counts = [1, answers, others, 0].map((count) => count.toString(16).padStart(4, "0")).join("");
  return Buffer.from(`1234${flags}${counts}074578416d706c65036f72670000010001${records}`, "hex");
}

/** The name of the question, by a pointer to it (RFC 1035 §4.1.4). */
const pointer = "c00c";
const address = `${pointer}000100010000003c000401020304`;

test("a question asks for recursion and carries one name (RFC 1035 §4.1)", () => {
  expect(Buffer.from(encodeQuestion(question)).toString("hex")).toBe("123401000001000000000000074578416d706c65036f72670000010001");
});

test("each letter of a name takes its case from a bit of its own (0x20)", () => {
  expect(mixCase("_acme.example.org", Uint8Array.of(0b00000010, 0b11111111, 0))).toBe("_Acme.exAMPLE.ORg");
  expect(mixCase("a1.org", new Uint8Array(1))).toBe("a1.org");
});

describe("an answer is read", () => {
  test.for<{ name: string; bytes: Buffer; asked?: DnsQuestion; reading: DnsReading }>([
    {
      name: "an address behind a compressed name",
      bytes: message({}, address),
      reading: { reading: "answer", records: [{ type: "A", owner: "example.org", address: "1.2.3.4" }] },
    },
    {
      name: "a CNAME and the address of its target",
      bytes: message({ answers: 2 }, `${pointer}000500010000003c000603577757${pointer}c02900010001${"0000003c"}000401020304`),
      reading: {
        reading: "answer",
        records: [
          { type: "CNAME", owner: "example.org", target: "www.example.org" },
          { type: "A", owner: "www.example.org", address: "1.2.3.4" },
        ],
      },
    },
    {
      name: "an IPv6 address, in the text of RFC 5952",
      bytes: answer({ type: "AAAA", name: "example.org", data: "2001:0db8:0:0:0:0:0:1" }),
      reading: { reading: "answer", records: [{ type: "AAAA", owner: "example.org", address: "2001:db8::1" }] },
    },
    {
      name: "the strings of a TXT record, joined, octet by octet",
      bytes: encode({
        ...sections,
        questions: [{ name: txtQuestion.name, type: "TXT" }],
        answers: [{ type: "TXT", name: "_acme-challenge.example.org", data: ["ab", Buffer.of(0, 0xff), "c"] }],
      }),
      asked: txtQuestion,
      reading: { reading: "answer", records: [{ type: "TXT", owner: "_acme-challenge.example.org", text: "ab\u0000\u00ffc" }] },
    },
    { name: "no records", bytes: answer(), reading: { reading: "answer", records: [] } },
    {
      name: "records of types that were not asked for, left out",
      bytes: answer({ type: "MX", name: "example.org", data: { preference: 1, exchange: "mail.example.org" } }),
      reading: { reading: "answer", records: [] },
    },
    {
      name: "an owner that has octets of no host name, left out",
      bytes: message({}, `03612e62${pointer}000100010000003c000401020304`),
      reading: { reading: "answer", records: [] },
    },
    { name: "NXDOMAIN", bytes: message({ flags: "8183", answers: 0 }, ""), reading: { reading: "error", rcode: "NXDOMAIN" } },
    { name: "SERVFAIL", bytes: message({ flags: "8182", answers: 0 }, ""), reading: { reading: "error", rcode: "SERVFAIL" } },
    { name: "REFUSED", bytes: message({ flags: "8185", answers: 0 }, ""), reading: { reading: "error", rcode: "REFUSED" } },
    { name: "NOTIMP", bytes: message({ flags: "8184", answers: 0 }, ""), reading: { reading: "error", rcode: "another error" } },
    { name: "FORMERR with a header alone", bytes: hex("123481810000000000000000"), reading: { reading: "error", rcode: "another error" } },
    { name: "TC, whatever is left of the records", bytes: message({ flags: "8380" }, "c0"), reading: { reading: "truncated" } },
  ])("$name", ({ bytes, asked = question, reading }) => {
    expect(readAnswer(bytes, asked)).toEqual(reading);
  });
});

describe("a message that answers another question is foreign (RFC 5452 §9.1)", () => {
  const good = message({}, address);
  test.for([
    { name: "another id", bytes: patched(good, 0, 0x12, 0x35) },
    { name: "a query", bytes: patched(good, 2, 0x01) },
    { name: "another opcode", bytes: patched(good, 2, 0x89) },
    { name: "another name", bytes: patched(good, 13, 0x46) },
    { name: "another type", bytes: patched(good, 26, 28) },
    { name: "another class", bytes: patched(good, 28, 3) },
    { name: "two questions", bytes: patched(good, 5, 2) },
    { name: "no question, and no error", bytes: hex("123481800000000000000000") },
    { name: "no question, and NXDOMAIN", bytes: hex("123481830000000000000000") },
    { name: "11 octets", bytes: good.subarray(0, 11) },
    { name: "nothing", bytes: Buffer.alloc(0) },
  ])("$name", ({ bytes }) => expect(readAnswer(bytes, question)).toEqual({ reading: "foreign" }));
});

test("a message that differs in the case of the name alone is told apart, and no answer either (0x20)", () => {
  expect(readAnswer(patched(message({}, address), 13, 0x65), question)).toEqual({ reading: "recased" });
});

describe("an answer that is not well formed is malformed", () => {
  test.for([
    { name: "a record less than counted", bytes: message({ answers: 2 }, address) },
    { name: "an octet behind the last record", bytes: message({}, `${address}00`) },
    { name: "a record cut short", bytes: message({}, address.slice(0, -2)) },
    { name: "an IPv4 address of 5 octets", bytes: message({}, `${pointer}000100010000003c00050102030405`) },
    { name: "an IPv6 address of 15 octets", bytes: message({}, `${pointer}001c00010000003c000f${"00".repeat(15)}`) },
    { name: "an address of another class", bytes: message({}, `${pointer}000100030000003c000401020304`) },
    { name: "a name that points to itself", bytes: message({}, `c01d000100010000003c000401020304`) },
    { name: "a name that points forward", bytes: message({}, `c01f000100010000003c000401020304`) },
    { name: "a name that points into the header", bytes: message({}, `c000000100010000003c000401020304`) },
    { name: "a label that leads back into a loop", bytes: message({}, `0161c01d000100010000003c000401020304`) },
    { name: "a label type that does not exist", bytes: message({}, `8161000100010000003c000401020304`) },
    { name: "a name of 256 octets", bytes: message({}, `${"3f".padEnd(128, "6")}`.repeat(4) + "00000100010000003c000401020304") },
    { name: "a CNAME shorter than its RDATA", bytes: message({}, `${pointer}000500010000003c0003${pointer}00`) },
    { name: "a CNAME longer than its RDATA", bytes: message({}, `${pointer}000500010000003c000103777777${pointer}`) },
    { name: "a CNAME with a dot within a label", bytes: message({}, `${pointer}000500010000003c000603612e62${pointer}`) },
    { name: "a TXT record without a string", bytes: message({}, `${pointer}001000010000003c0000`) },
    { name: "a string longer than its record", bytes: message({}, `${pointer}001000010000003c00020261`) },
    { name: "an additional record cut short", bytes: message({ others: 1 }, address + address.slice(0, -2)) },
    { name: "a CNAME behind NXDOMAIN cut short", bytes: message({ flags: "8183" }, address.slice(0, -2)) },
  ])("$name", ({ bytes }) => expect(readAnswer(bytes, question)).toEqual({ reading: "malformed" }));
});

type Reader = (bytes: Uint8Array, asked: DnsQuestion) => DnsReading;

/** What holds of every message: it is read without a throw, only as an answer to our question, and into plain names and addresses. */
function readingHolds(reader: Reader, bytes: Buffer): void {
  const read = reader(bytes, question);
  const ours = bytes.subarray(0, 2).equals(hex("1234")) && ((bytes[2] ?? 0) & 0xf8) === 0x80;
  const echoed = bytes.subarray(12, 29).toString("hex") === "074578416d706c65036f72670000010001";
  if (read.reading === "answer" || read.reading === "truncated") expect(ours && echoed).toBe(true);
  if (read.reading !== "answer") return;
  for (const record of read.records) {
    expect(record.owner).toMatch(/^[a-z0-9_.-]{0,253}$/);
    if (record.type === "CNAME") expect(record.target).toMatch(/^[a-z0-9_.-]{0,253}$/);
    else if (record.type === "TXT") expect(record.text.length).toBeLessThan(bytes.length);
    else expect(record.address).toMatch(record.type === "A" ? /^\d+\.\d+\.\d+\.\d+$/ : /^[0-9a-f:]+$/);
  }
}

const bases: readonly Buffer[] = [
  message({}, address),
  message({ flags: "8380" }, address),
  message({ answers: 2 }, `${pointer}000500010000003c000603577757${pointer}c02900010001${"0000003c"}000401020304`),
  message({ answers: 2, others: 1 }, `${pointer}001000010000003c000702616203636465${pointer}001000010000003c000100${address}`),
  answer(
    ...[1, 2, 3].map((host) => ({ type: "AAAA" as const, name: "example.org", data: `2a00::${host}` })),
    { type: "TXT", name: "example.org", data: ["text", "x".repeat(255)] },
    { type: "SRV", name: "example.org", data: { port: 1, target: "a.example.org" } },
  ),
  message({ flags: "8183", answers: 0, others: 1 }, `${pointer}000600010000003c0018${pointer}${pointer}${"00000001".repeat(5)}`),
];

/** One octet set, a stretch removed, doubled or made a pointer: where parsers of names and lengths break. */
const mutation = fc.record({
  kind: fc.constantFrom("set", "cut", "double", "point"),
  at: fc.nat(400),
  value: fc.integer({ min: 0, max: 255 }),
});
const mutated = fc
  .tuple(fc.constantFrom(...bases), fc.array(mutation, { minLength: 1, maxLength: 6 }))
  .map(([base, mutations]) => mutations.reduce((bytes, each) => mutate(bytes, each), base));

function mutate(bytes: Buffer, { kind, at, value }: { kind: string; at: number; value: number }): Buffer {
  // Most changes fall behind the question: one within it makes the message foreign at once.
  const place = at % 10 === 0 ? at % Math.max(1, bytes.length) : Math.min(29, bytes.length) + (at % Math.max(1, bytes.length - 29));
  if (kind === "set") return patched(bytes, place, value);
  if (kind === "point") return patched(bytes, place, 0xc0, value % 64);
  if (kind === "cut") return Buffer.concat([bytes.subarray(0, place), bytes.subarray(place + (value % 8))]);
  return Buffer.concat([bytes.subarray(0, place), bytes.subarray(place - (value % 16), place), bytes.subarray(place)]);
}

function fuzz(reader: Reader, numRuns: number): void {
  fc.assert(
    fc.property(mutated, (bytes) => readingHolds(reader, bytes)),
    { numRuns },
  );
}

test("20,000 damaged answers are each read, malformed or foreign: none throws, hangs or passes for another's (S-06)", () => {
  fuzz(readAnswer, 20_000);
});

test("the damage reaches every outcome, so that the 20,000 show something", () => {
  const seen = new Set(fc.sample(mutated, { numRuns: 2000, seed: 1 }).map((bytes) => readAnswer(bytes, question).reading));
  expect([...seen].filter((reading) => reading !== "recased").toSorted()).toEqual(["answer", "error", "foreign", "malformed", "truncated"]);
});

test.for<{ name: string; reader: Reader }>([
  { name: "the library without a gate", reader: (bytes) => ({ reading: decode(Buffer.from(bytes)).answers ? "malformed" : "foreign" }) },
  {
    name: "a gate that takes any id",
    reader: (bytes, asked) => readAnswer(bytes.length < 2 ? bytes : patched(Buffer.from(bytes), 0, 0x12, 0x34), asked),
  },
  {
    name: "a gate that does not compare the question",
    reader: (bytes, asked) =>
      readAnswer(bytes.length < 29 ? bytes : patched(Buffer.from(bytes), 12, ...(bases[0]?.subarray(12, 29) ?? [])), asked),
  },
])("the fuzz finds a planted fault: $name", ({ reader }) => {
  expect(() => fuzz(reader, 20_000)).toThrow();
});

function patched(bytes: Buffer, at: number, ...octets: number[]): Buffer {
  const copy = Buffer.from(bytes);
  octets.forEach((octet, index) => {
    if (at + index < copy.length) copy[at + index] = octet;
  });
  return copy;
}

function hex(text: string): Buffer {
  return Buffer.from(text, "hex");
}
