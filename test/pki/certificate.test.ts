import { execFile } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { rootCertificates } from "node:tls";
import { promisify } from "node:util";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Fault } from "../../src/fault.ts";
import { verificationKey } from "../../src/pki/algorithm.ts";
import {
  keyIdentifier,
  notAfterOf,
  parseCertificate,
  parseTbsCertificate,
  reissuedTbs,
  sealCertificate,
  tbsCertificate,
  type Certificate,
} from "../../src/pki/certificate.ts";
import { disagreements, secondDecoderName } from "../../src/pki/second-decoder.ts";
import { authorityName, issuerOf, keyAlgorithms, planOf, profileNames, profileOf, sealedPlan, signed, softwareKey } from "./authorities.ts";

const run = promisify(execFile);
/** What the second decoder says to a certificate that was planned as `tbs`. */
const agrees = (der: Uint8Array, tbs: Uint8Array): string[] => {
  const plan = parseTbsCertificate(tbs);
  return disagreements(der, plan, { issuer: secondDecoderName(plan.issuer), publicKey: verificationKey(plan.spki).keyObject });
};
const key = () => softwareKey("P-256");
const issuerKey = () => softwareKey("P-256", 1);
const keyUsageExtension = (value: string): string => `300e0603551d0f0101ff0404${value}`;
const hex = (octets: Uint8Array): string => Buffer.from(octets).toString("hex");

describe("the bytes to be signed", () => {
  // The same certificate as crypto/x509 writes it (test/vectors/lint/SOURCE.md), byte for byte.
  test.for([
    { file: "good-root.pem", profile: "root", slug: "root-1" },
    { file: "good-subordinate.pem", profile: "subordinate", slug: "root-1", issuer: "good-root.pem" },
    { file: "good-subordinate-rsa.pem", profile: "subordinate", slug: "root-1", issuer: "good-root.pem" },
    { file: "good-responder.pem", profile: "ocsp-responder", slug: "issuing-1", issuer: "good-subordinate.pem" },
    { file: "good-server.pem", profile: "server", slug: "issuing-1", issuer: "good-subordinate.pem" },
    { file: "good-server-rsa.pem", profile: "server", slug: "issuing-1", issuer: "good-subordinate.pem" },
    { file: "good-server-by-rsa.pem", profile: "server", slug: "issuing-1", issuer: "good-subordinate-rsa.pem" },
  ])("of $file are those of another writer for the same content (RFC 5280 §4.1)", async ({ file, profile, slug, issuer = file }) => {
    const [theirs, authority] = [await vector(file), await vector(issuer)];
    const { x509 } = theirs;
    const urls = issuerOf(key(), slug).urls;
    const subject = x509.subject === undefined || x509.subject === "" ? [] : authorityName(/CN=(.*)/.exec(x509.subject)?.[1] ?? "");
    const names = profile === "server" ? [{ type: "dns", value: "a.example.org" } as const] : [];
    const ours = tbsCertificate(
      {
        subject: authority.parsed.subject,
        spki: spkiOf(authority.x509),
        subjectKeyIdentifier: keyIdentifier(spkiOf(authority.x509)),
        notAfter: authority.x509.validToDate,
        algorithm: authority.parsed.keyAlgorithm,
        urls,
      },
      profileOf(profile),
      { subject, names, spki: spkiOf(x509) },
      { serial: x509.serialNumber.toLowerCase().padStart(32, "0"), notBefore: x509.validFromDate, notAfter: x509.validToDate },
    );
    expect(hex(ours)).toBe(hex(theirs.parsed.tbs));
  });

  // Whole extensions, written by hand from RFC 5280 §4.2.1 and X.690: extnID, critical, extnValue.
  const serverAuth = "30130603551d25040c300a06082b06010505070301";
  const clientAuth = "30130603551d25040c300a06082b06010505070302";
  const both = "301d0603551d250416301406082b0601050507030106082b06010505070302";
  const ocspSigning = "30130603551d25040c300a06082b06010505070309";
  test.for([
    { profile: "server", algorithm: "P-256", present: [keyUsageExtension("03020780"), serverAuth], absent: ["0603551d13", "0603551d0e"] },
    {
      profile: "server",
      algorithm: "RSA-2048",
      present: [keyUsageExtension("030205a0"), serverAuth],
      absent: ["0603551d13", "0603551d0e"],
    },
    {
      profile: "client",
      algorithm: "RSA-2048",
      present: [keyUsageExtension("03020780"), clientAuth],
      absent: ["0603551d13", "0603551d0e"],
    },
    { profile: "mtls", algorithm: "P-384", present: [keyUsageExtension("03020780"), both], absent: ["0603551d13", "0603551d0e"] },
    {
      profile: "root",
      algorithm: "P-384",
      present: [keyUsageExtension("03020106"), "300f0603551d130101ff040530030101ff"],
      absent: ["0603551d25", "0603551d1f", "06082b06010505070101"],
    },
    {
      profile: "subordinate",
      algorithm: "RSA-4096",
      present: [keyUsageExtension("03020106"), "30120603551d130101ff040830060101ff020100"],
      absent: ["0603551d25", "2b06010505073001"],
    },
    {
      profile: "ocsp-responder",
      algorithm: "P-256",
      present: [keyUsageExtension("03020780"), ocspSigning, "300f06092b060105050730010504020500"],
      absent: ["0603551d1f", "06082b06010505070101", "0603551d11", "0603551d13"],
    },
  ] as const)(
    "of a $profile certificate for a key $algorithm hold the extensions that the profile fixes",
    ({ profile, algorithm, present, absent }) => {
      const { tbs, content } = planOf(profile, softwareKey(algorithm), issuerKey());
      const [, extensions = ""] = hex(tbs).split(hex(content.spki));
      for (const extension of present) expect(extensions).toContain(extension);
      for (const extension of absent) expect(extensions).not.toContain(extension);
      // FALSE is a default everywhere, and never encoded (XP-1).
      expect(extensions).not.toContain("010100");
    },
  );

  test.for([
    { time: "1950-01-01T00:00:00Z", encoded: "170d3530303130313030303030305a" },
    { time: "2049-12-31T23:59:59Z", encoded: "170d3439313233313233353935395a" },
    { time: "2050-01-01T00:00:00Z", encoded: "180f32303530303130313030303030305a" },
    { time: "9999-12-31T23:59:59Z", encoded: "180f39393939313233313233353935395a" },
  ])("hold $time as $encoded (RFC 5280 §4.1.2.5, XP-4)", ({ time, encoded }) => {
    const { issuer, profile, content, draw } = planOf("server", key(), issuerKey());
    const tbs = tbsCertificate(issuer, profile, content, {
      ...draw,
      notBefore: new Date("1950-01-01T00:00:00Z"),
      notAfter: new Date(time),
    });
    expect(hex(tbs)).toContain(`170d3530303130313030303030305a${encoded}`);
    expect(parseTbsCertificate(tbs).notAfter).toEqual(new Date(time));
  });

  test.for(["1949-12-31T23:59:59Z", "2026-01-01T00:00:00.500Z", "+010000-01-01T00:00:00Z"])("are not made for %s", (time) => {
    const { issuer, profile, content, draw } = planOf("server", key(), issuerKey());
    expect(() => tbsCertificate(issuer, profile, content, { ...draw, notBefore: new Date(time) })).toThrow(Fault);
  });

  test.for(["", "4a", "4A080F161D242B323940474E555C6304", `${"4".repeat(33)}`, "4a080f161d242b323940474e555c630g"])(
    "are not made for the serial number %j",
    (serial) => {
      const { issuer, profile, content, draw } = planOf("server", key(), issuerKey());
      expect(() => tbsCertificate(issuer, profile, content, { ...draw, serial })).toThrow("32 hex digits");
    },
  );

  test.for(["crl", "ocsp", "caIssuers"] as const)("are not made when the profile wants a URL for %s and the issuer has none", (which) => {
    const { issuer, profile, content, draw } = planOf("server", key(), issuerKey());
    const { [which]: _, ...urls } = issuer.urls;
    expect(() => tbsCertificate({ ...issuer, urls }, profile, content, draw)).toThrow(which);
  });

  test("copy the authority's subject as it stands, an encoding that we would not choose included (XP-2)", () => {
    const { issuer, profile, content, draw } = planOf("server", key(), issuerKey());
    // O as TeletexString
    const subject = Buffer.from("300e310c300a060355040a14034f6c64", "hex");
    const parsed = parseTbsCertificate(tbsCertificate({ ...issuer, subject }, profile, content, draw));
    expect(hex(parsed.issuer)).toBe(hex(subject));
  });

  test("mark subjectAltName critical exactly when the subject is empty (RFC 5280 §4.2.1.6)", () => {
    const { issuer, profile, content, draw } = planOf("server", key(), issuerKey());
    const named = tbsCertificate(issuer, profile, { ...content, subject: [{ type: "CN", value: "a.example.org" }] }, draw);
    expect(hex(planOf("server", key(), issuerKey()).tbs)).toContain("0603551d110101ff04");
    expect(hex(named)).toContain("0603551d1104");
  });

  test("are the same for the same arguments", () => {
    for (const profile of profileNames) expect(planOf(profile, key(), issuerKey()).tbs).toEqual(planOf(profile, key(), issuerKey()).tbs);
  });
});

describe("notAfter", () => {
  test.for([
    { seconds: 86_400, notAfter: "2026-01-02T11:59:59Z" },
    { seconds: 86_401, notAfter: "2026-01-02T12:00:00Z" },
    { seconds: 1, notAfter: "2026-01-01T12:00:00Z" },
    { seconds: 7_776_000, notAfter: "2026-04-01T11:59:59Z" },
  ])("after $seconds s is $notAfter: both ends count (RFC 5280 §4.1.2.5, XV-1)", ({ seconds, notAfter }) => {
    expect(notAfterOf(new Date("2026-01-01T12:00:00Z"), seconds)).toEqual(new Date(notAfter));
  });
});

describe("sealing", () => {
  test.for(keyAlgorithms)("joins bytes and signature of a key %s into a certificate that verifies", async (algorithm) => {
    const { der, tbs, signer } = await sealedPlan("server", key(), softwareKey(algorithm, 1));
    const x509 = new X509Certificate(der);
    expect(x509.verify(verificationKey(signer.spki).keyObject)).toBe(true);
    expect(agrees(der, tbs)).toEqual([]);
    // XP-1: both AlgorithmIdentifiers are the same bytes.
    expect(hex(parseCertificate(der).tbs)).toBe(hex(tbs));
  });

  test("works for every length that an ECDSA signature can have (XT-12)", async () => {
    const { tbs, signer } = planOf("server", key(), issuerKey());
    const lengths = new Set<number>();
    for (let count = 0; count < 200; count++) {
      const signature = signed(signer, tbs);
      lengths.add(signature.length);
      const der = await sealCertificate(tbs, verificationKey(signer.spki), signature);
      expect(der && parseCertificate(der).serial).toBe("4a080f161d242b323940474e555c6304");
    }
    expect(lengths.size).toBeGreaterThan(1);
  });

  test("gives nothing when a bit of the signature, of the bytes or the key is another (XI-3, XI-6)", async () => {
    const { tbs, signer } = planOf("server", key(), issuerKey());
    const signature = signed(signer, tbs);
    const issuer = verificationKey(signer.spki);
    for (let bit = 0; bit < signature.length * 8; bit += 7) {
      expect(await sealCertificate(tbs, issuer, flipped(signature, bit))).toBeUndefined();
    }
    expect(await sealCertificate(flipped(tbs, 17 * 8), issuer, signature)).toBeUndefined();
    expect(await sealCertificate(tbs, verificationKey(key().spki), signature)).toBeUndefined();
    expect(await sealCertificate(tbs, verificationKey(softwareKey("RSA-2048").spki), signature)).toBeUndefined();
    expect(await sealCertificate(tbs, issuer, new Uint8Array())).toBeUndefined();
    expect(await sealCertificate(tbs, issuer, signature)).toBeDefined();
  });

  test("gives nothing when the bytes name another algorithm than the key signs with (XP-1)", async () => {
    const { tbs } = planOf("server", key(), softwareKey("P-384", 1));
    expect(await sealCertificate(tbs, verificationKey(issuerKey().spki), signed(issuerKey(), tbs))).toBeUndefined();
  });
});

describe("reissuing", () => {
  test("changes serial number and times and nothing else", () => {
    const serial = fc.stringMatching(/^[4-7][0-9a-f]{31}$/);
    const second = fc.integer({ min: 0, max: 4_000_000_000 }).map((seconds) => new Date(seconds * 1_000));
    fc.assert(
      fc.property(fc.constantFrom(...profileNames), serial, second, second, (profile, drawn, notBefore, notAfter) => {
        const plan = planOf(profile, key(), issuerKey());
        const draw = { serial: drawn, notBefore, notAfter };
        const again = reissuedTbs(plan.tbs, draw);
        const { tbs: _, ...now } = parseTbsCertificate(again);
        const { tbs: __, ...before } = parseTbsCertificate(plan.tbs);
        expect(now).toEqual({ ...before, ...draw });
        expect(hex(again)).toBe(hex(tbsCertificate(plan.issuer, plan.profile, plan.content, draw)));
      }),
    );
  });
});

describe("the second decoder (XI-6)", () => {
  const rows = profileNames.flatMap((profile) => keyAlgorithms.map((algorithm) => ({ profile, algorithm })));
  test.for(rows)("agrees with a $profile certificate for a key $algorithm", async ({ profile, algorithm }) => {
    const { der, tbs } = await sealedPlan(profile, softwareKey(algorithm), issuerKey());
    expect(agrees(der, tbs)).toEqual([]);
  });

  test("agrees on names and subjects that text escapes", async () => {
    const { issuer, profile, draw } = planOf("mtls", key(), issuerKey());
    const names = [
      { type: "dns", value: "xn--bcher-kva.example.org" },
      { type: "ip", value: "::ffff:c000:201" },
      { type: "ip", value: "2001:db8::1:0:0:1" },
      { type: "uri", value: "https://example.org/a,DNS:b.example.org'c" },
    ] as const;
    const subject = [
      { type: "DC", value: "example" },
      { type: "C", value: "CH" },
      { type: "STREET", value: " a, b+c " },
      { type: "O", value: '#Zürich "A"; <B> \\= C' },
    ] as const;
    const tbs = tbsCertificate(issuer, profile, { subject, names, spki: key().spki }, draw);
    const der = await sealCertificate(tbs, verificationKey(issuerKey().spki), signed(issuerKey(), tbs));
    expect(der && agrees(der, tbs)).toEqual([]);
  });

  test.for<{ what: string; change: (plan: ReturnType<typeof planOf>) => Uint8Array }>([
    { what: "serialNumber", change: (plan) => reissuedTbs(plan.tbs, { ...plan.draw, serial: `5${plan.draw.serial.slice(1)}` }) },
    { what: "notBefore", change: (plan) => reissuedTbs(plan.tbs, { ...plan.draw, notBefore: new Date("2026-01-10T12:00:01Z") }) },
    { what: "notAfter", change: (plan) => reissuedTbs(plan.tbs, { ...plan.draw, notAfter: new Date("2026-01-10T12:00:01Z") }) },
    {
      what: "issuer",
      change: (plan) => tbsCertificate(issuerOf(issuerKey(), "issuing-1", "Example Issuing 2"), plan.profile, plan.content, plan.draw),
    },
    {
      what: "subject",
      change: (plan) => tbsCertificate(plan.issuer, plan.profile, { ...plan.content, subject: authorityName("A") }, plan.draw),
    },
    {
      what: "subjectAltName",
      change: (plan) =>
        tbsCertificate(plan.issuer, plan.profile, { ...plan.content, names: [{ type: "dns", value: "b.example.org" }] }, plan.draw),
    },
    {
      what: "subjectPublicKeyInfo",
      change: (plan) => tbsCertificate(plan.issuer, plan.profile, { ...plan.content, spki: softwareKey("P-256", 2).spki }, plan.draw),
    },
    { what: "cA", change: (plan) => tbsCertificate(plan.issuer, { ...plan.profile, kind: "subordinate" }, plan.content, plan.draw) },
  ])("tells a certificate whose $what is not the planned one", async ({ what, change }) => {
    const plan = planOf("server", key(), issuerKey());
    const { der } = await sealedPlan("server", key(), issuerKey());
    expect(agrees(der, change(plan)).map((difference) => difference.split(" ")[0])).toEqual([what]);
  });

  test("tells a certificate whose key is no point of its curve", async () => {
    const plan = planOf("server", key(), issuerKey());
    const spki = Uint8Array.from(key().spki);
    spki[spki.length - 1] = (spki.at(-1) ?? 0) ^ 1;
    const tbs = tbsCertificate(plan.issuer, plan.profile, { ...plan.content, spki }, plan.draw);
    const der = await sealCertificate(tbs, verificationKey(issuerKey().spki), signed(issuerKey(), tbs));
    const parsed = parseTbsCertificate(tbs);
    const expected = { issuer: secondDecoderName(parsed.issuer), publicKey: verificationKey(key().spki).keyObject };
    expect(der && disagreements(der, parsed, expected)).toEqual(["the certificate cannot be read"]);
  });

  test("tells bytes that are no certificate", () => {
    const { tbs } = planOf("server", key(), issuerKey());
    expect(agrees(new Uint8Array([0x30, 0x00]), tbs)).toEqual(["the certificate cannot be read"]);
  });
});

describe("parsing", () => {
  test("says of each profile's certificate what went into it", async () => {
    for (const profileName of profileNames) {
      const { der, tbs, content, issuer, draw, profile } = await sealedPlan(profileName, key(), issuerKey());
      const parsed = parseCertificate(der);
      expect(parsed).toMatchObject({
        serial: draw.serial,
        notBefore: draw.notBefore,
        notAfter: draw.notAfter,
        names: content.names,
        keyAlgorithm: "P-256",
        signatureAlgorithm: "ecdsa-with-SHA256",
        isCa: profileName === "root" || profileName === "subordinate",
        pathLength: profile.pathLength,
        keyUsage: profile.keyUsage,
        extendedKeyUsage: profile.extendedKeyUsage.length > 0 ? profile.extendedKeyUsage : undefined,
        subjectText:
          profile.subject === "empty" ? "" : `CN=Example ${profileName === "root" ? "Root" : profileName} 1,O=Example Trust,C=CH`,
        urls: {
          caIssuers: profile.authorityInfoAccess.includes("caIssuers") ? [issuer.urls.caIssuers] : [],
          ocsp: profile.authorityInfoAccess.includes("ocsp") ? [issuer.urls.ocsp] : [],
          crl: profile.crlDistributionPoint ? [issuer.urls.crl] : [],
        },
      });
      expect(hex(parsed.spki)).toBe(hex(content.spki));
      expect(hex(parsed.authorityKeyIdentifier ?? new Uint8Array())).toBe(hex(issuer.subjectKeyIdentifier));
      expect(parsed.spkiSha256).toMatch(/^[0-9a-f]{64}$/);
      expect({ ...parsed, der: undefined }).toEqual({ ...parseTbsCertificate(tbs), der: undefined });
    }
  });

  test.for([
    "e_cert_extensions_version_not_3.pem",
    "e_ext_duplicate_extension.pem",
    "e_cert_ext_invalid_der.pem",
    "e_serial_number_not_positive.pem",
    "e_serial_number_not_positive-zero.pem",
    "e_serial_number_longer_than_20_octets.pem",
    "e_tbs_signature_rsa_encryption_parameter_not_null.pem",
    "e_spki_rsa_encryption_parameter_not_null.pem",
    "e_wrong_time_format_pre2050.pem",
    "e_issuer_field_empty.pem",
    "e_basic_constr_invalid_der.pem",
    "e_incorrect_ku_encoding.pem",
    "e_ext_cannot_be_empty_sequence-aia.pem",
    "chancery_ocsp_nocheck_not_null.pem",
    "chancery_tbs_malformed-boolean.pem",
    "chancery_tbs_malformed-trailing.pem",
  ])("refuses %s (test/vectors/lint/SOURCE.md)", async (file) => {
    const der = await vectorBytes(file);
    expect(() => parseCertificate(der)).toThrow(expect.objectContaining({ code: "malformed" }));
  });

  test("reads the world's root certificates as OpenSSL does, or refuses them", () => {
    let accepted = 0;
    for (const pem of rootCertificates) {
      const x509 = new X509Certificate(pem);
      const parsed = parsedOrRefused(new Uint8Array(x509.raw));
      if (parsed === undefined) continue;
      accepted += 1;
      expectSame(parsed, x509);
    }
    expect(accepted).toBeGreaterThan(rootCertificates.length / 2);
  });

  test.for([0x0a, 0x80, 0x83, 0x84, 0x85, 0x89])(
    "refuses a name that is no GeneralName, or a structured one as octets: %i",
    async (identifier) => {
      const { der } = await sealedPlan("server", key(), issuerKey());
      for (let at = der.indexOf(0x86); at >= 0; at = der.indexOf(0x86, at + 1)) {
        if (Buffer.from(der.subarray(at + 2, at + 6)).toString("latin1") !== "http") continue;
        const changed = Uint8Array.from(der);
        changed[at] = identifier;
        expect(() => parseCertificate(changed)).toThrow(expect.objectContaining({ code: "malformed" }));
      }
    },
  );

  test("reads any change of a certificate as OpenSSL does, or refuses it (XG-5)", async () => {
    const bases = await Promise.all(profileNames.map(async (profile) => (await sealedPlan(profile, key(), issuerKey())).der));
    let accepted = 0;
    const change = fc.oneof(
      fc.record({ at: fc.nat(), octets: fc.uint8Array({ minLength: 1, maxLength: 1 }), removed: fc.constant(1) }),
      fc.record({ at: fc.nat(), octets: fc.uint8Array({ maxLength: 6 }), removed: fc.nat(6) }),
    );
    fc.assert(
      fc.property(fc.constantFrom(...bases), change, (der, { at, octets, removed }) => {
        const start = at % der.length;
        const changed = Uint8Array.from([...der.subarray(0, start), ...octets, ...der.subarray(start + removed)]);
        const parsed = parsedOrRefused(changed);
        if (parsed === undefined) return;
        accepted += 1;
        expectSame(parsed, new X509Certificate(changed));
      }),
      { numRuns: 5_000 },
    );
    // Most places of a certificate may hold another octet; the property must have seen many of them.
    expect(accepted).toBeGreaterThan(500);
  });

  test("refuses bytes at random", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (octets) => {
        expect(parsedOrRefused(octets)).toBeUndefined();
      }),
    );
  });
});

describe("other decoders read what the writer makes", () => {
  test.for(profileNames)("@peculiar/x509 and pkijs read a %s certificate alike", async (profile) => {
    await import("reflect-metadata");
    const { X509Certificate: Peculiar, SubjectAlternativeNameExtension } = await import("@peculiar/x509");
    const pkijs = await import("pkijs");
    const { der, draw, content, issuer } = await sealedPlan(profile, key(), issuerKey());
    const peculiar = new Peculiar(der);
    expect(peculiar.serialNumber).toBe(draw.serial);
    expect([peculiar.notBefore, peculiar.notAfter]).toEqual([draw.notBefore, draw.notAfter]);
    expect(hex(new Uint8Array(peculiar.publicKey.rawData))).toBe(hex(content.spki));
    const names = peculiar.getExtension(SubjectAlternativeNameExtension)?.names.items ?? [];
    expect(names.map(({ value }) => value.toLowerCase())).toEqual(content.names.map(({ value }) => value));
    const other = pkijs.Certificate.fromBER(der);
    expect(hex(new Uint8Array(other.serialNumber.valueBlock.valueHexView))).toBe(draw.serial);
    expect([other.notBefore.value, other.notAfter.value]).toEqual([draw.notBefore, draw.notAfter]);
    expect(hex(new Uint8Array(other.subjectPublicKeyInfo.toSchema().toBER()))).toBe(hex(content.spki));
    expect(hex(new Uint8Array(other.issuer.toSchema().toBER()))).toBe(hex(issuer.subject));
    expect(other.extensions?.map(({ extnID }) => extnID)).toEqual(peculiar.extensions.map(({ type }) => type));
  });

  const fact = {
    server: [
      "Digital Signature",
      "TLS Web Server Authentication",
      "DNS:a.example.org, IP Address:192.0.2.1",
      "URI:http://status.example.org/crl/issuing-1.crl",
    ],
    client: ["Digital Signature", "TLS Web Client Authentication", "URI:spiffe://example.org/ns/a"],
    mtls: ["TLS Web Server Authentication, TLS Web Client Authentication", "OCSP - URI:http://status.example.org/ocsp/issuing-1"],
    root: ["CA:TRUE\n", "Certificate Sign, CRL Sign", "Signature Algorithm: ecdsa-with-SHA256"],
    subordinate: ["CA:TRUE, pathlen:0", "CA Issuers - URI:http://status.example.org/ca/issuing-1.cer"],
    "ocsp-responder": ["OCSP Signing", "OCSP No Check"],
  } as const;
  test.for(profileNames)("openssl x509 -text shows what a %s certificate is for", async (profile) => {
    const { der } = await sealedPlan(profile, key(), issuerKey());
    await withFiles({ "certificate.der": der }, async (folder) => {
      const { stdout } = await run("openssl", ["x509", "-inform", "DER", "-in", path.join(folder, "certificate.der"), "-noout", "-text"]);
      expect(stdout).toContain("Version: 3 (0x2)");
      expect(stdout).toContain("4a:08:0f:16:1d:24:2b:32:39:40:47:4e:55:5c:63:04");
      for (const text of fact[profile]) expect(stdout).toContain(text);
    });
  });

  test.for(["P-256", "P-384", "RSA-2048"] as const)("openssl verify -x509_strict accepts a chain under a root %s", async (algorithm) => {
    const root = await sealedPlan("root", softwareKey(algorithm), softwareKey(algorithm));
    const rootIssuer = root.issuer;
    const [subordinateKey, leafKey] = [softwareKey("P-256", 1), softwareKey("P-256", 2)];
    const plan = planOf("subordinate", subordinateKey, softwareKey(algorithm));
    const subordinateTbs = tbsCertificate(
      rootIssuer,
      plan.profile,
      { ...plan.content, subject: authorityName("Example Issuing 1") },
      plan.draw,
    );
    const subordinate = await sealCertificate(
      subordinateTbs,
      verificationKey(rootIssuer.spki),
      signed(softwareKey(algorithm), subordinateTbs),
    );
    const server = await sealedPlan("server", leafKey, subordinateKey);
    const chain = { "root.der": root.der, "subordinate.der": subordinate ?? new Uint8Array(), "server.der": server.der };
    await withFiles(chain, async (folder) => {
      const at = (name: string): string => path.join(folder, name);
      for (const name of ["root", "subordinate", "server"]) {
        await run("openssl", ["x509", "-inform", "DER", "-in", at(`${name}.der`), "-out", at(`${name}.pem`)]);
      }
      const strict = ["-x509_strict", "-check_ss_sig", "-purpose", "sslserver", "-attime", "1768478400"];
      const files = ["-CAfile", at("root.pem"), "-untrusted", at("subordinate.pem"), at("server.pem")];
      const { stdout } = await run("openssl", ["verify", ...strict, "-verify_hostname", "a.example.org", ...files]);
      expect(stdout).toContain("OK");
    });
  });
});

function parsedOrRefused(der: Uint8Array): Certificate | undefined {
  try {
    return parseCertificate(der);
  } catch (error) {
    expect(error).toMatchObject({ code: "malformed" });
    return undefined;
  }
}

// What both decoders can say of any certificate. Key numbers that are no key are read by neither.
function expectSame(parsed: Certificate, x509: X509Certificate): void {
  expect(x509.serialNumber.toLowerCase().replace(/^0+(?=.)/, "")).toBe(parsed.serial.replace(/^0+(?=.)/, ""));
  expect([x509.validFromDate, x509.validToDate]).toEqual([parsed.notBefore, parsed.notAfter]);
  // OpenSSL's "ca" wants keyCertSign too, where there is a keyUsage.
  expect(x509.ca).toBe(parsed.isCa && parsed.keyUsage?.includes("keyCertSign") !== false);
  expect((x509.subjectAltName ?? "").split(", ").filter(Boolean).length).toBe(parsed.names.length);
  for (const { type, value } of parsed.names)
    if (type === "dns") expect((x509.subjectAltName ?? "").toLowerCase()).toContain(`dns:${value}`);
  expect(parsed.subjectText === "").toBe(x509.subject === undefined || x509.subject === "");
  const ours = spkiOrUndefined(() => verificationKey(parsed.spki).keyObject.export({ type: "spki", format: "der" }));
  expect(ours).toBe(spkiOrUndefined(() => x509.publicKey.export({ type: "spki", format: "der" })));
}

function spkiOrUndefined(read: () => Uint8Array): string | undefined {
  try {
    return hex(read());
  } catch {
    return undefined;
  }
}

function spkiOf(x509: X509Certificate): Uint8Array {
  return new Uint8Array(x509.publicKey.export({ type: "spki", format: "der" }));
}

function flipped(octets: Uint8Array, bit: number): Uint8Array {
  const changed = Uint8Array.from(octets);
  changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (0x80 >> (bit & 7));
  return changed;
}

async function vectorBytes(file: string): Promise<Uint8Array> {
  const text = await readFile(new URL(`../vectors/lint/${file}`, import.meta.url), "utf8");
  return new Uint8Array(Buffer.from(text.replace(/-----[^-]*-----|\s/g, ""), "base64"));
}

async function vector(file: string) {
  const der = await vectorBytes(file);
  return { x509: new X509Certificate(der), parsed: parseCertificate(der) };
}

async function withFiles(files: Readonly<Record<string, Uint8Array>>, act: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(path.join(tmpdir(), "chancery-"));
  try {
    await Promise.all(Object.entries(files).map(([name, bytes]) => writeFile(path.join(folder, name), bytes)));
    await act(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}
