import { Fault } from "../fault.ts";
import { contentOf, contextTag, expectTag, fieldsOf, tag, type DerValue } from "./der.ts";
import { asciiText, readNamedBits, readOctetString, readOid, readSmallInteger } from "./der-field.ts";
import {
  booleanTrue,
  encode,
  explicit,
  implicit,
  namedBits,
  objectIdentifier,
  octetString,
  sequence,
  smallInteger,
  type Der,
} from "./der-writer.ts";
import { readGeneralNames, type GeneralName } from "./general-name.ts";
import { oid } from "./oid.ts";
import { keyUsageBits, type ExtendedKeyUsage, type KeyUsage } from "./profile.ts";
import { explicitValue, type Extension } from "./tbs-certificate.ts";

/** What the extensions of a certificate say; undefined, empty or false where one is absent. */
export type ExtensionValues = {
  readonly names: readonly GeneralName[];
  readonly isCa: boolean;
  readonly pathLength: number | undefined;
  readonly keyUsage: readonly KeyUsage[] | undefined;
  /** Our names for the purposes we know, dotted decimal for others. */
  readonly extendedKeyUsage: readonly string[] | undefined;
  readonly subjectKeyIdentifier: Uint8Array | undefined;
  readonly authorityKeyIdentifier: Uint8Array | undefined;
  readonly urls: { readonly caIssuers: readonly string[]; readonly ocsp: readonly string[]; readonly crl: readonly string[] };
};

/** Reads all extensions of a certificate. @throws Fault `malformed`, also for one that occurs twice, or that is not understood and must be. */
export function readExtensions(extensions: readonly Extension[]): ExtensionValues {
  const values = new Map<string, DerValue>();
  for (const { oid: extnID, critical, value } of extensions) {
    if (values.has(extnID)) throw new Fault("malformed", `extension ${extnID} occurs twice`);
    if (critical === false) throw new Fault("malformed", `extension ${extnID} encodes its default value FALSE`);
    // A nameConstraints that is not critical is one all the same.
    if ((critical === true || extnID === oid.nameConstraints) && !understood.has(extnID))
      throw new Fault("malformed", `extension ${extnID} is not understood`);
    values.set(extnID, value);
  }
  const read = <T>(extnID: string, reader: (value: DerValue) => T): T | undefined => {
    const value = values.get(extnID);
    return value && reader(value);
  };
  const constraints = read(oid.basicConstraints, readBasicConstraints);
  const access = read(oid.authorityInfoAccess, readAuthorityInfoAccess) ?? [];
  read(oid.ocspNoCheck, (value) => expectTag(value, tag.null, "id-pkix-ocsp-nocheck"));
  const located = (method: string): string[] => access.flatMap((each) => (each.method === method ? (each.uri ?? []) : []));
  return {
    names: read(oid.subjectAltName, readGeneralNames) ?? [],
    isCa: constraints?.cA ?? false,
    pathLength: constraints?.pathLength,
    keyUsage: read(oid.keyUsage, readKeyUsage),
    extendedKeyUsage: read(oid.extendedKeyUsage, readExtendedKeyUsage),
    subjectKeyIdentifier: read(oid.subjectKeyIdentifier, (value) => readOctetString(value, "subjectKeyIdentifier")),
    authorityKeyIdentifier: read(oid.authorityKeyIdentifier, readAuthorityKeyIdentifier)?.keyIdentifier,
    urls: {
      caIssuers: located("caIssuers"),
      ocsp: located("ocsp"),
      crl: (read(oid.cRLDistributionPoints, readCrlDistributionPoints) ?? []).flatMap(({ uris }) => uris),
    },
  };
}

const understood: ReadonlySet<string> = new Set([
  oid.subjectKeyIdentifier,
  oid.keyUsage,
  oid.subjectAltName,
  oid.basicConstraints,
  oid.cRLDistributionPoints,
  oid.authorityKeyIdentifier,
  oid.extendedKeyUsage,
  oid.authorityInfoAccess,
  oid.ocspNoCheck,
]);

/** DER Extension. FALSE is the default of `critical` and never encoded. @see RFC 5280 §4.2 */
export function encodeExtension(extnID: string, critical: boolean, value: Uint8Array): Der {
  return sequence(objectIdentifier(extnID), ...(critical ? [booleanTrue] : []), octetString(value));
}

/** Value of keyUsage. @see RFC 5280 §4.2.1.3 */
export function encodeKeyUsage(usage: readonly KeyUsage[]): Der {
  return namedBits(usage.map((name) => keyUsageBits.indexOf(name)));
}

/** Bits of a keyUsage that are set. @throws Fault `malformed`, also for bits that have no name and for trailing zero bits. */
function readKeyUsage(value: DerValue): KeyUsage[] {
  return readNamedBits(value, "keyUsage").map((bit) => {
    const name = keyUsageBits[bit];
    if (name === undefined) throw new Fault("malformed", `keyUsage has bit ${bit}, which has no name`);
    return name;
  });
}

/** What basicConstraints says. */
type BasicConstraints = { readonly cA: boolean; readonly pathLength: number | undefined };

/** Value of basicConstraints of a CA. @see RFC 5280 §4.2.1.9 */
export function encodeBasicConstraints(pathLength: number | undefined): Der {
  return sequence(booleanTrue, ...(pathLength === undefined ? [] : [smallInteger(pathLength)]));
}

/** What a basicConstraints says. @throws Fault `malformed`, also when cA is encoded as FALSE. */
function readBasicConstraints(value: DerValue): BasicConstraints {
  const fields = fieldsOf(value, "basicConstraints");
  const cA = fields.flag("cA");
  const pathLength = fields.optional(tag.integer);
  fields.end();
  return { cA, pathLength: pathLength && readSmallInteger(pathLength, "pathLenConstraint") };
}

const purposes: Readonly<Record<ExtendedKeyUsage, string>> = {
  serverAuth: oid.serverAuth,
  clientAuth: oid.clientAuth,
  OCSPSigning: oid.ocspSigning,
};
const purposeNames: ReadonlyMap<string, string> = new Map(Object.entries(purposes).map(([name, dotted]) => [dotted, name]));

/** Value of extendedKeyUsage, in the order given. @see RFC 5280 §4.2.1.12 */
export function encodeExtendedKeyUsage(usage: readonly ExtendedKeyUsage[]): Der {
  return sequence(...usage.map((name) => objectIdentifier(purposes[name])));
}

/** Purposes of an extendedKeyUsage, in its order: our names for those we know, dotted decimal for others. @throws Fault `malformed` */
export function readExtendedKeyUsage(value: DerValue): string[] {
  return requireSome(value, "extendedKeyUsage").map((purpose) => {
    const dotted = readOid(purpose, "KeyPurposeId");
    return purposeNames.get(dotted) ?? dotted;
  });
}

/** Value of authorityKeyIdentifier: keyIdentifier and nothing else, so that the chain may change above the key. @see RFC 5280 §4.2.1.1 */
export function encodeAuthorityKeyIdentifier(keyIdentifier: Uint8Array): Der {
  return sequence(implicit(0, keyIdentifier));
}

/** What an authorityKeyIdentifier holds: keyIdentifier, if any, and whether issuer and serial number are there. @throws Fault `malformed` */
export function readAuthorityKeyIdentifier(value: DerValue): { keyIdentifier: Uint8Array | undefined; certificate: boolean } {
  const fields = fieldsOf(value, "authorityKeyIdentifier");
  const keyIdentifier = fields.optional(contextTag(0, "primitive"));
  const issuer = fields.optional(contextTag(1, "constructed"));
  const serial = fields.optional(contextTag(2, "primitive"));
  fields.end();
  return { keyIdentifier: keyIdentifier && contentOf(keyIdentifier), certificate: issuer !== undefined || serial !== undefined };
}

/** Value of cRLDistributionPoints: one point, one URI, no reasons, no cRLIssuer. @see RFC 5280 §4.2.1.13 */
export function encodeCrlDistributionPoint(uri: string): Der {
  return sequence(sequence(explicit(0, encode(contextTag(0, "constructed"), uniformResourceIdentifier(uri)))));
}

/** A DistributionPoint: the URIs of its fullName, the count of its other names, and whether the fields that we never write are there. */
export type DistributionPoint = {
  readonly uris: readonly string[];
  readonly otherNames: number;
  readonly reasons: boolean;
  readonly cRLIssuer: boolean;
};

/** The points of a cRLDistributionPoints. @throws Fault `malformed` */
export function readCrlDistributionPoints(value: DerValue): DistributionPoint[] {
  return requireSome(value, "cRLDistributionPoints").map((point) => {
    const fields = fieldsOf(point, "DistributionPoint");
    const name = fields.optional(contextTag(0, "constructed"));
    const reasons = fields.optional(contextTag(1, "primitive"));
    const cRLIssuer = fields.optional(contextTag(2, "constructed"));
    fields.end();
    const names = name === undefined ? [] : readFullName(explicitValue(name, "distributionPoint"));
    const uris = names.flatMap((each) => (each.tag === relativeName ? [] : (readUri(each) ?? [])));
    return { uris, otherNames: names.length - uris.length, reasons: reasons !== undefined, cRLIssuer: cRLIssuer !== undefined };
  });
}

// nameRelativeToCRLIssuer: a name of another kind than those of fullName.
const relativeName = contextTag(1, "constructed");

function readFullName(value: DerValue): readonly DerValue[] {
  if (value.tag === relativeName) return [value];
  if (value.tag !== contextTag(0, "constructed")) throw new Fault("malformed", "distributionPoint is neither fullName nor relative name");
  return value.children;
}

/** An AccessDescription: its method (our name for those we know, dotted decimal for others) and its URI, if its location is one. */
export type AccessDescription = { readonly method: string; readonly uri: string | undefined };

/** Value of authorityInfoAccess, in the order given. @see RFC 5280 §4.2.2.1 */
export function encodeAuthorityInfoAccess(descriptions: readonly { method: "ocsp" | "caIssuers"; uri: string }[]): Der {
  return sequence(...descriptions.map(({ method, uri }) => sequence(objectIdentifier(oid[method]), uniformResourceIdentifier(uri))));
}

/** The descriptions of an authorityInfoAccess, in its order. @throws Fault `malformed` */
export function readAuthorityInfoAccess(value: DerValue): AccessDescription[] {
  return requireSome(value, "authorityInfoAccess").map((description) => {
    const fields = fieldsOf(description, "AccessDescription");
    const dotted = readOid(fields.next("accessMethod"), "accessMethod");
    const location = fields.next("accessLocation");
    fields.end();
    return { method: dotted === oid.ocsp ? "ocsp" : dotted === oid.caIssuers ? "caIssuers" : dotted, uri: readUri(location) };
  });
}

function uniformResourceIdentifier(uri: string): Der {
  return implicit(6, new TextEncoder().encode(uri));
}

function readUri(value: DerValue): string | undefined {
  if (!generalNames.has(value.tag)) throw new Fault("malformed", "a name is no GeneralName");
  if (value.tag !== contextTag(6, "primitive")) return undefined;
  return asciiText(contentOf(value), "uniformResourceIdentifier");
}

// Identifier octets of GeneralName: otherName, x400Address, directoryName and ediPartyName are constructed (RFC 5280 §4.2.1.6).
const generalNames: ReadonlySet<number> = new Set([
  ...[0, 3, 4, 5].map((number) => contextTag(number, "constructed")),
  ...[1, 2, 6, 7, 8].map((number) => contextTag(number, "primitive")),
]);

// SEQUENCE SIZE (1..MAX) OF
function requireSome(value: DerValue, what: string): readonly DerValue[] {
  if (value.tag !== tag.sequence || value.children.length === 0) throw new Fault("malformed", `${what} is not a SEQUENCE of one or more`);
  return value.children;
}
