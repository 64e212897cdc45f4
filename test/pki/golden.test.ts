import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { signatureAlgorithm, signatureVerifier, verificationKey } from "../../src/pki/algorithm.ts";
import { type Certificate, type Issuer, keyIdentifier, parseCertificate } from "../../src/pki/certificate.ts";
import { bytesOf, contentOf, type DerValue, readDer } from "../../src/pki/der.ts";
import { readBitString, readOid } from "../../src/pki/der-field.ts";
import { crlLinter } from "../../src/pki/lint-crl.ts";
import { lintResponseData } from "../../src/pki/lint-ocsp.ts";
import { type CertStatus, ocspError, parseOcspRequest } from "../../src/pki/ocsp.ts";
import { decodePem } from "../../src/pki/pem.ts";
import { type CrlPiece, readCrl } from "../../src/pki/read-crl.ts";
import { readResponseData } from "../../src/pki/response-data.ts";
import { readSaidCrl, readSaidOcsp, statusIssuer } from "../support/status-bytes.ts";

const directory = join(import.meta.dirname, "../vectors/golden/0.1.0");
const file = (name: string): string => join(directory, name);
const bytes = (name: string): Buffer => readFileSync(file(name));
const certificate = (name: string): Certificate => parseCertificate(pem(name));
const pem = (name: string): Uint8Array => decodePem(readFileSync(file(name), "utf8"), "CERTIFICATE")[0] ?? new Uint8Array();
const authority = (name: string): Issuer => {
  const { subject, spki, subjectKeyIdentifier = keyIdentifier(spki), notAfter } = certificate(name);
  return { subject, spki, subjectKeyIdentifier, notAfter, algorithm: verificationKey(spki).algorithm, urls: {} };
};

/** A time at which all of them were current. */
const attime = ["-attime", String(Date.parse("2026-11-24T18:00:00Z") / 1000)];
const openssl = async (...args: string[]) => {
  const { stdout, stderr } = await promisify(execFile)("openssl", args);
  return `${stdout}${stderr}`;
};

const [good, keyCompromise, superseded, unspecified, privilegeWithdrawn] = [
  "404653b62edae4d40adf743a6a21dc2a",
  "76fad54266a4e1cba63a3031f1ef0a6d",
  "6924823ea289dba87cd359b92b8e7d58",
  "50e2e92f3a5bcddcf64d211b58323d15",
  "774e4bef08f37654a68f56583586bd71",
];

const entries = [
  { serial: unspecified, revokedAt: new Date("2026-11-24T17:26:18Z"), reason: 0 },
  { serial: superseded, revokedAt: new Date("2026-11-24T17:26:17Z"), reason: 4 },
  { serial: keyCompromise, revokedAt: new Date("2026-11-24T17:26:16Z"), reason: 1 },
  { serial: privilegeWithdrawn, revokedAt: new Date("2026-11-24T17:26:19Z"), reason: 9 },
];

describe("CRLs that 0.1.0 published (XN-9)", () => {
  const day = { thisUpdate: new Date("2026-11-24T17:26:21Z"), nextUpdate: new Date("2026-11-25T17:26:21Z"), number: 1_795_541_181_000n };
  const halfYear = {
    thisUpdate: new Date("2026-11-24T17:26:13Z"),
    nextUpdate: new Date("2027-05-23T17:26:13Z"),
    number: 1_795_541_173_000n,
  };
  test.for([
    { name: "full.crl", issuer: "issuing.pem", ...day, url: undefined, entries },
    { name: "shard.crl", issuer: "issuing.pem", ...day, url: "http://localhost:9080/crl/issuing-1/0.crl", entries: entries.slice(0, 2) },
    { name: "root.crl", issuer: "root.pem", ...halfYear, url: undefined, entries: [] },
  ])("$name is read and verified", async ({ name, issuer, thisUpdate, nextUpdate, number, url, entries: expected }) => {
    const der = bytes(name);
    const by = certificate(issuer);
    const pieces: CrlPiece[] = [];
    for await (const piece of readCrl([der])) pieces.push(piece);
    const [head, tail] = [pieces[0], pieces.at(-1)];
    if (head?.piece !== "head" || tail?.piece !== "tail") throw new Error("it was not read from head to tail");
    expect(head).toMatchObject({ thisUpdate, nextUpdate });
    expect(Buffer.from(head.issuer)).toEqual(Buffer.from(by.subject));
    expect([tail.number, tail.distributionPoint, tail.entryCount]).toEqual([number, url, expected.length]);

    const verifier = signatureVerifier(verificationKey(by.spki), head.signatureAlgorithm);
    const tbs = der.subarray(head.tbsStart, head.tbsEnd);
    verifier.update(tbs);
    expect(verifier.verify(tail.signature)).toBe(true);
    const linter = crlLinter({
      issuer: authority(issuer),
      slot: { distributionPoint: url },
      publishedNumber: number - 1n,
      listsAuthorities: issuer === "root.pem",
    });
    linter.push(tbs);
    expect(linter.end()).toEqual([]);

    const said = readSaidCrl(der, statusIssuer(pem(issuer)));
    expect(said).toMatchObject({ number, thisUpdate, nextUpdate, distributionPoint: url, faults: [] });
    const revoked = expected.map(({ serial, revokedAt, reason }) => [serial, { status: "revoked", revokedAt, reason }]);
    expect([...said.entries]).toEqual(revoked);
    expect(await openssl("crl", "-inform", "DER", "-in", file(name), "-CAfile", file(issuer), "-noout", "-text")).toContain("verify OK");
  });
});

/** The parts of a BasicOCSPResponse (RFC 6960 §4.2.1). */
function basicOf(response: Uint8Array): { tbs: Uint8Array; signature: Uint8Array; certificate: Uint8Array } {
  const [, responseBytes] = readDer(response, "OCSPResponse").children;
  const [type, octets] = responseBytes?.children[0]?.children ?? [];
  if (!type || !octets || readOid(type, "responseType") !== "1.3.6.1.5.5.7.48.1.1") throw new Error("no BasicOCSPResponse");
  const [tbs, , signature, certs] = readDer(contentOf(octets), "BasicOCSPResponse").children;
  const responder: DerValue | undefined = certs?.children[0]?.children[0];
  if (!tbs || !signature || !responder) throw new Error("a BasicOCSPResponse without a certificate");
  return { tbs: bytesOf(tbs), signature: readBitString(signature, "signature"), certificate: bytesOf(responder) };
}

const isGood: CertStatus = { status: "good" };
const revoked = (serial: string | undefined): CertStatus => {
  const { revokedAt = new Date(Number.NaN), reason = 0 } = entries.find((entry) => entry.serial === serial) ?? {};
  return { status: "revoked", revokedAt, reason };
};

describe("OCSP responses that 0.1.0 gave (XN-9)", () => {
  const thisUpdate = new Date("2026-11-24T17:26:25Z");
  const nextUpdate = new Date("2026-11-25T17:26:25Z");
  test.for([
    { name: "good", statuses: [[good, isGood]], nonce: undefined },
    { name: "good-sha256", statuses: [[good, isGood]], nonce: undefined },
    { name: "revoked", statuses: [[keyCompromise, revoked(keyCompromise)]], nonce: undefined },
    { name: "revoked-without-reason", statuses: [[unspecified, revoked(unspecified)]], nonce: undefined },
    {
      name: "several",
      statuses: [
        [good, isGood],
        [superseded, revoked(superseded)],
      ],
      nonce: undefined,
    },
    { name: "nonce", statuses: [[good, isGood]], nonce: "041070d51f5b45f5f3e42e9baeb82545cbaf" },
  ] as const)("the response $name is read and verified", async ({ name, statuses, nonce }) => {
    const der = bytes(`${name}.response`);
    const responder = certificate("responder.pem");
    const { tbs, signature, certificate: within } = basicOf(der);
    expect(Buffer.from(within)).toEqual(Buffer.from(pem("responder.pem")));
    const key = verificationKey(responder.spki);
    const verifier = signatureVerifier(key, signatureAlgorithm(key.algorithm));
    verifier.update(tbs);
    expect(verifier.verify(signature)).toBe(true);

    const request = parseOcspRequest(bytes(`${name}.request`));
    const serials = request.entries.map(({ serial }) => serial);
    expect(serials).toEqual(statuses.map(([serial]) => serial));
    const asked = request.entries.map(({ der: certId }, index) => ({ certId, recorded: statuses[index]?.[1] }));
    const issuer = authority("issuing.pem");
    expect(lintResponseData(tbs, { asked, nonce: request.nonce, responder, issuer })).toEqual([]);

    const data = readResponseData(tbs);
    const reasons = statuses.map(([, status]) =>
      status.status === "revoked" ? { ...status, reason: status.reason || undefined } : status,
    );
    expect(data.producedAt).toEqual(thisUpdate);
    expect(data.responses).toMatchObject(reasons.map((status) => ({ status, thisUpdate, nextUpdate })));
    expect([...data.extensions.values()].map((value) => Buffer.from(value).toString("hex"))).toEqual(nonce ? [nonce] : []);

    const said = readSaidOcsp(der, statusIssuer(pem("issuing.pem")));
    expect([...said.statuses.values()]).toEqual(statuses.map(([, status]) => status));
    expect(said.faults).toEqual(nonce ? ["it has extensions"] : []);
    const files = ["-issuer", file("issuing.pem"), "-respin", file(`${name}.response`), "-CAfile", file("root.pem")];
    const numbers = serials.flatMap((serial) => [name === "good-sha256" ? "-sha256" : "-sha1", "-serial", `0x${serial}`]);
    expect(await openssl("ocsp", ...files, ...numbers, "-no_nonce", ...attime)).toContain("Response verify OK");
  });

  test("a serial number that was never assigned: unauthorized, unsigned (RFC 9919 §3.2.3)", () => {
    expect(bytes("unassigned.response").toString("hex")).toBe("30030a0106");
    expect(Buffer.from(ocspError.unauthorized).toString("hex")).toBe("30030a0106");
  });
});
