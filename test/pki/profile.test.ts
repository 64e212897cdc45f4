import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import type { GeneralName } from "../../src/pki/general-name.ts";
import { builtInProfiles, profileByName, profileDocument, profileSha256, violations, type ProfileRequest } from "../../src/pki/profile.ts";
import { profileNames, profileOf } from "./authorities.ts";

const day = 86_400;
const dns = (value: string): GeneralName => ({ type: "dns", value });
const uri = (value: string): GeneralName => ({ type: "uri", value });
const many = (count: number): GeneralName[] => Array.from({ length: count }, (_, index) => dns(`a${index}.example.org`));

const leaf: ProfileRequest = { names: [dns("a.example.org")], keyAlgorithm: "P-256", lifetimeSeconds: 3_600 };
const authority: ProfileRequest = { names: [], keyAlgorithm: "P-384", lifetimeSeconds: 0 };

describe("the lifetime must lie in the profile's range, both ends allowed", () => {
  const ranges = [
    { profile: "server", minimum: 3_600, maximum: 90 * day },
    { profile: "client", minimum: 3_600, maximum: 90 * day },
    { profile: "mtls", minimum: 3_600, maximum: day },
    { profile: "root", minimum: 2_922 * day, maximum: 9_132 * day },
    { profile: "subordinate", minimum: 90 * day, maximum: 3_650 * day },
    { profile: "ocsp-responder", minimum: 30 * day, maximum: 90 * day },
  ];
  const rows = ranges.flatMap(({ profile, minimum, maximum }) => [
    { profile, seconds: minimum - 1, broken: true },
    { profile, seconds: minimum, broken: false },
    { profile, seconds: maximum, broken: false },
    { profile, seconds: maximum + 1, broken: true },
    { profile, seconds: minimum + 0.5, broken: true },
    { profile, seconds: Number.NaN, broken: true },
    { profile, seconds: Infinity, broken: true },
    { profile, seconds: -minimum, broken: true },
  ]);
  test.for(rows)("$profile, $seconds s: refused $broken", ({ profile, seconds, broken }) => {
    const leafProfile = profileOf(profile).kind === "end-entity";
    const request = { ...(leafProfile ? leaf : { ...authority, keyAlgorithm: "P-256" as const }), lifetimeSeconds: seconds };
    const found = violations(profileOf(profile), request);
    expect(found.map(({ code }) => code)).toEqual(broken ? ["lifetimeOutOfRange"] : []);
    if (broken) expect(found[0]?.detail).toContain(String(seconds));
  });

  test.for([
    { profile: "server", seconds: 90 * day },
    { profile: "client", seconds: 90 * day },
    { profile: "mtls", seconds: day },
    { profile: "root", seconds: 3_650 * day },
    { profile: "subordinate", seconds: 1_825 * day },
    { profile: "ocsp-responder", seconds: 30 * day },
  ])("$profile has $seconds s by default", ({ profile, seconds }) => {
    expect(profileOf(profile).lifetimeSeconds.default).toBe(seconds);
  });
});

describe("the key must be of a kind that the profile certifies (XK-1)", () => {
  test.for([
    { profile: "server", key: "P-256", broken: [] },
    { profile: "server", key: "P-384", broken: [] },
    { profile: "server", key: "RSA-2040", broken: ["badCSR"] },
    { profile: "server", key: "RSA-2048", broken: [] },
    { profile: "server", key: "RSA-2056", broken: [] },
    { profile: "server", key: "RSA-2052", broken: ["badCSR"] },
    { profile: "server", key: "RSA-4096", broken: [] },
    { profile: "server", key: "RSA-4104", broken: ["badCSR"] },
    { profile: "ocsp-responder", key: "P-256", broken: [] },
    { profile: "ocsp-responder", key: "P-384", broken: ["badCSR"] },
    { profile: "ocsp-responder", key: "RSA-2048", broken: ["badCSR"] },
  ] as const)("$profile, $key: $broken", ({ profile, key, broken }) => {
    const names = profile === "server" ? leaf.names : [];
    const found = violations(profileOf(profile), { names, keyAlgorithm: key, lifetimeSeconds: profileOf(profile).lifetimeSeconds.default });
    expect(found.map(({ code }) => code)).toEqual(broken);
    if (broken.length > 0) expect(found[0]?.detail).toContain(key);
  });
});

describe("the names must be those that the profile allows", () => {
  test.for<{ name: string; profile: string; names: GeneralName[]; broken: string[] }>([
    { name: "none", profile: "server", names: [], broken: ["badCSR"] },
    { name: "one", profile: "server", names: many(1), broken: [] },
    { name: "100", profile: "server", names: many(100), broken: [] },
    { name: "101", profile: "server", names: many(101), broken: ["badCSR"] },
    { name: "one twice", profile: "server", names: [dns("a.example.org"), dns("a.example.org")], broken: ["badCSR"] },
    { name: "an address", profile: "server", names: [{ type: "ip", value: "192.0.2.1" }], broken: [] },
    { name: "a URI", profile: "server", names: [uri("spiffe://example.org/a")], broken: ["policyDenied"] },
    { name: "a wildcard", profile: "server", names: [dns("*.example.org")], broken: [] },
    { name: "a wildcard", profile: "client", names: [dns("*.example.org")], broken: ["policyDenied"] },
    { name: "a wildcard", profile: "mtls", names: [dns("*.example.org")], broken: ["policyDenied"] },
    { name: "one URI", profile: "mtls", names: [uri("spiffe://example.org/a")], broken: [] },
    { name: "two URIs", profile: "mtls", names: [uri("spiffe://example.org/a"), uri("spiffe://example.org/b")], broken: ["badCSR"] },
    { name: "none", profile: "root", names: [], broken: [] },
    { name: "one", profile: "root", names: many(1), broken: ["badCSR", "policyDenied"] },
    { name: "one", profile: "subordinate", names: many(1), broken: ["badCSR", "policyDenied"] },
    { name: "one", profile: "ocsp-responder", names: many(1), broken: ["badCSR", "policyDenied"] },
  ])("$profile, $name: $broken", ({ profile, names, broken }) => {
    const { lifetimeSeconds } = profileOf(profile);
    const found = violations(profileOf(profile), { names, keyAlgorithm: "P-256", lifetimeSeconds: lifetimeSeconds.default });
    expect(found.map(({ code }) => code)).toEqual(broken);
  });

  test("a request that breaks several rules is told all of them", () => {
    const found = violations(profileOf("mtls"), { names: [dns("*.example.org")], keyAlgorithm: "RSA-1024", lifetimeSeconds: day + 1 });
    expect(found.map(({ code }) => code)).toEqual(["lifetimeOutOfRange", "badCSR", "policyDenied"]);
  });
});

describe("a profile is frozen data, named by the hash of its document (XI-9)", () => {
  test("the built-in ones are server, client, mtls, root, subordinate and ocsp-responder", () => {
    expect(builtInProfiles.map(({ name }) => name)).toEqual([...profileNames]);
    expect(profileByName("codeSigning")).toBeUndefined();
    expect(profileByName("__proto__")).toBeUndefined();
  });

  test("nothing in one can be changed", () => {
    const frozen = (value: unknown): boolean =>
      typeof value !== "object" || value === null || (Object.isFrozen(value) && Object.values(value).every(frozen));
    expect(builtInProfiles.every(frozen)).toBe(true);
  });

  test("its document is canonical JSON", () => {
    expect(profileDocument(profileOf("mtls"))).toBe(
      '{"authorityInfoAccess":["ocsp","caIssuers"],"backdateSeconds":300,"crlDistributionPoint":true,' +
        '"extendedKeyUsage":["serverAuth","clientAuth"],"keyAlgorithms":["P-256","P-384","RSA"],"keyUsage":["digitalSignature"],' +
        '"kind":"end-entity","lifetimeSeconds":{"default":86400,"maximum":86400,"minimum":3600},"name":"mtls",' +
        '"names":{"maximum":100,"minimum":1,"types":["dns","ip","uri"],"uris":1,"wildcard":false},"ocspNoCheck":false,' +
        '"subject":"empty","subjectKeyIdentifier":false}',
    );
  });

  test("its hash is the document's, whatever the order of its members", () => {
    for (const profile of builtInProfiles) {
      const { name, kind, lifetimeSeconds, ...others } = profile;
      expect(profileDocument({ lifetimeSeconds, ...others, name, kind })).toBe(profileDocument(profile));
      expect(profileSha256(profile)).toBe(createHash("sha256").update(profileDocument(profile)).digest("hex"));
    }
    expect(new Set(builtInProfiles.map(profileSha256)).size).toBe(builtInProfiles.length);
  });

  test("private leaf certificates reach back an hour at most", () => {
    for (const { kind, backdateSeconds, lifetimeSeconds } of builtInProfiles) {
      expect(backdateSeconds).toBeLessThanOrEqual(kind === "end-entity" ? 3_600 : day);
      expect(lifetimeSeconds.minimum).toBeGreaterThan(backdateSeconds);
    }
  });
});
