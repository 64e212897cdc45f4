import { Fault } from "../fault.ts";
import { contextTag, fieldsOf, openOctetString, readDer, tag, type DerValue } from "./der.ts";
import { readOid } from "./der-field.ts";

/** One extension as it stands in the bytes. */
export type Extension = {
  /** extnID, dotted decimal. */
  readonly oid: string;
  /** The BOOLEAN as encoded; undefined when it is absent, which means FALSE. */
  readonly critical: boolean | undefined;
  /** The one value inside extnValue. */
  readonly value: DerValue;
};

/** The fields of a TBSCertificate, taken apart and not yet judged. All are views of the bytes they were read from. */
export type TbsFields = {
  readonly version: DerValue | undefined;
  readonly serialNumber: DerValue;
  readonly signature: DerValue;
  readonly issuer: DerValue;
  readonly notBefore: DerValue;
  readonly notAfter: DerValue;
  readonly subject: DerValue;
  readonly subjectPublicKeyInfo: DerValue;
  readonly issuerUniqueID: DerValue | undefined;
  readonly subjectUniqueID: DerValue | undefined;
  readonly extensions: readonly Extension[];
};

/**
 * Takes a TBSCertificate apart: DER and structure are checked to the leaves, what stands inside the extensions included; meaning is not.
 * @throws Fault `malformed`
 * @see RFC 5280 §4.1
 */
export function readTbsFields(tbs: Uint8Array): TbsFields {
  return tbsFieldsOf(readDer(tbs, "TBSCertificate"));
}

/** The same for a TBSCertificate that stands inside a document already read. @throws Fault `malformed` */
export function tbsFieldsOf(value: DerValue): TbsFields {
  const fields = fieldsOf(value, "TBSCertificate");
  const version = fields.optional(contextTag(0, "constructed"));
  const serialNumber = fields.next("serialNumber");
  const signature = fields.next("signature");
  const issuer = fields.next("issuer");
  const validity = fieldsOf(fields.next("validity"), "validity");
  const notBefore = validity.next("notBefore");
  const notAfter = validity.next("notAfter");
  validity.end();
  const subject = fields.next("subject");
  const subjectPublicKeyInfo = fields.next("subjectPublicKeyInfo");
  const issuerUniqueID = fields.optional(contextTag(1, "primitive"));
  const subjectUniqueID = fields.optional(contextTag(2, "primitive"));
  const extensions = readExtensions(fields.optional(contextTag(3, "constructed")));
  fields.end();
  const names = { issuer, subject, issuerUniqueID, subjectUniqueID };
  return { version, serialNumber, signature, ...names, notBefore, notAfter, subjectPublicKeyInfo, extensions };
}

/** The one value inside an explicitly tagged field. @throws Fault `malformed` */
export function explicitValue(value: DerValue, what: string): DerValue {
  const [inner, ...more] = value.children;
  if (inner === undefined || more.length > 0) throw new Fault("malformed", `${what} holds ${value.children.length} values, not one`);
  return inner;
}

/** Whether two values are the same octets. */
export function sameBytes(left: Uint8Array, right: Uint8Array): boolean {
  return Buffer.compare(left, right) === 0;
}

function readExtensions(value: DerValue | undefined): Extension[] {
  if (value === undefined) return [];
  return readExtensionList(explicitValue(value, "extensions"));
}

/** The extensions of an Extensions, in its order, whatever they are. @throws Fault `malformed` */
export function readExtensionList(list: DerValue): Extension[] {
  if (list.tag !== tag.sequence || list.children.length === 0) throw new Fault("malformed", "extensions is not a SEQUENCE of one or more");
  return list.children.map(readExtension);
}

function readExtension(value: DerValue): Extension {
  const fields = fieldsOf(value, "Extension");
  const oid = readOid(fields.next("extnID"), "extnID");
  const critical = fields.optional(tag.boolean);
  const extnValue = openOctetString(fields.next("extnValue"), `the value of extension ${oid}`);
  fields.end();
  return { oid, critical: critical === undefined ? undefined : critical.source[critical.contentStart] === 0xff, value: extnValue };
}
