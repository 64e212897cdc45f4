import { createHash, verify, X509Certificate } from "node:crypto";
import type { BaseBlock, Constructed } from "asn1js";
import * as asn1js from "asn1js";
import {
  BasicOCSPResponse,
  Certificate,
  CertificateRevocationList,
  IssuingDistributionPoint,
  OCSPResponse,
  type SingleResponse,
} from "pkijs";

/** What a CRL or an OCSP response says of a certificate. `reason` 0: none. */
export type SaidStatus = { readonly status: "good" } | { readonly status: "revoked"; readonly revokedAt: Date; readonly reason: number };

/** A CRL as pkijs reads it. */
export type SaidCrl = {
  readonly number: bigint;
  readonly thisUpdate: Date;
  readonly nextUpdate: Date;
  /** URL of its issuingDistributionPoint. */
  readonly distributionPoint: string | undefined;
  /** By serial number, lower-case hex without leading zero octets. */
  readonly entries: ReadonlyMap<string, SaidStatus>;
  /** What is not as it must be, in sentences. */
  readonly faults: readonly string[];
};

/** An OCSP response as pkijs reads it: an error has its number in `error`, and nothing else. */
export type SaidOcsp = {
  readonly error: number;
  readonly thisUpdate: Date;
  readonly nextUpdate: Date;
  /** End of the certificate of the responder. */
  readonly responderNotAfter: Date;
  /** By DER of the CertID, hex. */
  readonly statuses: ReadonlyMap<string, SaidStatus>;
  readonly faults: readonly string[];
};

/** An authority as OCSP and CRL know it. */
export type StatusIssuer = {
  readonly der: Uint8Array;
  /** DER of its subject. */
  readonly name: Uint8Array;
  /** Content of its key's BIT STRING: what key hashes are of. */
  readonly keyBits: Uint8Array;
};

export function statusIssuer(der: Uint8Array): StatusIssuer {
  const { subject, subjectPublicKeyInfo } = Certificate.fromBER(der);
  return { der, name: octetsOf(subject.valueBeforeDecode), keyBits: subjectPublicKeyInfo.subjectPublicKey.valueBlock.valueHexView };
}

const sha1 = (bytes: Uint8Array) => createHash("sha1").update(bytes).digest();

/** DER CertID of a serial number, which is hex (RFC 6960 §4.1.1). */
export function certId({ name, keyBits }: StatusIssuer, serial: string, hash: "sha1" | "sha256"): Buffer {
  const digest = (bytes: Uint8Array) => tlv(0x04, createHash(hash).update(bytes).digest());
  const algorithm = hash === "sha1" ? "06052b0e03021a0500" : "06096086480165030402010500";
  const number = Buffer.from(serial, "hex");
  const integer = (number[0] ?? 0) > 0x7f ? Buffer.concat([Buffer.alloc(1), number]) : number;
  return tlv(0x30, tlv(0x30, Buffer.from(algorithm, "hex")), digest(name), digest(keyBits), tlv(0x02, integer));
}

/** DER OCSPRequest for CertIDs, without extensions. */
export function ocspRequest(certIds: readonly Uint8Array[]): Buffer {
  return tlv(0x30, tlv(0x30, tlv(0x30, ...certIds.map((der) => tlv(0x30, der)))));
}

function tlv(tag: number, ...contents: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(contents);
  const { length } = content;
  const head = length < 0x80 ? [tag, length] : length < 0x100 ? [tag, 0x81, length] : [tag, 0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from(head), content]);
}

/** @see RFC 5280 §5 */
export function readSaidCrl(der: Uint8Array, issuer: StatusIssuer): SaidCrl {
  const { result } = asn1js.fromBER(der, { maxNodes: 10_000_000 });
  const crl = new CertificateRevocationList({ schema: result });
  const faults: string[] = [];
  const holds = (condition: boolean, sentence: string) => void (condition || faults.push(sentence));
  holds(octetsOf(crl.issuer.valueBeforeDecode).equals(issuer.name), "its issuer is another");
  holds(isSignedBy(issuer.der, crl.tbsView, crl.signatureValue.valueBlock.valueHexView), "its signature does not verify");
  holds(crl.version === 1, `its version is ${crl.version}`);
  holds(crl.revokedCertificates === undefined || crl.revokedCertificates.length > 0, "revokedCertificates is empty");
  const entries = new Map<string, SaidStatus>();
  let last = "";
  for (const { userCertificate, revocationDate, crlEntryExtensions } of crl.revokedCertificates ?? []) {
    const serial = serialOf(userCertificate);
    holds(serial > last, `the entry ${serial} stands behind ${last}`);
    last = serial;
    const extensions = crlEntryExtensions?.extensions ?? [];
    const [reason] = extensions;
    const code = reason ? enumerated(octetsOf(reason.extnValue.valueBlock.valueHexView)) : 0;
    const usual = extensions.length === 1 && reason?.extnID === "2.5.29.21" && !reason.critical && [1, 3, 4, 5, 9].includes(code);
    holds(extensions.length === 0 || usual, `the entry ${serial} has other extensions than a reason, or reason ${code}`);
    entries.set(serial, { status: "revoked", revokedAt: revocationDate.value, reason: code });
  }
  const known: Record<string, boolean> = { "2.5.29.35": false, "2.5.29.20": false, "2.5.29.28": true };
  const extensions = crl.crlExtensions?.extensions ?? [];
  for (const { extnID, critical } of extensions) holds(known[extnID] === critical, `it has the extension ${extnID}`);
  const valueOf = (oid: string) => extensions.find(({ extnID }) => extnID === oid)?.extnValue.valueBlock.valueHexView;
  const number = valueOf("2.5.29.20");
  const point = valueOf("2.5.29.28");
  holds(extensions.length === (point ? 3 : 2), "it has not exactly CRLNumber, authorityKeyIdentifier and, as a shard, its URL");
  return {
    number: number ? BigInt(`0x${Buffer.from(number).subarray(2).toString("hex")}`) : -1n,
    thisUpdate: crl.thisUpdate.value,
    nextUpdate: crl.nextUpdate?.value ?? new Date(Number.NaN),
    distributionPoint: point && urlOf(IssuingDistributionPoint.fromBER(point), faults),
    entries,
    faults,
  };
}

function urlOf(point: IssuingDistributionPoint, faults: string[]): string {
  const [name, second] = Array.isArray(point.distributionPoint) ? point.distributionPoint : [];
  if (second || name?.type !== 6) faults.push("its issuingDistributionPoint is not one URL");
  if (!point.onlyContainsUserCerts || point.onlyContainsCACerts || point.indirectCRL || (point.onlySomeReasons ?? 0) !== 0)
    faults.push("its scope is another than all certificates of users");
  return String(name?.value);
}

/** @see RFC 6960 §4.2.1 */
export function readSaidOcsp(der: Uint8Array, issuer: StatusIssuer): SaidOcsp {
  const { responseStatus, responseBytes } = OCSPResponse.fromBER(der);
  const never = new Date(Number.NaN);
  const error = responseStatus.valueBlock.valueDec;
  if (!responseBytes) return { error, thisUpdate: never, nextUpdate: never, responderNotAfter: never, statuses: new Map(), faults: [] };
  const { tbsResponseData: data, signature, certs = [] } = BasicOCSPResponse.fromBER(responseBytes.response.valueBlock.valueHexView);
  const faults: string[] = [];
  const holds = (condition: boolean, sentence: string) => void (condition || faults.push(sentence));
  const [responder, another] = certs.filter((each) => each instanceof Certificate);
  holds(responder !== undefined && another === undefined, "it has not one certificate");
  const { thisUpdate = never, nextUpdate = never } = data.responses[0] ?? {};
  if (responder) {
    const certificate = new X509Certificate(new Uint8Array(responder.toSchema().toBER()));
    const bits = responder.subjectPublicKeyInfo.subjectPublicKey.valueBlock.valueHexView;
    const named: BaseBlock = data.responderID;
    holds(certificate.verify(new X509Certificate(issuer.der).publicKey), "its responder was not appointed by the authority itself");
    holds((certificate.keyUsage ?? []).join() === "1.3.6.1.5.5.7.3.9", "its responder is appointed for something else");
    holds(octetsOf(named.valueBeforeDecodeView).subarray(-20).equals(sha1(bits)), "it names another responder's key");
    holds(isSignedBy(certificate.raw, data.tbsView, signature.valueBlock.valueHexView), "its signature does not verify");
    holds(responder.notBefore.value <= thisUpdate, "it is older than its responder's certificate");
  }
  holds(data.responseExtensions === undefined, "it has extensions");
  holds(data.producedAt.getTime() === thisUpdate.getTime(), "producedAt is not thisUpdate");
  const statuses = new Map<string, SaidStatus>();
  for (const single of data.responses) {
    holds(single.singleExtensions === undefined, "it has singleExtensions");
    holds(single.thisUpdate.getTime() === thisUpdate.getTime(), "its certificates have several times");
    holds(single.nextUpdate?.getTime() === nextUpdate.getTime(), "its certificates have several ends, or none");
    const status = statusOf(single);
    holds(status !== undefined, "it says unknown");
    if (status) statuses.set(Buffer.from(single.certID.toSchema().toBER()).toString("hex"), status);
  }
  return { error, thisUpdate, nextUpdate, responderNotAfter: responder?.notAfter.value ?? never, statuses, faults };
}

/** What one answer of a response says; undefined for unknown. good [0], revoked [1] { revocationTime, [0] EXPLICIT CRLReason OPTIONAL }, unknown [2]. */
export function statusOf({ certStatus }: SingleResponse): SaidStatus | undefined {
  const { tagNumber } = (certStatus as BaseBlock).idBlock;
  if (tagNumber !== 1) return tagNumber === 0 ? { status: "good" } : undefined;
  const [time, reason] = (certStatus as Constructed).valueBlock.value;
  if (!(time instanceof asn1js.GeneralizedTime)) return undefined;
  const code = reason instanceof asn1js.Constructed ? reason.valueBlock.value[0] : undefined;
  return { status: "revoked", revokedAt: time.toDate(), reason: code instanceof asn1js.Enumerated ? code.valueBlock.valueDec : 0 };
}

function isSignedBy(certificate: Uint8Array, tbs: Uint8Array, signature: Uint8Array): boolean {
  const { publicKey } = new X509Certificate(certificate);
  // CAB Forum BR 7.1.3.2: the hash is as long as the curve.
  const hash = publicKey.asymmetricKeyDetails?.namedCurve === "secp384r1" ? "sha384" : "sha256";
  return verify(hash, tbs, publicKey, signature);
}

function enumerated(der: Buffer): number {
  return der.length === 3 && der[0] === 0x0a && der[1] === 1 ? (der[2] ?? -1) : -1;
}

function serialOf(integer: asn1js.Integer): string {
  const octets = octetsOf(integer.valueBlock.valueHexView);
  return (octets[0] === 0 && octets.length > 1 ? octets.subarray(1) : octets).toString("hex");
}

/** The same octets as a Buffer. */
export function octetsOf(bytes: ArrayBuffer | Uint8Array): Buffer {
  return bytes instanceof Uint8Array ? Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length) : Buffer.from(bytes);
}
