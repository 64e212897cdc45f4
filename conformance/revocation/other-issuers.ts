import { writeFile } from "node:fs/promises";
import { X509Certificate, type KeyObject } from "node:crypto";
import { join } from "node:path";
import { signatureAlgorithm, verificationKey } from "../../src/pki/algorithm.ts";
import { keyIdentifier } from "../../src/pki/certificate.ts";
import { entryOctets, type CrlEntries } from "../../src/pki/crl-entry.ts";
import { crlFrame, tbsCrlParts } from "../../src/pki/crl.ts";
import type { Name } from "../../src/pki/name.ts";
import { parseOcspRequest, sealOcspResponse, tbsResponseData, type CertStatus } from "../../src/pki/ocsp.ts";
import { encodePem } from "../../src/pki/pem.ts";
import { authority, newKey, profile, signature, signed, type Authority } from "../issuers.ts";
import { writeRequest } from "./evidence.ts";
import type { Condition, Method, ToolName } from "./method.ts";
import type { Question, Specimen } from "./tool.ts";

/** What an issuer of one key algorithm signs about two certificates, and the questions about them. */
export type OtherIssuer = {
  readonly algorithm: string;
  readonly questions: readonly Question[];
  /** DER files. */
  readonly crls: readonly string[];
  readonly rootCrls: readonly string[];
  readonly responses: readonly string[];
};

/** The methods by which each tool is given all that it needs: nothing is served here. */
export const givenMethods: Readonly<Record<ToolName, readonly Method[]>> = {
  openssl: ["full CRL", "OCSP GET"],
  gnutls: ["full CRL", "shard CRL", "OCSP batch"],
  java: ["OCSP batch"],
  bouncycastle: ["full CRL", "shard CRL", "OCSP batch"],
  go: ["full CRL", "shard CRL", "OCSP batch"],
  nss: ["full CRL"],
  "rustls-webpki": ["full CRL", "shard CRL"],
  pyhanko: ["OCSP batch"],
  "nginx+curl": ["full CRL", "shard CRL"],
};

const conditions = ["good", "revoked superseded"] as const;
/** CRLReason of superseded. */
const superseded = 4;

/**
 * For each key algorithm that an issuer may have: CRLs and an OCSP response, written by `src/pki` as the service writes them and signed with keys of
 * this process. A running service has one issuer; this covers the others. Files lie below `directory`.
 */
export async function otherIssuers(directory: string): Promise<OtherIssuer[]> {
  const issuers: OtherIssuer[] = [];
  for (const algorithm of Object.keys(newKey)) issuers.push(await otherIssuer(directory, algorithm));
  return issuers;
}

async function otherIssuer(directory: string, algorithm: string): Promise<OtherIssuer> {
  const at = (kind: string): string => join(directory, `${algorithm}-${kind}`);
  const [rootKey, issuingKey, responderKey] = [keyOf(algorithm), keyOf(algorithm), keyOf("P-256")];
  const root = authority(nameOf("Root", algorithm), rootKey, "root-1");
  const issuing = authority(nameOf("Issuing", algorithm), issuingKey, "issuing-1");
  const rootContent = { subject: nameOf("Root", algorithm), names: [], spki: rootKey.spki };
  await writeCertificate(at("root.pem"), await signed(root, profile("root"), rootContent));
  const issuingContent = { subject: nameOf("Issuing", algorithm), names: [], spki: issuingKey.spki };
  await writeCertificate(at("issuing.pem"), await signed(root, profile("subordinate"), issuingContent));
  const responderContent = { subject: nameOf("Responder", algorithm), names: [], spki: responderKey.spki };
  const responder = await signed(issuing, profile("ocsp-responder"), responderContent);
  const revokedAt = new Date(Math.floor(Date.now() / 1000) * 1000);

  const rootCrl = at("root.crl");
  await writeFile(rootCrl, await crlOf(root, { revokedAt }));
  const questions: Question[] = [];
  const crls: string[] = [];
  const responses: string[] = [];
  for (const family of ["full", "shard"] as const) {
    const crl = at(`${family}.crl`);
    const uri = family === "full" ? issuing.issuer.urls.crl : `http://pki.example.org/crl/issuing-1/0.crl`;
    const urls = { ...issuing.issuer.urls, ...(uri === undefined ? {} : { crl: uri }) };
    const specimens = await Promise.all(
      conditions.map((condition) => specimenOf({ ...issuing, issuer: { ...issuing.issuer, urls } }, { at, family, condition })),
    );
    const [, revoked] = specimens;
    const distributionPoint = family === "full" ? undefined : uri;
    await writeFile(crl, await crlOf(issuing, { revokedAt, serial: revoked?.serial, distributionPoint }));
    crls.push(crl);
    const response = at(`${family}.response`);
    await writeFile(response, await responseOf(specimens, { responder, key: responderKey, revokedAt, request: at(`${family}.request`) }));
    responses.push(response);
    const methods: readonly Method[] = family === "full" ? ["full CRL", "OCSP GET", "OCSP batch"] : ["shard CRL"];
    questions.push(
      ...methods.flatMap((method) => specimens.map(({ specimen }): Question => ({ method, specimen, crl, rootCrl, response }))),
    );
  }
  return { algorithm, questions, crls, rootCrls: [rootCrl], responses };
}

type Made = { readonly specimen: Specimen; readonly serial: string };

async function specimenOf(
  issuing: Authority,
  { at, family, condition }: { at: (kind: string) => string; family: string; condition: Condition },
): Promise<Made> {
  const label = `${family}-${condition.replace(" ", "-")}`;
  const key = keyOf("P-256");
  const name = `${at(label).split("/").at(-1)?.toLowerCase() ?? label}.example.org`;
  const der = await signed(issuing, profile("mtls"), { subject: [], names: [{ type: "dns", value: name }], spki: key.spki });
  await writeCertificate(at(`${label}.pem`), der);
  await writeFile(at(`${label}.key`), key.privateKey.export({ type: "pkcs8", format: "pem" }));
  const { crl = "", ocsp = "" } = issuing.issuer.urls;
  const files = { certificate: at(`${label}.pem`), key: at(`${label}.key`), issuer: at("issuing.pem"), root: at("root.pem") };
  const serial = new X509Certificate(der).serialNumber.toLowerCase();
  return { specimen: { condition, ...files, name, crlUrl: crl, ocspUrl: ocsp }, serial };
}

/** A CRL with one entry, or with none. */
async function crlOf(
  signer: Authority,
  { revokedAt, serial, distributionPoint }: { revokedAt: Date; serial?: string | undefined; distributionPoint?: string | undefined },
): Promise<Uint8Array> {
  const source = Buffer.from(serial ?? "", "hex");
  const entries: CrlEntries = {
    count: serial === undefined ? 0 : 1,
    source,
    serialStarts: Uint32Array.of(0),
    serialEnds: Uint32Array.of(source.length),
    revokedAt: Float64Array.of(revokedAt.getTime() / 1000),
    reasons: Uint8Array.of(superseded),
  };
  const nextUpdate = new Date(revokedAt.getTime() + 86_400_000);
  const entriesOctets = serial === undefined ? 0 : entryOctets(source.length, revokedAt, superseded);
  const plan = { number: 1n, thisUpdate: revokedAt, nextUpdate, distributionPoint, entryCount: entries.count, entriesOctets };
  const tbs = Buffer.concat(await Array.fromAsync(tbsCrlParts(signer.issuer, plan, once(entries))));
  const { head, tail } = crlFrame(tbs.length, signatureAlgorithm(signer.issuer.algorithm), signature(signer, tbs));
  return Buffer.concat([head, tbs, tail]);
}

async function* once(entries: CrlEntries): AsyncGenerator<CrlEntries> {
  yield entries;
}

/** The response of a delegated responder about all of them in one. */
async function responseOf(
  made: readonly Made[],
  { responder, key, revokedAt, request }: { responder: Uint8Array; key: ReturnType<typeof keyOf>; revokedAt: Date; request: string },
): Promise<Uint8Array> {
  const asked = await writeRequest(
    request,
    made.map(({ specimen }) => specimen),
  );
  const nextUpdate = new Date(revokedAt.getTime() + 86_400_000);
  const responses = parseOcspRequest(asked).entries.map((certId) => {
    const condition = made.find(({ serial }) => serial === certId.serial)?.specimen.condition;
    const status: CertStatus = condition === "good" ? { status: "good" } : { status: "revoked", revokedAt, reason: superseded };
    return { certId: certId.der, status, thisUpdate: revokedAt, nextUpdate };
  });
  const tbs = tbsResponseData({ responderKeyHash: keyIdentifier(key.spki), producedAt: revokedAt, responses, nonce: undefined });
  const signedBy = { issuer: { algorithm: "P-256" }, privateKey: key.privateKey } as const;
  const sealed = await sealOcspResponse(tbs, verificationKey(key.spki), { signature: signature(signedBy, tbs), certificates: [responder] });
  if (sealed === undefined) throw new Error("the responder's signature does not verify");
  return sealed;
}

function keyOf(algorithm: string): { readonly spki: Uint8Array; readonly privateKey: KeyObject } {
  const generate = newKey[algorithm];
  if (generate === undefined) throw new Error(`no key algorithm ${algorithm}`);
  return generate();
}

function nameOf(name: string, algorithm: string): Name {
  return [
    { type: "C", value: "CH" },
    { type: "O", value: "Example" },
    { type: "CN", value: `Example ${name} ${algorithm}` },
  ];
}

async function writeCertificate(file: string, der: Uint8Array): Promise<void> {
  await writeFile(file, encodePem("CERTIFICATE", der));
}
