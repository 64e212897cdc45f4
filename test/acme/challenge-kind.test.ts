import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import * as fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Asked, ChallengeKind, Verdict } from "../../src/acme/challenge-kind.ts";
import { dns01 } from "../../src/acme/dns-01.ts";
import { http01 } from "../../src/acme/http-01.ts";
import { tlsAlpn01 } from "../../src/acme/tls-alpn-01.ts";
import { httpAnswer, noAnswer, type Script, scriptedValidator, tlsAlpnAnswer, txtAnswer } from "../support/validator.ts";

// RFC 8555 §8.1: the token and the thumbprint of the key, with a full stop between: 43 characters each.
const token = "LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0";
const keyAuthorization = `${token}.9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI`;
const asked: Asked = { tenant: "t", identifier: { type: "dns", value: "www.example.org" }, token, keyAuthorization };

const judged = (kind: ChallengeKind, script: Script, of: Asked = asked): Promise<Verdict> => kind(scriptedValidator(script), of);

const unauthorized = { outcome: "invalid", error: { type: "urn:ietf:params:acme:error:unauthorized", status: 403 } };

describe("http-01 (RFC 8555 §8.3, AV-1)", () => {
  test.for([
    { name: "the key authorization", answer: httpAnswer(keyAuthorization), outcome: "valid" },
    { name: "with a line feed", answer: httpAnswer(`${keyAuthorization}\n`), outcome: "valid" },
    { name: "with white space of every kind", answer: httpAnswer(`${keyAuthorization} \t\r\n\v\f`), outcome: "valid" },
    { name: "128 octets, white space at their end", answer: httpAnswer(keyAuthorization.padEnd(128, "\n")), outcome: "valid" },
    { name: "129 octets", answer: httpAnswer(keyAuthorization.padEnd(129, "\n")), outcome: "invalid" },
    { name: "more than was read", answer: httpAnswer(keyAuthorization, { truncated: true }), outcome: "invalid" },
    { name: "white space before it", answer: httpAnswer(` ${keyAuthorization}`), outcome: "invalid" },
    { name: "a no-break space behind it", answer: httpAnswer(`${keyAuthorization}\u00a0`), outcome: "invalid" },
    { name: "a byte order mark before it", answer: httpAnswer(`\u00ef\u00bb\u00bf${keyAuthorization}`), outcome: "invalid" },
    { name: "something behind it", answer: httpAnswer(`${keyAuthorization}x`), outcome: "invalid" },
    { name: "the token alone", answer: httpAnswer(token), outcome: "invalid" },
    { name: "in capitals", answer: httpAnswer(keyAuthorization.toUpperCase()), outcome: "invalid" },
    { name: "nothing", answer: httpAnswer(""), outcome: "invalid" },
    { name: "with status 203", answer: httpAnswer(keyAuthorization, { status: 203 }), outcome: "invalid" },
    { name: "with status 404", answer: httpAnswer(keyAuthorization, { status: 404 }), outcome: "invalid" },
  ])("$name: $outcome", async ({ answer, outcome }) => {
    const verdict = await judged(http01, { http: () => answer });
    expect(verdict).toMatchObject(outcome === "valid" ? { outcome } : unauthorized);
  });

  test("the error names host and address, and holds no octet that the host sent, the URL it redirected to among them (AV-7)", async () => {
    const answer = httpAnswer("S3CRET", { status: 200, urls: ["http://www.example.org/x", "http://www.example.org/S3CRET"] });
    const verdict = await judged(http01, { http: () => answer });
    expect(JSON.stringify({ ...verdict, evidence: undefined })).toMatch(/www\.example\.org.*after 1 redirects.*192\.0\.2\.1/);
    expect(JSON.stringify({ ...verdict, evidence: undefined })).not.toContain("S3CRET");
  });

  test("no other body is ever valid", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 128 }), async (body) => {
        expect((await judged(http01, { http: () => httpAnswer(body) })).outcome).toBe("invalid");
      }),
    );
  });
});

describe("dns-01 (RFC 8555 §8.4, AV-3)", () => {
  const digest = createHash("sha256").update(keyAuthorization).digest("base64url");
  test.for([
    { name: "the digest", records: [digest], outcome: "valid" },
    { name: "the digest among others", records: ["v=spf1 -all", digest, "x".repeat(300)], outcome: "valid" },
    { name: "no record", records: [], outcome: "invalid" },
    { name: "the digest in two records", records: [digest.slice(0, 20), digest.slice(20)], outcome: "invalid" },
    { name: "padded", records: [`${digest}=`], outcome: "invalid" },
    { name: "with a space", records: [`${digest} `], outcome: "invalid" },
    { name: "in lower case", records: [digest.toLowerCase()], outcome: "invalid" },
    { name: "in hex", records: [createHash("sha256").update(keyAuthorization).digest("hex")], outcome: "invalid" },
    { name: "the key authorization itself", records: [keyAuthorization], outcome: "invalid" },
  ])("$name: $outcome", async ({ records, outcome }) => {
    const verdict = await judged(dns01, { txt: () => txtAnswer(...records) });
    expect(verdict).toMatchObject(outcome === "valid" ? { outcome } : unauthorized);
    if (verdict.outcome !== "valid") expect(verdict.error.detail).toContain("192.0.2.53");
  });
});

describe("no answer (AV-6, AV-7)", () => {
  test.for([
    { kind: "dns", final: false, outcome: "again" },
    { kind: "dns", final: true, outcome: "invalid" },
    { kind: "connection", final: false, outcome: "again" },
    { kind: "connection", final: true, outcome: "invalid" },
    { kind: "tls", final: false, outcome: "again" },
  ] as const)("$kind, final: $final is $outcome, of that type, with status 400", async ({ kind, final, outcome }) => {
    const failure = noAnswer(kind, { final });
    const wanted = { outcome, error: { type: `urn:ietf:params:acme:error:${kind}`, status: 400 } };
    for (const verdict of [
      await judged(http01, { http: () => failure }),
      await judged(dns01, { txt: () => failure }),
      await judged(tlsAlpn01, { tlsAlpn: () => failure }),
    ]) {
      expect(verdict).toMatchObject(wanted);
    }
  });
});

describe("tls-alpn-01 (RFC 8737 §3, RFC 8738 §6, AV-4)", () => {
  const digest = createHash("sha256").update(keyAuthorization).digest("hex");
  const proof = `1.3.6.1.5.5.7.1.31=critical,DER:0420${digest}`;
  const san = "subjectAltName=DNS:www.example.org";
  const address: Asked = { ...asked, identifier: { type: "ip", value: "2001:db8::1" } };

  const rows: { name: string; extensions: string[]; outcome: "valid" | "invalid"; of?: Asked; key?: string; subject?: string }[] = [
    { name: "a certificate as it should be", extensions: [san, proof], outcome: "valid" },
    { name: "its name in capitals", extensions: ["subjectAltName=DNS:WWW.Example.ORG", proof], outcome: "valid" },
    { name: "with a P-384 key", extensions: [san, proof], outcome: "valid", key: "ec:P-384" },
    { name: "with an RSA key", extensions: [san, proof], outcome: "valid", key: "rsa:2048" },
    { name: "with no subject", extensions: [san, proof], outcome: "valid", subject: "/" },
    { name: "a critical subjectAltName", extensions: ["subjectAltName=critical,DNS:www.example.org", proof], outcome: "valid" },
    { name: "another name", extensions: ["subjectAltName=DNS:example.org", proof], outcome: "invalid" },
    { name: "a wildcard over the name", extensions: ["subjectAltName=DNS:*.example.org", proof], outcome: "invalid" },
    { name: "two names", extensions: ["subjectAltName=DNS:www.example.org,DNS:b.example.org", proof], outcome: "invalid" },
    { name: "the name twice", extensions: ["subjectAltName=DNS:www.example.org,DNS:www.example.org", proof], outcome: "invalid" },
    { name: "the name and an address", extensions: ["subjectAltName=DNS:www.example.org,IP:192.0.2.1", proof], outcome: "invalid" },
    { name: "the name as a URI", extensions: ["subjectAltName=URI:http://www.example.org", proof], outcome: "invalid" },
    { name: "the name in the subject alone", extensions: [proof], outcome: "invalid", subject: "/CN=www.example.org" },
    { name: "acmeIdentifier not critical", extensions: [san, proof.replace("critical,", "")], outcome: "invalid" },
    { name: "the identifier of the draft, …30.1", extensions: [san, proof.replace("1.31=", "1.30.1=")], outcome: "invalid" },
    { name: "no acmeIdentifier", extensions: [san], outcome: "invalid" },
    { name: "another digest", extensions: [san, proof.replace(/..$/, (last) => (last === "00" ? "01" : "00"))], outcome: "invalid" },
    { name: "a digest of 31 octets", extensions: [san, proof.replace(/..$/, "").replace("0420", "041f")], outcome: "invalid" },
    { name: "the digest not in an OCTET STRING", extensions: [san, proof.replace("0420", "0c20")], outcome: "invalid" },
    { name: "the address", extensions: ["subjectAltName=IP:2001:db8::1", proof], outcome: "valid", of: address },
    { name: "another address", extensions: ["subjectAltName=IP:2001:db8::2", proof], outcome: "invalid", of: address },
    { name: "the address as a name", extensions: ["subjectAltName=DNS:2001-db8--1", proof], outcome: "invalid", of: address },
    { name: "the name where an address is asked for", extensions: [san, proof], outcome: "invalid", of: address },
  ];

  let directory: string;
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "chancery-alpn-"));
  });
  afterAll(() => rm(directory, { recursive: true, force: true }));

  /** A self-signed certificate by openssl, DER. */
  async function certificate({ extensions, key = "ec:P-256", subject = "/CN=self" }: Partial<(typeof rows)[number]>): Promise<Buffer> {
    const [kind = "", size = ""] = key.split(":");
    const newKey = kind === "rsa" ? ["-newkey", key] : ["-newkey", "ec", "-pkeyopt", `ec_paramgen_curve:${size}`];
    const added = (extensions ?? []).flatMap((extension) => ["-addext", extension]);
    const out = join(directory, "certificate.der");
    const args = [
      "req",
      "-x509",
      "-nodes",
      ...newKey,
      "-subj",
      subject,
      "-days",
      "7",
      "-outform",
      "DER",
      "-out",
      out,
      "-keyout",
      "/dev/null",
    ];
    await promisify(execFile)("openssl", [...args, ...added]);
    return await readFile(out);
  }

  test.for(rows)("$name: $outcome", async ({ outcome, of = asked, ...parts }) => {
    const der = await certificate(parts);
    const verdict = await judged(tlsAlpn01, { tlsAlpn: () => tlsAlpnAnswer(der) }, of);
    expect(verdict).toMatchObject(outcome === "valid" ? { outcome } : unauthorized);
  });

  test.for(["h2", undefined])("a server that agrees to the protocol %s shows nothing", async (protocol) => {
    const der = await certificate({ extensions: [san, proof] });
    const answer = { ...tlsAlpnAnswer(der), answer: { protocol, certificate: der } };
    expect(await judged(tlsAlpn01, { tlsAlpn: () => answer })).toMatchObject(unauthorized);
  });

  test("a signature that is not its own key's: invalid", async () => {
    const der = await certificate({ extensions: [san, proof] });
    const last = der.length - 1;
    der[last] = (der[last] ?? 0) ^ 1;
    expect(await judged(tlsAlpn01, { tlsAlpn: () => tlsAlpnAnswer(der) })).toMatchObject(unauthorized);
  });

  test("any change of an octet before the signature, and any other bytes: invalid, and never an error", async () => {
    const der = await certificate({ extensions: [san, proof] });
    await fc.assert(
      fc.asyncProperty(fc.nat(der.length - 1), fc.integer({ min: 1, max: 255 }), async (at, mask) => {
        const changed = Buffer.from(der);
        changed[at] = (changed[at] ?? 0) ^ mask;
        expect(await judged(tlsAlpn01, { tlsAlpn: () => tlsAlpnAnswer(changed) })).toMatchObject(unauthorized);
      }),
    );
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
        expect(await judged(tlsAlpn01, { tlsAlpn: () => tlsAlpnAnswer(bytes) })).toMatchObject(unauthorized);
      }),
    );
  });
});
