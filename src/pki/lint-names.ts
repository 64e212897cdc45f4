import { contentOf, tag } from "./der.ts";
import { latin1 } from "./der-field.ts";
import { canonicalDnsName, canonicalUri, type UriFlaw } from "./general-name.ts";
import { altNameTags, type AltName, type LintSubject, type Rule } from "./lint-subject.ts";
import type { RawAttribute } from "./name.ts";
import { oid, oidName } from "./oid.ts";

/** Rules over issuer, subject and subjectAltName. */
export const nameRules: readonly Rule[] = [
  {
    name: "e_issuer_field_empty",
    severity: "e",
    citation: "RFC 5280 §4.1.2.4",
    check: ({ fields }) => (fields.issuer.children.length === 0 ? "issuer is empty" : undefined),
  },
  {
    name: "e_ca_subject_field_empty",
    severity: "e",
    citation: "RFC 5280 §4.1.2.6",
    check: ({ fields, isCa }) => (isCa && fields.subject.children.length === 0 ? "subject of a CA is empty" : undefined),
  },
  {
    name: "e_subject_dn_country_not_printable_string",
    severity: "e",
    citation: "RFC 5280 Appendix A.1",
    check: attribute(oid.countryName, ({ value }) => (value.tag === tag.printableString ? undefined : "is not a PrintableString")),
  },
  {
    name: "e_subj_country_not_uppercase",
    severity: "e",
    citation: "ISO 3166-2 §5.1; RFC 5280 Appendix A.1",
    check: attribute(oid.countryName, ({ value }) =>
      /^[A-Z]{2}$/.test(latin1(contentOf(value))) ? undefined : "is not two capital letters",
    ),
  },
  {
    name: "e_subject_common_name_max_length",
    severity: "e",
    citation: "RFC 5280 Appendix A.1 (ub-common-name)",
    check: attribute(oid.commonName, (each) => longerThan(64, each)),
  },
  {
    name: "e_subject_organization_name_max_length",
    severity: "e",
    citation: "RFC 5280 Appendix A.1 (ub-organization-name)",
    check: attribute(oid.organizationName, (each) => longerThan(64, each)),
  },
  {
    name: "e_subject_dn_not_printable_characters",
    severity: "e",
    citation: "RFC 5280 Appendix A.1",
    // C0 and DEL: bytes of a UTF-8 sequence are all above.
    check: attribute(undefined, ({ value }) =>
      contentOf(value).some((octet) => octet < 0x20 || octet === 0x7f) ? "holds a control character" : undefined,
    ),
  },
  {
    name: "w_subject_dn_leading_whitespace",
    severity: "w",
    citation: "RFC 4518 §2.6.1",
    check: attribute(undefined, ({ value }) => (/^\s/.test(latin1(contentOf(value))) ? "begins with white space" : undefined)),
  },
  {
    name: "w_subject_dn_trailing_whitespace",
    severity: "w",
    citation: "RFC 4518 §2.6.1",
    check: attribute(undefined, ({ value }) => (/[ \t\n\r\f\v]$/.test(latin1(contentOf(value))) ? "ends with white space" : undefined)),
  },
  {
    name: "n_multiple_subject_rdn",
    severity: "n",
    citation: "RFC 5280 §4.1.2.4",
    check: ({ subjectRdns }) => (subjectRdns.some((rdn) => rdn.length > 1) ? "an RDN of the subject has several attributes" : undefined),
  },
  {
    name: "e_duplicate_subject_attribs",
    severity: "e",
    citation: "CA/Browser Forum TLS BR §7.1.4.1",
    check: ({ subjectRdns }) => {
      const types = subjectRdns.flatMap((rdn) => rdn.map((each) => each.oid)).filter((type) => type !== oid.domainComponent);
      const twice = types.find((type, index) => types.indexOf(type) !== index);
      return twice && `${oidName(twice)} occurs twice in the subject`;
    },
  },
  {
    name: "e_invalid_subject_rdn_order",
    severity: "e",
    citation: "CA/Browser Forum TLS BR §7.1.4.2",
    check: ({ subjectRdns }) => {
      const places = subjectRdns.flatMap((rdn) => rdn.map((each) => order.indexOf(each.oid))).filter((place) => place >= 0);
      return places.some((place, index) => place < (places[index - 1] ?? 0)) ? "the subject's attributes are not in order" : undefined;
    },
  },

  {
    name: "e_subject_empty_without_san",
    severity: "e",
    citation: "RFC 5280 §4.1.2.6",
    check: ({ fields, extensions }) =>
      fields.subject.children.length === 0 && !extensions.has(oid.subjectAltName)
        ? "neither subject nor subjectAltName names it"
        : undefined,
  },
  {
    name: "e_ext_san_not_critical_without_subject",
    severity: "e",
    citation: "RFC 5280 §4.2.1.6",
    check: ({ fields, extensions }) => {
      const san = extensions.get(oid.subjectAltName);
      return fields.subject.children.length === 0 && san && san.critical !== true
        ? "subject is empty, subjectAltName not critical"
        : undefined;
    },
  },
  {
    name: "w_ext_san_critical_with_subject_dn",
    severity: "w",
    citation: "RFC 5280 §4.2.1.6",
    check: ({ fields, extensions }) => {
      const critical = extensions.get(oid.subjectAltName)?.critical === true;
      return fields.subject.children.length > 0 && critical ? "subjectAltName is critical though there is a subject" : undefined;
    },
  },
  {
    name: "e_ext_san_no_entries",
    severity: "e",
    citation: "RFC 5280 §4.2.1.6",
    check: ({ extensions, altNames }) =>
      extensions.has(oid.subjectAltName) && altNames.length === 0 ? "subjectAltName has no names" : undefined,
  },
  {
    name: "e_ext_san_empty_name",
    severity: "e",
    citation: "RFC 5280 §4.2.1.6",
    check: ({ altNames }) => (altNames.some(({ text }) => text === "") ? "subjectAltName has an empty name" : undefined),
  },
  ...dnsRules(),
  // A text that RFC 3986 cannot take apart is no absolute URI either.
  uriRule("e_ext_san_uri_relative", ["scheme", "syntax"]),
  uriRule("e_ext_san_uri_format_invalid", ["scheme", "syntax"]),
  uriRule("e_ext_san_uri_host_not_fqdn_or_ip", ["host"]),
  {
    name: "e_ext_san_uri_not_ia5",
    severity: "e",
    citation: "RFC 5280 §4.2.1.6",
    check: ofNames("uri", (text) => (isAscii(text) ? undefined : "holds an octet above 127")),
  },
];

// RFC 5280 §4.2.1.6: a dNSName is in the preferred name syntax of RFC 1034 §3.5, changed by RFC 1123 §2.1.
function dnsRules(): Rule[] {
  return [
    dnsRule("e_ext_san_dns_not_ia5_string", "RFC 5280 §4.2.1.6", (text) => (isAscii(text) ? undefined : "holds an octet above 127")),
    dnsRule("e_san_dns_name_includes_null_char", "RFC 5280 §4.2.1.6", (text) => (text.includes("\0") ? "holds a NUL" : undefined)),
    dnsRule("e_ext_san_space_dns_name", "RFC 5280 §4.2.1.6", (text) => (text === " " ? "is a space" : undefined)),
    dnsRule("e_ext_san_dns_name_too_long", "RFC 1035 §2.3.4", (text) => (text.length > 253 ? `has ${text.length} octets` : undefined)),
    dnsRule("e_rfc_dnsname_label_too_long", "RFC 1035 §2.3.4", (text) =>
      labels(text).some((label) => label.length > 63) ? "has a label of more than 63 octets" : undefined,
    ),
    dnsRule("e_rfc_dnsname_empty_label", "RFC 1034 §3.5", (text) => (labels(text).includes("") ? "has an empty label" : undefined)),
    dnsRule("e_san_dns_name_starts_with_period", "RFC 1034 §3.5", (text) => (text.startsWith(".") ? "begins with a period" : undefined)),
    dnsRule("e_rfc_dnsname_hyphen_in_sld", "RFC 1034 §3.5", (text) =>
      labels(text).some((label) => /^-|-$/.test(label)) ? "has a label that begins or ends with a hyphen" : undefined,
    ),
    dnsRule("e_rfc_dnsname_underscore_in_sld", "RFC 1034 §3.5", (text) => (text.includes("_") ? "holds an underscore" : undefined)),
    dnsRule("e_dnsname_bad_character_in_label", "RFC 1034 §3.5", (text) =>
      /^[a-z0-9_*.-]*$/i.test(text) ? undefined : "holds a character that no host name has",
    ),
    dnsRule("e_san_bare_wildcard", "RFC 6125 §6.4.3", (text) => (text === "*" ? "is a wildcard alone" : undefined)),
    dnsRule("e_san_wildcard_not_first", "RFC 6125 §6.4.3", (text) =>
      text.includes("*", 1) ? "has a wildcard that is not first" : undefined,
    ),
    dnsRule("chancery_dns_name_not_canonical", "docs/CONFORMANCE.md XP-5", (text) =>
      canonicalDnsName(text) === text ? undefined : "is not lower-case LDH labels",
    ),
    {
      name: "n_san_dns_name_duplicate",
      severity: "n",
      citation: "RFC 5280 §4.2.1.6",
      check: ({ altNames }) => {
        const texts = altNames.filter((name) => name.tag === altNameTags.dns).map(({ text }) => text);
        return new Set(texts).size < texts.length ? "a dNSName occurs twice" : undefined;
      },
    },
  ];
}

function dnsRule(name: string, citation: string, check: (text: string) => string | undefined): Rule {
  return { name, severity: "e", citation, check: ofNames("dns", check) };
}

function uriRule(name: string, flaws: readonly UriFlaw["in"][]): Rule {
  const check = (text: string): string | undefined => {
    const uri = canonicalUri(text);
    return typeof uri !== "string" && flaws.includes(uri.in) ? uri.detail : undefined;
  };
  return { name, severity: "e", citation: "RFC 5280 §4.2.1.6", check: ofNames("uri", check) };
}

function labels(text: string): string[] {
  return text.replace(/^\*\./, "").split(".");
}

// DC, C, ST, L, postalCode, street, O, surname, givenName, OU, CN
const order: readonly string[] = [
  oid.domainComponent,
  oid.countryName,
  oid.stateOrProvinceName,
  oid.localityName,
  oid.postalCode,
  oid.streetAddress,
  oid.organizationName,
  oid.surname,
  oid.givenName,
  oid.organizationalUnitName,
  oid.commonName,
];

function attribute(type: string | undefined, check: (attribute: RawAttribute) => string | undefined): Rule["check"] {
  return ({ subjectRdns }) => {
    for (const rdn of subjectRdns) {
      for (const each of rdn) {
        const problem = type === undefined || each.oid === type ? check(each) : undefined;
        if (problem !== undefined) return `${oidName(each.oid)} ${problem}`;
      }
    }
    return undefined;
  };
}

function longerThan(maximum: number, { value }: RawAttribute): string | undefined {
  const { length } = [...new TextDecoder().decode(contentOf(value))];
  return length > maximum ? `has ${length} characters, more than ${maximum}` : undefined;
}

function ofNames(type: keyof typeof altNameTags, check: (text: string) => string | undefined): Rule["check"] {
  return ({ altNames }: LintSubject) => {
    for (const name of altNames) {
      const problem = name.tag === altNameTags[type] ? check(name.text) : undefined;
      if (problem !== undefined) return `${type} name ${shown(name)} ${problem}`;
    }
    return undefined;
  };
}

function isAscii(text: string): boolean {
  return !/[^\0-\x7f]/.test(text);
}

function shown({ text }: AltName): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
}
