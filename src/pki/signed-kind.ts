import { Fault } from "../fault.ts";
import { readCrlExtensions, readCrlNumber } from "./crl-extension.ts";
import { certListReader, type CertListField, type CertListReader } from "./cert-list.ts";
import { bytesOf, expectTag, fieldsOf, openOctetString, readDer, readHead, requireSetOrder, tag, type DerValue } from "./der.ts";
import { readNamedBits, readOid, readSmallInteger, readTime, readUnsigned } from "./der-field.ts";
import { parseAlgorithmIdentifier } from "./algorithm.ts";
import { relativeNames } from "./name.ts";
import { oid } from "./oid.ts";
import { readCrlHead, refuseEmptyList, refuseEntry } from "./read-crl.ts";

/** What bytes that are about to be signed are: the structures of RFC 5280, 6960 and 2986, or a text of our own. */
export type SignedKind = "certificate" | "subordinate" | "crl" | "ocsp" | "request" | "text";

/**
 * What the bytes are, or undefined when they are none of these for certain.
 * - `certificate`, `subordinate`: a TBSCertificate of version 3, walked whole, without and with cA TRUE (RFC 5280 §4.1)
 * - `crl`: a TBSCertList of version 2 with nextUpdate and cRLNumber, walked whole, of any size, with nothing in it that ours never have (RFC 5280 §5.1)
 * - `ocsp`: begins as a ResponseData of version 1 (RFC 6960 §4.2.1)
 * - `request`: a CertificationRequestInfo, walked whole (RFC 2986 §4.1)
 * - `text`: printable UTF-8 that does not begin with 0x30
 *
 * A TBSCertificate without keyUsage, with keyCertSign where cA is not TRUE or the other way round, with an extension twice or with one
 * that we never write (Netscape's certificate type and keyUsage's predecessors can make a CA too) is none of them: verifiers differ on it.
 */
export function signedKind(bytes: Uint8Array): SignedKind | undefined {
  if (bytes[0] !== tag.sequence) return isText(bytes) ? "text" : undefined;
  try {
    const [first] = readHead(bytes, "the bytes to be signed", 1);
    if (first?.tag === 0xa0) return certificateKind(bytes);
    if (first?.tag === 0xa1 || first?.tag === 0xa2) return requireResponseData(bytes);
    return readSmallInteger(first, "version") === 0 ? requireRequest(bytes) : requireCertList(bytes);
  } catch (error) {
    if (error instanceof Fault && error.code === "malformed") return undefined;
    throw error;
  }
}

/**
 * The check for `crl` of bytes that come in parts, with memory for one of them: they are one when neither `push` nor `end` throws.
 * Entries and extensions are those that a CRL of ours may have, and no others.
 * @throws Fault `malformed` from both.
 */
export function certListCheck(): CertListReader {
  const fields = new Map<CertListField, DerValue>();
  const reader = certListReader("TBSCertList", {
    field: (name, value) => fields.set(name, value),
    revokedCertificates: refuseEmptyList,
    irregular: refuseEntry,
  });
  return {
    push: reader.push,
    end() {
      reader.end();
      readCrlHead(fields);
      const extensions = readCrlExtensions(fields.get("crlExtensions"));
      readCrlNumber(extensions.get(oid.cRLNumber)?.value);
      requireWritten(extensions.keys(), writtenInCrl);
    },
  };
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function isText(bytes: Uint8Array): boolean {
  try {
    return /^[^\p{C}\p{Zl}\p{Zp}]+$/u.test(utf8.decode(bytes).replaceAll("\n", " "));
  } catch {
    return false;
  }
}

function certificateKind(bytes: Uint8Array): "certificate" | "subordinate" {
  const fields = fieldsOf(readDer(bytes, "TBSCertificate"), "TBSCertificate");
  requireVersion(onlyChild(expectTag(fields.next("version"), 0xa0, "version"), "version"), 2);
  readUnsigned(fields.next("serialNumber"), "serialNumber");
  requireAlgorithm(fields.next("signature"));
  relativeNames(fields.next("issuer"));
  const validity = fieldsOf(fields.next("validity"), "validity");
  readTime(validity.next("notBefore"), "notBefore");
  readTime(validity.next("notAfter"), "notAfter");
  validity.end();
  relativeNames(fields.next("subject"));
  requireSpki(fields.next("subjectPublicKeyInfo"));
  const extensions = expectTag(fields.next("extensions"), 0xa3, "extensions");
  fields.end();
  const values = extensionValues(onlyChild(extensions, "extensions"));
  requireWritten(values.keys(), written);
  return isCa(values) ? "subordinate" : "certificate";
}

/** What our certificates have for extensions. */
const written: ReadonlySet<string> = new Set([
  oid.authorityKeyIdentifier,
  oid.subjectKeyIdentifier,
  oid.keyUsage,
  oid.subjectAltName,
  oid.basicConstraints,
  oid.extendedKeyUsage,
  oid.cRLDistributionPoints,
  oid.authorityInfoAccess,
  oid.ocspNoCheck,
]);

/** What our CRLs have for extensions. */
const writtenInCrl: ReadonlySet<string> = new Set([oid.authorityKeyIdentifier, oid.cRLNumber, oid.issuingDistributionPoint]);

function requireWritten(types: Iterable<string>, ours: ReadonlySet<string>): void {
  const unknown = [...types].find((type) => !ours.has(type));
  if (unknown !== undefined) throw new Fault("malformed", `${unknown} is not an extension of ours`);
}

function extensionValues(list: DerValue): ReadonlyMap<string, DerValue> {
  const values = new Map<string, DerValue>();
  for (const extension of expectTag(list, tag.sequence, "extensions").children) {
    const fields = fieldsOf(extension, "Extension");
    const type = readOid(fields.next("extnID"), "extnID");
    fields.flag("critical");
    const value = expectTag(fields.next("extnValue"), tag.octetString, "extnValue");
    fields.end();
    if (values.has(type)) throw new Fault("malformed", `${type} occurs twice`);
    values.set(type, value);
  }
  return values;
}

function isCa(values: ReadonlyMap<string, DerValue>): boolean {
  const constraints = values.get(oid.basicConstraints);
  let ca = false;
  if (constraints !== undefined) {
    const fields = fieldsOf(openOctetString(constraints, "basicConstraints"), "basicConstraints");
    ca = fields.flag("cA");
    if (ca) fields.optional(tag.integer);
    fields.end();
  }
  // RFC 5280 §4.2.1.3: bit 5 is keyCertSign, bit 6 cRLSign.
  const usage = readNamedBits(openOctetString(values.get(oid.keyUsage), "keyUsage"), "keyUsage");
  if (usage.includes(5) !== ca) throw new Fault("malformed", "keyCertSign and cA do not agree");
  if (usage.includes(6) && !ca) throw new Fault("malformed", "cRLSign without cA TRUE");
  return ca;
}

function requireCertList(bytes: Uint8Array): "crl" {
  const check = certListCheck();
  check.push(bytes);
  check.end();
  return "crl";
}

function requireResponseData(bytes: Uint8Array): "ocsp" {
  const [responder, producedAt, responses] = readHead(bytes, "ResponseData", 3);
  const choice = onlyChild(responder, "responderID");
  if (responder?.tag === 0xa1) relativeNames(choice);
  else expectTag(choice, tag.octetString, "byKey");
  expectTag(producedAt, tag.generalizedTime, "producedAt");
  expectTag(responses, tag.sequence, "responses");
  return "ocsp";
}

function requireRequest(bytes: Uint8Array): "request" {
  const fields = fieldsOf(readDer(bytes, "CertificationRequestInfo"), "CertificationRequestInfo");
  requireVersion(fields.next("version"), 0);
  relativeNames(fields.next("subject"));
  requireSpki(fields.next("subjectPKInfo"));
  requireSetOrder(expectTag(fields.next("attributes"), 0xa0, "attributes"), "attributes");
  fields.end();
  return "request";
}

function requireVersion(value: DerValue | undefined, version: number): void {
  if (readSmallInteger(value, "version") !== version) throw new Fault("malformed", `version is not ${version}`);
}

function requireAlgorithm(value: DerValue | undefined): void {
  if (value === undefined || parseAlgorithmIdentifier(bytesOf(value)) === undefined)
    throw new Fault("malformed", "signature is not an algorithm of ours");
}

function requireSpki(value: DerValue): void {
  const fields = fieldsOf(value, "SubjectPublicKeyInfo");
  expectTag(fields.next("algorithm"), tag.sequence, "algorithm");
  expectTag(fields.next("subjectPublicKey"), tag.bitString, "subjectPublicKey");
  fields.end();
}

function onlyChild(value: DerValue | undefined, what: string): DerValue {
  const [child, second] = value?.children ?? [];
  if (child === undefined || second !== undefined) throw new Fault("malformed", `${what} does not hold exactly one value`);
  return child;
}
