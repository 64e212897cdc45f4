import { X509Certificate, type KeyObject } from "node:crypto";
import type { Certificate } from "./certificate.ts";
import type { GeneralName } from "./general-name.ts";
import { ipOctets } from "./ip-address.ts";
import { formatName } from "./name.ts";

/** What the second decoder is expected to see beside the plan, made once rather than for each certificate. */
export type Expected = {
  /** Its text of the issuer's name: `secondDecoderName` of the authority's subject. */
  readonly issuer: string;
  /** The public key that the certificate is for. */
  readonly publicKey: KeyObject;
};

/**
 * What a second decoder (OpenSSL, through node:crypto) reads in the sealed certificate otherwise than was planned, one sentence a
 * difference; empty when both say the same.
 */
export function disagreements(der: Uint8Array, plan: Certificate, { issuer, publicKey }: Expected): string[] {
  const found = read(der);
  if (found === undefined) return ["the certificate cannot be read"];
  const planned: Readonly<Record<keyof Facts, string>> = {
    serialNumber: plan.serial,
    issuer,
    subject: secondDecoderName(plan.subject),
    subjectAltName: plan.names.map(openSslGeneralName).join(", "),
    notBefore: plan.notBefore.toISOString(),
    notAfter: plan.notAfter.toISOString(),
    cA: String(plan.isCa),
  };
  const different = facts.filter((what) => planned[what] !== found.facts[what]);
  const told = different.map((what) => `${what} is ${found.facts[what]}, planned was ${planned[what]}`);
  return found.publicKey.equals(publicKey) ? told : [...told, "subjectPublicKeyInfo is another key than was planned"];
}

/** A DER Name as the second decoder shows it: one RDN a line, in encoded order, values escaped as RFC 4514 does. */
export function secondDecoderName(der: Uint8Array): string {
  if (der.length === 2) return "";
  const rdns = formatName(der).match(/(?:\\.|[^\\,])+/gs) ?? [];
  return rdns
    .toReversed()
    .map((rdn) => rdn.replace(/^STREET=/, "street="))
    .join("\n");
}

const facts = ["serialNumber", "issuer", "subject", "subjectAltName", "notBefore", "notAfter", "cA"] as const;
type Facts = Record<(typeof facts)[number], string>;

/** Undefined for what OpenSSL refuses, a public key that is none included. */
function read(der: Uint8Array): { readonly facts: Facts; readonly publicKey: KeyObject } | undefined {
  try {
    const certificate = new X509Certificate(der);
    return {
      facts: {
        serialNumber: certificate.serialNumber.toLowerCase().replace(/^0+(?=.)/, ""),
        issuer: certificate.issuer ?? "",
        subject: certificate.subject ?? "",
        subjectAltName: certificate.subjectAltName ?? "",
        notBefore: certificate.validFromDate.toISOString(),
        notAfter: certificate.validToDate.toISOString(),
        cA: String(certificate.ca),
      },
      publicKey: certificate.publicKey,
    };
  } catch {
    return undefined;
  }
}

function openSslGeneralName({ type, value }: GeneralName): string {
  if (type === "dns") return `DNS:${value}`;
  // Node quotes what could be mistaken for the end of the name; a URI of ours holds no other character that it escapes.
  if (type === "uri") return /[,']/.test(value) ? `URI:"${value.replaceAll(",", "\\u002c")}"` : `URI:${value}`;
  const octets = ipOctets(value) ?? new Uint8Array();
  if (octets.length === 4) return `IP Address:${value}`;
  const groups = Array.from({ length: 8 }, (_, index) => (((octets[2 * index] ?? 0) << 8) | (octets[2 * index + 1] ?? 0)).toString(16));
  return `IP Address:${groups.join(":").toUpperCase()}`;
}
