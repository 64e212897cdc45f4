import { readFileSync } from "node:fs";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { crlLinter, crlRules, type CrlLintContext } from "../../src/pki/lint-crl.ts";
import type { Finding } from "../../src/pki/lint.ts";

type Vector = {
  readonly rule: string;
  readonly zlint: boolean;
  readonly context: boolean;
  readonly meant: {
    readonly distributionPoint?: string;
    readonly publishedNumber: string;
    readonly publishedThisUpdate: string;
    readonly listsAuthorities: boolean;
  };
};

const folder = new URL("../vectors/lint-crl/", import.meta.url);
const bad = Object.entries<Vector>(JSON.parse(readFileSync(new URL("expected.json", folder), "utf8")));
const good = Object.entries<Vector>(JSON.parse(readFileSync(new URL("good.json", folder), "utf8")));

/** DER TBSCertList of a file: what stands behind the outer head, as long as its own head says. */
function tbsOf(file: string): Buffer {
  const der = Buffer.from(readFileSync(new URL(file, folder), "utf8").replace(/-----.*-----|\n/g, ""), "base64");
  const [start] = headOf(der, 0);
  const [content, length] = headOf(der, start);
  return der.subarray(start, content + length);
}

/** Where the content of the value at `at` begins, and its octets. */
function headOf(der: Buffer, at: number): [number, number] {
  const first = der[at + 1] ?? 0;
  return first < 0x80 ? [at + 2, first] : [at + 2 + (first & 0x7f), der.readUIntBE(at + 2, first & 0x7f)];
}

// The authority of test/vectors/lint-crl/generate.go: C=CH, O=Example Trust, CN=Issuing 1.
const issuer = {
  subject: Buffer.from(
    "3039310b300906035504061302434831163014060355040a0c0d4578616d706c652054727573743112301006035504030c0949737375696e672031",
    "hex",
  ),
  subjectKeyIdentifier: Buffer.alloc(20, 7),
  algorithm: "P-256",
} as const;

function contextOf({ meant }: Vector): CrlLintContext {
  const { distributionPoint, listsAuthorities } = meant;
  const published = { publishedNumber: BigInt(meant.publishedNumber), publishedThisUpdate: new Date(meant.publishedThisUpdate) };
  return { issuer, slot: { distributionPoint }, ...published, listsAuthorities };
}

function lint(tbs: Uint8Array, context: CrlLintContext, cuts: readonly number[] = []): Finding[] {
  const linter = crlLinter(context);
  const places = [0, ...cuts.map((cut) => cut % tbs.length).toSorted((one, other) => one - other), tbs.length];
  for (const [index, end] of places.slice(1).entries()) linter.push(tbs.subarray(places[index], end));
  return linter.end();
}

describe("CRLs of another writer, each wrong in one thing (test/vectors/lint-crl/SOURCE.md)", () => {
  test.for(good)("%s has no finding", ([file, vector]) => {
    expect(lint(tbsOf(file), contextOf(vector))).toEqual([]);
  });

  test.for(bad)("%s is refused under its rule's name and no other", ([file, vector]) => {
    const findings = lint(tbsOf(file), vector.context ? contextOf(vector) : {});
    expect(findings.map(({ rule }) => rule)).toEqual([vector.rule]);
    expect(findings[0]).toMatchObject({ severity: "e", citation: expect.stringMatching(/RFC|TLS BR|CONFORMANCE/) });
    expect(findings[0]?.detail).not.toBe("");
  });

  test("every rule has such a CRL, and those with zlint's names are zlint's", () => {
    const names = [...crlRules.map(({ name }) => name), "chancery_crl_malformed"];
    expect(new Set(bad.map(([, { rule }]) => rule))).toEqual(new Set(names));
    const zlint = new Set(bad.filter(([, vector]) => vector.zlint).map(([, { rule }]) => rule));
    expect(names.filter((name) => name.startsWith("chancery_") === zlint.has(name))).toEqual([]);
  });

  test("are judged the same however they are cut into parts", () => {
    fc.assert(
      fc.property(fc.constantFrom(...good, ...bad), fc.array(fc.nat(), { maxLength: 30 }), ([file, vector], cuts) => {
        expect(lint(tbsOf(file), contextOf(vector), cuts)).toEqual(lint(tbsOf(file), contextOf(vector)));
      }),
    );
  });
});

test("a CRL of authorities may be a year old, and one of subscribers ten days (BR 4.9.7)", () => {
  const tbs = tbsOf("e_crl_next_update_invalid.pem");
  expect(lint(tbs, {}).map(({ rule }) => rule)).toEqual(["e_crl_next_update_invalid"]);
  expect(lint(tbs, { listsAuthorities: true }).map(({ rule }) => rule)).toEqual(["chancery_crl_reason_missing"]);
});

test("no octets make the linter throw; what is no TBSCertList is a finding (XG-2)", () => {
  const tbs = tbsOf("good-shard.pem");
  const context = { issuer, slot: { distributionPoint: undefined }, publishedNumber: 1n };
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), fc.nat(tbs.length - 1), fc.nat(255), (octets, at, octet) => {
      expect(lint(octets, context).map(({ rule }) => rule)).toEqual(["chancery_crl_malformed"]);
      const damaged = Buffer.from(tbs);
      damaged[at] = octet;
      lint(damaged, context);
    }),
    { numRuns: 2000 },
  );
});

test("a bit that changes before the signature is found, but in serial numbers, dates, reasons and the number (XI-3)", () => {
  const tbs = tbsOf("good-shard.pem");
  const context = contextOf(good.find(([file]) => file === "good-shard.pem")?.[1] ?? raise());
  const missed = new Set<string>();
  for (let bit = 0; bit < tbs.length * 8; bit++) {
    const changed = Buffer.from(tbs);
    changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (0x80 >> (bit & 7));
    if (lint(changed, context).length === 0) missed.add(placeOf(tbs, bit >> 3));
  }
  expect([...missed].toSorted()).toEqual(["cRLNumber", "date", "reason", "serial"]);
});

function raise(): never {
  throw new Error("the vector is missing");
}

/** What stands at an octet of the good shard, by the marks before it. */
function placeOf(tbs: Buffer, at: number): string {
  const marks = {
    date: ["170d", 13],
    serial: ["0210", 16],
    reason: ["03551d1504030a01", 1],
    cRLNumber: ["03551d1404030201", 1],
  } as const;
  for (const [name, [mark, octets]] of Object.entries(marks)) {
    const octet = Buffer.from(mark, "hex");
    for (let found = tbs.indexOf(octet); found >= 0; found = tbs.indexOf(octet, found + 1)) {
      if (at >= found + octet.length && at < found + octet.length + octets) return name;
    }
  }
  return `octet ${at}`;
}
