import { Fault } from "../fault.ts";
import { fits, keyAlgorithm, parseAlgorithmIdentifier, verificationKey, verifySignature } from "./algorithm.ts";
import type { KeyAlgorithm, SignatureAlgorithm, VerificationKey } from "./algorithm.ts";
import { bytesOf, expectTag, fieldsOf, openOctetString, readDer, requireSetOrder, tag, type DerValue } from "./der.ts";
import { readBitString, readNamedBits, readOid, readSmallInteger, readText } from "./der-field.ts";
import { canonicalDnsName, canonicalIpAddress, readGeneralNames, type GeneralName } from "./general-name.ts";
import { keyViolations } from "./key-policy.ts";
import { hasControls, relativeNames } from "./name.ts";
import { oid, oidName } from "./oid.ts";
import { decodeBase64, decodePem } from "./pem.ts";

/** What a certificate may take from a CSR: its key, of which possession is proven, and its names. Nothing else of a CSR is ever used. */
export type Csr = {
  readonly der: Uint8Array<ArrayBuffer>;
  /** DER SubjectPublicKeyInfo. */
  readonly spki: Uint8Array;
  readonly keyAlgorithm: KeyAlgorithm;
  /** The same key, ready to be compared and to verify with. */
  readonly publicKey: VerificationKey;
  /** Those of subjectAltName, each once, in its order; empty when there is none. */
  readonly names: readonly GeneralName[];
  /** Whether it asks for basicConstraints with cA TRUE, which no profile gives to a CSR. */
  readonly asksForAuthority: boolean;
};

/** What becomes of the common names of a CSR's subject. */
export type CommonNames = "listed" | "added";

/** Longest CSR taken, in octets. */
export const maximumCsrOctets = 16_384;

// Cap on names: each costs a row and a check later.
const maximumNames = 100;

/**
 * The key and names of a PKCS#10 request, once its structure, its key and its signature are found good. basicConstraints, keyUsage and
 * extKeyUsage that it asks for are ignored, and so is its subject but for its CNs. Whether an RSA modulus is a prime is not asked here: that
 * is for whoever certifies the key, when nothing else speaks against it.
 * @param commonNames `listed`: each CN must be one of the names in subjectAltName. `added`: a CN that is a DNS name is one of the names,
 *   whether it stands there or not (RFC 8555 §7.4); another one must stand there.
 * @throws Fault `badCSR` with a detail that names what is wrong; `tooLarge` above 16 KiB.
 * @see RFC 2986 §4, RFC 2985 §5.4.2, RFC 6125 §1.5
 */
export async function parseCsr(bytes: Uint8Array, commonNames: CommonNames = "listed"): Promise<Csr> {
  if (bytes.length > maximumCsrOctets)
    throw new Fault("tooLarge", `the CSR has ${bytes.length} octets; at most ${maximumCsrOctets} are taken`);
  // A copy: the caller's buffer may change while the signature is verified.
  const der = new Uint8Array(bytes);
  const { signed, ...request } = asBadCsr(() => readRequest(der, commonNames));
  const { spki } = request;
  const key = asBadCsr(() => verificationKey(spki));
  if (!(await verifySignature(key, signed.algorithm, signed.bytes, signed.signature))) {
    throw new Fault("badCSR", "the signature is not one that this key made over this request");
  }
  return { ...request, der, publicKey: key };
}

/**
 * The DER bytes of a CSR given as text: one PEM block CERTIFICATE REQUEST (or NEW CERTIFICATE REQUEST), or base64, in lines if wished.
 * @throws Fault `badCSR`, `tooLarge`
 * @see RFC 7468 §7
 */
export function csrFromText(text: string): Uint8Array<ArrayBuffer> {
  return asBadCsr(() => {
    // Lines as base64(1) writes them; any other white space is refused with the rest that is not canonical.
    if (!text.includes("-----")) return decodeBase64(text.trim().replaceAll(/(?<=[\w+/])\r?\n(?=[\w+/=])/g, ""));
    const [der, second] = decodePem(text, "CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST");
    if (der === undefined || second !== undefined) throw new Fault("malformed", "there is more than one PEM block CERTIFICATE REQUEST");
    return der;
  });
}

function asBadCsr<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw error instanceof Fault && error.code === "malformed" ? new Fault("badCSR", error.detail, { cause: error }) : error;
  }
}

type Signed = { readonly algorithm: SignatureAlgorithm; readonly bytes: Uint8Array; readonly signature: Uint8Array };
type Request = Omit<Csr, "der" | "publicKey"> & { readonly signed: Signed };

function readRequest(der: Uint8Array, commonNames: CommonNames): Request {
  const request = fieldsOf(readDer(der, "the CSR"), "the CSR");
  const info = request.next("certificationRequestInfo");
  const signatureAlgorithm = request.next("signatureAlgorithm");
  const signature = readBitString(request.next("signature"), "signature");
  request.end();

  const fields = fieldsOf(info, "certificationRequestInfo");
  const version = readSmallInteger(fields.next("version"), "version");
  if (version !== 0) throw new Fault("malformed", `version is ${version}; it must be 0`);
  const subject = readCommonNames(fields.next("subject"));
  const spki = bytesOf(fields.next("subjectPKInfo"));
  const attributes = readAttributes(expectTag(fields.next("attributes"), 0xa0, "attributes"));
  fields.end();

  const broken = keyViolations(spki);
  if (broken.length > 0) throw new Fault("malformed", broken.join("; "));
  const algorithm = keyAlgorithm(spki);
  const requested = requestedExtensions(attributes.get(oid.extensionRequest));
  const subjectAltName = requested.get(oid.subjectAltName);
  const listed = subjectAltName === undefined ? [] : readNames(subjectAltName);
  const names = commonNames === "added" ? withNames(listed, subject) : listed;
  requireAmong(names, subject);
  return {
    spki,
    keyAlgorithm: algorithm,
    names,
    asksForAuthority: isAuthority(requested.get(oid.basicConstraints)),
    signed: { algorithm: readAlgorithm(signatureAlgorithm, algorithm), bytes: bytesOf(info), signature },
  };
}

function readAlgorithm(value: DerValue, key: KeyAlgorithm): SignatureAlgorithm {
  const algorithm = parseAlgorithmIdentifier(bytesOf(value));
  if (algorithm === undefined) {
    const name = oidName(readOid(fieldsOf(value, "signatureAlgorithm").next("algorithm"), "algorithm"));
    throw new Fault("malformed", `the signature algorithm ${name} is not accepted, or not with these parameters`);
  }
  if (!fits(algorithm, key)) throw new Fault("malformed", `the signature algorithm ${algorithm} does not fit the key, which is ${key}`);
  return algorithm;
}

// Each attribute type once, with its SET of values (RFC 2986 §4.1): of a type that repeats, libraries read the first or the last.
function readAttributes(value: DerValue): ReadonlyMap<string, DerValue> {
  requireSetOrder(value, "attributes");
  const attributes = new Map<string, DerValue>();
  for (const attribute of value.children) {
    const fields = fieldsOf(attribute, "attribute");
    const type = readOid(fields.next("type"), "type");
    const values = expectTag(fields.next("values"), tag.set, `values of ${oidName(type)}`);
    fields.end();
    if (values.children.length === 0) throw new Fault("malformed", `the attribute ${oidName(type)} has no value`);
    if (attributes.has(type)) throw new Fault("malformed", `the attribute ${oidName(type)} occurs twice`);
    attributes.set(type, values);
  }
  return attributes;
}

// What a CSR may mark critical: subjectAltName is used, the others are read for their form alone and set by the profile.
const understood: ReadonlyMap<string, (value: DerValue) => unknown> = new Map<string, (value: DerValue) => unknown>([
  [oid.subjectAltName, () => undefined],
  [oid.basicConstraints, requireBasicConstraints],
  [oid.keyUsage, (value) => readNamedBits(value, "keyUsage")],
  [oid.extendedKeyUsage, requirePurposes],
  [oid.subjectKeyIdentifier, (value) => expectTag(value, tag.octetString, "subjectKeyIdentifier")],
]);

function isAuthority(basicConstraints: DerValue | undefined): boolean {
  return basicConstraints !== undefined && fieldsOf(basicConstraints, "basicConstraints").flag("cA");
}

function requireBasicConstraints(value: DerValue): void {
  const fields = fieldsOf(value, "basicConstraints");
  fields.flag("cA");
  const pathLength = fields.optional(tag.integer);
  if (pathLength !== undefined) readSmallInteger(pathLength, "pathLenConstraint");
  fields.end();
}

function requirePurposes(value: DerValue): void {
  const { children } = expectTag(value, tag.sequence, "extendedKeyUsage");
  if (children.length === 0) throw new Fault("malformed", "extendedKeyUsage is empty");
  for (const purpose of children) readOid(purpose, "KeyPurposeId");
}

/** The values of the extensions that are asked for: those that are understood opened, the others as OCTET STRINGs. */
function requestedExtensions(values: DerValue | undefined): ReadonlyMap<string, DerValue> {
  if (values === undefined) return new Map();
  const [extensions, second] = values.children;
  if (second !== undefined) throw new Fault("malformed", "the attribute extensionRequest has more than one value");
  const list = expectTag(extensions, tag.sequence, "extensionRequest").children;
  if (list.length === 0) throw new Fault("malformed", "extensionRequest is empty");
  const opened = new Map<string, DerValue>();
  for (const extension of list) {
    const fields = fieldsOf(extension, "an extension");
    const type = readOid(fields.next("extnID"), "extnID");
    const critical = fields.flag("critical");
    const value = fields.next("extnValue");
    fields.end();
    if (opened.has(type)) throw new Fault("malformed", `the extension ${oidName(type)} occurs twice`);
    if (critical && !understood.has(type)) throw new Fault("malformed", `the critical extension ${oidName(type)} is not accepted`);
    // The gate walks the value of what we understand; the rest need only be an OCTET STRING.
    const read = understood.get(type);
    const inner = read === undefined ? expectTag(value, tag.octetString, "extnValue") : openOctetString(value, oidName(type));
    read?.(inner);
    opened.set(type, inner);
  }
  return opened;
}

function readNames(value: DerValue): readonly GeneralName[] {
  const { length } = value.children;
  // Counted before any is read: an A-label alone takes several microseconds.
  if (length > maximumNames) throw new Fault("malformed", `subjectAltName has ${length} names; at most ${maximumNames} are taken`);
  return [...new Map(readGeneralNames(value).map((name) => [`${name.type}:${name.value}`, name])).values()];
}

// X.520 §6.2.2: commonName is a DirectoryString: UTF8String, PrintableString, TeletexString, BMPString.
const directoryStrings: ReadonlySet<number> = new Set([0x0c, 0x13, 0x14, 0x1e]);

function readCommonNames(subject: DerValue): readonly string[] {
  const commonNames = relativeNames(subject).flatMap((rdn) => rdn.filter((attribute) => attribute.oid === oid.commonName));
  return commonNames.map(({ value }) => {
    if (!directoryStrings.has(value.tag)) throw new Fault("malformed", "the CN is not a DirectoryString");
    const text = readText(value, "the CN");
    if (hasControls(text)) throw new Fault("malformed", "the CN holds a control character");
    if ([...text].length > 64) throw new Fault("malformed", "the CN has more than 64 characters");
    return text;
  });
}

/** The names, and those CNs that are DNS names and not among them. */
function withNames(names: readonly GeneralName[], commonNames: readonly string[]): readonly GeneralName[] {
  const more = commonNames.flatMap((text) => canonicalDnsName(text) ?? []).filter((value) => !names.some((name) => name.value === value));
  return [...names, ...[...new Set(more)].map((value): GeneralName => ({ type: "dns", value }))];
}

function requireAmong(names: readonly GeneralName[], commonNames: readonly string[]): void {
  const values = new Set(names.map((name) => name.value));
  for (const text of commonNames) {
    if (values.has(canonicalDnsName(text) ?? canonicalIpAddress(text) ?? text)) continue;
    throw new Fault("malformed", `the CN ${JSON.stringify(text)} is not in subjectAltName: ask for every name there, or leave the CN out`);
  }
}
