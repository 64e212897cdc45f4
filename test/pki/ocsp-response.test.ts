import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { BasicOCSPResponse, OCSPResponse } from "pkijs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { KeyAlgorithm } from "../../src/pki/algorithm.ts";
import { verificationKey } from "../../src/pki/algorithm.ts";
import { keyIdentifier, notAfterOf, sealCertificate, tbsCertificate } from "../../src/pki/certificate.ts";
import { isOcspError, ocspError, parseOcspRequest, sealOcspResponse, tbsResponseData, type CertStatus } from "../../src/pki/ocsp.ts";
import { encodePem } from "../../src/pki/pem.ts";
import { authorityName, issuerOf, profileOf, sealedPlan, signed, softwareKey } from "./authorities.ts";

const run = promisify(execFile);
const thisUpdate = new Date("2026-01-12T08:00:00Z");
const nextUpdate = new Date("2026-01-13T08:00:00Z");
const revokedAt = new Date("2026-01-11T23:59:59Z");

let directory: string;
const file = (name: string): string => join(directory, name);

/** An authority with this kind of key, its own issuer, and a leaf of it; both in files. */
async function writeAuthority(algorithm: KeyAlgorithm): Promise<void> {
  const key = softwareKey(algorithm);
  const content = { subject: authorityName("Example Issuing 1"), names: [], spki: key.spki };
  const notBefore = new Date("2026-01-01T00:00:00Z");
  const draw = { serial: "5a".repeat(16), notBefore, notAfter: notAfterOf(notBefore, 3_000 * 86_400) };
  const tbs = tbsCertificate(issuerOf(key), profileOf("root"), content, draw);
  const authority = await sealCertificate(tbs, verificationKey(key.spki), signed(key, tbs));
  const leaf = await sealedPlan("server", softwareKey("P-256", 2), key);
  if (!authority) throw new Error("the signature does not verify");
  await writeFile(file(`${algorithm}.pem`), encodePem("CERTIFICATE", authority));
  await writeFile(file(`${algorithm}-leaf.pem`), encodePem("CERTIFICATE", leaf.der));
}

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "chancery-ocsp-"));
  for (const algorithm of ["P-256", "P-384", "RSA-2048"] as const) await writeAuthority(algorithm);
});
afterAll(() => rm(directory, { recursive: true, force: true }));

type Asked = { readonly authority: KeyAlgorithm; readonly options: readonly string[]; readonly statuses: readonly CertStatus[] };

/** OpenSSL asks about the leaf; the answer says `statuses`, signed by a delegated P-256 responder of the authority. */
async function answered({ authority, options, statuses }: Asked) {
  await run("openssl", ["ocsp", "-issuer", file(`${authority}.pem`), ...options, "-reqout", file("request")]);
  const { entries, nonce } = parseOcspRequest(await readFile(file("request")));
  const key = softwareKey("P-256", 1);
  const responder = await sealedPlan("ocsp-responder", key, softwareKey(authority));
  const tbs = tbsResponseData({
    responderKeyHash: keyIdentifier(key.spki),
    producedAt: thisUpdate,
    responses: entries.map(({ der }, index) => ({ certId: der, status: statuses[index] ?? { status: "good" }, thisUpdate, nextUpdate })),
    nonce,
  });
  const response = await sealOcspResponse(tbs, verificationKey(key.spki), {
    signature: signed(key, tbs),
    certificates: [responder.der],
  });
  if (!response) throw new Error("the signature does not verify");
  return { response, entries, nonce, responder: responder.der };
}

/** The leaf, as OpenSSL is told of it. */
function aboutLeaf(authority: KeyAlgorithm): readonly string[] {
  return ["-no_nonce", "-cert", file(`${authority}-leaf.pem`)];
}

/** What `openssl ocsp` says of a response, to the request that the options make or to one that it made before. */
async function openssl(response: Uint8Array, authority: KeyAlgorithm, options: readonly string[]) {
  await writeFile(file("response"), response);
  const trust = ["-issuer", file(`${authority}.pem`), "-CAfile", file(`${authority}.pem`), "-attime", String(thisUpdate.getTime() / 1000)];
  // The answer's day is compared with today's: half a century is let pass.
  const tolerance = ["-validity_period", String(50 * 365 * 86_400)];
  const { stdout, stderr } = await run("openssl", ["ocsp", "-respin", file("response"), ...tolerance, ...trust, ...options]);
  return { status: stdout, verified: stderr.includes("Response verify OK") };
}

const reasons = [
  { reason: 0, name: undefined },
  { reason: 1, name: "keyCompromise" },
  { reason: 3, name: "affiliationChanged" },
  { reason: 4, name: "superseded" },
  { reason: 5, name: "cessationOfOperation" },
  // OpenSSL 3.0 knows no name for it.
  { reason: 9, name: "(UNKNOWN)" },
];

describe("OpenSSL verifies what is sealed, and reads it as it was planned (RFC 6960 §4.2.1, XO-10, XO-12)", () => {
  test.for(["P-256", "P-384", "RSA-2048"] as const)("good, by a P-256 responder under a %s authority", async (authority) => {
    const { response } = await answered({ authority, options: aboutLeaf(authority), statuses: [{ status: "good" }] });
    const { status, verified } = await openssl(response, authority, aboutLeaf(authority));
    expect(verified).toBe(true);
    expect(status).toMatch(/-leaf\.pem: good\n\tThis Update: Jan 12 08:00:00 2026 GMT\n\tNext Update: Jan 13 08:00:00 2026 GMT\n$/);
  });

  test.for(reasons)("revoked for the reason $reason, which is $name (RFC 5280 §5.3.1)", async ({ reason, name }) => {
    const options = aboutLeaf("P-256");
    const { response } = await answered({ authority: "P-256", options, statuses: [{ status: "revoked", revokedAt, reason }] });
    const { status, verified } = await openssl(response, "P-256", options);
    expect(verified).toBe(true);
    expect(status).toContain("-leaf.pem: revoked\n");
    expect(status).toContain("Revocation Time: Jan 11 23:59:59 2026 GMT\n");
    expect(/Reason: (.*)/.exec(status)?.[1]).toBe(name);
  });

  test("three certificates with hashes of two kinds, each with its own status", async () => {
    const options = ["-no_nonce", "-serial", "0x05", "-sha256", "-serial", "0x9a080f161d242b323940474e555c6304", "-serial", "0x7f"];
    const statuses: CertStatus[] = [{ status: "good" }, { status: "revoked", revokedAt, reason: 1 }, { status: "unknown" }];
    const { response } = await answered({ authority: "P-256", options, statuses });
    const { status, verified } = await openssl(response, "P-256", options);
    expect(verified).toBe(true);
    expect([...status.matchAll(/^0x\w+: (\w+)$/gm)].map(([, word]) => word)).toEqual(["good", "revoked", "unknown"]);
  });

  test("with another nonce than the request's, OpenSSL refuses it; with the request's it does not (RFC 9654 §2.1)", async () => {
    const asked = { authority: "P-256", options: ["-cert", file("P-256-leaf.pem")], statuses: [{ status: "good" }] } as const;
    const before = await answered(asked);
    const now = await answered(asked);
    expect(await openssl(now.response, "P-256", ["-reqin", file("request")])).toMatchObject({ verified: true });
    await expect(openssl(before.response, "P-256", ["-reqin", file("request")])).rejects.toMatchObject({
      stderr: expect.stringContaining("Nonce Verify error"),
    });
  });
});

describe("pkijs reads what is sealed as it was planned", () => {
  test.for([
    { name: "good", status: { status: "good" } as const, tag: 0 },
    { name: "revoked", status: { status: "revoked", revokedAt, reason: 4 } as const, tag: 1 },
    { name: "unknown", status: { status: "unknown" } as const, tag: 2 },
  ])("$name, with a nonce", async ({ status, tag }) => {
    const options = ["-serial", "0x9a080f161d242b323940474e555c6304", "-nonce"];
    const { response, entries, nonce, responder } = await answered({ authority: "P-256", options, statuses: [status] });
    const { responseStatus, responseBytes } = OCSPResponse.fromBER(response);
    expect(responseStatus.valueBlock.valueDec).toBe(0);
    expect(responseBytes?.responseType).toBe("1.3.6.1.5.5.7.48.1.1");
    const basic = BasicOCSPResponse.fromBER(responseBytes?.response.valueBlock.valueHexView ?? new Uint8Array());
    const { tbsResponseData: data } = basic;
    // The point is the last 65 octets of a P-256 key.
    const point = softwareKey("P-256", 1).spki.subarray(-65);
    expect(Buffer.from(data.responderID.valueBlock.valueHexView)).toEqual(createHash("sha1").update(point).digest());
    expect(data.producedAt).toEqual(thisUpdate);
    const [single] = data.responses;
    expect(Buffer.from(single?.certID.toSchema().toBER() ?? new ArrayBuffer())).toEqual(Buffer.from(entries[0]?.der ?? []));
    expect([single?.thisUpdate, single?.nextUpdate]).toEqual([thisUpdate, nextUpdate]);
    expect(single?.certStatus.idBlock.tagNumber).toBe(tag);
    expect(data.responseExtensions?.map(({ extnID, critical }) => [extnID, critical])).toEqual([["1.3.6.1.5.5.7.48.1.2", false]]);
    expect(Buffer.from(data.responseExtensions?.[0]?.extnValue.valueBlock.valueHexView ?? [])).toEqual(Buffer.from(nonce ?? []));
    expect(basic.certs?.map((one) => Buffer.from(one.toSchema().toBER()))).toEqual([Buffer.from(responder)]);
  });
});

describe("unsigned responses are the five octets of RFC 6960 §4.2.1 (XO-7)", () => {
  test.for([
    { status: "malformedRequest", code: 1 },
    { status: "internalError", code: 2 },
    { status: "tryLater", code: 3 },
    { status: "unauthorized", code: 6 },
  ] as const)("$status", ({ status, code }) => {
    expect([...ocspError[status]]).toEqual([0x30, 0x03, 0x0a, 0x01, code]);
    expect(isOcspError(Uint8Array.from(ocspError[status]))).toBe(true);
  });

  test("a signed response is none of them", async () => {
    const { response } = await answered({ authority: "P-256", options: ["-serial", "0x05"], statuses: [{ status: "good" }] });
    expect(isOcspError(response)).toBe(false);
  });
});

test("a signature that does not verify is not sealed", async () => {
  const key = softwareKey("P-256", 1);
  const plan = { responderKeyHash: keyIdentifier(key.spki), producedAt: thisUpdate, responses: [], nonce: undefined };
  const tbs = tbsResponseData(plan);
  const signature = signed(key, tbs);
  const other = tbsResponseData({ ...plan, producedAt: nextUpdate });
  const seal = (bytes: Uint8Array) => sealOcspResponse(bytes, verificationKey(key.spki), { signature, certificates: [] });
  expect([(await seal(tbs)) === undefined, await seal(other)]).toEqual([false, undefined]);
});

test.for([
  { name: "a fraction of a second", date: new Date("2026-01-12T08:00:00.500Z") },
  { name: "no time", date: new Date(Number.NaN) },
])("times are whole seconds (RFC 9919 §3.2.4): $name is refused", ({ date }) => {
  const plan = { responderKeyHash: new Uint8Array(20), producedAt: date, responses: [], nonce: undefined };
  expect(() => tbsResponseData(plan)).toThrow(expect.objectContaining({ code: "internal" }));
});
