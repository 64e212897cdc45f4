import { Fault } from "../fault.ts";
import { parseAlgorithmIdentifier, type SignatureAlgorithm } from "./algorithm.ts";
import { certListReader, type CertListField } from "./cert-list.ts";
import { readAuthorityKeyIdentifier } from "./certificate-extension.ts";
import type { CrlEntries } from "./crl-entry.ts";
import { readCrlExtensions, readCrlNumber, readIssuingDistributionPoint } from "./crl-extension.ts";
import { bytesOf, type DerValue } from "./der.ts";
import { readBitString, readSmallInteger, readTime } from "./der-field.ts";
import { relativeNames } from "./name.ts";
import { oid } from "./oid.ts";
import { sameBytes } from "./tbs-certificate.ts";

/** A CRL as it is read, piece by piece: its head, its entries in batches, last what stands behind them. */
export type CrlPiece =
  | ({ readonly piece: "head" } & CrlHead)
  | { readonly piece: "entries"; readonly entries: CrlEntries }
  | ({ readonly piece: "tail" } & CrlTail);

/** What a CRL says before its entries. */
export type CrlHead = {
  /** Where the TBSCertList stands in the whole: offset of its first octet, and past its last. */
  readonly tbsStart: number;
  readonly tbsEnd: number;
  readonly signatureAlgorithm: SignatureAlgorithm;
  /** DER Name. */
  readonly issuer: Uint8Array;
  readonly thisUpdate: Date;
  readonly nextUpdate: Date;
};

/** What a CRL says behind its entries. */
export type CrlTail = {
  readonly entryCount: number;
  /** keyIdentifier, and there is nothing else in the extension. */
  readonly authorityKeyIdentifier: Uint8Array;
  readonly number: bigint;
  /** URI of the issuingDistributionPoint, which is critical and has onlyContainsUserCerts; undefined where there is none. */
  readonly distributionPoint: string | undefined;
  readonly signature: Uint8Array;
};

/**
 * Reads a CRL that comes in parts of any size, with memory for one part. Strict: DER, version 2, and no field, extension or CRLReason that a
 * CRL of ours never has. Judges neither signature nor dates, nor whether a serial number occurs twice.
 * @throws Fault `malformed`
 * @see RFC 5280 §5.1
 */
export async function* readCrl(parts: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): AsyncGenerator<CrlPiece, undefined> {
  let pieces: CrlPiece[] = [];
  let tbs = { tbsStart: 0, tbsEnd: 0 };
  let entryCount = 0;
  let headTold = false;
  const fields = new Map<CertListField, DerValue>();
  const tellHead = (): void => {
    if (!headTold) pieces.push({ piece: "head", ...tbs, ...readCrlHead(fields) });
    headTold = true;
  };
  const reader = certListReader("CertificateList", {
    tbsCertList: (tbsStart, tbsEnd) => (tbs = { tbsStart, tbsEnd }),
    field(name, value) {
      if (name === "crlExtensions") tellHead();
      fields.set(name, value);
    },
    revokedCertificates: refuseEmptyList,
    entries(entries) {
      tellHead();
      entryCount += entries.count;
      pieces.push({ piece: "entries", entries });
    },
    irregular: refuseEntry,
  });
  for await (const part of parts) {
    reader.push(part);
    yield* pieces;
    pieces = [];
  }
  reader.end();
  tellHead();
  yield* pieces;
  yield { piece: "tail", entryCount, ...readCrlTail(fields), signature: readSignature(fields) };
}

/** RFC 5280 §5.1.2.6: absent rather than empty. @throws Fault `malformed` */
export function refuseEmptyList(octets: number): void {
  if (octets === 0) throw new Fault("malformed", "revokedCertificates is empty");
}

/** @throws Fault `malformed`, always: says what is known of an entry that is not of our form. */
export function refuseEntry(entry: DerValue): never {
  const serial = Buffer.from(bytesOf(entry)).subarray(0, 64).toString("hex");
  throw new Fault("malformed", `an entry of revokedCertificates is none of ours: ${serial}`);
}

/** The fields before the entries. @throws Fault `malformed` */
export function readCrlHead(fields: ReadonlyMap<CertListField, DerValue>): Omit<CrlHead, "tbsStart" | "tbsEnd"> {
  if (readSmallInteger(fields.get("version"), "version") !== 1) throw new Fault("malformed", "the CRL is not of version 2");
  const issuer = required(fields, "issuer");
  if (relativeNames(issuer).length === 0) throw new Fault("malformed", "issuer is empty");
  return {
    signatureAlgorithm: algorithmOf(required(fields, "signature")),
    issuer: bytesOf(issuer),
    thisUpdate: readTime(fields.get("thisUpdate"), "thisUpdate"),
    nextUpdate: readTime(fields.get("nextUpdate"), "nextUpdate"),
  };
}

/** @throws Fault `malformed` */
function readSignature(fields: ReadonlyMap<CertListField, DerValue>): Uint8Array {
  // RFC 5280 §5.1.1.2
  if (!sameBytes(bytesOf(required(fields, "signatureAlgorithm")), bytesOf(required(fields, "signature")))) {
    throw new Fault("malformed", "signatureAlgorithm is not the signature of the tbsCertList");
  }
  return readBitString(fields.get("signatureValue"), "signatureValue");
}

/** The extensions, of which ours has authorityKeyIdentifier, cRLNumber and perhaps a critical issuingDistributionPoint. @throws Fault `malformed` */
function readCrlTail(
  fields: ReadonlyMap<CertListField, DerValue>,
): Pick<CrlTail, "authorityKeyIdentifier" | "number" | "distributionPoint"> {
  const extensions = readCrlExtensions(required(fields, "crlExtensions"));
  const take = (extnID: string, critical: boolean): DerValue | undefined => {
    const extension = extensions.get(extnID);
    extensions.delete(extnID);
    if (extension && (extension.critical ?? false) !== critical)
      throw new Fault("malformed", `extension ${extnID} is ${critical ? "not " : ""}critical`);
    return extension?.value;
  };
  const authorityKey = take(oid.authorityKeyIdentifier, false);
  const number = take(oid.cRLNumber, false);
  const point = take(oid.issuingDistributionPoint, true);
  const [other] = extensions.keys();
  if (other !== undefined) throw new Fault("malformed", `a CRL of ours has no extension ${other}`);
  return {
    authorityKeyIdentifier: keyIdentifierOf(authorityKey),
    number: readCrlNumber(number),
    distributionPoint: point && uriOf(point),
  };
}

function keyIdentifierOf(value: DerValue | undefined): Uint8Array {
  const { keyIdentifier, certificate } = value === undefined ? {} : readAuthorityKeyIdentifier(value);
  if (keyIdentifier === undefined || certificate) throw new Fault("malformed", "authorityKeyIdentifier is not a keyIdentifier alone");
  return keyIdentifier;
}

function uriOf(value: DerValue): string {
  const { uris, otherNames, onlyContainsUserCerts, otherScopes } = readIssuingDistributionPoint(value);
  const [uri] = uris;
  if (uri === undefined || uris.length > 1 || otherNames > 0) throw new Fault("malformed", "issuingDistributionPoint is not one URI");
  if (!onlyContainsUserCerts || otherScopes.length > 0)
    throw new Fault("malformed", "issuingDistributionPoint is not for user certificates alone");
  return uri;
}

function algorithmOf(value: DerValue): SignatureAlgorithm {
  const algorithm = parseAlgorithmIdentifier(bytesOf(value));
  if (algorithm === undefined) throw new Fault("malformed", "the signature algorithm is not known, or not encoded as it must be");
  return algorithm;
}

function required(fields: ReadonlyMap<CertListField, DerValue>, name: CertListField): DerValue {
  const value = fields.get(name);
  if (value === undefined) throw new Fault("malformed", `${name} is missing`);
  return value;
}
