import { hash } from "node:crypto";
import { Fault } from "../fault.ts";
import {
  algorithmIdentifier,
  keyAlgorithm,
  parseAlgorithmIdentifier,
  signatureAlgorithm,
  spkiSha256,
  verifySignature,
  type KeyAlgorithm,
  type SignatureAlgorithm,
  type VerificationKey,
} from "./algorithm.ts";
import {
  encodeAuthorityInfoAccess,
  encodeAuthorityKeyIdentifier,
  encodeBasicConstraints,
  encodeCrlDistributionPoint,
  encodeExtendedKeyUsage,
  encodeExtension,
  encodeKeyUsage,
  readExtensions,
  type ExtensionValues,
} from "./certificate-extension.ts";
import { bytesOf, contextTag, fieldsOf, readDer, type DerValue } from "./der.ts";
import { readBitString, readSmallInteger, readTime, readUnsigned } from "./der-field.ts";
import { bitString, explicit, nullValue, octetString, sequence, smallInteger, time, unsignedInteger, type Der } from "./der-writer.ts";
import { encodeSubjectAltName, type GeneralName } from "./general-name.ts";
import { encodeName, formatName, relativeNames, type Name } from "./name.ts";
import { oid, oidName } from "./oid.ts";
import { keyUsageFor, type Profile } from "./profile.ts";
import { explicitValue, readTbsFields, sameBytes, tbsFieldsOf, type TbsFields } from "./tbs-certificate.ts";
import { hex } from "./hex.ts";

/** What a certificate takes from the authority that issues it. */
export type Issuer = {
  /** DER Name of the authority's own certificate: copied, never encoded again. */
  readonly subject: Uint8Array;
  /** DER SubjectPublicKeyInfo. */
  readonly spki: Uint8Array;
  /** Content of the extension in the authority's own certificate. */
  readonly subjectKeyIdentifier: Uint8Array;
  readonly notAfter: Date;
  readonly algorithm: KeyAlgorithm;
  /** Where its certificate, its OCSP responder and its full CRL are: plain http (RFC 5280 §8 on loops). */
  readonly urls: { readonly caIssuers?: string; readonly ocsp?: string; readonly crl?: string };
};

/** What a certificate takes from its request. */
export type CertificateContent = { readonly subject: Name; readonly names: readonly GeneralName[]; readonly spki: Uint8Array };

/** What is drawn once for each certificate: the serial number as 32 hex digits, and times in whole seconds. */
export type Draw = { readonly serial: string; readonly notBefore: Date; readonly notAfter: Date };

/**
 * DER TBSCertificate: a pure function of its arguments. For the profile `root` the issuer is the root itself.
 * @throws Fault `internal` when the issuer lacks a URL that the profile wants, or for a serial or time that cannot be encoded;
 * `malformed` when a name or the key cannot be.
 * @see RFC 5280 §4.1.2
 */
export function tbsCertificate(issuer: Issuer, profile: Profile, content: CertificateContent, draw: Draw): Uint8Array<ArrayBuffer> {
  return encodeTbs({
    signature: algorithmIdentifier(signatureAlgorithm(issuer.algorithm)),
    issuer: issuer.subject,
    subject: encodeName(content.subject),
    spki: content.spki,
    extensions: explicit(3, sequence(...encodeExtensions(issuer, profile, content))),
    draw,
  });
}

/** notAfter of a certificate that is valid for so many seconds: both ends count (RFC 5280 §4.1.2.5). */
export function notAfterOf(notBefore: Date, lifetimeSeconds: number): Date {
  return new Date(notBefore.getTime() + (lifetimeSeconds - 1) * 1_000);
}

/**
 * Key identifier of a DER SubjectPublicKeyInfo: SHA-1 of the subjectPublicKey's octets, 20 bytes.
 * @throws Fault `malformed`
 * @see RFC 5280 §4.2.1.2 (1)
 */
export function keyIdentifier(spki: Uint8Array): Uint8Array<ArrayBuffer> {
  return keyHash("sha1", spki);
}

/**
 * Hash of the subjectPublicKey's octets of a DER SubjectPublicKeyInfo, without tag, length and unused bits: OCSP's issuerKeyHash.
 * @throws Fault `malformed`
 * @see RFC 6960 §4.1.1
 */
export function keyHash(algorithm: "sha1" | "sha256", spki: Uint8Array): Uint8Array<ArrayBuffer> {
  const fields = fieldsOf(readDer(spki, "SubjectPublicKeyInfo"), "SubjectPublicKeyInfo");
  fields.next("algorithm");
  return hash(algorithm, readBitString(fields.next("subjectPublicKey"), "subjectPublicKey"), "buffer");
}

/** The same TBSCertificate under a new serial number and new times; every other octet as it was. @throws Fault `malformed`, `internal` */
export function reissuedTbs(tbs: Uint8Array, draw: Draw): Uint8Array<ArrayBuffer> {
  const value = readDer(tbs, "TBSCertificate");
  const fields = tbsFieldsOf(value);
  const extensions = value.children.find((child) => child.tag === contextTag(3, "constructed"));
  return encodeTbs({
    signature: bytesOf(fields.signature),
    issuer: bytesOf(fields.issuer),
    subject: bytesOf(fields.subject),
    spki: bytesOf(fields.subjectPublicKeyInfo),
    extensions: extensions ? bytesOf(extensions) : new Uint8Array(),
    draw,
  });
}

/**
 * DER Certificate of `tbs` and its signature; undefined when the signature does not verify over exactly these bytes under `issuerKey`,
 * or when `tbs` names another algorithm than that key signs with.
 * @throws Fault `malformed` when `tbs` is no TBSCertificate.
 * @see RFC 5280 §4.1.1
 */
export async function sealCertificate(
  tbs: Uint8Array,
  issuerKey: VerificationKey,
  signature: Uint8Array,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const algorithm = signatureAlgorithm(issuerKey.algorithm);
  const identifier = algorithmIdentifier(algorithm);
  // RFC 5280 §4.1.1.2: signatureAlgorithm is tbsCertificate.signature, byte for byte.
  if (!sameBytes(bytesOf(readTbsFields(tbs).signature), identifier)) return undefined;
  if (!(await verifySignature(issuerKey, algorithm, tbs, signature))) return undefined;
  return sequence(tbs, identifier, bitString(signature));
}

/** What a certificate says. Bytes are views of what was parsed. */
export type Certificate = {
  /** The whole certificate; absent when only the bytes to be signed were parsed. */
  readonly der?: Uint8Array;
  /** DER TBSCertificate. */
  readonly tbs: Uint8Array;
  /** Serial number, lower-case hex of its magnitude: 32 digits in ours, up to 40 in others. */
  readonly serial: string;
  readonly signatureAlgorithm: SignatureAlgorithm;
  /** DER Names. */
  readonly issuer: Uint8Array;
  readonly subject: Uint8Array;
  /** The subject as RFC 4514 writes it; "" when it is empty. */
  readonly subjectText: string;
  readonly spki: Uint8Array;
  readonly spkiSha256: string;
  readonly keyAlgorithm: KeyAlgorithm;
  readonly notBefore: Date;
  readonly notAfter: Date;
} & ExtensionValues;

/**
 * What a certificate says. Strict: DER, version 3, algorithms and keys that we know, no extension twice, none that is critical and unknown.
 * Judges neither signature, dates nor policy.
 * @throws Fault `malformed`
 * @see RFC 5280 §4.1
 */
export function parseCertificate(der: Uint8Array): Certificate {
  const fields = fieldsOf(readDer(der, "Certificate"), "Certificate");
  const tbs = fields.next("tbsCertificate");
  const algorithm = fields.next("signatureAlgorithm");
  readBitString(fields.next("signatureValue"), "signatureValue");
  fields.end();
  const tbsFields = tbsFieldsOf(tbs);
  if (!sameBytes(bytesOf(algorithm), bytesOf(tbsFields.signature))) {
    throw new Fault("malformed", "signatureAlgorithm is not the signature of the tbsCertificate");
  }
  return { ...certificateOf(tbsFields, bytesOf(tbs)), der };
}

/** As `parseCertificate`, of the bytes that are to be signed. @throws Fault `malformed` */
export function parseTbsCertificate(tbs: Uint8Array): Certificate {
  return certificateOf(readTbsFields(tbs), tbs);
}

/** What the fields of a TBSCertificate mean. @throws Fault `malformed` */
export function certificateOf(fields: TbsFields, tbs: Uint8Array): Certificate {
  if (fields.version === undefined || readSmallInteger(explicitValue(fields.version, "version"), "version") !== 2) {
    throw new Fault("malformed", "the certificate is not of version 3");
  }
  if (fields.issuerUniqueID || fields.subjectUniqueID) throw new Fault("malformed", "the certificate has a unique identifier");
  const serial = readUnsigned(fields.serialNumber, "serialNumber");
  if (serial.length > 20 || (serial.length === 1 && serial[0] === 0)) {
    throw new Fault("malformed", "serialNumber is not a positive number of at most 20 octets");
  }
  const algorithm = parseAlgorithmIdentifier(bytesOf(fields.signature));
  if (algorithm === undefined) throw new Fault("malformed", "the signature algorithm is not known, or not encoded as it must be");
  requireStrings(fields.subject, "subject");
  if (requireStrings(fields.issuer, "issuer") === 0) throw new Fault("malformed", "issuer is empty");
  const subject = bytesOf(fields.subject);
  const spki = bytesOf(fields.subjectPublicKeyInfo);
  return {
    tbs,
    serial: hex(serial),
    signatureAlgorithm: algorithm,
    issuer: bytesOf(fields.issuer),
    subject,
    subjectText: formatName(subject),
    spki,
    spkiSha256: spkiSha256(spki),
    keyAlgorithm: keyAlgorithm(spki),
    notBefore: readTime(fields.notBefore, "notBefore"),
    notAfter: readTime(fields.notAfter, "notAfter"),
    ...readExtensions(fields.extensions),
  };
}

// RFC 5280 Appendix A.1: an attribute that we could show is a DirectoryString, or for some types a PrintableString or IA5String.
function requireStrings(name: DerValue, what: string): number {
  const attributes = relativeNames(name).flat();
  const other = attributes.find(({ value }) => !nameStrings.has(value.tag));
  if (other !== undefined) throw new Fault("malformed", `the attribute ${oidName(other.oid)} of ${what} is not a string`);
  return attributes.length;
}

// UTF8String, NumericString, PrintableString, TeletexString, IA5String, BMPString
const nameStrings: ReadonlySet<number> = new Set([0x0c, 0x12, 0x13, 0x14, 0x16, 0x1e]);

const version3 = explicit(0, smallInteger(2));

type TbsParts = {
  readonly signature: Uint8Array;
  readonly issuer: Uint8Array;
  readonly subject: Uint8Array;
  readonly spki: Uint8Array;
  readonly extensions: Uint8Array;
  readonly draw: Draw;
};

function encodeTbs({ signature, issuer, subject, spki, extensions, draw }: TbsParts): Uint8Array<ArrayBuffer> {
  if (!/^[0-9a-f]{32}$/.test(draw.serial)) throw new Fault("internal", `${draw.serial} is not a serial number of 32 hex digits`);
  const serialNumber = unsignedInteger(Buffer.from(draw.serial, "hex"));
  const validity = sequence(time(draw.notBefore), time(draw.notAfter));
  return sequence(version3, serialNumber, signature, issuer, validity, subject, spki, extensions);
}

// In the order of RFC 5280 §4.2, always.
function encodeExtensions(issuer: Issuer, profile: Profile, { subject, names, spki }: CertificateContent): Der[] {
  const isCa = profile.kind === "root" || profile.kind === "subordinate";
  const extensions = [encodeExtension(oid.authorityKeyIdentifier, false, encodeAuthorityKeyIdentifier(issuer.subjectKeyIdentifier))];
  if (profile.subjectKeyIdentifier) extensions.push(encodeExtension(oid.subjectKeyIdentifier, false, octetString(keyIdentifier(spki))));
  extensions.push(encodeExtension(oid.keyUsage, true, encodeKeyUsage(keyUsageFor(profile, keyAlgorithm(spki)))));
  // RFC 5280 §4.2.1.6: critical when the subject is empty, and only then.
  if (names.length > 0) extensions.push(encodeExtension(oid.subjectAltName, subject.length === 0, encodeSubjectAltName(names)));
  if (isCa) extensions.push(encodeExtension(oid.basicConstraints, true, encodeBasicConstraints(profile.pathLength)));
  if (profile.extendedKeyUsage.length > 0) {
    extensions.push(encodeExtension(oid.extendedKeyUsage, false, encodeExtendedKeyUsage(profile.extendedKeyUsage)));
  }
  if (profile.crlDistributionPoint) {
    extensions.push(encodeExtension(oid.cRLDistributionPoints, false, encodeCrlDistributionPoint(urlOf(issuer, "crl"))));
  }
  if (profile.authorityInfoAccess.length > 0) {
    const descriptions = profile.authorityInfoAccess.map((method) => ({ method, uri: urlOf(issuer, method) }));
    extensions.push(encodeExtension(oid.authorityInfoAccess, false, encodeAuthorityInfoAccess(descriptions)));
  }
  if (profile.ocspNoCheck) extensions.push(encodeExtension(oid.ocspNoCheck, false, nullValue));
  return extensions;
}

function urlOf(issuer: Issuer, which: keyof Issuer["urls"]): string {
  const url = issuer.urls[which];
  if (url === undefined) throw new Fault("internal", `the issuer has no URL for ${which}, which the profile puts into certificates`);
  return url;
}
