import { keyIdentifier } from "./certificate.ts";
import { readAuthorityKeyIdentifier } from "./certificate-extension.ts";
import { bytesOf, tag } from "./der.ts";
import { readOctetString } from "./der-field.ts";
import { hex } from "./hex.ts";
import { hexOf, ofExtension, tolerantly, type LintSubject, type Rule } from "./lint-subject.ts";
import { oid } from "./oid.ts";
import type { KeyUsage } from "./profile.ts";
import { sameBytes } from "./tbs-certificate.ts";

/** Rules over the extensions, names apart: key identifiers, usage, constraints, and where to ask. */
export const extensionRules: readonly Rule[] = [
  {
    name: "e_ext_authority_key_identifier_critical",
    severity: "e",
    citation: "RFC 5280 §4.2.1.1",
    check: neverCritical(oid.authorityKeyIdentifier),
  },
  {
    name: "e_ext_authority_key_identifier_no_key_identifier",
    severity: "e",
    citation: "RFC 5280 §4.2.1.1",
    check: ({ extensions }) => {
      const value = extensions.get(oid.authorityKeyIdentifier)?.value;
      return value && tolerantly(() => readAuthorityKeyIdentifier(value).keyIdentifier)
        ? undefined
        : "no keyIdentifier names the issuer's key";
    },
  },
  {
    name: "e_ext_subject_key_identifier_critical",
    severity: "e",
    citation: "RFC 5280 §4.2.1.2",
    check: neverCritical(oid.subjectKeyIdentifier),
  },
  {
    name: "e_ext_subject_key_identifier_missing_ca",
    severity: "e",
    citation: "RFC 5280 §4.2.1.2",
    check: ({ isCa, extensions }) => (isCa && !extensions.has(oid.subjectKeyIdentifier) ? "a CA has no subjectKeyIdentifier" : undefined),
  },
  {
    name: "chancery_subject_key_identifier_not_of_key",
    severity: "e",
    citation: "RFC 5280 §4.2.1.2 (1)",
    check: ofExtension(oid.subjectKeyIdentifier, ({ value }, { fields }) => {
      const found = readOctetString(value, "subjectKeyIdentifier");
      return sameBytes(found, keyIdentifier(bytesOf(fields.subjectPublicKeyInfo))) ? undefined : `${hex(found)} is not SHA-1 of the key`;
    }),
  },

  {
    name: "w_ext_key_usage_not_critical",
    severity: "w",
    citation: "RFC 5280 §4.2.1.3",
    check: ofExtension(oid.keyUsage, ({ critical }) => (critical === true ? undefined : "keyUsage is not critical")),
  },
  {
    name: "e_ext_key_usage_without_bits",
    severity: "e",
    citation: "RFC 5280 §4.2.1.3",
    check: ({ keyUsageOctets, keyUsage }) => (keyUsageOctets && keyUsage.size === 0 ? "no bit of keyUsage is set" : undefined),
  },
  {
    name: "e_incorrect_ku_encoding",
    severity: "e",
    citation: "X.690 §11.2.2",
    check: ({ keyUsageOctets }) => {
      if (keyUsageOctets === undefined) return undefined;
      const last = keyUsageOctets.at(-1) ?? 0;
      const trailing = last === 0 ? 8 : 31 - Math.clz32(last & -last);
      return keyUsageOctets[0] === trailing ? undefined : `${keyUsageOctets[0]} bits are declared unused, ${trailing} are`;
    },
  },
  {
    name: "e_superfluous_ku_encoding",
    severity: "e",
    citation: "X.690 §11.2.2",
    check: ({ keyUsageOctets }) => (keyUsageOctets?.at(-1) === 0 ? "keyUsage ends in an octet of zeros" : undefined),
  },
  {
    name: "e_key_usage_incorrect_length",
    severity: "e",
    citation: "RFC 5280 §4.2.1.3",
    check: ({ keyUsageOctets }) => {
      if (keyUsageOctets === undefined) return undefined;
      const bits = (keyUsageOctets.length - 1) * 8 - (keyUsageOctets[0] ?? 0);
      return bits > 9 ? `keyUsage has ${bits} bits, not at most 9` : undefined;
    },
  },
  {
    name: "e_ext_key_usage_cert_sign_without_ca",
    severity: "e",
    citation: "RFC 5280 §4.2.1.3, §4.2.1.9",
    check: ({ keyUsage, isCa }) => (keyUsage.has("keyCertSign") && !isCa ? "keyCertSign is set and cA is not" : undefined),
  },
  {
    name: "e_ecdsa_allowed_ku",
    severity: "e",
    citation: "RFC 8813 §3",
    check: (subject) => (subject.keyFamily === "EC" ? among(subject, ["keyEncipherment", "dataEncipherment"]) : undefined),
  },
  {
    name: "n_ecdsa_ee_invalid_ku",
    severity: "n",
    citation: "RFC 5480 §3",
    check: (subject) => {
      const others: KeyUsage[] = ["keyEncipherment", "dataEncipherment", "keyCertSign", "cRLSign", "encipherOnly", "decipherOnly"];
      return subject.keyFamily === "EC" && !subject.isCa ? among(subject, others) : undefined;
    },
  },
  {
    name: "e_rsa_allowed_ku_ee",
    severity: "e",
    citation: "RFC 3279 §2.3.1",
    check: (subject) => {
      const others: KeyUsage[] = ["keyAgreement", "keyCertSign", "cRLSign", "encipherOnly", "decipherOnly"];
      return subject.keyFamily === "RSA" && !subject.isCa ? among(subject, others) : undefined;
    },
  },
  {
    name: "e_rsa_allowed_ku_ca",
    severity: "e",
    citation: "RFC 3279 §2.3.1",
    check: (subject) =>
      subject.keyFamily === "RSA" && subject.isCa ? among(subject, ["keyAgreement", "encipherOnly", "decipherOnly"]) : undefined,
  },
  {
    name: "e_rsa_allowed_ku_no_encipherment_ca",
    severity: "e",
    citation: "RFC 3279 §2.3.1",
    check: (subject) => {
      const signs = subject.keyUsage.has("keyCertSign") || subject.keyUsage.has("cRLSign");
      return subject.keyFamily === "RSA" && subject.isCa && signs ? among(subject, ["keyEncipherment", "dataEncipherment"]) : undefined;
    },
  },
  {
    name: "e_key_usage_and_extended_key_usage_inconsistent",
    severity: "e",
    citation: "RFC 5280 §4.2.1.12",
    check: ({ purposes = [], keyUsage, extensions }) => {
      if (!extensions.has(oid.keyUsage)) return undefined;
      const useless = purposes.filter((purpose) => consistent.get(purpose)?.every((usage) => !keyUsage.has(usage)));
      return useless.length > 0 ? `no bit of keyUsage allows ${useless.join(", ")}` : undefined;
    },
  },
  {
    name: "w_eku_critical_improperly",
    severity: "w",
    citation: "RFC 5280 §4.2.1.12",
    check: ofExtension(oid.extendedKeyUsage, ({ critical }, { purposes = [] }) => {
      const any = purposes.includes(oid.anyExtendedKeyUsage);
      return critical === true && any ? "anyExtendedKeyUsage is critical" : undefined;
    }),
  },

  {
    name: "e_basic_constraints_not_critical",
    severity: "e",
    citation: "RFC 5280 §4.2.1.9",
    check: ofExtension(oid.basicConstraints, ({ critical }, { isCa }) =>
      isCa && critical !== true ? "basicConstraints of a CA is not critical" : undefined,
    ),
  },
  {
    name: "e_basic_constr_invalid_der",
    severity: "e",
    citation: "X.690 §11.5",
    check: ofExtension(oid.basicConstraints, ({ value }, { isCa }) =>
      value.children[0]?.tag === tag.boolean && !isCa ? "cA encodes its default value FALSE" : undefined,
    ),
  },
  {
    name: "e_path_len_constraint_improperly_included",
    severity: "e",
    citation: "RFC 5280 §4.2.1.9",
    check: ofExtension(oid.basicConstraints, ({ value }, { isCa, keyUsage }) => {
      const limited = value.children.some((child) => child.tag === tag.integer);
      return limited && !(isCa && keyUsage.has("keyCertSign")) ? "pathLenConstraint stands beside no cA and keyCertSign" : undefined;
    }),
  },

  {
    name: "e_ext_aia_marked_critical",
    severity: "e",
    citation: "RFC 5280 §4.2.2.1",
    check: neverCritical(oid.authorityInfoAccess),
  },
  {
    name: "w_ext_aia_access_location_missing",
    severity: "w",
    citation: "RFC 5280 §4.2.2.1",
    check: ({ accessDescriptions = [] }) => {
      const issuers = accessDescriptions.filter(({ method }) => method === "caIssuers");
      return issuers.length > 0 && !issuers.some(({ uri }) => isReachable(uri)) ? "no location of caIssuers is http or ldap" : undefined;
    },
  },
  {
    name: "w_ext_crl_distribution_marked_critical",
    severity: "w",
    citation: "RFC 5280 §4.2.1.13",
    check: neverCritical(oid.cRLDistributionPoints),
  },
  {
    name: "e_distribution_point_incomplete",
    severity: "e",
    citation: "RFC 5280 §4.2.1.13",
    check: ({ distributionPoints = [] }) => {
      const incomplete = distributionPoints.some((point) => point.uris.length + point.otherNames === 0 && !point.cRLIssuer);
      return incomplete ? "a DistributionPoint has neither name nor cRLIssuer" : undefined;
    },
  },
  {
    name: "w_distribution_point_missing_ldap_or_uri",
    severity: "w",
    citation: "RFC 5280 §4.2.1.13",
    check: ofExtension(oid.cRLDistributionPoints, (_, { distributionPoints = [] }) =>
      distributionPoints.some(({ uris }) => uris.some(isReachable)) ? undefined : "no DistributionPoint is http or ldap",
    ),
  },
  {
    name: "chancery_ocsp_nocheck_not_null",
    severity: "e",
    citation: "RFC 6960 §4.2.2.2.1",
    check: ofExtension(oid.ocspNoCheck, ({ value }) => (value.tag === tag.null ? undefined : `${hexOf(value)} is not NULL`)),
  },
];

// RFC 5280 §4.2.1.12; id-kp-OCSPSigning too.
const consistent: ReadonlyMap<string, readonly KeyUsage[]> = new Map([
  ["serverAuth", ["digitalSignature", "keyEncipherment", "keyAgreement"]],
  ["clientAuth", ["digitalSignature", "keyAgreement"]],
  ["OCSPSigning", ["digitalSignature", "nonRepudiation"]],
]);

function neverCritical(extnID: string): Rule["check"] {
  return ofExtension(extnID, ({ critical }) => (critical === true ? "the extension is critical" : undefined));
}

function among({ keyUsage }: LintSubject, forbidden: readonly KeyUsage[]): string | undefined {
  const found = forbidden.filter((usage) => keyUsage.has(usage));
  return found.length > 0 ? `keyUsage has ${found.join(", ")}` : undefined;
}

function isReachable(uri: string | undefined): boolean {
  return uri !== undefined && /^(http|ldap):\/\//i.test(uri);
}
