import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

import { cidrText, judge, mayBeTold, ownAddresses, parseCidr } from "../../src/net/egress.ts";
import type { EgressPolicy } from "../../src/net/egress.ts";
import { forbidden, listed, noAddresses, publicAddresses } from "./addresses.ts";
import { cidr } from "./validator-world.ts";

const nothing: EgressPolicy = { allow: [], own: [] };

function allowing(...blocks: string[]): EgressPolicy {
  return { allow: blocks.map(cidr), own: [] };
}

function policy(own: EgressPolicy["own"]): EgressPolicy {
  return { allow: ["127.0.0.0/8", "::1/128", "10.0.0.0/8"].map(cidr), own };
}

describe("addresses we never contact (S-02)", () => {
  test.for(forbidden)("$address is denied as $denied", ({ address, denied }) => {
    expect(judge(address, 80, nothing)).toEqual({ denied });
  });

  test.for(noAddresses)("%j is no address, whatever is listed (TR-9)", (address) => {
    expect(judge(address, 80, allowing("0.0.0.0/0", "::/0", "127.0.0.0/8", "::1/128"))).toEqual({ denied: "no address" });
  });

  test("the table has at least 60 addresses", () => expect(forbidden.length).toBeGreaterThanOrEqual(60));

  test.for(publicAddresses)("%s must pass", (address) => {
    expect(judge(address, 80, nothing)).toBe("allowed");
  });

  const everything = ["0.0.0.0/0", "::/0", "127.0.0.0/8", "::1/128"];
  test.for(forbidden.filter(({ denied }) => !listed.has(denied)))(
    "no block that the operator lists opens $address ($denied)",
    ({ address, denied }) => {
      expect(judge(address, 80, allowing(...everything, "169.254.0.0/16", "fe80::/10", "224.0.0.0/4", "2001::/32"))).toEqual({ denied });
    },
  );

  test.for(forbidden.filter(({ denied }) => listed.has(denied)))(
    "$address ($denied) is opened by the operator's list alone",
    ({ address }) => {
      expect(judge(address, 80, allowing(...everything))).toBe("allowed");
    },
  );

  test("loopback is opened by blocks within loopback, not by one that happens to contain it", () => {
    expect(judge("127.0.0.1", 80, allowing("0.0.0.0/0", "::/0"))).toEqual({ denied: "loopback" });
    expect(judge("::1", 80, allowing("0.0.0.0/0", "::/0"))).toEqual({ denied: "loopback" });
    expect(judge("127.0.0.1", 80, allowing("127.1.0.0/16"))).toEqual({ denied: "loopback" });
    expect(judge("127.1.0.1", 80, allowing("127.1.0.0/16"))).toBe("allowed");
    expect(judge("::ffff:127.1.0.1", 80, allowing("127.1.0.0/16"))).toBe("allowed");
  });
});

describe("our own listeners, the database and the HSM", () => {
  test.for([
    { own: "127.0.0.1", address: "127.0.0.1" },
    { own: "127.0.0.1", address: "::ffff:127.0.0.1" },
    { own: "::ffff:127.0.0.1", address: "127.0.0.1" },
    { own: "::1", address: "0:0:0:0:0:0:0:1" },
    { own: "10.1.2.3", address: "64:ff9b::a01:203" },
    { own: "1.1.1.1", address: "1.1.1.1" },
    { own: "0.0.0.0", address: "127.8.9.10" },
    { own: "::", address: "127.0.0.1" },
    { own: "::", address: "::1" },
  ])("a listener on $own is not contacted as $address, whatever is listed; its other ports are", ({ own, address }) => {
    expect(judge(address, 5432, policy([{ address: own, port: 5432 }]))).toEqual({ denied: "own" });
    expect(judge(address, 5433, policy([{ address: own, port: 5432 }]))).toBe("allowed");
  });

  test("a listener on every address is one on each address of this machine", () => {
    const own = ownAddresses(
      [
        { address: "::", port: 443 },
        { address: "127.0.0.1", port: 90 },
      ],
      ["10.1.2.3", "2a00::7"],
    );
    expect(judge("10.1.2.3", 443, policy(own))).toEqual({ denied: "own" });
    expect(judge("2a00::7", 443, policy(own))).toEqual({ denied: "own" });
    expect(judge("10.1.2.4", 443, policy(own))).toBe("allowed");
    expect(judge("10.1.2.3", 90, policy(own))).toBe("allowed");
  });
});

describe("blocks of the operator", () => {
  test.for(["10.0.0.0/8", "0.0.0.0/0", "127.0.0.1/32", "::1/128", "fd00::/8", "2001:db8::/33", "::/0", "172.16.0.0/12"])(
    "%s is a block",
    (text) => {
      expect(cidrText(cidr(text))).toBe(text);
    },
  );

  test.for(
    [
      [
        "10.0.0.0",
        "10.0.0.1/8",
        "10.0.0.0/33",
        "10.0.0.0/08",
        "10.0.0/8",
        "010.0.0.0/8",
        "0x0a.0.0.0/8",
        "167772160/8",
        "10.0.0.0/-1",
        "10.0.0.0/",
      ],
      ["fd00::/129", "fd00::1/64", "fe80::%eth0/64", "[::1]/128", "/8", "", "localhost/8", "10.0.0.0/8 ", "10.0.0.0/8/8"],
      ["::ffff:10.0.0.0/104", "64:ff9b::a00:0/104", "2002:a00::/24"],
    ].flat(),
  )("%j is none", (text) => {
    expect(parseCidr(text)).toBeUndefined();
  });
});

test("an IPv6 address that carries an IPv4 address is judged exactly as that one", () => {
  const octet = fc.integer({ min: 0, max: 255 });
  fc.assert(
    fc.property(octet, octet, octet, octet, (a, b, c, d) => {
      const groups = [a * 256 + b, c * 256 + d].map((group) => group.toString(16));
      // ::0.0.0.0 and ::0.0.0.1 are the unspecified address and loopback of IPv6 themselves.
      fc.pre(a + b + c > 0 || d > 1);
      const plain = judge(`${a}.${b}.${c}.${d}`, 80, nothing);
      const forms = [`::ffff:${a}.${b}.${c}.${d}`, `::${a}.${b}.${c}.${d}`, `64:ff9b::${groups.join(":")}`, `2002:${groups.join(":")}::1`];
      for (const form of forms) expect(judge(form, 80, nothing), form).toEqual(plain);
    }),
    { numRuns: 2000 },
  );
});

describe("prefixes of this network's own NAT64 (RFC 6052 §2.4)", () => {
  test.for([
    { prefix: "2001:db8::/32", address: "2001:db8:c000:221::" },
    { prefix: "2001:db8:100::/40", address: "2001:db8:1c0:2:21::" },
    { prefix: "2001:db8:122::/48", address: "2001:db8:122:c000:2:2100::" },
    { prefix: "2001:db8:122:300::/56", address: "2001:db8:122:3c0:0:221::" },
    { prefix: "2001:db8:122:344::/64", address: "2001:db8:122:344:c0:2:2100::" },
    { prefix: "2001:db8:122:344::/96", address: "2001:db8:122:344::192.0.2.33" },
  ])("$address is judged as 192.0.2.33", ({ prefix, address }) => {
    const behind = { ...nothing, nat64: [cidr(prefix)] };
    expect(judge(address, 80, { ...behind, own: [{ address: "192.0.2.33", port: 80 }] })).toEqual({ denied: "own" });
    expect(judge(address, 80, { ...behind, allow: [cidr("192.0.2.33/32")] })).toBe("allowed");
    expect(judge(address, 80, { ...behind, allow: [cidr("192.0.2.32/32")] })).toEqual({ denied: "special-purpose" });
  });
});

test.for([
  { address: "1.1.1.1", told: true },
  { address: "2606:4700::1", told: true },
  { address: "127.0.0.53", told: true },
  { address: "::1", told: true },
  { address: "10.1.0.53", told: true },
  { address: "64:ff9b::10.1.0.53", told: true },
  { address: "10.2.0.53", told: false },
  { address: "::ffff:10.2.0.53", told: false },
  { address: "192.168.1.1", told: false },
  { address: "fd00::53", told: false },
  { address: "169.254.169.254", told: false },
  { address: "fe80::1", told: false },
  { address: "dns.example.org", told: false },
])("$address is named to applicants: $told, where the operator lists 10.1.0.0/16 and link-local addresses in vain", ({ address, told }) => {
  expect(mayBeTold(address, { ...nothing, allow: [cidr("10.1.0.0/16"), cidr("169.254.0.0/16")] })).toBe(told);
});

test("no text but an address in its plain form is allowed", () => {
  fc.assert(
    fc.property(fc.stringMatching(/^[0-9a-fx.:%/[\]]{0,40}$/), (text) => {
      const strict = /^(\d+\.){3}\d+$/.test(text) || /^[0-9a-f:.]+$/.test(text);
      if (judge(text, 80, nothing) === "allowed") expect(strict, text).toBe(true);
    }),
    { numRuns: 5000 },
  );
});
