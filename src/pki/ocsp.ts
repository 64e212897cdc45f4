import { Fault } from "../fault.ts";
import { algorithmIdentifier, signatureAlgorithm, verifySignature, type VerificationKey } from "./algorithm.ts";
import { bytesOf, contentOf, contextTag, expectTag, fieldsOf, openOctetString, readDer, tag, type DerValue } from "./der.ts";
import { readOctetString, readOid, readUnsigned } from "./der-field.ts";
import {
  bitString,
  encode,
  explicit,
  generalizedTime,
  implicit,
  nullValue,
  objectIdentifier,
  octetString,
  sequence,
  type Der,
} from "./der-writer.ts";
import { hex } from "./hex.ts";
import { oid, oidName } from "./oid.ts";
import { sameBytes } from "./tbs-certificate.ts";

/** Which certificate is asked for. Bytes are views of the request. @see RFC 6960 §4.1.1 */
export type CertId = {
  /** DER CertID: the answer repeats it byte for byte, however its algorithm's parameters are written. */
  readonly der: Uint8Array;
  /** undefined for an algorithm that is none of these: no authority of ours is meant. */
  readonly hashAlgorithm: "sha1" | "sha256" | undefined;
  readonly issuerNameHash: Uint8Array;
  readonly issuerKeyHash: Uint8Array;
  /** Lower-case hex of its magnitude, as `Certificate.serial`; undefined when it is not a positive number of at most 20 octets. */
  readonly serial: string | undefined;
};

/** What an OCSP client asks. */
export type OcspRequest = {
  /** 1 to 10, in the request's order. */
  readonly entries: readonly CertId[];
  /** Content of the nonce's extnValue, which is the DER OCTET STRING that holds the nonce: the answer repeats it byte for byte. */
  readonly nonce: Uint8Array | undefined;
};

/** Longest request taken, in octets. */
export const maximumOcspRequestOctets = 2_048;

const maximumEntries = 10;

/**
 * What an OCSPRequest asks. Its signature and requestorName are passed over (RFC 9919 §3.1.2), and so are extensions that are not critical,
 * but for the nonce.
 * @throws Fault `malformed`: not DER, longer than 2 KiB, none or more than 10 certificates, a critical extension that is not understood,
 * a nonce that is not of 1 to 128 octets.
 * @see RFC 6960 §4.1.1; RFC 9654 §2.1
 */
export function parseOcspRequest(der: Uint8Array): OcspRequest {
  if (der.length > maximumOcspRequestOctets)
    throw new Fault("malformed", `the request has ${der.length} octets; at most ${maximumOcspRequestOctets} are taken`);
  const request = fieldsOf(readDer(der, "OCSPRequest"), "OCSPRequest");
  const tbs = request.next("tbsRequest");
  request.optional(contextTag(0, "constructed")); // optionalSignature
  request.end();

  const fields = fieldsOf(tbs, "TBSRequest");
  // The only version is v1, the DEFAULT, which DER leaves out (X.690 §11.5).
  if (fields.optional(contextTag(0, "constructed")))
    throw new Fault("malformed", "version is encoded: v1 is its default, and there is no other");
  fields.optional(contextTag(1, "constructed")); // requestorName
  const requestList = expectTag(fields.next("requestList"), tag.sequence, "requestList").children;
  const extensions = readExtensions(fields.optional(contextTag(2, "constructed")), "requestExtensions", [oid.ocspNonce]);
  fields.end();

  if (requestList.length === 0 || requestList.length > maximumEntries)
    throw new Fault("malformed", `requestList asks for ${requestList.length} certificates; from 1 to ${maximumEntries} are answered`);
  return { entries: requestList.map(readEntry), nonce: readNonce(extensions.get(oid.ocspNonce)) };
}

function readEntry(value: DerValue): CertId {
  const fields = fieldsOf(value, "Request");
  const certId = readCertId(fields.next("reqCert"));
  readExtensions(fields.optional(contextTag(0, "constructed")), "singleRequestExtensions", []);
  fields.end();
  return certId;
}

/** What a CertID says. @throws Fault `malformed` @see RFC 6960 §4.1.1 */
function readCertId(value: DerValue): CertId {
  const fields = fieldsOf(value, "CertID");
  const algorithm = fields.next("hashAlgorithm");
  requireAlgorithm(algorithm);
  const issuerNameHash = readOctetString(fields.next("issuerNameHash"), "issuerNameHash");
  const issuerKeyHash = readOctetString(fields.next("issuerKeyHash"), "issuerKeyHash");
  const serialNumber = expectTag(fields.next("serialNumber"), tag.integer, "serialNumber");
  fields.end();
  return {
    der: bytesOf(value),
    hashAlgorithm: hashAlgorithms.get(hex(bytesOf(algorithm))),
    issuerNameHash,
    issuerKeyHash,
    serial: positiveSerial(serialNumber),
  };
}

function requireAlgorithm(value: DerValue): void {
  const [algorithm, , more] = expectTag(value, tag.sequence, "hashAlgorithm").children;
  expectTag(algorithm, tag.objectIdentifier, "hashAlgorithm");
  if (more !== undefined) throw new Fault("malformed", "hashAlgorithm has more than parameters behind its OBJECT IDENTIFIER");
}

// RFC 4055 §2.1: parameters are absent or NULL, and both must be accepted.
const hashAlgorithms: ReadonlyMap<string, "sha1" | "sha256"> = new Map(
  (["sha1", "sha256"] as const).flatMap((name) =>
    [[], [nullValue]].map((parameters) => [hex(sequence(objectIdentifier(oid[name]), ...parameters)), name] as const),
  ),
);

function positiveSerial(value: DerValue): string | undefined {
  const negative = (value.source[value.contentStart] ?? 0) >= 0x80;
  const magnitude = negative ? undefined : readUnsigned(value, "serialNumber");
  return magnitude === undefined || magnitude.length > 20 || (magnitude.length === 1 && magnitude[0] === 0) ? undefined : hex(magnitude);
}

/** The extnValues by extnID. @param understood what may be critical. @throws Fault `malformed` */
function readExtensions(value: DerValue | undefined, what: string, understood: readonly string[]): ReadonlyMap<string, DerValue> {
  const values = new Map<string, DerValue>();
  if (value === undefined) return values;
  const [list, second] = value.children;
  if (second !== undefined) throw new Fault("malformed", `${what} holds more than one value`);
  const extensions = expectTag(list, tag.sequence, what).children;
  // RFC 5280 §4.1.2.9: Extensions ::= SEQUENCE SIZE (1..MAX)
  if (extensions.length === 0) throw new Fault("malformed", `${what} is empty`);
  for (const extension of extensions) {
    const fields = fieldsOf(extension, "Extension");
    const type = readOid(fields.next("extnID"), "extnID");
    const critical = fields.flag("critical");
    const extnValue = expectTag(fields.next("extnValue"), tag.octetString, "extnValue");
    fields.end();
    if (values.has(type)) throw new Fault("malformed", `the extension ${oidName(type)} occurs twice`);
    if (critical && !understood.includes(type)) throw new Fault("malformed", `the critical extension ${oidName(type)} is not understood`);
    values.set(type, extnValue);
  }
  return values;
}

function readNonce(extnValue: DerValue | undefined): Uint8Array | undefined {
  if (extnValue === undefined) return undefined;
  const nonce = readOctetString(openOctetString(extnValue, "the nonce"), "the nonce");
  if (nonce.length === 0 || nonce.length > 128) throw new Fault("malformed", `the nonce has ${nonce.length} octets; it must have 1 to 128`);
  return contentOf(extnValue);
}

/** What is said of one certificate. `reason` is a CRLReason (RFC 5280 §5.3.1); 0 is not written. */
export type CertStatus =
  | { readonly status: "good" }
  | { readonly status: "revoked"; readonly revokedAt: Date; readonly reason: number }
  | { readonly status: "unknown" };

/** One answer of a response. Times are whole seconds. */
export type SingleResponse = {
  /** DER CertID as the client sent it. */
  readonly certId: Uint8Array;
  readonly status: CertStatus;
  readonly thisUpdate: Date;
  readonly nextUpdate: Date;
};

/** What a signed response says. */
export type ResponsePlan = {
  /** SHA-1 of the responder's subjectPublicKey, 20 octets: `keyIdentifier` of its SPKI. */
  readonly responderKeyHash: Uint8Array;
  readonly producedAt: Date;
  readonly responses: readonly SingleResponse[];
  /** Content of the request's extnValue. */
  readonly nonce: Uint8Array | undefined;
};

/**
 * DER ResponseData: a pure function of its arguments. The responder is named by its key (RFC 9919 §3.2.2), and the nonce is the only extension.
 * @throws Fault `internal` for times that cannot be encoded.
 * @see RFC 6960 §4.2.1
 */
export function tbsResponseData({ responderKeyHash, producedAt, responses, nonce }: ResponsePlan): Der {
  return sequence(
    explicit(2, octetString(responderKeyHash)),
    generalizedTime(producedAt),
    sequence(...responses.map(encodeSingleResponse)),
    ...(nonce === undefined ? [] : [explicit(1, sequence(sequence(objectIdentifier(oid.ocspNonce), octetString(nonce))))]),
  );
}

function encodeSingleResponse({ certId, status, thisUpdate, nextUpdate }: SingleResponse): Der {
  return sequence(certId, encodeStatus(status), generalizedTime(thisUpdate), explicit(0, generalizedTime(nextUpdate)));
}

const none = new Uint8Array();
const good = implicit(0, none);
const unknown = implicit(2, none);

function encodeStatus(status: CertStatus): Der {
  if (status.status === "good") return good;
  if (status.status === "unknown") return unknown;
  // RevokedInfo is tagged implicitly. Reason 0 stands as little here as in a CRL (RFC 5280 §5.3.1).
  const reason = status.reason === 0 ? [] : [explicit(0, encode(tag.enumerated, Uint8Array.of(status.reason)))];
  return encode(contextTag(1, "constructed"), generalizedTime(status.revokedAt), ...reason);
}

/**
 * DER OCSPResponse of `tbs` and its signature, with the certificates that a client needs to verify it; undefined when the signature does not
 * verify over exactly these bytes under `responderKey`.
 * @param certificates DER, the responder's own first.
 * @see RFC 6960 §4.2.1
 */
export async function sealOcspResponse(
  tbs: Uint8Array,
  responderKey: VerificationKey,
  { signature, certificates }: { readonly signature: Uint8Array; readonly certificates: readonly Uint8Array[] },
): Promise<Der | undefined> {
  const algorithm = signatureAlgorithm(responderKey.algorithm);
  if (!(await verifySignature(responderKey, algorithm, tbs, signature))) return undefined;
  const certs = certificates.length === 0 ? [] : [explicit(0, sequence(...certificates))];
  const basic = sequence(tbs, algorithmIdentifier(algorithm), bitString(signature), ...certs);
  return sequence(successful, explicit(0, sequence(objectIdentifier(oid.ocspBasic), octetString(basic))));
}

const successful = Uint8Array.of(tag.enumerated, 1, 0);

/** Unsigned responses, DER OCSPResponse by OCSPResponseStatus. The caller must not change them. @see RFC 6960 §4.2.1 */
export const ocspError = {
  malformedRequest: errorResponse(1),
  internalError: errorResponse(2),
  tryLater: errorResponse(3),
  unauthorized: errorResponse(6),
} as const;

function errorResponse(status: number): Der {
  return sequence(Uint8Array.of(tag.enumerated, 1, status));
}

/** Whether a DER OCSPResponse is one of the unsigned ones. */
export function isOcspError(response: Uint8Array): boolean {
  return Object.values(ocspError).some((error) => sameBytes(error, response));
}
