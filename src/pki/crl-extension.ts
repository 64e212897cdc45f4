import { Fault } from "../fault.ts";
import { asciiText, readUnsigned } from "./der-field.ts";
import { contentOf, contextTag, expectTag, fieldsOf, type DerValue } from "./der.ts";
import { encode, explicit, implicit, sequence, unsignedInteger, type Der } from "./der-writer.ts";
import { hex } from "./hex.ts";
import { explicitValue, readExtensionList, type Extension } from "./tbs-certificate.ts";

/**
 * The extensions of crlExtensions, by extnID; the caller may take out what it has read.
 * @throws Fault `malformed`, also for one that occurs twice and for a default that is encoded.
 * @see RFC 5280 §5.1.2.7
 */
export function readCrlExtensions(value: DerValue | undefined): Map<string, Extension> {
  const list = readExtensionList(explicitValue(expectTag(value, contextTag(0, "constructed"), "crlExtensions"), "crlExtensions"));
  const extensions = new Map(list.map((extension) => [extension.oid, extension]));
  if (extensions.size < list.length) throw new Fault("malformed", "an extension occurs twice");
  const encoded = list.find(({ critical }) => critical === false);
  if (encoded !== undefined) throw new Fault("malformed", `extension ${encoded.oid} encodes its default value FALSE`);
  return extensions;
}

/** Value of cRLNumber: at most 20 octets, and not negative. @throws Fault `internal` @see RFC 5280 §5.2.3 */
export function encodeCrlNumber(number: bigint): Der {
  if (number < 0n || number >= 1n << 159n) throw new Fault("internal", `${number} is no CRLNumber`);
  const digits = number.toString(16);
  return unsignedInteger(Buffer.from(digits.padStart(digits.length + (digits.length % 2), "0"), "hex"));
}

/** A cRLNumber. @throws Fault `malformed` when it is negative or has more than 20 octets. */
export function readCrlNumber(value: DerValue | undefined): bigint {
  const magnitude = readUnsigned(value, "cRLNumber");
  // Twenty octets of content: the first bit is the sign.
  if (magnitude.length > 20 || (magnitude.length === 20 && (magnitude[0] ?? 0) >= 0x80))
    throw new Fault("malformed", "cRLNumber has more than 20 octets");
  return BigInt(`0x${hex(magnitude)}`);
}

/** Value of issuingDistributionPoint: one URI as its fullName, and onlyContainsUserCerts. @see RFC 5280 §5.2.5 */
export function encodeIssuingDistributionPoint(uri: string): Der {
  const fullName = encode(contextTag(0, "constructed"), implicit(6, new TextEncoder().encode(uri)));
  return sequence(explicit(0, fullName), implicit(1, Uint8Array.of(0xff)));
}

/** An issuingDistributionPoint: the URIs of its fullName, the count of its other names, and which of its fields are there beside. */
export type IssuingDistributionPoint = {
  readonly uris: readonly string[];
  readonly otherNames: number;
  readonly onlyContainsUserCerts: boolean;
  /** onlyContainsCACerts, onlySomeReasons, indirectCRL or onlyContainsAttributeCerts, which no CRL of ours has. */
  readonly otherScopes: readonly string[];
};

/** What an issuingDistributionPoint says. @throws Fault `malformed`, also when a BOOLEAN encodes its default FALSE. */
export function readIssuingDistributionPoint(value: DerValue): IssuingDistributionPoint {
  const fields = fieldsOf(value, "issuingDistributionPoint");
  const point = fields.optional(contextTag(0, "constructed"));
  const flags = scopes.filter(([name, identifier]) => {
    const field = fields.optional(identifier);
    if (field !== undefined && name !== "onlySomeReasons") requireTrue(field, name);
    return field !== undefined;
  });
  fields.end();
  const names = point === undefined ? [] : fullNameOf(point);
  const uris = names.filter((name) => name.tag === contextTag(6, "primitive")).map((name) => asciiText(contentOf(name), "URI"));
  const given = flags.map(([name]) => name);
  return {
    uris,
    otherNames: names.length - uris.length,
    onlyContainsUserCerts: given.includes("onlyContainsUserCerts"),
    otherScopes: given.filter((name) => name !== "onlyContainsUserCerts"),
  };
}

const scopes = [
  ["onlyContainsUserCerts", contextTag(1, "primitive")],
  ["onlyContainsCACerts", contextTag(2, "primitive")],
  ["onlySomeReasons", contextTag(3, "primitive")],
  ["indirectCRL", contextTag(4, "primitive")],
  ["onlyContainsAttributeCerts", contextTag(5, "primitive")],
] as const;

// The tag is implicit, so the gate does not know that this is a BOOLEAN.
function requireTrue(value: DerValue, what: string): void {
  const [octet, ...more] = contentOf(value);
  if (octet !== 0xff || more.length > 0) throw new Fault("malformed", `${what} is there and not TRUE`);
}

// nameRelativeToCRLIssuer counts as a name of another kind.
function fullNameOf(point: DerValue): readonly DerValue[] {
  const [name, ...more] = point.children;
  if (name === undefined || more.length > 0) throw new Fault("malformed", "distributionPoint does not hold exactly one value");
  if (name.tag === contextTag(1, "constructed")) return [name];
  return expectTag(name, contextTag(0, "constructed"), "fullName").children;
}
