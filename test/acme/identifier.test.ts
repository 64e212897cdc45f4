import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type IdentifierProblem, type Judges, parseIdentifiers } from "../../src/acme/identifier.ts";
import { judge, parseNamePattern, parseRange } from "../../src/acme/identifier-policy.ts";
import { Fault } from "../../src/fault.ts";
import { json } from "./account-world.ts";

const everything = judge({ names: ["*"], ipRanges: ["0.0.0.0/0", "::/0"] });
/** A directory for names of two labels and more, wildcards and addresses. */
const usual: Judges = { policy: { wildcards: true, singleLabels: false }, judges: [everything] };
const narrow: Judges = {
  policy: { wildcards: false, singleLabels: false },
  judges: [judge({ names: [".example.org", "example.net"], ipRanges: [] })],
};

type Outcome = { readonly value: readonly { readonly type: string; readonly value: string }[] } | { readonly fault: Fault };

function outcomeOf(identifiers: unknown, rules = usual): Outcome {
  try {
    return { value: parseIdentifiers(json({ identifiers }), rules) };
  } catch (error) {
    if (error instanceof Fault) return { fault: error };
    throw error;
  }
}

/** The canonical value of one that is taken; the code of one that is refused. */
function judged(type: string, value: string, rules = usual): string {
  const outcome = outcomeOf([{ type, value }], rules);
  return "fault" in outcome ? outcome.fault.code : (outcome.value[0]?.value ?? "nothing");
}

const label63 = "a".repeat(63);
const length = (characters: number) => `${`${label63}.`.repeat(4)}${"b".repeat(63)}`.slice(-characters);

/** Names by what is to become of them; what is taken is taken as it stands here in small letters. */
const names: Readonly<Record<"taken" | "malformed" | "rejectedIdentifier", readonly string[]>> = {
  taken: [
    "example.org",
    "a.example.org",
    "a.b.c.d.e.f.g.example.org",
    "www.example",
    "0.example",
    "0example.org",
    "example.0a",
    "a-b.example.org",
    "a--b.example.org",
    "abc--d.example.org",

    "1-1.example.org",
    "9.8.7.6.example.org",
    "a1.example.org",
    "x.y",
    "1.x",
    "Example.ORG",
    "EXAMPLE.ORG",
    "eXaMpLe.oRg",
    "WWW.example.org",
    "*.Example.ORG",
    "XN--MNCHEN-3YA.example",
    "Xn--Bcher-Kva.example",
    "*.example.org",
    "*.a.example.org",
    "*.a.b.c.d.e.f.g.example.org",
    "*.xn--mnchen-3ya.example",
    "*.0.example",
    "xn--mnchen-3ya.example",
    "xn--bcher-kva.example",
    "xn--fa-hia.example",
    "xn--wgv71a119e.example",
    "a.xn--fiqs8s",
    "xn--3e0b707e.example",
    "xn--e1afmkfd.example",
    "xn--hxajbheg2az3al.example",
    "xn--mgbh0fb.example",
    "xn--fdbk5d8ap9b8a8d.example",
    "xn--and-6ma2c.example",
    "xn--mnchen-3ya.xn--bcher-kva.example",
    "a.xn--strae-oqa.example",
    "1.2.3.4.example.org",
    "256.example.org",
    "0x7f.example.org",
    `${label63}.example.org`,
    `a.${label63}`,
    `${label63}.${label63}.${label63}.${"c".repeat(61)}`,
    `*.${label63}.example.org`,
    "localhost.example.org",
    "example.localhost",
    "a.local",
    "a.internal",
    "a.test",
    "a.invalid",
    "a.onion",
    "a.arpa",
    "1.0.0.127.in-addr.arpa",
    "a.e1",
    "a.1e",
    "a.0xg",
    "a.x0",
    "127.0.0.1.example",
    "co.uk",
    "com.com",
    "a.b.c.d.e.f.g.h.i.j",
    "*.a.b.c.d.e.f.g.h.i.j",
    "q-q.z-z",
  ],
  malformed: [
    // Empty labels and final dots.
    "",
    ".",
    "..",
    ".example.org",
    "a..example.org",
    "example..org",
    "example.org.",
    "example.org..",
    "*.",
    "*..org",
    "*.example.org.",
    "a..",
    // Lengths: a label of 64, a name of 254, eleven labels.
    `${"a".repeat(64)}.example.org`,
    `example.${"a".repeat(64)}`,
    length(254),
    length(300),
    `*.${length(252)}`,
    "a.".repeat(127).slice(0, -1),
    "a.b.c.d.e.f.g.h.i.j.k",
    "*.a.b.c.d.e.f.g.h.i.j.k",
    "1.2.3.4.5.6.7.8.9.example.org",
    `xn--${"a".repeat(60)}.example`,
    // Hyphens outside.
    "-a.example.org",
    "a-.example.org",
    "-.example.org",
    "--.example.org",
    "a.-b.org",
    "a.b-.org",
    "example.-",
    "example.org-",
    "-example.org",
    // Characters that no host name has.
    "a_b.example.org",
    "_acme-challenge.example.org",
    "_.example.org",
    "a b.example.org",
    " example.org",
    "example.org ",
    "a\tb.example.org",
    "a\0.example.org",
    "example.org\0",
    "\0",
    "example.org\n",
    "a\r\nb.example.org",
    "a\x7fb.example.org",
    "\x1b.example.org",
    "a/b.example.org",
    "a:b.example.org",
    "example.org:443",
    "user@example.org",
    "http://example.org",
    "https://example.org/",
    "example.org/",
    "a\\b.org",
    "a'b.org",
    'a"b.example.org',
    "a<b.example.org",
    "a;b.example.org",
    "a,b.example.org",
    "a%62.example.org",
    "example%2eorg",
    "a+b.org",
    "a=b.org",
    "a&b.org",
    "a#b.example.org",
    "a?b.example.org",
    "(a).example.org",
    "{a}.example.org",
    "[a].example.org",
    "a|b.org",
    "a!b.org",
    "~a.org",
    "a^b.org",
    "$a.org",
    // Letters outside ASCII, and what looks like ASCII to a careless folding.
    "münchen.example",
    "MÜNCHEN.example",
    "例え.example",
    "a.рф",
    "ex\u0430mple.org",
    "\u212aelvin.example",
    "\u017fmall.example",
    "ﬀ.example",
    "ｅxample.org",
    "example。org",
    "example．org",
    "example｡org",
    "a\u200bb.org",
    "a\u00adb.org",
    "\ufeffexample.org",
    "💩.example",
    "\ud800.example",
    // Addresses in every notation: they are of type ip.
    "127.0.0.1",
    "8.8.8.8",
    "0.0.0.0",
    "255.255.255.255",
    "256.256.256.256",
    "1.2.3",
    "127.1",
    "1.2",
    "2130706433",
    "0",
    "4294967296",
    "0177.0.0.1",
    "017700000001",
    "0x7f.0.0.1",
    "0x7f.1",
    "0x7F000001",
    "0x7f000001",
    "0x",
    "0X",
    "1.2.3.0x4",
    "1.2.3.4.5",
    "example.1",
    "example.0x1",
    "a.0x",
    "a.007",
    "::1",
    "[::1]",
    "::",
    "fe80::1%eth0",
    "2001:db8::1",
    "::ffff:127.0.0.1",
    "*.127.0.0.1",
    "*.1",
    "①②⑦.0.0.1",
    "127.0.0.1.",
    "1.0.0.127.0",
    // Asterisks anywhere but alone and first.
    "*",
    "**",
    "*.*",
    "*.*.example.org",
    "**.example.org",
    "a.*.example.org",
    "*a.example.org",
    "a*.example.org",
    "a*b.example.org",
    "example.*",
    "www.*",
    "*.example.*",
    "*example.org",
    "*-a.example.org",
    "xn--*.example.org",
    // Labels that say that they are A-labels and are none: no encoding, not in NFC, a character that IDNA2008 does not allow, ASCII encoded.
    "xn--.example",
    "xn---.example",
    "xn--a.example",
    "xn--munchen-gie.example",
    "xn--ls8h.example",
    "xn--a-.example",
    "xn--abc-.example",
    "xn--99999999.example",
    "xn--ab-m1t.example",
    "xn--abc-jdc.example",
    "xn--im6c.example",
    "xn--ri7cmaa8a.example",
    "xn--test-tga.example",
    "xn--aber-gna.example",
    "xn--full-.example",
    "*.xn--a.example",
    "a.xn--ls8h",
    "xn--mnchen-3ya-.org",
  ],
  rejectedIdentifier: [
    // One label, and a wildcard over one.
    "localhost",
    "LOCALHOST",
    "Localhost",
    "example",
    "org",
    "a",
    "x1",
    "intranet",
    "*.org",
    "*.localhost",
    "*.a",
    "xn--mnchen-3ya",
    "localdomain",
    // Labels that are reserved (RFC 5890 §2.3.1).
    "ab--c.example.org",
    "a---b.example.org",
    "AB--C.example.org",
    "a1--b.example.org",
    "11--1.example.org",
    "a.zz--top.org",
    "*.ab--c.example.org",
    "xx--mnchen-3ya.org",
    "xm--a.example.org",
    "q9--q.example",
    "a.b.c.xy--z",
    "bq--abc.example.org",
    "ra--abc.example.org",
    "nx--mnchen-3ya.example",
    "yn--a.example.org",
  ],
};

const rows = Object.entries(names).flatMap(([outcome, values]) =>
  values.map((value) => ({ value, outcome: outcome === "taken" ? value.toLowerCase() : outcome })),
);

describe("dns identifiers", () => {
  test("are held against a table of 200 names and more, each once (S-01)", () => {
    expect(rows.length).toBeGreaterThanOrEqual(200);
    expect(new Set(rows.map(({ value }) => value)).size).toBe(rows.length);
  });

  test.for(rows)("$value → $outcome (S-01, AO-4 to AO-8)", ({ value, outcome }) => {
    expect(judged("dns", value)).toBe(outcome);
  });

  test.for([
    { name: "253 characters", value: length(253), outcome: length(253) },
    { name: "254 characters", value: length(254), outcome: "malformed" },
    { name: "a wildcard of 253", value: `*.${length(251)}`, outcome: `*.${length(251)}` },
    { name: "a wildcard of 254", value: `*.${length(252)}`, outcome: "malformed" },
  ])("$name (AO-4)", ({ value, outcome }) => {
    expect(value.length).toBeLessThanOrEqual(254);
    expect(judged("dns", value)).toBe(outcome);
  });

  test.for([
    { name: "one label", value: "localhost", rules: { ...usual, policy: { wildcards: true, singleLabels: true } }, outcome: "localhost" },
    {
      name: "no wildcard",
      value: "*.example.org",
      rules: { ...usual, policy: { wildcards: false, singleLabels: false } },
      outcome: "rejectedIdentifier",
    },
    {
      name: "no one label below a wildcard",
      value: "*.lan",
      rules: { ...usual, policy: { wildcards: true, singleLabels: false } },
      outcome: "rejectedIdentifier",
    },
    { name: "below a name", value: "a.example.org", rules: narrow, outcome: "a.example.org" },
    { name: "not the name itself", value: "example.org", rules: narrow, outcome: "rejectedIdentifier" },
    { name: "no other that ends alike", value: "badexample.org", rules: narrow, outcome: "rejectedIdentifier" },
    { name: "a name", value: "EXAMPLE.net", rules: narrow, outcome: "example.net" },
    { name: "nothing below a name", value: "a.example.net", rules: narrow, outcome: "rejectedIdentifier" },
  ])("a policy takes $name: $value → $outcome (AO-7)", ({ value, rules, outcome }) => {
    expect(judged("dns", value, rules)).toBe(outcome);
  });

  test.for([
    { pattern: "example.org", covers: ["example.org"], not: ["*.example.org", "a.example.org"] },
    {
      pattern: ".example.org",
      covers: ["a.example.org", "*.example.org", "*.a.example.org"],
      not: ["example.org", "*.org", "*.ample.org"],
    },
    { pattern: "*", covers: ["example.org", "*.example.org", "localhost"], not: [] },
    { pattern: ".Example.ORG", covers: ["a.example.org"], not: ["example.org"] },
  ])("the pattern $pattern covers what it says, wildcards with all that they stand for (AO-7, AA-40)", ({ pattern, covers, not }) => {
    const { allowsName } = judge({ names: [pattern] });
    expect(covers.filter((name) => !allowsName(name))).toEqual([]);
    expect(not.filter((name) => allowsName(name))).toEqual([]);
  });

  test.for(["", ".", "*.example.org", "**", "a..b", "example.org.", "127.0.0.1", ".127.0.0.1", "münchen.example", "a_b.example", "*."])(
    "%s is no pattern (AA-40)",
    (pattern) => expect(() => parseNamePattern(pattern)).toThrow(expect.objectContaining({ code: "malformed" })),
  );
});

describe("ip identifiers (RFC 8738 §3)", () => {
  test.for([
    ...["127.0.0.1", "0.0.0.0", "255.255.255.255", "192.0.2.1", "8.8.8.8"].map((value) => ({ value, outcome: value })),
    ...["::1", "::", "2001:db8::1", "2001:db8:1:2:3:4:5:6", "fe80::1", "fd00::", "1:0:0:2::3", "64:ff9b::102:304"].map((value) => ({
      value,
      outcome: value,
    })),
    // Not in the one form: leading zeros, short forms, other bases, capitals, zeros that RFC 5952 leaves out or puts elsewhere.
    ...[
      "127.0.0.01",
      "0127.0.0.1",
      "127.1",
      "2130706433",
      "0x7f.0.0.1",
      "1.2.3",
      "1.2.3.4.5",
      "256.0.0.1",
      "1.2.3.4 ",
      " 1.2.3.4",
      "1.2.3.4.",
    ].map((value) => ({ value, outcome: "malformed" })),
    ...["2001:DB8::1", "2001:0db8::1", "2001:db8:0:0:0:0:0:1", "2001:db8::0:1", "2001:db8:0:0:1::1", "::0", "0::", "2001:db8::1::2"].map(
      (value) => ({ value, outcome: "malformed" }),
    ),
    ...[
      "fe80::1%eth0",
      "fe80::1%1",
      "[::1]",
      "::1/128",
      "10.0.0.0/8",
      "",
      "example.org",
      "*",
      "*.1.2.3.4",
      "1.2.3.4\0",
      "::1\n",
      "١.٢.٣.٤",
    ].map((value) => ({ value, outcome: "malformed" })),
    ...["2001:db8::1.2.3.4", "::1.2.3.4", "12345::", ":1", "1:", ":::", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "g::1"].map((value) => ({
      value,
      outcome: "malformed",
    })),
    // An IPv4 address in the clothes of IPv6.
    ...["::ffff:127.0.0.1", "::ffff:7f00:1", "::ffff:8.8.8.8", "::ffff:0:0", "::FFFF:7f00:1", "0:0:0:0:0:ffff:7f00:1"].map((value) => ({
      value,
      outcome: "malformed",
    })),
  ])("$value → $outcome (AO-10)", ({ value, outcome }) => {
    expect(judged("ip", value)).toBe(outcome);
  });

  test.for([
    { range: "10.0.0.0/8", covers: ["10.0.0.0", "10.255.255.255"], not: ["9.255.255.255", "11.0.0.0", "a00::1", "::a00:1"] },
    { range: "192.0.2.7/32", covers: ["192.0.2.7"], not: ["192.0.2.6", "192.0.2.8"] },
    { range: "0.0.0.0/0", covers: ["1.2.3.4"], not: ["2001:db8::1"] },
    { range: "fd00::/8", covers: ["fd00::1", "fdff::"], not: ["fe00::", "fc00::1", "10.0.0.1"] },
    { range: "::/0", covers: ["::1", "2001:db8::1"], not: ["10.0.0.1"] },
    { range: "2001:db8::1/128", covers: ["2001:db8::1"], not: ["2001:db8::2"] },
  ])("in $range: what it says and no more; the rest is rejectedIdentifier (AO-10)", ({ range, covers, not }) => {
    const rules: Judges = { ...usual, judges: [judge({ names: ["*"], ipRanges: [range] })] };
    expect(covers.map((address) => judged("ip", address, rules))).toEqual(covers);
    expect(not.map((address) => judged("ip", address, rules))).toEqual(not.map(() => "rejectedIdentifier"));
  });

  test.for([
    "",
    "/",
    "10.0.0.0",
    "10.0.0.0/",
    "10.0.0.0/33",
    "10.0.0.0/-1",
    "10.0.0/8",
    "::/129",
    "fd00::%1/8",
    "10.0.0.0/8 ",
    "example.org/8",
  ])("%s is no range", (range) => expect(() => parseRange(range)).toThrow(expect.objectContaining({ code: "malformed" })));
});

const dns = (value: unknown) => ({ type: "dns", value });

describe("the list of a newOrder", () => {
  test.for([
    { name: "absent", identifiers: undefined },
    { name: "null", identifiers: null },
    { name: "an object", identifiers: {} },
    { name: "empty", identifiers: [] },
    { name: "of 101", identifiers: Array.from({ length: 101 }, (_, index) => dns(`a${index}.example.org`)) },
    { name: "of 101 times one name", identifiers: Array.from({ length: 101 }, () => dns("a.example.org")) },
    { name: "of texts", identifiers: ["example.org"] },
    { name: "with null", identifiers: [null] },
    { name: "with an array", identifiers: [["dns", "example.org"]] },
    { name: "without type", identifiers: [{ value: "example.org" }] },
    { name: "without value", identifiers: [{ type: "dns" }] },
    { name: "with a number for a value", identifiers: [dns(1)] },
    { name: "with a number for a type", identifiers: [{ type: 1, value: "example.org" }] },
  ])("$name is malformed (AO-2)", ({ identifiers }) => {
    expect(outcomeOf(identifiers)).toMatchObject({ fault: { code: "malformed" } });
  });

  test("of 100 is taken (AO-2)", () => {
    const outcome = outcomeOf(Array.from({ length: 100 }, (_, index) => dns(`a${index}.example.org`)));
    expect("value" in outcome && outcome.value.length).toBe(100);
  });

  test("with unknown members is taken, and they are gone (AJ-32)", () => {
    expect(outcomeOf([{ ...dns("example.org"), wildcard: true, more: {} }])).toEqual({ value: [dns("example.org")] });
  });

  test.for(["DNS", "email", "uri", "", "dns\0", "permanent-identifier"])("with the type %s is unsupportedIdentifier (AO-3)", (type) => {
    const outcome = outcomeOf([{ type, value: "secret.example" }]);
    expect(outcome).toMatchObject({
      fault: { code: "unsupportedIdentifier", members: { subproblems: [{ code: "unsupportedIdentifier" }] } },
    });
    expect(JSON.stringify("fault" in outcome && outcome.fault.members)).not.toContain("secret");
  });

  test("folds capitals and duplicates; a name beside its wildcard is another (AO-8, AO-9)", () => {
    const asked = ["b.example.org", "*.example.org", "B.EXAMPLE.ORG", "a.example.org", "example.org", "*.Example.org"].map(dns);
    const outcome = outcomeOf([...asked, { type: "ip", value: "::1" }, { type: "ip", value: "::1" }]);
    const reversed = outcomeOf([{ type: "ip", value: "::1" }, ...asked.toReversed()]);
    expect(outcome).toEqual(reversed);
    expect("value" in outcome && new Set(outcome.value.map(({ type, value }) => `${type} ${value}`))).toEqual(
      new Set(["dns *.example.org", "dns a.example.org", "dns b.example.org", "dns example.org", "ip ::1"]),
    );
  });

  test("with several that are wrong tells of each; of one kind it is that kind, of several compound (AO-4, AJ-40, RFC 8555 §6.7.1)", () => {
    const alike = outcomeOf([dns("a_b.example"), dns("good.example.org"), dns("-a.example")]);
    expect(alike).toMatchObject({
      fault: { code: "malformed", members: { subproblems: [{ identifier: dns("a_b.example") }, { identifier: dns("-a.example") }] } },
    });
    const different = outcomeOf([dns("a_b.example"), dns("localhost"), { type: "x", value: "y" }, { type: "ip", value: "1.2.3" }]);
    expect("fault" in different && different.fault.code).toBe("compound");
    const subproblems = "fault" in different && (different.fault.members["subproblems"] as readonly IdentifierProblem[]);
    expect(subproblems && subproblems.map(({ code }) => code)).toEqual([
      "malformed",
      "rejectedIdentifier",
      "unsupportedIdentifier",
      "malformed",
    ]);
  });

  test("never shows foreign bytes (AJ-40)", () => {
    const outcome = outcomeOf([dns(`\x1b[31m\0ä<script>${"x".repeat(500)}`)]);
    const shown = JSON.stringify("fault" in outcome && [outcome.fault.detail, outcome.fault.members]);
    expect(shown).toMatch(/^[\x20-\x7e…]*$/);
    expect(shown.length).toBeLessThan(700);
  });
});

const codes = ["malformed", "unsupportedIdentifier", "rejectedIdentifier", "compound"];
/** Texts near what a name may be. */
const nameLike = fc.oneof(
  fc.string({ unit: fc.constantFrom(..."aAz09-._*x:%\0é ".split(""), "xn--", ".example", "0x", "::ffff:", "--"), maxLength: 40 }),
  fc.domain(),
  fc.ipV4(),
  fc.ipV6(),
  fc.webAuthority(),
  fc.string({ unit: "binary", maxLength: 300 }),
  fc.constantFrom(...rows.map(({ value }) => value)),
);
const identifier = fc.record({
  type: fc.oneof({ arbitrary: fc.constantFrom("dns", "ip"), weight: 9 }, { arbitrary: fc.string(), weight: 1 }),
  value: nameLike,
});

describe("fuzz: 6,000 lists", () => {
  test("are taken in canonical form, which is taken as it is, or refused by a Fault of the four codes (S-01)", () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof({ arbitrary: identifier, weight: 9 }, { arbitrary: fc.jsonValue({ maxDepth: 2 }), weight: 1 }), { maxLength: 4 }),
        (list) => {
          const outcome = outcomeOf(list);
          if ("fault" in outcome) {
            expect(codes).toContain(outcome.fault.code);
            return;
          }
          for (const { type, value } of outcome.value) {
            expect(["dns", "ip"]).toContain(type);
            if (type === "dns")
              expect(value).toMatch(/^(?:\*\.)?(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.){1,9}[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/);
            else expect(value).toMatch(/^(?:\d+\.\d+\.\d+\.\d+|[0-9a-f:]+)$/);
          }
          expect(outcomeOf(outcome.value)).toEqual(outcome);
        },
      ),
      { numRuns: 6_000 },
    );
  });

  test("a policy takes nothing that it does not cover, whatever the wildcard stands for", () => {
    fc.assert(
      fc.property(nameLike, nameLike, (pattern, value) => {
        let covers: (name: string) => boolean;
        try {
          covers = parseNamePattern(pattern);
        } catch (error) {
          expect(error).toMatchObject({ code: "malformed" });
          return;
        }
        const taken = judged("dns", value, { ...usual, judges: [judge({ names: [pattern] })] });
        if (codes.includes(taken)) return;
        // A host that the certificate would serve is covered as well.
        expect(covers(taken.replace(/^\*/, "host"))).toBe(true);
      }),
      { numRuns: 3_000 },
    );
  });
});
