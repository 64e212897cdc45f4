import { Fault } from "../fault.ts";
import { contentOf, expectTag, readDer, tag, type DerValue } from "./der.ts";
import { asciiText } from "./der-field.ts";
import { implicit, sequence, type Der } from "./der-writer.ts";
import { ipOctets, ipText } from "./ip-address.ts";
import { isAlabel } from "./punycode.ts";

/**
 * A name of a subjectAltName in its canonical text.
 * - `dns`: lower-case LDH labels, A-labels checked, no trailing dot, at most 253 octets; the first label may be `*`
 * - `ip`: dotted quad, or IPv6 as RFC 5952 writes it
 * - `uri`: absolute, of RFC 3986, at most 2048 octets; scheme and host in lower case, the rest as it was given
 */
export type GeneralName = { readonly type: "dns" | "ip" | "uri"; readonly value: string };

/**
 * DER GeneralNames, in the order given.
 * @throws Fault `malformed` for a name that is not canonical and for an empty list.
 * @see RFC 5280 §4.2.1.6
 */
export function encodeSubjectAltName(names: readonly GeneralName[]): Der {
  if (names.length === 0) throw new Fault("malformed", "subjectAltName is empty");
  return sequence(...names.map(encodeGeneralName));
}

/**
 * The names of a DER GeneralNames, made canonical.
 * @throws Fault `malformed` for an empty list, for a name of another type (naming it) and for a value that its type does not allow.
 */
export function parseSubjectAltName(der: Uint8Array): GeneralName[] {
  return readGeneralNames(readDer(der, "subjectAltName"));
}

/** As `parseSubjectAltName`, of a value that has passed the gate. @throws Fault `malformed` */
export function readGeneralNames(value: DerValue): GeneralName[] {
  const { children } = expectTag(value, tag.sequence, "subjectAltName");
  if (children.length === 0) throw new Fault("malformed", "subjectAltName is empty");
  return children.map(readGeneralName);
}

/** Canonical form of a host name, with or without a leading `*.`; undefined when the text is none. @see RFC 1123 §2.1, RFC 5890 §2.3.1 */
export function canonicalDnsName(text: string): string | undefined {
  const name = text.toLowerCase();
  const host = name.startsWith("*.") ? name.slice(2) : name;
  // toLowerCase() maps KELVIN SIGN to k: only what was ASCII before counts.
  if (text.length > 253 || !/^[\x21-\x7e]+$/.test(text)) return undefined;
  const labels = host.split(".");
  if (!labels.every(isLabel)) return undefined;
  // A last label that is a number would be read as an IPv4 address (WHATWG URL §3.5).
  return /^(\d+|0x[0-9a-f]*)$/.test(labels.at(-1) ?? "") ? undefined : name;
}

/** Canonical text of an IPv4 or IPv6 address; undefined when the text is none. @see RFC 5952 §4 */
export function canonicalIpAddress(text: string): string | undefined {
  const octets = ipOctets(text);
  return octets && ipText(octets);
}

/** What is wrong with a URI: it is relative, its syntax is not that of RFC 3986, or its host is none. `detail` follows the URI in a sentence. */
export type UriFlaw = { readonly in: "scheme" | "syntax" | "host"; readonly detail: string };

/**
 * Canonical form of an absolute URI: scheme and host in lower case (RFC 3986 §6.2.2.1), an IPv6 host as RFC 5952 writes it, the rest as it
 * stands. Behind `//` comes a fully qualified domain name or an IP address, with a port if wished; user information is not taken.
 * @see RFC 5280 §4.2.1.6, RFC 3986 §3
 */
export function canonicalUri(text: string): string | UriFlaw {
  if (text.length > 2048) return { in: "syntax", detail: `has ${text.length} characters, more than 2048` };
  const [, scheme, authority, path = "", rest = ""] = uriParts.exec(text) ?? [];
  if (scheme === undefined) return { in: "scheme", detail: "has no scheme" };
  if (!/^(?:[a-z0-9\-._~!$&'()*+,;=:@/?]|%[0-9a-f]{2})*$/i.test(path + rest.replace("#", ""))) {
    return { in: "syntax", detail: "holds what RFC 3986 does not allow in a path, query or fragment" };
  }
  if (authority === undefined) return pathAlone(scheme, path, rest);
  const host = hostAndPort(authority);
  if (host !== undefined) return `${scheme.toLowerCase()}://${host}${path}${rest}`;
  return { in: "host", detail: `needs a fully qualified domain name or an IP address as its host, where ${shown(authority)} stands` };
}

/** Key under which names of one domain lie side by side: the labels of a dns name in reverse; the value of others. */
export function reversedName(name: GeneralName): string {
  return name.type === "dns" ? name.value.split(".").toReversed().join(".") : name.value;
}

const sanTags = { dns: 2, uri: 6, ip: 7 } as const;

function encodeGeneralName(name: GeneralName): Der {
  if (canonical(name.type, name.value) !== name.value)
    throw new Fault("malformed", `${shown(name.value)} is no canonical ${name.type} name`);
  const content = name.type === "ip" ? ipOctets(name.value) : new TextEncoder().encode(name.value);
  return implicit(sanTags[name.type], content ?? new Uint8Array());
}

function canonical(type: GeneralName["type"], value: string): string | undefined {
  if (type === "dns") return canonicalDnsName(value);
  if (type === "ip") return canonicalIpAddress(value);
  const uri = canonicalUri(value);
  return typeof uri === "string" ? uri : undefined;
}

function readGeneralName(value: DerValue): GeneralName {
  const content = contentOf(value);
  switch (value.tag) {
    case 0x82: {
      const text = asciiText(content, "dNSName");
      const name = canonicalDnsName(text);
      if (name === undefined) throw new Fault("malformed", `the dNSName ${shown(text)} is no host name`);
      return { type: "dns", value: name };
    }
    case 0x86: {
      const text = asciiText(content, "uniformResourceIdentifier");
      const uri = canonicalUri(text);
      if (typeof uri !== "string") throw new Fault("malformed", `the uniformResourceIdentifier ${shown(text)} ${uri.detail}`);
      return { type: "uri", value: uri };
    }
    case 0x87: {
      const text = ipText(content);
      if (text === undefined) throw new Fault("malformed", `an iPAddress has ${content.length} octets; 4 and 16 are possible`);
      return { type: "ip", value: text };
    }
    default:
      throw new Fault(
        "malformed",
        `subjectAltName has a name of type ${otherTypes.get(value.tag) ?? "that does not exist"}, which is not accepted`,
      );
  }
}

const otherTypes: ReadonlyMap<number, string> = new Map([
  [0xa0, "otherName"],
  [0x81, "rfc822Name"],
  [0xa3, "x400Address"],
  [0xa4, "directoryName"],
  [0xa5, "ediPartyName"],
  [0x88, "registeredID"],
]);

function isLabel(label: string): boolean {
  if (!/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(label)) return false;
  // RFC 5890 §2.3.1: "--" in the third and fourth place is reserved; of those only A-labels are host names.
  return label.slice(2, 4) !== "--" || isAlabel(label);
}

// RFC 3986 Appendix B, with the scheme's own syntax (§3.1): scheme, authority, path, then query and fragment with their marks.
const uriParts = /^([a-z][a-z0-9+.-]*):(?:\/\/([^/?#]*))?([^?#]*)(.*)$/is;

function pathAlone(scheme: string, path: string, rest: string): string | UriFlaw {
  if (path === "") return { in: "syntax", detail: "has nothing behind its scheme" };
  // RFC 3986 §3.3 knows such paths; verifiers take them for URIs with an authority whose host is empty (docs/CONFORMANCE.md).
  if (path.startsWith("/")) return { in: "host", detail: "has a path that begins with a slash, and no host" };
  return `${scheme.toLowerCase()}:${path}${rest}`;
}

// RFC 3986 §3.2, without userinfo: it names no one, and may hold a password (§7.5).
function hostAndPort(authority: string): string | undefined {
  const [, literal, name = "", port] = /^(?:\[([^[\]]*:[^[\]]*)\]|([^:]*))(?::(0|[1-9]\d{0,4}))?$/.exec(authority) ?? [];
  const address = canonicalIpAddress(literal ?? name);
  const host = literal === undefined ? (address ?? fullyQualified(name)) : address && `[${address}]`;
  if (host === undefined || Number(port ?? 0) > 65_535) return undefined;
  return port === undefined ? host : `${host}:${port}`;
}

// One label alone means another host in every network.
function fullyQualified(text: string): string | undefined {
  const name = canonicalDnsName(text);
  return name?.includes(".") && !name.startsWith("*") ? name : undefined;
}

function shown(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
}
