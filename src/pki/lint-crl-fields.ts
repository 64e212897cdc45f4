import { parseAlgorithmIdentifier, signatureAlgorithm } from "./algorithm.ts";
import { readAuthorityKeyIdentifier } from "./certificate-extension.ts";
import { readCrlNumber, readIssuingDistributionPoint } from "./crl-extension.ts";
import { bytesOf, contentOf, type DerValue } from "./der.ts";
import { readSmallInteger, readTime, readUnsigned } from "./der-field.ts";
import { hex } from "./hex.ts";
import type { CrlLintSubject, CrlRule } from "./lint-crl.ts";
import { tolerantly } from "./lint-subject.ts";
import { relativeNames } from "./name.ts";
import { oid, oidName } from "./oid.ts";
import { explicitValue, readExtensionList, sameBytes, type Extension } from "./tbs-certificate.ts";

/** Rules of what stands around the entries of a CRL. */
export const crlFieldRules: readonly CrlRule[] = [
  {
    name: "chancery_crl_version_not_2",
    severity: "e",
    citation: "RFC 5280 §5.1.2.1",
    check: ({ fields }) => {
      const version = fields.get("version");
      if (version === undefined) return "version is absent, which means 1";
      const number = readSmallInteger(version, "version");
      return number === 1 ? undefined : `version is encoded as ${number}, not as 1 (v2)`;
    },
  },
  {
    name: "chancery_crl_signature_algorithm_not_issuer",
    severity: "e",
    citation: "RFC 5280 §5.1.1.2; RFC 5758 §3.2",
    check: ({ fields, context: { issuer } }) => {
      const identifier = fieldBytes(fields.get("signature"));
      const algorithm = parseAlgorithmIdentifier(identifier);
      if (algorithm === undefined) return `signature is ${hex(identifier)}`;
      const own = issuer && signatureAlgorithm(issuer.algorithm);
      return own === undefined || algorithm === own ? undefined : `signature is ${algorithm}; the issuer signs with ${own}`;
    },
  },
  {
    name: "chancery_crl_issuer_not_slot",
    severity: "e",
    citation: "RFC 5280 §5.1.2.3, §6.3.3 (b)",
    check: ({ fields, context: { issuer } }) => {
      const name = fields.get("issuer");
      if (name === undefined || relativeNames(name).length === 0) return "issuer is empty";
      return issuer && !sameBytes(bytesOf(name), issuer.subject) ? "issuer is not the subject of the authority, octet by octet" : undefined;
    },
  },
  {
    name: "e_crl_has_next_update",
    severity: "e",
    citation: "RFC 5280 §5.1.2.5",
    check: ({ fields }) => (fields.has("nextUpdate") ? undefined : "nextUpdate is absent"),
  },
  {
    name: "chancery_crl_time_not_rfc5280",
    severity: "e",
    citation: "RFC 5280 §5.1.2.4, §5.1.2.5",
    check: (subject) => {
      const { thisUpdate, nextUpdate } = timesOf(subject);
      return nextUpdate !== undefined && nextUpdate <= thisUpdate ? "nextUpdate does not lie behind thisUpdate" : undefined;
    },
  },
  {
    name: "e_crl_next_update_invalid",
    severity: "e",
    citation: "TLS BR 4.9.7, 7.2",
    check: (subject) => {
      // One that is no time is found above.
      const { thisUpdate, nextUpdate } = tolerantly(() => timesOf(subject)) ?? {};
      if (thisUpdate === undefined || nextUpdate === undefined) return undefined;
      const end = latestNextUpdate(thisUpdate, subject.context.listsAuthorities ?? false);
      return nextUpdate >= end ? `nextUpdate is ${nextUpdate.toISOString()}; it must lie before ${end.toISOString()}` : undefined;
    },
  },
  {
    name: "e_crl_no_duplicate_extensions",
    severity: "e",
    citation: "RFC 5280 §4.2, §5.2",
    check: ({ fields }) => {
      const types = extensionsOf(fields.get("crlExtensions")).map((extension) => extension.oid);
      const again = types.find((type, index) => types.indexOf(type) !== index);
      return again === undefined ? undefined : `${oidName(again)} occurs again`;
    },
  },
  {
    name: "e_crl_extensions_validity",
    severity: "e",
    citation: "TLS BR 7.2.2; RFC 5280 §5.2",
    check: ({ fields }) => {
      const wrong = extensionsOf(fields.get("crlExtensions")).find(
        ({ oid: type, critical }) => !criticality.has(type) || criticality.get(type) !== critical,
      );
      if (wrong === undefined) return undefined;
      return criticality.has(wrong.oid)
        ? `${oidName(wrong.oid)} has the wrong criticality, or encodes its default`
        : `${oidName(wrong.oid)} is there`;
    },
  },
  {
    name: "e_crl_has_authority_key_identifier",
    severity: "e",
    citation: "RFC 5280 §5.2.1",
    check: ({ fields }) => (extensionOf(fields, oid.authorityKeyIdentifier) ? undefined : "authorityKeyIdentifier is absent"),
  },
  {
    name: "e_crl_auth_key_id_only_contains_keyid",
    severity: "e",
    citation: "TLS BR 7.2.2",
    check: ({ fields }) => {
      const value = extensionOf(fields, oid.authorityKeyIdentifier)?.value;
      const { keyIdentifier, certificate } = value
        ? readAuthorityKeyIdentifier(value)
        : { keyIdentifier: new Uint8Array(), certificate: false };
      if (keyIdentifier === undefined) return "authorityKeyIdentifier has no keyIdentifier";
      return certificate ? "authorityKeyIdentifier has an issuer or a serial number" : undefined;
    },
  },
  {
    name: "chancery_crl_authority_key_not_slot",
    severity: "e",
    citation: "RFC 5280 §5.2.1",
    check: ({ fields, context: { issuer } }) => {
      const value = extensionOf(fields, oid.authorityKeyIdentifier)?.value;
      const identifier = value && readAuthorityKeyIdentifier(value).keyIdentifier;
      if (issuer === undefined || identifier === undefined || sameBytes(identifier, issuer.subjectKeyIdentifier)) return undefined;
      return `keyIdentifier is ${hex(identifier)}; the authority's is ${hex(issuer.subjectKeyIdentifier)}`;
    },
  },
  {
    name: "e_crl_missing_crl_number",
    severity: "e",
    citation: "RFC 5280 §5.2.3",
    check: ({ fields }) => (extensionOf(fields, oid.cRLNumber) ? undefined : "cRLNumber is absent"),
  },
  {
    name: "e_crl_number_out_of_range",
    severity: "e",
    citation: "TLS BR 7.2.2; RFC 5280 §5.2.3",
    check: ({ fields }) => {
      const value = extensionOf(fields, oid.cRLNumber)?.value;
      if (value === undefined) return undefined;
      const octets = readUnsigned(value, "cRLNumber").length;
      return contentOf(value).length > 20 ? `cRLNumber has ${octets} octets` : undefined;
    },
  },
  {
    name: "chancery_crl_number_not_greater",
    severity: "e",
    citation: "RFC 5280 §5.2.3; docs/CONFORMANCE.md XC-14",
    check: ({ fields, context: { publishedNumber } }) => {
      const value = extensionOf(fields, oid.cRLNumber)?.value;
      const number = value && publishedNumber !== undefined ? readCrlNumber(value) : undefined;
      if (number === undefined || publishedNumber === undefined || number > publishedNumber) return undefined;
      return `cRLNumber is ${number}; ${publishedNumber} is published`;
    },
  },
  {
    name: "chancery_crl_this_update_not_later",
    severity: "e",
    citation: "RFC 5280 §5.1.2.4; docs/CONFORMANCE.md XC-21",
    check: (subject) => {
      const { publishedThisUpdate } = subject.context;
      // One that is no time is found above.
      const { thisUpdate } = tolerantly(() => timesOf(subject)) ?? {};
      if (publishedThisUpdate === undefined || thisUpdate === undefined || thisUpdate > publishedThisUpdate) return undefined;
      return `thisUpdate is ${thisUpdate.toISOString()}; ${publishedThisUpdate.toISOString()} is that of the published one`;
    },
  },
  {
    name: "chancery_crl_idp_not_slot_uri",
    severity: "e",
    citation: "RFC 5280 §5.2.5; TLS BR 7.2.2.1",
    check: ({ fields, context: { slot } }) => {
      const value = extensionOf(fields, oid.issuingDistributionPoint)?.value;
      if (slot === undefined) return undefined;
      if (value === undefined) return slot.distributionPoint && `issuingDistributionPoint is absent; the slot is ${slot.distributionPoint}`;
      const { uris, otherNames } = readIssuingDistributionPoint(value);
      if (uris.length === 1 && otherNames === 0 && uris[0] === slot.distributionPoint) return undefined;
      return `issuingDistributionPoint names ${uris.join(", ") || "no URI"}; the slot is ${slot.distributionPoint ?? "the full CRL"}`;
    },
  },
  {
    name: "chancery_crl_idp_scope_flags",
    severity: "e",
    citation: "RFC 5280 §5.2.5; TLS BR 7.2.2.1",
    check: ({ fields }) => {
      const value = extensionOf(fields, oid.issuingDistributionPoint)?.value;
      if (value === undefined) return undefined;
      const { onlyContainsUserCerts, otherScopes } = readIssuingDistributionPoint(value);
      if (otherScopes.length > 0) return `issuingDistributionPoint has ${otherScopes.join(", ")}`;
      return onlyContainsUserCerts ? undefined : "issuingDistributionPoint has no onlyContainsUserCerts";
    },
  },
];

/** Extensions that a CRL of ours may have, with `critical` as it is encoded. */
const criticality: ReadonlyMap<string, boolean | undefined> = new Map([
  [oid.authorityKeyIdentifier, undefined],
  [oid.cRLNumber, undefined],
  [oid.issuingDistributionPoint, true],
]);

/** The first moment that is too late: of subscribers' certificates ten days, of authorities' twelve months behind thisUpdate. */
function latestNextUpdate(thisUpdate: Date, listsAuthorities: boolean): Date {
  const end = new Date(thisUpdate);
  if (listsAuthorities) end.setUTCFullYear(end.getUTCFullYear() + 1);
  else end.setUTCDate(end.getUTCDate() + 10);
  return end;
}

function timesOf({ fields }: CrlLintSubject): { thisUpdate: Date; nextUpdate: Date | undefined } {
  const nextUpdate = fields.get("nextUpdate");
  return { thisUpdate: readTime(fields.get("thisUpdate"), "thisUpdate"), nextUpdate: nextUpdate && readTime(nextUpdate, "nextUpdate") };
}

function extensionsOf(value: DerValue | undefined): readonly Extension[] {
  return value === undefined ? [] : readExtensionList(explicitValue(value, "crlExtensions"));
}

function extensionOf(fields: CrlLintSubject["fields"], type: string): Extension | undefined {
  return extensionsOf(fields.get("crlExtensions")).find((extension) => extension.oid === type);
}

function fieldBytes(value: DerValue | undefined): Uint8Array {
  return value === undefined ? new Uint8Array() : bytesOf(value);
}
