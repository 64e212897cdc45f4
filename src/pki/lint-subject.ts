import { Fault } from "../fault.ts";
import { certificateOf, type Certificate, type Issuer } from "./certificate.ts";
import {
  readAuthorityInfoAccess,
  readCrlDistributionPoints,
  readExtendedKeyUsage,
  type AccessDescription,
  type DistributionPoint,
} from "./certificate-extension.ts";
import { bytesOf, contentOf, tag, type DerValue } from "./der.ts";
import { latin1, readOid, readTime } from "./der-field.ts";
import type { GeneralName } from "./general-name.ts";
import { relativeNames, type Name, type RawAttribute } from "./name.ts";
import { oid } from "./oid.ts";
import { keyUsageBits, type KeyUsage, type Profile } from "./profile.ts";
import { readTbsFields, type Extension, type TbsFields } from "./tbs-certificate.ts";
import { hex } from "./hex.ts";

/** What the certificate was meant to be. Rules that need a member which is not given do not apply. */
export type LintContext = {
  readonly profile?: Profile;
  readonly issuer?: Issuer;
  /** The names of the request, in its order. */
  readonly names?: readonly GeneralName[];
  /** The subject that was asked for. */
  readonly subject?: Name;
  /** DER SubjectPublicKeyInfo of the request. */
  readonly spki?: Uint8Array;
};

/** One rule: under zlint's name where zlint has it, else with the prefix `chancery_`. */
export type Rule = {
  readonly name: string;
  readonly severity: "e" | "w" | "n";
  readonly citation: string;
  /** What is wrong, as a sentence with the offending value; undefined when the rule holds or does not apply. May throw Fault `malformed`. */
  readonly check: (subject: LintSubject) => string | undefined;
};

/**
 * A TBSCertificate as the rules see it: taken apart once, each view as tolerant as it can be, so that one broken thing is reported under
 * its own rule and does not hide another.
 */
export type LintSubject = {
  readonly context: LintContext;
  readonly fields: TbsFields;
  /** undefined when the strict parser refuses it; `refusal` then says why. */
  readonly certificate: Certificate | undefined;
  readonly refusal: string | undefined;
  /** By extnID; of one that occurs twice the first. */
  readonly extensions: ReadonlyMap<string, Extension>;
  readonly subjectRdns: readonly (readonly RawAttribute[])[];
  /** GeneralNames of the subjectAltName: identifier octet, content octets, and these as characters of the same number. */
  readonly altNames: readonly AltName[];
  /** Content of keyUsage's BIT STRING, the count of unused bits first. */
  readonly keyUsageOctets: Uint8Array | undefined;
  readonly keyUsage: ReadonlySet<KeyUsage>;
  /** What these extensions say; undefined where one is absent or cannot be read. */
  readonly purposes: readonly string[] | undefined;
  readonly distributionPoints: readonly DistributionPoint[] | undefined;
  readonly accessDescriptions: readonly AccessDescription[] | undefined;
  readonly isCa: boolean;
  /** undefined when notBefore or notAfter is no time. */
  readonly times: { readonly notBefore: Date; readonly notAfter: Date } | undefined;
  readonly keyFamily: "RSA" | "EC" | undefined;
};

/** A GeneralName as it stands. */
export type AltName = { readonly tag: number; readonly octets: Uint8Array; readonly text: string };

/** Identifier octets of the GeneralNames that we issue (RFC 5280 §4.2.1.6). */
export const altNameTags = { dns: 0x82, uri: 0x86, ip: 0x87 } as const;

/** Takes a TBSCertificate apart for the rules. @throws Fault `malformed` when it is not DER or not a TBSCertificate at all. */
export function lintSubject(tbs: Uint8Array, context: LintContext): LintSubject {
  const fields = readTbsFields(tbs);
  const extensions = new Map(fields.extensions.toReversed().map((extension) => [extension.oid, extension]));
  const strict = strictly(() => certificateOf(fields, tbs));
  const read = <T>(extnID: string, reader: (value: DerValue) => T): T | undefined => {
    const value = extensions.get(extnID)?.value;
    return value && tolerantly(() => reader(value));
  };
  const keyUsageOctets = bitStringOctets(extensions.get(oid.keyUsage)?.value);
  return {
    context,
    fields,
    ...strict,
    extensions,
    subjectRdns: tolerantly(() => relativeNames(fields.subject)) ?? [],
    altNames: (extensions.get(oid.subjectAltName)?.value.children ?? []).map(altName),
    keyUsageOctets,
    keyUsage: new Set(keyUsageBits.filter((_, bit) => ((keyUsageOctets?.[1 + (bit >> 3)] ?? 0) & (0x80 >> (bit & 7))) !== 0)),
    purposes: read(oid.extendedKeyUsage, readExtendedKeyUsage),
    distributionPoints: read(oid.cRLDistributionPoints, readCrlDistributionPoints),
    accessDescriptions: read(oid.authorityInfoAccess, readAuthorityInfoAccess),
    isCa: isTrue(extensions.get(oid.basicConstraints)?.value.children[0]),
    times: strict.certificate ?? tolerantly(() => ({ notBefore: anyTime(fields.notBefore), notAfter: anyTime(fields.notAfter) })),
    keyFamily: tolerantly(() => keyFamilies.get(readOid(fields.subjectPublicKeyInfo.children[0]?.children[0], "algorithm"))),
  };
}

/** The rules of one value: `check` is asked only where the extension is there. */
export function ofExtension(extnID: string, check: (extension: Extension, subject: LintSubject) => string | undefined): Rule["check"] {
  return (subject) => {
    const extension = subject.extensions.get(extnID);
    return extension && check(extension, subject);
  };
}

/** What `act` gives, or undefined when its bytes are malformed: another rule reports that. */
export function tolerantly<T>(act: () => T): T | undefined {
  try {
    return act();
  } catch (error) {
    if (error instanceof Fault && error.code === "malformed") return undefined;
    throw error;
  }
}

/** Hex of a whole value, for details. */
export function hexOf(value: DerValue): string {
  return hex(bytesOf(value));
}

const keyFamilies: ReadonlyMap<string, "RSA" | "EC"> = new Map([
  [oid.rsaEncryption, "RSA"],
  [oid.ecPublicKey, "EC"],
]);

function strictly(act: () => Certificate): Pick<LintSubject, "certificate" | "refusal"> {
  try {
    return { certificate: act(), refusal: undefined };
  } catch (error) {
    if (error instanceof Fault && error.code === "malformed") return { certificate: undefined, refusal: error.detail };
    throw error;
  }
}

function altName(value: DerValue): AltName {
  const octets = contentOf(value);
  return { tag: value.tag, octets, text: latin1(octets) };
}

function bitStringOctets(value: DerValue | undefined): Uint8Array | undefined {
  return value?.tag === tag.bitString ? contentOf(value) : undefined;
}

// A GeneralizedTime before 2050 is reported by its own rule and compared all the same.
function anyTime(value: DerValue): Date {
  const text = latin1(contentOf(value));
  if (value.tag !== tag.generalizedTime || text >= "2050") return readTime(value, "validity");
  return new Date(text.replace(/^(....)(..)(..)(..)(..)(..)Z$/, "$1-$2-$3T$4:$5:$6.000Z"));
}

function isTrue(value: DerValue | undefined): boolean {
  return value?.tag === tag.boolean && value.source[value.contentStart] === 0xff;
}
