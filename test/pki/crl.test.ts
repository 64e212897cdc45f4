import { writeFileSync } from "node:fs";
import { join } from "node:path";
import * as fc from "fast-check";
import * as asn1js from "asn1js";
import * as pkijs from "pkijs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { signatureAlgorithm } from "../../src/pki/algorithm.ts";
import { crlFrame, tbsCrlHead, tbsCrlOctets, tbsCrlParts, tbsCrlTail, type CrlPlan } from "../../src/pki/crl.ts";
import { encodeEntries, entryOctets, type CrlEntries } from "../../src/pki/crl-entry.ts";
import { ask, opensslCa, type OpensslCa } from "./openssl-ca.ts";

type Entry = { readonly serial: string; readonly revokedAt: Date; readonly reason: number };

/** Entries in columns, one behind the other in one source. */
function columns(entries: readonly Entry[]): CrlEntries {
  const serials = entries.map(({ serial }) => Buffer.from(serial, "hex"));
  const ends = serials.map((_, index) => serials.slice(0, index + 1).reduce((sum, { length }) => sum + length, 0));
  return {
    count: entries.length,
    source: Buffer.concat(serials),
    serialStarts: Uint32Array.from(ends.map((end, index) => end - (serials[index]?.length ?? 0))),
    serialEnds: Uint32Array.from(ends),
    revokedAt: Float64Array.from(entries.map(({ revokedAt }) => revokedAt.getTime() / 1000)),
    reasons: Uint8Array.from(entries.map(({ reason }) => reason)),
  };
}

type Content = {
  readonly entries: readonly Entry[];
  readonly number?: bigint;
  readonly thisUpdate?: Date;
  readonly nextUpdate?: Date;
  readonly distributionPoint?: string;
};

function planOf({ entries, number = 1n, distributionPoint, ...times }: Content): CrlPlan {
  const octets = entries.map(({ serial, revokedAt, reason }) =>
    entryOctets(serial.length / 2 + (serial >= "8" ? 1 : 0), revokedAt, reason),
  );
  const { thisUpdate = new Date("2026-03-01T12:00:00Z"), nextUpdate = new Date("2026-03-02T12:00:00Z") } = times;
  return {
    number,
    thisUpdate,
    nextUpdate,
    distributionPoint,
    entryCount: entries.length,
    entriesOctets: octets.reduce((sum, each) => sum + each, 0),
  };
}

async function* inTurn<Each>(each: readonly Each[]): AsyncGenerator<Each, undefined> {
  yield* each;
}

async function tbsCertList(ca: OpensslCa, content: Content): Promise<Buffer> {
  const batches = [content.entries.slice(0, 1), content.entries.slice(1)].map(columns);
  return Buffer.concat(await Array.fromAsync(tbsCrlParts(ca.issuer, planOf(content), inTurn(batches))));
}

async function crl(ca: OpensslCa, content: Content): Promise<Buffer> {
  const tbs = await tbsCertList(ca, content);
  const { head, tail } = crlFrame(tbs.length, signatureAlgorithm(ca.issuer.algorithm), ca.sign(tbs));
  return Buffer.concat([head, tbs, tail]);
}

const algorithms = ["P-256", "P-384", "RSA-2048"] as const;
type Algorithm = (typeof algorithms)[number];
let authorities: ReadonlyMap<Algorithm, OpensslCa>;

beforeAll(() => {
  authorities = new Map(algorithms.map((algorithm): [Algorithm, OpensslCa] => [algorithm, opensslCa(algorithm)]));
});
afterAll(() => {
  for (const ca of authorities?.values() ?? []) ca[Symbol.dispose]();
});

function authority(algorithm: Algorithm = "P-256"): OpensslCa {
  const ca = authorities.get(algorithm);
  if (!ca) throw new Error(`no authority of ${algorithm}`);
  return ca;
}

const at = (text: string): Date => new Date(text);
const some: readonly Entry[] = [
  { serial: "05", revokedAt: at("2026-01-02T03:04:05Z"), reason: 0 },
  { serial: "4000000000000000000000000000000a", revokedAt: at("1999-12-31T23:59:59Z"), reason: 1 },
  { serial: "7fffffffffffffffffffffffffffffff", revokedAt: at("2049-12-31T23:59:59Z"), reason: 5 },
];

describe("a TBSCertList is octet for octet what `openssl ca -gencrl` makes of the same entries (XC-1, XC-2, XC-3, XP-1, XP-2, XP-4)", () => {
  const rows: readonly { name: string; content: Content; number: string; algorithm?: Algorithm }[] = [
    { name: "no entry: revokedCertificates is absent", content: { entries: [] }, number: "02:01:01" },
    { name: "three entries, with and without a reason", content: { entries: some }, number: "02:01:01" },
    { name: "an RSA key", content: { entries: some }, number: "02:01:01", algorithm: "RSA-2048" },
    { name: "a P-384 key", content: { entries: some }, number: "02:01:01", algorithm: "P-384" },
    { name: "CRLNumber 0", content: { entries: [], number: 0n }, number: "02:01:00" },
    { name: "CRLNumber 128", content: { entries: [], number: 128n }, number: "02:02:00:80" },
    { name: "CRLNumber 2^159 - 1", content: { entries: some, number: (1n << 159n) - 1n }, number: `02:14:7f${":ff".repeat(19)}` },
    {
      name: "a shard: a critical issuingDistributionPoint (XC-10)",
      content: { entries: some, distributionPoint: "http://status.example.org/crl/issuing-1/7.crl" },
      number: "02:01:01",
    },
    {
      name: "thisUpdate in 2049, nextUpdate in 2050",
      content: { entries: [], thisUpdate: at("2049-12-31T23:59:59Z"), nextUpdate: at("2050-01-01T00:00:00Z") },
      number: "02:01:01",
    },
    {
      name: "nextUpdate at the end of the year 9999",
      content: { entries: [], nextUpdate: at("9999-12-31T23:59:59Z") },
      number: "02:01:01",
    },
    {
      name: "serial numbers of 1 to 20 octets, with and without the first bit",
      content: {
        entries: Array.from({ length: 20 }, (_, index) => index + 1).flatMap((octets) =>
          ["7f", "80"].map((first) => ({ serial: `${first}${"00".repeat(octets - 1)}`, revokedAt: at("2026-01-01T00:00:00Z"), reason: 4 })),
        ),
      },
      number: "02:01:01",
    },
    {
      name: "5000 entries over all days of two leap years",
      content: {
        entries: Array.from({ length: 5000 }, (_, index) => ({
          serial: (BigInt(index) + (1n << 100n)).toString(16).padStart(26, "0"),
          revokedAt: new Date(Date.UTC(1996, 0, 1) + index * 49_999_000 * 2),
          reason: [0, 1, 3, 4, 5][index % 5] ?? 0,
        })),
      },
      number: "02:01:01",
    },
  ];

  test.for(rows)("$name", async ({ content, number, algorithm }) => {
    const ca = authority(algorithm);
    const { thisUpdate, nextUpdate, distributionPoint } = planOf(content);
    const theirs = ca.crl({
      revoked: content.entries.map(({ serial, revokedAt, reason }) => ({
        serial,
        revokedAt: digits(revokedAt).slice(2),
        ...(reason === 0 ? {} : { reason: reasonNames[reason] ?? "" }),
      })),
      thisUpdate: digits(thisUpdate),
      nextUpdate: digits(nextUpdate),
      number,
      ...(distributionPoint === undefined ? {} : { distributionPoint }),
    });
    const ours = await tbsCertList(ca, content);
    expect(ours.toString("hex")).toBe(tbsOf(theirs).toString("hex"));
    expect(ours.length).toBe(tbsCrlOctets(ca.issuer, planOf(content)));
  });
});

const reasonNames: Readonly<Record<number, string>> = {
  1: "keyCompromise",
  3: "affiliationChanged",
  4: "superseded",
  5: "cessationOfOperation",
  9: "privilegeWithdrawn",
};

function digits(date: Date): string {
  return date.toISOString().replace(/[-:T]|\.000/g, "");
}

/** The first field of a CertificateList, as OpenSSL says where it is. */
function tbsOf(der: Buffer): Buffer {
  const [, list] = ask("openssl", ["asn1parse", "-inform", "DER"], { input: der }).said.split("\n");
  const [, start, header, length] = /^ *(\d+):d=1 +hl=(\d+) +l= *(\d+)/.exec(list ?? "") ?? [];
  return der.subarray(Number(start), Number(start) + Number(header) + Number(length));
}

describe("OpenSSL takes our CRLs", () => {
  test.for(algorithms)("and verifies the signature of %s over what it reads (RFC 5280 §5.1.1.3)", async (algorithm) => {
    const ca = authority(algorithm);
    const der = await crl(ca, { entries: some });
    const { said, content } = ask("openssl", ["crl", "-inform", "DER", "-noout", "-verify", "-CAfile", join(ca.directory, "ca.pem")], {
      input: der,
    });
    expect({ said: said.trim(), content }).toEqual({ said: "verify OK", content: true });
  });

  test("shows the dates of 2049 and 2050 in their two forms (XP-4)", async () => {
    const ca = authority();
    const entries = ["2049-12-31T23:59:59Z", "2050-01-01T00:00:00Z", "2052-02-29T12:30:01Z", "9999-12-31T23:59:59Z"].map((text, index) => ({
      serial: `0${index + 1}`,
      revokedAt: at(text),
      reason: 0,
    }));
    const der = await crl(ca, { entries });
    const { said } = ask("openssl", ["crl", "-inform", "DER", "-noout", "-text"], { input: der });
    expect([...said.matchAll(/Revocation Date: (.*)/g)].map(([, date]) => date)).toEqual([
      "Dec 31 23:59:59 2049 GMT",
      "Jan  1 00:00:00 2050 GMT",
      "Feb 29 12:30:01 2052 GMT",
      "Dec 31 23:59:59 9999 GMT",
    ]);
    expect(
      [...ask("openssl", ["asn1parse", "-inform", "DER"], { input: der }).said.matchAll(/(UTCTIME|GENERALIZEDTIME) *:(.*)/g)]
        .slice(2)
        .map(([, type]) => type),
    ).toEqual(["UTCTIME", "GENERALIZEDTIME", "GENERALIZEDTIME", "GENERALIZEDTIME"]);
  });

  test("refuses a certificate that is on the CRL, and accepts its neighbour", async () => {
    const ca = authority();
    const entries = [{ serial: "4000000000000000000000000000000a", revokedAt: at("2026-01-01T00:00:00Z"), reason: 1 }];
    const now = new Date(Math.floor(Date.now() / 1000) * 1000 - 3_600_000);
    const content = { entries, thisUpdate: now, nextUpdate: new Date(now.getTime() + 86_400_000) };
    writeFileSync(join(ca.directory, "ours.der"), await crl(ca, content));
    ask("openssl", ["crl", "-inform", "DER", "-in", "ours.der", "-out", "ours.pem"], { cwd: ca.directory });
    const verdicts = ["4000000000000000000000000000000a", "4000000000000000000000000000000b"].map((serial) => {
      writeFileSync(join(ca.directory, "asked.pem"), ca.issue(serial));
      return ask("openssl", ["verify", "-crl_check", "-CAfile", "ca.pem", "-CRLfile", "ours.pem", "asked.pem"], { cwd: ca.directory }).said;
    });
    expect(verdicts[0]).toMatch(/error 23 .*certificate revoked/);
    expect(verdicts[1]).toMatch(/asked\.pem: OK/);
  });
});

const entry = fc.record({
  serial: fc
    .bigInt({ min: 1n, max: (1n << 160n) - 1n })
    .map((number) => number.toString(16).padStart(number.toString(16).length + (number.toString(16).length % 2), "0")),
  revokedAt: fc
    .date({ min: at("1950-01-01T00:00:00Z"), max: at("9999-12-31T23:59:59Z"), noInvalidDate: true })
    .map((date) => new Date(Math.floor(date.getTime() / 1000) * 1000)),
  reason: fc.constantFrom(0, 1, 3, 4, 5, 9),
});

test("a second decoder reads the entries, times and number that were written (XX-2)", async () => {
  const ca = authority();
  const signature = ca.sign(Buffer.from("any"));
  await fc.assert(
    fc.asyncProperty(fc.array(entry, { maxLength: 30 }), fc.bigInt({ min: 0n, max: (1n << 159n) - 1n }), async (entries, number) => {
      const tbs = await tbsCertList(ca, { entries, number });
      const { head, tail } = crlFrame(tbs.length, "ecdsa-with-SHA256", signature);
      const parsed = asn1js.fromBER(Uint8Array.from(Buffer.concat([head, tbs, tail])).buffer);
      const read = new pkijs.CertificateRevocationList({ schema: parsed.result });
      expect(read.version).toBe(1);
      expect(Buffer.from(read.tbsView).toString("hex")).toBe(tbs.toString("hex"));
      expect(Buffer.from(read.issuer.toSchema().toBER()).toString("hex")).toBe(Buffer.from(ca.issuer.subject).toString("hex"));
      const seen = (read.revokedCertificates ?? []).map(({ userCertificate, revocationDate, crlEntryExtensions }) => ({
        serial: Buffer.from(userCertificate.valueBlock.valueHexView)
          .toString("hex")
          .replace(/^00(?=[89a-f])/, ""),
        revokedAt: revocationDate.value.toISOString(),
        reason: Buffer.from(crlEntryExtensions?.extensions[0]?.extnValue.valueBlock.valueHexView ?? Uint8Array.of(0)).at(-1),
      }));
      expect(seen).toEqual(entries.map(({ serial, revokedAt, reason }) => ({ serial, revokedAt: revokedAt.toISOString(), reason })));
      const crlNumber = read.crlExtensions?.extensions.find(({ extnID }) => extnID === "2.5.29.20");
      expect(
        BigInt(
          `0x${Buffer.from(crlNumber?.extnValue.valueBlock.valueHexView ?? [])
            .subarray(2)
            .toString("hex")}`,
        ),
      ).toBe(number);
    }),
    { numRuns: 200 },
  );
});

describe("what no CRL of ours may say is refused, not written", () => {
  const good: Entry = { serial: "41", revokedAt: at("2026-01-01T00:00:00Z"), reason: 1 };
  test.for([
    { name: "certificateHold (XC-3)", entry: { ...good, reason: 6 } },
    { name: "removeFromCRL (XC-3)", entry: { ...good, reason: 8 } },
    { name: "CRLReason 7, which does not exist", entry: { ...good, reason: 7 } },
    { name: "a serial number of 21 octets", entry: { ...good, serial: "41".repeat(21) } },
    { name: "no serial number", entry: { ...good, serial: "" } },
    { name: "a leading zero octet", entry: { ...good, serial: "0041" } },
    { name: "a fraction of a second", entry: { ...good, revokedAt: at("2026-01-01T00:00:00.5Z") } },
    { name: "the year 1949", entry: { ...good, revokedAt: at("1949-12-31T23:59:59Z") } },
    { name: "the year 10000", entry: { ...good, revokedAt: at("+010000-01-01T00:00:00Z") } },
  ])("in an entry: $name", ({ entry: bad }) => {
    expect(() => encodeEntries(columns([bad]))).toThrow(expect.objectContaining({ code: "internal" }));
  });

  test.for([
    { name: "CRLNumber 2^159", change: { number: 1n << 159n } },
    { name: "CRLNumber -1", change: { number: -1n } },
    { name: "a fraction of a second", change: { thisUpdate: at("2026-01-01T00:00:00.5Z") } },
    { name: "nextUpdate in the year 10000", change: { nextUpdate: at("+010000-01-01T00:00:00Z") } },
  ])("around the entries: $name", ({ change }) => {
    const plan = planOf({ entries: [], ...change });
    expect(() => [tbsCrlHead(authority().issuer, plan), tbsCrlTail(authority().issuer, plan)]).toThrow(
      expect.objectContaining({ code: "internal" }),
    );
  });

  test.for([
    { name: "an entry more", entries: [good, { ...good, serial: "42" }] },
    { name: "an entry less", entries: [] },
    { name: "another length", entries: [{ ...good, serial: "4142" }] },
  ])("entries that are not those counted: $name (XC-21)", async ({ entries }) => {
    const parts = tbsCrlParts(authority().issuer, planOf({ entries: [good] }), inTurn([columns(entries)]));
    await expect(Array.fromAsync(parts)).rejects.toMatchObject({ code: "internal" });
  });
});

test.for([
  { entryCount: 3, list: "3069" },
  { entryCount: 5, list: "3081af" },
  { entryCount: 1000, list: "308288b8" },
  { entryCount: 100_000, list: "30833567e0" },
  { entryCount: 20_000_000, list: "308429b92700" },
])("the head before $entryCount entries of 35 octets says their length in the fewest octets (X.690 §10.1)", ({ entryCount, list }) => {
  const { issuer } = authority();
  const plan = { ...planOf({ entries: [] }), entryCount, entriesOctets: entryCount * 35 };
  const head = Buffer.from(tbsCrlHead(issuer, plan)).toString("hex");
  expect(head.slice(-list.length)).toBe(list);
  const [, octets = "", length] = /^30(?:8([1-4]))?(.*)$/.exec(head) ?? [];
  const width = Number(octets === "" ? 1 : octets) * 2;
  const content = tbsCrlOctets(issuer, plan) - (octets === "" ? 2 : 2 + Number(octets));
  expect(Number.parseInt(length?.slice(0, width) ?? "", 16)).toBe(content);
});

/** Entries whose serial numbers have so many octets. */
const entriesOf = (count: number, octets: number, reason: number): readonly Entry[] =>
  Array.from({ length: count }, (_, index) => ({
    serial: ((0x40n << BigInt(8 * (octets - 1))) + BigInt(index)).toString(16),
    revokedAt: at("2026-01-02T03:04:05Z"),
    reason,
  }));

describe("how many octets CRLs have (XC-31)", () => {
  test.for([
    { serial: 9, plain: 28, reasoned: 42 },
    { serial: 16, plain: 35, reasoned: 49 },
    { serial: 18, plain: 37, reasoned: 51 },
  ])("one entry more, with a serial number of $serial octets: $plain, or $reasoned with a reason", async ({ serial, plain, reasoned }) => {
    // Signatures of an RSA key are all of one length.
    const octets = async (count: number, reason: number) =>
      (await crl(authority("RSA-2048"), { entries: entriesOf(count, serial, reason) })).length;
    for (const [reason, expected] of [
      [0, plain],
      [4, reasoned],
    ] as const)
      expect((await octets(101, reason)) - (await octets(100, reason))).toBe(expected);
  });

  test("a shard of 7,800 entries, all with a reason: 383 KB, of which less than a kilobyte is the rest", async () => {
    const distributionPoint = "http://status.example.org/crl/issuing-1/127.crl";
    const { length } = await crl(authority(), { entries: entriesOf(7_800, 16, 1), number: 1_767_323_045_000n, distributionPoint });
    expect(length).toBeGreaterThan(7_800 * 49);
    expect(length).toBeLessThan(383_000);
  });
});
