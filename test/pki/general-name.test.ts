import { isIP } from "node:net";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { Fault } from "../../src/fault.ts";
import {
  canonicalDnsName,
  canonicalIpAddress,
  canonicalUri,
  encodeSubjectAltName,
  parseSubjectAltName,
  reversedName,
  type GeneralName,
} from "../../src/pki/general-name.ts";

test.for([
  ["a.example.org", "a.example.org"],
  ["A.Example.ORG", "a.example.org"],
  ["*.example.org", "*.example.org"],
  ["localhost", "localhost"],
  ["a-b.example", "a-b.example"],
  ["0.example", "0.example"],
  ["xn--mnchen-3ya.example", "xn--mnchen-3ya.example"],
  ["XN--MNCHEN-3YA.example", "xn--mnchen-3ya.example"],
  ["xn--fa-hia.example", "xn--fa-hia.example"],
  ["xn--wgv71a119e.jp", "xn--wgv71a119e.jp"],
  [`${"a".repeat(63)}.example`, `${"a".repeat(63)}.example`],
  [`${"a.".repeat(126)}a`, `${"a.".repeat(126)}a`],
  [`${"a.".repeat(127)}`, undefined],
  [`a${"a.".repeat(126)}aa`, undefined],
  [`${"a".repeat(64)}.example`, undefined],
  ["", undefined],
  [".", undefined],
  ["a..b", undefined],
  ["a.example.", undefined],
  [".example", undefined],
  ["-a.example", undefined],
  ["a-.example", undefined],
  ["a_b.example", undefined],
  ["a b.example", undefined],
  ["a\0.example", undefined],
  ["münchen.example", undefined],
  ["\u212aelvin.example", undefined],
  ["*", undefined],
  ["*.", undefined],
  ["a.*.example", undefined],
  ["*.*.example", undefined],
  ["*a.example", undefined],
  ["1.2.3.4", undefined],
  ["127.1", undefined],
  ["2130706433", undefined],
  ["0x7f.1", undefined],
  ["a.0x7f", undefined],
  ["a.0x", undefined],
  ["ab--c.example", undefined],
  ["xn--.example", undefined],
  ["xn--a.example", undefined],
  ["xn--abc-.example", undefined],
  ["xn--99999999999999.example", undefined],
  ["xn--mnchen-3ya-.example", undefined],
] as const)("the host name %j is %j (XP-5, S-01)", ([text, canonical]) => {
  expect(canonicalDnsName(text)).toBe(canonical);
});

test.for([
  ["192.0.2.1", "192.0.2.1"],
  ["0.0.0.0", "0.0.0.0"],
  ["2001:DB8::1", "2001:db8::1"],
  ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
  ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
  ["0:0:0:0:0:0:0:0", "::"],
  ["::ffff:192.0.2.1", "::ffff:c000:201"],
  ["1::", "1::"],
  ["1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"],
  ["192.0.2", undefined],
  ["192.0.2.01", undefined],
  ["192.0.2.256", undefined],
  ["192.0.2.1.", undefined],
  ["0x7f.0.0.1", undefined],
  ["::1%eth0", undefined],
  ["[::1]", undefined],
  ["1::2::3", undefined],
  ["1:2:3:4:5:6:7:8::", undefined],
  ["1:2:3:4:5:6:7:8:9", undefined],
  ["12345::", undefined],
  [":1:2:3:4:5:6:7", undefined],
  ["::1.2.3", undefined],
  ["", undefined],
  [":", undefined],
] as const)("the address %j is %j (RFC 5952 §4, CVE-2024-45341)", ([text, canonical]) => {
  expect(canonicalIpAddress(text)).toBe(canonical);
});

test("every address that the operating system's parser knows is taken, but zones, and keeps its meaning (F-1)", () => {
  const text = fc.oneof(fc.ipV4(), fc.ipV6(), fc.string({ unit: fc.constantFrom(..."0123456789abcdef:.%"), maxLength: 24 }));
  fc.assert(
    fc.property(text, (address) => {
      const canonical = canonicalIpAddress(address);
      expect(canonical !== undefined).toBe(isIP(address) !== 0 && !address.includes("%"));
      if (canonical === undefined) return;
      expect(canonicalIpAddress(canonical)).toBe(canonical);
      if (isIP(address) === 6) expect(new URL(`http://[${address}]/`).hostname).toBe(`[${canonical}]`);
    }),
    { numRuns: 3000 },
  );
});

const label = fc.stringMatching(/^[a-z]([a-z0-9]{0,8}[a-z0-9])?$/);
const dns = fc.array(label, { minLength: 1, maxLength: 4 }).map((labels): GeneralName => ({ type: "dns", value: labels.join(".") }));
const ip = fc.oneof(fc.ipV4(), fc.ipV6()).map((text): GeneralName => ({ type: "ip", value: canonicalIpAddress(text) ?? "" }));
const uri = label.map((host): GeneralName => ({ type: "uri", value: `spiffe://${host}.example/a%20b?c#d` }));

test("names are read back as they were written, in their order (F-1)", () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(dns, ip, uri), { minLength: 1, maxLength: 12 }), (names) => {
      expect(parseSubjectAltName(encodeSubjectAltName(names))).toEqual(names);
    }),
    { numRuns: 2000 },
  );
});

test("any octets in a subjectAltName give canonical names or a Fault (F-1)", () => {
  fc.assert(
    fc.property(fc.constantFrom(0x82, 0x86, 0x87, 0x81, 0xa0, 0xa4), fc.uint8Array({ maxLength: 40 }), (tag, content) => {
      try {
        const names = parseSubjectAltName(Uint8Array.from([0x30, content.length + 2, tag, content.length, ...content]));
        expect(parseSubjectAltName(encodeSubjectAltName(names))).toEqual(names);
      } catch (error) {
        if (!(error instanceof Fault)) throw error;
        expect(error.code).toBe("malformed");
      }
    }),
    { numRuns: 2000 },
  );
});

test("an http URI that is taken has the host that the URL standard's parser finds, and no user (RFC 5280 §4.2.1.6, F-1)", () => {
  const host = fc.oneof(
    fc.domain(),
    fc.ipV4(),
    fc.ipV6().map((text) => `[${text}]`),
    fc.string({ unit: fc.constantFrom(..."aB1.-_*%2e[]:@"), maxLength: 16 }),
  );
  const rest = fc.string({ unit: fc.constantFrom(..."aB1/?#[]@:%2F \\\"<{|^`'~\u007f"), maxLength: 12 });
  const port = fc.oneof(
    fc.constant(""),
    fc.nat(70_000).map((number) => `:${number}`),
  );
  const text = fc.tuple(fc.constantFrom("http", "HTTPS"), host, port, fc.constantFrom("", "/", "?", "#"), rest);
  const seen = { taken: 0, refused: 0 };
  fc.assert(
    fc.property(text, ([scheme, name, number, mark, tail]) => {
      const given = `${scheme}://${name}${number}${mark}${tail}`;
      const taken = canonicalUri(given);
      if (typeof taken !== "string") return void (seen.refused += 1);
      seen.taken += 1;
      const { hostname, username, protocol } = new URL(taken);
      expect([`${protocol}//${hostname}`, username]).toEqual([/^[a-z]+:\/\/(\[[^\]]*\]|[^:/?#]*)/.exec(taken)?.[0], ""]);
      expect(new URL(given).hostname).toBe(hostname);
      expect(canonicalUri(taken)).toBe(taken);
    }),
    { numRuns: 5000 },
  );
  expect(Math.min(seen.taken, seen.refused)).toBeGreaterThan(500);
});

test("the encoding is that of RFC 5280 §4.2.1.6", () => {
  const names: GeneralName[] = [
    { type: "dns", value: "a.b" },
    { type: "ip", value: "192.0.2.1" },
    { type: "uri", value: "a:b" },
  ];
  expect(Buffer.from(encodeSubjectAltName(names)).toString("hex")).toBe("30108203612e628704c00002018603613a62");
});

test.for<{ name: string; names: GeneralName[] }>([
  { name: "an empty list", names: [] },
  { name: "a host name in upper case", names: [{ type: "dns", value: "A.example" }] },
  { name: "an address with a leading zero", names: [{ type: "ip", value: "192.0.2.01" }] },
  { name: "an address written long", names: [{ type: "ip", value: "0:0:0:0:0:0:0:1" }] },
  { name: "a relative URI", names: [{ type: "uri", value: "/a" }] },
  { name: "a URI whose host is in upper case", names: [{ type: "uri", value: "https://A.example/" }] },
  { name: "a URI whose host is a single label", names: [{ type: "uri", value: "spiffe://prod/a" }] },
])("$name is not written", ({ names }) => {
  expect(() => encodeSubjectAltName(names)).toThrow(Fault);
});

test.for([
  [{ type: "dns", value: "a.example.org" }, "org.example.a"],
  [{ type: "dns", value: "*.example.org" }, "org.example.*"],
  [{ type: "ip", value: "192.0.2.1" }, "192.0.2.1"],
  [{ type: "uri", value: "spiffe://a.b/c" }, "spiffe://a.b/c"],
] as const)("names of one domain lie side by side (HP-8): %j", ([name, reversed]) => {
  expect(reversedName(name)).toBe(reversed);
});
