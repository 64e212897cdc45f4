import { Fault } from "../fault.ts";
import { bytesOf, expectTag, fieldsOf, readDer, tag, type DerValue } from "./der.ts";
import { readOid, readText } from "./der-field.ts";
import { ia5String, objectIdentifier, printableString, sequence, setOf, utf8String, type Der } from "./der-writer.ts";
import { oid } from "./oid.ts";
import { hex } from "./hex.ts";

/** One attribute of a distinguished name, under its LDAP descriptor (RFC 4519). */
export type Attribute = {
  readonly type: "DC" | "C" | "ST" | "L" | "postalCode" | "STREET" | "O" | "OU" | "SN" | "GN" | "title" | "serialNumber" | "UID" | "CN";
  readonly value: string;
};

/** A distinguished name with one attribute per RDN, in the order of the encoding (the most general first). */
export type Name = readonly Attribute[];

type AttributeRule = { readonly oid: string; readonly encode: (text: string) => Der; readonly maximum: number; readonly pattern?: RegExp };

// In the order in which we write them. Upper bounds: RFC 5280 Appendix A.1.
const attributes: Readonly<Record<Attribute["type"], AttributeRule>> = {
  DC: { oid: oid.domainComponent, encode: ia5String, maximum: 63, pattern: /^[\x20-\x7e]+$/ },
  C: { oid: oid.countryName, encode: printableString, maximum: 2, pattern: /^[A-Z]{2}$/ },
  ST: { oid: oid.stateOrProvinceName, encode: utf8String, maximum: 128 },
  L: { oid: oid.localityName, encode: utf8String, maximum: 128 },
  postalCode: { oid: oid.postalCode, encode: utf8String, maximum: 40 },
  STREET: { oid: oid.streetAddress, encode: utf8String, maximum: 128 },
  O: { oid: oid.organizationName, encode: utf8String, maximum: 64 },
  SN: { oid: oid.surname, encode: utf8String, maximum: 64 },
  GN: { oid: oid.givenName, encode: utf8String, maximum: 64 },
  title: { oid: oid.title, encode: utf8String, maximum: 64 },
  serialNumber: { oid: oid.serialNumber, encode: printableString, maximum: 64, pattern: /^[A-Za-z0-9 '()+,\-./:=?]+$/ },
  UID: { oid: oid.userId, encode: utf8String, maximum: 256 },
  OU: { oid: oid.organizationalUnitName, encode: utf8String, maximum: 64 },
  CN: { oid: oid.commonName, encode: utf8String, maximum: 64 },
};

const order = Object.keys(attributes);
const typesByOid: ReadonlyMap<string, Attribute["type"]> = new Map(
  Object.entries(attributes).map(([type, rule]) => [rule.oid, type as Attribute["type"]]), // keys of a Record<Attribute["type"], …>
);

/**
 * DER Name: one attribute per RDN, always in the order DC, C, ST, L, postalCode, STREET, O, …, OU, CN, whatever the order given.
 * @throws Fault `malformed` for an empty or too long value, control characters, a character its type lacks, and a repeated type other than DC.
 * @see RFC 5280 §4.1.2.4, Appendix A.1
 */
export function encodeName(name: Name): Der {
  const sorted = name.toSorted((left, right) => order.indexOf(left.type) - order.indexOf(right.type));
  return sequence(
    ...sorted.map((attribute, index) => {
      if (attribute.type !== "DC" && sorted[index - 1]?.type === attribute.type)
        throw new Fault("malformed", `${attribute.type} occurs twice`);
      return setOf(encodeAttribute(attribute));
    }),
  );
}

function encodeAttribute({ type, value }: Attribute): Der {
  const rule = attributes[type];
  const length = [...value].length;
  if (length === 0 || length > rule.maximum)
    throw new Fault("malformed", `${type} has ${length} characters; 1 to ${rule.maximum} are possible`);
  if (hasControls(value) || !value.isWellFormed() || rule.pattern?.test(value) === false)
    throw new Fault("malformed", `${type} holds characters that it may not`);
  return sequence(objectIdentifier(rule.oid), rule.encode(value));
}

/** Whether a text holds control characters (C0, DEL, C1), NUL and line breaks among them: never in a name that people compare by eye. */
export function hasControls(text: string): boolean {
  return /\p{Cc}/u.test(text);
}

/**
 * The attributes of a DER Name.
 * @throws Fault `malformed` for an RDN of several attributes, a type that is not in our table, and values that are not strings.
 */
export function parseName(der: Uint8Array): Name {
  return relativeNames(readDer(der, "Name")).map((attributesOfOne) => {
    const [first, second] = attributesOfOne;
    const type = typesByOid.get(first?.oid ?? "");
    if (first === undefined || second !== undefined) throw new Fault("malformed", "an RDN has several attributes");
    if (type === undefined) throw new Fault("malformed", `the attribute type ${first.oid} is not known`);
    return { type, value: readText(first.value, type) };
  });
}

/** An attribute as it stands: dotted decimal of its type, and its value of whatever type. */
export type RawAttribute = { readonly oid: string; readonly value: DerValue };

/** The RDNs of a Name, each with its attributes, whatever their types. @throws Fault `malformed` when the structure is not a Name. */
export function relativeNames(name: DerValue): readonly (readonly RawAttribute[])[] {
  return expectTag(name, tag.sequence, "Name").children.map((rdn) => {
    const { children } = expectTag(rdn, tag.set, "RelativeDistinguishedName");
    if (children.length === 0) throw new Fault("malformed", "an RDN has no attribute");
    return children.map((attribute) => {
      const fields = fieldsOf(attribute, "AttributeTypeAndValue");
      const type = readOid(fields.next("type"), "type");
      const value = fields.next("value");
      fields.end();
      return { oid: type, value };
    });
  });
}

/**
 * Text of a DER Name, the most specific RDN first; "" for the empty name. Types without a descriptor and values that are not strings are
 * written as dotted decimal and #hex. Control characters are escaped: the text fits on one line of a log.
 * @throws Fault `malformed`
 * @see RFC 4514 §2
 */
export function formatName(der: Uint8Array): string {
  return relativeNames(readDer(der, "Name"))
    .toReversed()
    .map((rdn) => rdn.map(formatAttribute).join("+"))
    .join(",");
}

function formatAttribute({ oid: type, value }: RawAttribute): string {
  const descriptor = typesByOid.get(type);
  if (descriptor === undefined || value.children.length > 0 || !stringTypes.has(value.tag))
    return `${descriptor ?? type}=#${hex(bytesOf(value))}`;
  return `${descriptor}=${escapeValue(readText(value, descriptor))}`;
}

const stringTypes = new Set<number>([tag.utf8String, tag.printableString, tag.ia5String, 0x12, 0x14, 0x1a, 0x1e]);

// RFC 4514 §2.4
function escapeValue(text: string): string {
  return text
    .replace(/["+,;<>\\]/g, "\\$&")
    .replace(/^[ #]| $/g, "\\$&")
    .replace(/\p{Cc}/gu, (character) => hex(new TextEncoder().encode(character)).replace(/../g, "\\$&"));
}
