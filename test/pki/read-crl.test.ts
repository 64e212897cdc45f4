import * as fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Fault } from "../../src/fault.ts";
import { readCrl, type CrlPiece } from "../../src/pki/read-crl.ts";
import { certListCheck } from "../../src/pki/signed-kind.ts";
import { ask, opensslCa, type OpensslCa, type OpensslCrl } from "./openssl-ca.ts";

let ca: OpensslCa;
let full: Buffer;
let shard: Buffer;

const reasons = ["keyCompromise", "affiliationChanged", "superseded", "cessationOfOperation", undefined];
const content: OpensslCrl = {
  revoked: Array.from({ length: 60 }, (_, index) => ({
    serial: `${index % 2 === 0 ? "7f" : "80"}${index.toString(16).padStart(30, "0")}`,
    revokedAt: `2${index % 10}0${1 + (index % 9)}1${index % 10}0${index % 10}1${index % 6}2${index % 10}Z`,
    ...(index % 5 === 4 ? {} : { reason: reasons[index % 5] ?? "" }),
  })),
  thisUpdate: "20260301120000Z",
  nextUpdate: "20500101000000Z",
  number: "02:02:01:00",
};

beforeAll(() => {
  ca = opensslCa();
  full = ca.crl(content);
  shard = ca.crl({ ...content, revoked: content.revoked.slice(0, 5), distributionPoint: "http://status.example.org/crl/issuing-1/7.crl" });
});
afterAll(() => ca?.[Symbol.dispose]());

/** What a CRL says, in one object; entries as lines. */
async function said(parts: Iterable<Uint8Array>): Promise<Record<string, unknown>> {
  const entries: string[] = [];
  let around: Record<string, unknown> = {};
  for await (const piece of readCrl(parts)) {
    if (piece.piece === "entries") entries.push(...lines(piece));
    else around = { ...around, ...printable(piece) };
  }
  return { ...around, entries };
}

function lines({ entries }: Extract<CrlPiece, { piece: "entries" }>): string[] {
  return Array.from({ length: entries.count }, (_, index) => {
    const serial = Buffer.from(entries.source.subarray(entries.serialStarts[index], entries.serialEnds[index])).toString("hex");
    return `${serial} ${new Date((entries.revokedAt[index] ?? 0) * 1000).toISOString()} ${entries.reasons[index]}`;
  });
}

function printable(piece: Exclude<CrlPiece, { piece: "entries" }>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(piece).map(([name, value]) => [name, value instanceof Uint8Array ? Buffer.from(value).toString("hex") : value]),
  );
}

function cutAt(bytes: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const places = [0, ...cuts.map((cut) => cut % bytes.length).toSorted((one, other) => one - other), bytes.length];
  return places.slice(1).map((end, index) => bytes.subarray(places[index], end));
}

describe("a CRL that OpenSSL made", () => {
  test("says what OpenSSL says of it (RFC 5280 §5.1)", async () => {
    const read = await said([full]);
    const text = ask("openssl", ["crl", "-inform", "DER", "-noout", "-text"], { input: full }).said;
    const theirs = [
      ...text.matchAll(/Serial Number: (\S+)\s+Revocation Date: (.*) GMT(?:\s+CRL entry extensions:\s+X509v3 CRL Reason Code: \s+(.*))?/g),
    ].map(([, serial, date, reason]) => `${serial?.toLowerCase()} ${new Date(`${date} UTC`).toISOString()} ${reasonNumbers[reason ?? ""]}`);
    expect(theirs.length).toBe(60);
    expect(read["entries"]).toEqual(theirs);
    expect(read).toMatchObject({
      signatureAlgorithm: "ecdsa-with-SHA256",
      issuer: Buffer.from(ca.issuer.subject).toString("hex"),
      thisUpdate: new Date("2026-03-01T12:00:00Z"),
      nextUpdate: new Date("2050-01-01T00:00:00Z"),
      number: 256n,
      authorityKeyIdentifier: Buffer.from(ca.issuer.subjectKeyIdentifier).toString("hex"),
      distributionPoint: undefined,
      entryCount: 60,
    });
    const { tbsStart, tbsEnd } = read;
    const [, list] = ask("openssl", ["asn1parse", "-inform", "DER"], { input: full }).said.split("\n");
    const [, start, header, length] = /^ *(\d+):d=1 +hl=(\d+) +l= *(\d+)/.exec(list ?? "") ?? [];
    expect([tbsStart, tbsEnd]).toEqual([Number(start), Number(start) + Number(header) + Number(length)]);
  });

  test("names its shard (RFC 5280 §5.2.5)", async () => {
    expect(await said([shard])).toMatchObject({ entryCount: 5, distributionPoint: "http://status.example.org/crl/issuing-1/7.crl" });
  });

  test("without entries is read as one", async () => {
    expect(await said([ca.crl({ ...content, revoked: [] })])).toMatchObject({ entryCount: 0, entries: [] });
  });

  test("says the same however it is cut into parts", async () => {
    const [whole, ofShard] = [await said([full]), await said([shard])];
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(), { maxLength: 300 }), async (cuts) => {
        expect(await said(cutAt(full, cuts))).toEqual(whole);
        expect(await said(cutAt(shard, cuts))).toEqual(ofShard);
      }),
    );
    expect(await said(cutAt(full, [...full.keys()]))).toEqual(whole);
  });
});

const reasonNumbers: Readonly<Record<string, number>> = {
  "": 0,
  "Key Compromise": 1,
  "Affiliation Changed": 3,
  Superseded: 4,
  "Cessation Of Operation": 5,
};

function* endless(): Generator<Uint8Array, undefined> {
  yield Buffer.from("3084fffffff03084ffffffe0020101300a06082a8648ce3d0403023084ffffff00", "hex");
  throw new Error("nobody needs more to refuse this");
}

/** How reading ended. */
async function outcome(parts: Iterable<Uint8Array>): Promise<string> {
  try {
    return JSON.stringify(await said(parts), (_name, value: unknown) => (typeof value === "bigint" ? String(value) : value));
  } catch (error) {
    if (error instanceof Fault) return error.code;
    throw error;
  }
}

describe("damaged octets", () => {
  test("are read as something else or refused as malformed, the same in every cut; nothing else is thrown (XG-2)", async () => {
    const damage = fc.record({ at: fc.nat(), octet: fc.nat(255), cuts: fc.array(fc.nat(), { maxLength: 20 }) });
    await fc.assert(
      fc.asyncProperty(damage, async ({ at, octet, cuts }) => {
        const bytes = Buffer.from(full);
        bytes[at % bytes.length] = octet;
        const whole = await outcome([bytes]);
        expect(await outcome(cutAt(bytes, cuts))).toBe(whole);
      }),
      { numRuns: 1000 },
    );
  });

  test("that are cut short or followed by more are refused as malformed", async () => {
    for (let length = 0; length < full.length; length += 7) expect(await outcome([full.subarray(0, length)])).toBe("malformed");
    expect(await outcome([full, Buffer.alloc(1)])).toBe("malformed");
    expect(await outcome([Buffer.concat([full, full])])).toBe("malformed");
  });

  test("of any kind are refused as malformed", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 5 }),
        async (parts) => (await outcome(parts)) === "malformed",
      ),
    );
  });

  test("that promise a field of four gigabytes are refused before they are collected", async () => {
    expect(await outcome(endless())).toBe("malformed");
  });
});

// Written by hand: identifier octet, length, content.
function tlv(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const value = Buffer.concat(parts);
  const length =
    value.length < 0x80 ? [value.length] : value.length < 0x100 ? [0x81, value.length] : [0x82, value.length >> 8, value.length & 0xff];
  return Buffer.concat([Uint8Array.from([tag, ...length]), value]);
}

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(" ", ""), "hex");
const utcTime = (text: string): Buffer => tlv(0x17, Buffer.from(text));
const extension = (type: string, value: Uint8Array, critical = hex("")): Buffer => tlv(0x30, hex(type), critical, tlv(0x04, value));
const entry = (...fields: readonly Uint8Array[]): Buffer => tlv(0x30, ...fields);

const keyIdentifier = extension("0603551d23", tlv(0x30, tlv(0x80, Buffer.alloc(20, 7))));
const number = extension("0603551d14", hex("020105"));
const point = tlv(0xa0, tlv(0xa0, tlv(0x86, Buffer.from("http://a.example/7.crl"))));
const shardPoint = (value: Uint8Array, critical = hex("0101ff")): Buffer => extension("0603551d1c", value, critical);
const userCerts = hex("8101ff");
const reason = (octets: string, critical = ""): Buffer => tlv(0x30, extension("0603551d15", hex(octets), hex(critical)));
const date = utcTime("260101000000Z");

const fields = {
  version: hex("020101"),
  signature: hex("300a06082a8648ce3d040302"),
  issuer: hex("300c 310a 3008 0603550403 0c0161"),
  thisUpdate: date,
  nextUpdate: utcTime("260102000000Z"),
  entries: tlv(0x30, entry(hex("020105"), date)),
  extensions: tlv(0xa0, tlv(0x30, keyIdentifier, number)),
  behind: hex(""),
  signatureAlgorithm: hex("300a06082a8648ce3d040302"),
  signatureValue: hex("0309 00 3006020101020101"),
  rest: hex(""),
};

function crlOf(change: Partial<Record<keyof typeof fields, Uint8Array>>): Buffer {
  const { signatureAlgorithm, signatureValue, rest, ...tbs } = { ...fields, ...change };
  return tlv(0x30, tlv(0x30, ...Object.values(tbs)), signatureAlgorithm, signatureValue, rest);
}

const extensions = (...each: readonly Uint8Array[]) => ({ extensions: tlv(0xa0, tlv(0x30, ...each)) });
const oneEntry = (...parts: readonly Uint8Array[]) => ({ entries: tlv(0x30, entry(...parts)) });

describe("what a CRL of ours never has is malformed (RFC 5280 §5)", () => {
  test("while a good one is read", async () => {
    expect(await said([crlOf({})])).toMatchObject({ entries: ["05 2026-01-01T00:00:00.000Z 0"], number: 5n });
    expect(await said([crlOf(extensions(keyIdentifier, number, shardPoint(tlv(0x30, point, userCerts))))])).toMatchObject({
      distributionPoint: "http://a.example/7.crl",
    });
  });

  test.for([
    { name: "no version", change: { version: hex("") } },
    { name: "version 1", change: { version: hex("020100") } },
    {
      name: "an algorithm that is not ours",
      change: { signature: hex("300906072a8648ce3d0401"), signatureAlgorithm: hex("300906072a8648ce3d0401") },
    },
    { name: "another algorithm outside (XP-1)", change: { signatureAlgorithm: hex("300a06082a8648ce3d040303") } },
    { name: "an empty issuer", change: { issuer: hex("3000") } },
    { name: "no nextUpdate", change: { nextUpdate: hex("") } },
    { name: "a GeneralizedTime before 2050 (XP-4)", change: { nextUpdate: tlv(0x18, Buffer.from("20260102000000Z")) } },
    { name: "an empty list of entries (XC-2)", change: { entries: hex("3000") } },
    { name: "no extensions", change: { extensions: hex("") } },
    { name: "no cRLNumber", change: extensions(keyIdentifier) },
    { name: "no authorityKeyIdentifier", change: extensions(number) },
    { name: "cRLNumber twice", change: extensions(keyIdentifier, number, number) },
    { name: "a critical cRLNumber", change: extensions(keyIdentifier, extension("0603551d14", hex("020105"), hex("0101ff"))) },
    { name: "a negative cRLNumber", change: extensions(keyIdentifier, extension("0603551d14", hex("0201ff"))) },
    { name: "a cRLNumber of 21 octets", change: extensions(keyIdentifier, extension("0603551d14", hex(`021501${"00".repeat(20)}`))) },
    { name: "critical FALSE written out", change: extensions(keyIdentifier, extension("0603551d14", hex("020105"), hex("010100"))) },
    { name: "a delta CRL indicator", change: extensions(keyIdentifier, number, extension("0603551d1b", hex("020105"), hex("0101ff"))) },
    {
      name: "an authorityKeyIdentifier of issuer and serial number",
      change: extensions(
        extension("0603551d23", tlv(0x30, tlv(0x80, Buffer.alloc(20)), tlv(0xa1, tlv(0xa4, fields.issuer)), hex("820105"))),
        number,
      ),
    },
    {
      name: "an issuingDistributionPoint that is not critical",
      change: extensions(keyIdentifier, number, shardPoint(tlv(0x30, point, userCerts), hex(""))),
    },
    { name: "one without onlyContainsUserCerts", change: extensions(keyIdentifier, number, shardPoint(tlv(0x30, point))) },
    {
      name: "one with onlyContainsUserCerts FALSE",
      change: extensions(keyIdentifier, number, shardPoint(tlv(0x30, point, hex("810100")))),
    },
    {
      name: "one with onlyContainsCACerts beside",
      change: extensions(keyIdentifier, number, shardPoint(tlv(0x30, point, userCerts, hex("8201ff")))),
    },
    {
      name: "one with onlySomeReasons",
      change: extensions(keyIdentifier, number, shardPoint(tlv(0x30, point, userCerts, hex("83020640")))),
    },
    { name: "one with indirectCRL", change: extensions(keyIdentifier, number, shardPoint(tlv(0x30, point, userCerts, hex("8401ff")))) },
    { name: "one without a name", change: extensions(keyIdentifier, number, shardPoint(tlv(0x30, userCerts))) },
    {
      name: "one with two names",
      change: extensions(keyIdentifier, number, shardPoint(tlv(0x30, tlv(0xa0, tlv(0xa0, hex("860161"), hex("860162"))), userCerts))),
    },
    { name: "a field behind the extensions", change: { behind: hex("0500") } },
    { name: "a field behind the signature", change: { rest: hex("0500") } },
    { name: "a signature of 7 bits", change: { signatureValue: hex("03020180") } },
    { name: "an entry without a date", change: oneEntry(hex("020105")) },
    { name: "an entry of serial number 0", change: oneEntry(hex("020100"), date) },
    { name: "an entry of a negative serial number", change: oneEntry(hex("0201ff"), date) },
    { name: "an entry of a serial number with a spare octet", change: oneEntry(hex("02020005"), date) },
    { name: "an entry of a serial number of 21 octets", change: oneEntry(hex(`021541${"00".repeat(20)}`), date) },
    { name: "an entry of the 30th of February", change: oneEntry(hex("020105"), utcTime("260230000000Z")) },
    { name: "an entry of the 29th of February 2100", change: oneEntry(hex("020105"), tlv(0x18, Buffer.from("21000229000000Z"))) },
    { name: "an entry of hour 24", change: oneEntry(hex("020105"), utcTime("260101240000Z")) },
    { name: "an entry of a date without seconds", change: oneEntry(hex("020105"), utcTime("2601010000Z")) },
    { name: "an entry of a date with an offset", change: oneEntry(hex("020105"), utcTime("260101000000+0000")) },
    { name: "an entry of a GeneralizedTime before 2050", change: oneEntry(hex("020105"), tlv(0x18, Buffer.from("20260101000000Z"))) },
    { name: "an entry whose extensions are empty", change: oneEntry(hex("020105"), date, hex("3000")) },
    { name: "reasonCode unspecified (XC-3)", change: oneEntry(hex("020105"), date, reason("0a0100")) },
    { name: "reasonCode certificateHold (XC-3)", change: oneEntry(hex("020105"), date, reason("0a0106")) },
    { name: "reasonCode removeFromCRL outside of a delta (XC-3)", change: oneEntry(hex("020105"), date, reason("0a0108")) },
    { name: "a critical reasonCode (XC-3)", change: oneEntry(hex("020105"), date, reason("0a0101", "0101ff")) },
    {
      name: "an invalidityDate",
      change: oneEntry(hex("020105"), date, tlv(0x30, extension("0603551d18", tlv(0x18, Buffer.from("20260101000000Z"))))),
    },
    { name: "a field behind an entry's extensions", change: oneEntry(hex("020105"), date, reason("0a0101"), hex("0500")) },
    { name: "an entry that is no SEQUENCE", change: { entries: tlv(0x30, hex("3103020105")) } },
    { name: "an entry that reaches beyond the list", change: { entries: Buffer.concat([hex("3005"), entry(hex("020105"), date)]) } },
  ])("$name", async ({ change }) => {
    const bytes = crlOf(change);
    expect(await outcome([bytes])).toBe("malformed");
    expect(await outcome(cutAt(bytes, [...bytes.keys()]))).toBe("malformed");
  });
});

/** Whether the check before a signature takes these parts. */
function accepted(parts: readonly Uint8Array[]): boolean {
  const check = certListCheck();
  try {
    for (const part of parts) check.push(part);
    check.end();
    return true;
  } catch (error) {
    if (error instanceof Fault && error.code === "malformed") return false;
    throw error;
  }
}

test("the check before a signature takes a TBSCertList in any parts, and no other octets (PK-62)", async () => {
  const { tbsStart, tbsEnd } = await said([full]);
  const tbs = full.subarray(Number(tbsStart), Number(tbsEnd));
  fc.assert(fc.property(fc.array(fc.nat(), { maxLength: 100 }), (cuts) => accepted(cutAt(tbs, cuts))));
  fc.assert(fc.property(fc.integer({ min: 0, max: tbs.length - 1 }), (length) => !accepted([tbs.subarray(0, length)])));
  expect(accepted([full])).toBe(false);
  expect(accepted([tbs, Buffer.alloc(1)])).toBe(false);
});
