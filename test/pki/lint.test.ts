import { readFileSync } from "node:fs";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { keyIdentifier, parseCertificate, type Issuer } from "../../src/pki/certificate.ts";
import type { GeneralName } from "../../src/pki/general-name.ts";
import { lint, rules } from "../../src/pki/lint.ts";
import { keyAlgorithms, planOf, profileNames, profileOf, softwareKey } from "./authorities.ts";

type Vector = {
  readonly rule: string;
  readonly zlint: boolean;
  readonly base: string;
  readonly profile: string;
  readonly issuer: string;
  readonly slug: string;
  readonly context: boolean;
  readonly names: readonly GeneralName[];
};

const folder = new URL("../vectors/lint/", import.meta.url);
const bad = Object.entries<Vector>(JSON.parse(readFileSync(new URL("expected.json", folder), "utf8")));
const good = Object.entries<Vector>(JSON.parse(readFileSync(new URL("good.json", folder), "utf8")));

describe("certificates of another writer, each wrong in one thing (test/vectors/lint/SOURCE.md)", () => {
  test.for(good)("%s has no finding", ([file, vector]) => {
    expect(lint(tbsOf(file), contextOf(vector))).toEqual([]);
  });

  test.for(bad)("%s is refused under its rule's name", ([file, vector]) => {
    const findings = lint(tbsOf(file), vector.context ? contextOf(vector) : {});
    expect(findings.map(({ rule }) => rule)).toContain(vector.rule);
    const finding = findings.find(({ rule }) => rule === vector.rule);
    expect(finding?.severity).toBe(/^[wn]_/.exec(vector.rule)?.[0][0] ?? "e");
    expect(finding?.detail).not.toBe("");
    expect(finding?.citation).toMatch(/RFC|X\.690|ISO|TLS BR|CONFORMANCE/);
  });

  test("every rule has such a certificate", () => {
    const covered = new Set(bad.map(([, { rule }]) => rule));
    expect(rules.map(({ name }) => name).filter((name) => !covered.has(name))).toEqual([]);
  });

  test("rules have names of their own, 25 or more of them zlint's", () => {
    expect(new Set(rules.map(({ name }) => name)).size).toBe(rules.length);
    const zlint = new Set(bad.filter(([, vector]) => vector.zlint).map(([, { rule }]) => rule));
    expect(zlint.size).toBeGreaterThanOrEqual(25);
    expect([...zlint].filter((name) => name.startsWith("chancery_"))).toEqual([]);
    expect(rules.filter(({ name }) => !name.startsWith("chancery_") && !zlint.has(name))).toEqual([]);
  });
});

describe("what our writer makes", () => {
  const rows = profileNames.flatMap((profile) =>
    keyAlgorithms
      .filter((key) => profileOf(profile).keyAlgorithms.includes(key === "P-256" || key === "P-384" ? key : "RSA"))
      .flatMap((key) => (["P-256", "P-384", "RSA-2048"] as const).map((issuer) => ({ profile, key, issuer }))),
  );
  test.for(rows)("a certificate of profile $profile for a key $key, issued by $issuer, has no finding", ({ profile, key, issuer }) => {
    const { tbs, ...plan } = planOf(profile, softwareKey(key), softwareKey(issuer, 1));
    expect(lint(tbs, { profile: plan.profile, issuer: plan.issuer, names: plan.content.names })).toEqual([]);
    expect(lint(tbs, { profile: plan.profile, issuer: plan.issuer, ...plan.content })).toEqual([]);
  });

  test("100 names, the most there can be, have no finding", () => {
    const names = Array.from({ length: 100 }, (_, index): GeneralName => ({ type: "dns", value: `a${index}.example.org` }));
    const plan = planOf("server", softwareKey("P-256"), softwareKey("P-256", 1));
    expect(lint(plan.tbs, { profile: plan.profile, issuer: plan.issuer, names })).not.toEqual([]);
    const { tbs } = planOf("server", softwareKey("P-256"), softwareKey("P-256", 1), names);
    expect(lint(tbs, { profile: plan.profile, issuer: plan.issuer, names })).toEqual([]);
  });
});

describe("a bit that changes between decision and signature (XI-3)", () => {
  const rows = [
    { profile: "server", key: "RSA-2048", issuer: "RSA-2048" },
    { profile: "mtls", key: "P-256", issuer: "P-256" },
    { profile: "root", key: "P-384", issuer: "P-384" },
    { profile: "subordinate", key: "P-256", issuer: "P-384" },
    { profile: "ocsp-responder", key: "P-256", issuer: "RSA-2048" },
  ] as const;

  test.for(rows)(
    "is found wherever it stands in a $profile certificate ($key by $issuer), but in the serial number's 126 random bits and in times that policy allows as well",
    ({ profile, key, issuer }) => {
      const plan = planOf(profile, softwareKey(key), softwareKey(issuer, 1));
      const context = { profile: plan.profile, issuer: plan.issuer, ...plan.content };
      const places = placesOf(plan.tbs);
      const missed = [...flips(plan.tbs)].filter(({ tbs, octet, bit }) => {
        const allowed =
          (within(places.serial, octet) && !(octet === places.serial.start && bit >= 6)) ||
          ((within(places.notBefore, octet) || within(places.notAfter, octet)) && isAllowedValidity(tbs, places, plan));
        return lint(tbs, context).length > 0 === allowed;
      });
      expect(missed.map(({ octet, bit }) => ({ octet, bit }))).toEqual([]);
    },
  );

  test.for(rows.filter(({ profile }) => profile === "mtls" || profile === "subordinate"))(
    "is found in a $profile certificate without subject and key to compare with, but also in these two",
    ({ profile, key, issuer }) => {
      const plan = planOf(profile, softwareKey(key), softwareKey(issuer, 1));
      const places = placesOf(plan.tbs);
      const context = { profile: plan.profile, issuer: plan.issuer, names: plan.content.names };
      const missed = [...flips(plan.tbs)].filter(({ tbs, octet }) => {
        const excepted = [places.serial, places.notBefore, places.notAfter, places.key, ...places.subjectValues].some((place) =>
          within(place, octet),
        );
        return !excepted && lint(tbs, context).length === 0;
      });
      expect(missed.map(({ octet, bit }) => ({ octet, bit }))).toEqual([]);
    },
  );
});

test("no bytes make the linter throw; what is not a TBSCertificate is a finding", () => {
  const { tbs, ...plan } = planOf("mtls", softwareKey("P-256"), softwareKey("P-256", 1));
  const context = { profile: plan.profile, issuer: plan.issuer, ...plan.content };
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), fc.nat(tbs.length), fc.nat(40), (octets, at, removed) => {
      expect(lint(octets, context).map(({ rule }) => rule)).toContain("chancery_tbs_malformed");
      const spliced = Uint8Array.from([...tbs.subarray(0, at), ...octets, ...tbs.subarray(at + removed)]);
      if (Buffer.compare(spliced, tbs) !== 0) lint(spliced, context);
    }),
    { numRuns: 2_000 },
  );
});

/** The TBSCertificate in a PEM file. */
function tbsOf(file: string): Uint8Array {
  const der = derOf(file);
  const certificate = valueAt(der, 0);
  return der.subarray(certificate.contentStart, valueAt(der, certificate.contentStart).end);
}

function derOf(file: string): Uint8Array {
  const text = readFileSync(new URL(file, folder), "utf8");
  return new Uint8Array(Buffer.from(text.replace(/-----[^-]*-----|\s/g, ""), "base64"));
}

function contextOf({ profile, issuer, slug, names, base }: Vector) {
  const { spki, subject, notAfter, keyAlgorithm } = parseCertificate(derOf(issuer));
  const urls = {
    caIssuers: `http://status.example.org/ca/${slug}.cer`,
    ocsp: `http://status.example.org/ocsp/${slug}`,
    crl: `http://status.example.org/crl/${slug}.crl`,
  };
  const authority: Issuer = { subject, spki, subjectKeyIdentifier: keyIdentifier(spki), notAfter, algorithm: keyAlgorithm, urls };
  return { profile: profileOf(profile), issuer: authority, names, spki: parseCertificate(derOf(base)).spki };
}

type Place = { readonly start: number; readonly end: number };
type Places = {
  readonly serial: Place;
  readonly notBefore: Place;
  readonly notAfter: Place;
  readonly key: Place;
  readonly subjectValues: readonly Place[];
};

// Where the exceptions lie, found by a walk of its own.
function placesOf(tbs: Uint8Array): Places {
  const [, serial, , , validity, subject, spki] = childrenOf(tbs, valueAt(tbs, 0));
  const [notBefore, notAfter] = childrenOf(tbs, validity);
  const [, subjectPublicKey] = childrenOf(tbs, spki);
  const key = contentOf(subjectPublicKey);
  return {
    serial: contentOf(serial),
    notBefore: contentOf(notBefore),
    notAfter: contentOf(notAfter),
    // Behind the count of unused bits and the octet 04 of an uncompressed point.
    key: { start: key.start + 2, end: key.end },
    subjectValues: childrenOf(tbs, subject).flatMap((rdn) =>
      childrenOf(tbs, rdn).map((attribute) => contentOf(childrenOf(tbs, attribute)[1])),
    ),
  };
}

type Value = { readonly contentStart: number; readonly end: number };

function valueAt(der: Uint8Array, offset: number): Value {
  const first = der[offset + 1] ?? 0;
  const lengthOctets = first < 0x80 ? 0 : first & 0x7f;
  const contentStart = offset + 2 + lengthOctets;
  const length = lengthOctets === 0 ? first : der.subarray(offset + 2, contentStart).reduce((sum, octet) => sum * 256 + octet, 0);
  return { contentStart, end: contentStart + length };
}

function childrenOf(der: Uint8Array, parent: Value | undefined): Value[] {
  if (parent === undefined) return [];
  const children: Value[] = [];
  for (let offset = parent.contentStart; offset < parent.end; offset = children.at(-1)?.end ?? parent.end)
    children.push(valueAt(der, offset));
  return children;
}

function contentOf(value: Value | undefined): Place {
  if (value === undefined) throw new Error("the certificate has another structure");
  return { start: value.contentStart, end: value.end };
}

function within({ start, end }: Place, octet: number): boolean {
  return octet >= start && octet < end;
}

// Every certificate that differs in one bit.
function* flips(tbs: Uint8Array) {
  for (let octet = 0; octet < tbs.length; octet++) {
    for (let bit = 0; bit < 8; bit++) {
      const changed = Uint8Array.from(tbs);
      changed[octet] = (changed[octet] ?? 0) ^ (1 << bit);
      yield { tbs: changed, octet, bit };
    }
  }
}

function isAllowedValidity(tbs: Uint8Array, { notBefore, notAfter }: Places, { profile, issuer }: ReturnType<typeof planOf>): boolean {
  const from = utcTime(tbs.subarray(notBefore.start, notBefore.end));
  const to = utcTime(tbs.subarray(notAfter.start, notAfter.end));
  const seconds = (to - from) / 1_000 + 1;
  return seconds >= profile.lifetimeSeconds.minimum && seconds <= profile.lifetimeSeconds.maximum && to <= issuer.notAfter.getTime();
}

// Milliseconds of a UTCTime (RFC 5280 §4.1.2.5.1); NaN for what is none.
function utcTime(octets: Uint8Array): number {
  const match = /^(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/.exec(Buffer.from(octets).toString("latin1"));
  const [year = NaN, month = NaN, day = NaN, hour = NaN, minute = NaN, second = NaN] = (match ?? []).slice(1).map(Number);
  const full = year < 50 ? 2000 + year : 1900 + year;
  const time = new Date(Date.UTC(full, month - 1, day, hour, minute, second));
  const exists = time.getUTCMonth() === month - 1 && time.getUTCDate() === day && hour < 24 && minute < 60 && second < 60;
  return exists ? time.getTime() : NaN;
}
