import { describe, expect, test } from "vitest";

import { authorityOf, redirectTarget, urlOf } from "../../src/net/redirect.ts";
import type { Target } from "../../src/net/redirect.ts";

const from: Target = { scheme: "http", host: "example.org", port: 80, path: "/.well-known/acme-challenge/token" };
const rules = { ports: new Set([80, 443, 5002]), mayNameAddress: () => false };

describe("a redirect is followed (S-04)", () => {
  test.for<{ location: string; url: string }>([
    { location: "http://www.example.org/token", url: "http://www.example.org/token" },
    { location: "https://example.org/a?b=c#d", url: "https://example.org/a?b=c" },
    { location: "/other", url: "http://example.org/other" },
    { location: "other", url: "http://example.org/.well-known/acme-challenge/other" },
    { location: "//other.example.org/x", url: "http://other.example.org/x" },
    { location: "http://example.org:443/", url: "http://example.org:443/" },
    { location: "https://example.org:80/", url: "https://example.org:80/" },
    { location: "http://example.org:5002/", url: "http://example.org:5002/" },
    { location: "HTTPS://EXAMPLE.ORG/", url: "https://example.org/" },
    { location: "http://b%C3%BCcher.example.org/", url: "http://xn--bcher-kva.example.org/" },
    { location: `/${"a".repeat(1999)}`, url: `http://example.org/${"a".repeat(1999)}` },
  ])("to $location", ({ location, url }) => {
    const target = redirectTarget(from, location, rules);
    expect(typeof target === "string" ? target : urlOf(target)).toBe(url);
  });
});

describe("a redirect is not followed, and the reason repeats nothing of it", () => {
  test.for<{ location: string | undefined; reason: RegExp }>([
    { location: undefined, reason: /no location/ },
    { location: "http://", reason: /no URL/ },
    { location: "http://exa mple.org/", reason: /no URL/ },
    { location: "ftp://secret.example.org/", reason: /scheme/ },
    { location: "file:///etc/passwd", reason: /scheme/ },
    { location: "javascript:alert(1)", reason: /scheme/ },
    { location: "http://user@secret.example.org/", reason: /credentials/ },
    { location: "http://user:password@secret.example.org/", reason: /credentials/ },
    { location: "http://secret.example.org:8080/", reason: /port/ },
    { location: "http://secret.example.org:22/", reason: /port/ },
    { location: "http://secret.example.org:0/", reason: /port/ },
    { location: `/${"a".repeat(2000)}`, reason: /2000 octets/ },
    { location: `/${"ä".repeat(400)}`, reason: /2000 octets/ },
    { location: "http://secret_host.example.org/", reason: /no host name/ },
    { location: "http://*.example.org/", reason: /no host name/ },
    { location: "http://secret.example.org./", reason: /no host name/ },
  ])("to $location", ({ location, reason }) => {
    const refusal = redirectTarget(from, location, rules);
    expect(refusal).toMatch(reason);
    expect(refusal).not.toContain("secret");
  });

  test.for(["127.0.0.1", "2130706433", "0x7f.1", "127.1", "0177.0.0.1", "①②⑦.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "1.1.1.1", "1.1.1.1."])(
    "to an IP address, however it is written: %s (TR-9)",
    (host) => {
      expect(redirectTarget(from, `http://${host}/`, rules)).toBe("leads to an IP address");
    },
  );
});

test("where an address may be named, the canonical text is what is judged and dialled", () => {
  const named: string[] = [];
  const may = { ...rules, mayNameAddress: (address: string) => named.push(address) > 0 };
  const hosts = ["0x7f.1", "[::ffff:7f00:1]", "[2001:DB8::0:1]"].map((host) => redirectTarget(from, `https://${host}/`, may));
  expect(hosts.map((target) => typeof target !== "string" && target.host)).toEqual(["127.0.0.1", "::ffff:7f00:1", "2001:db8::1"]);
  expect(named).toEqual(["127.0.0.1", "::ffff:7f00:1", "2001:db8::1"]);
});

test.for<{ target: Omit<Target, "path">; host: string }>([
  { target: { scheme: "http", host: "example.org", port: 80 }, host: "example.org" },
  { target: { scheme: "https", host: "example.org", port: 443 }, host: "example.org" },
  { target: { scheme: "http", host: "example.org", port: 443 }, host: "example.org:443" },
  { target: { scheme: "http", host: "2001:db8::1", port: 80 }, host: "[2001:db8::1]" },
  { target: { scheme: "http", host: "::1", port: 5002 }, host: "[::1]:5002" },
])("the Host field is $host (RFC 9110 §7.2)", ({ target, host }) => expect(authorityOf(target)).toBe(host));
