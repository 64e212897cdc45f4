import { contentOf, tag, type DerValue } from "./der.ts";
import { latin1, readOid, readSmallInteger } from "./der-field.ts";
import { hexOf, type Rule } from "./lint-subject.ts";
import { oid, oidName } from "./oid.ts";
import { explicitValue } from "./tbs-certificate.ts";

/** Rules over the TBSCertificate's own fields: version, serial number, algorithms, validity, and the list of extensions. */
export const fieldRules: readonly Rule[] = [
  {
    name: "chancery_tbs_malformed",
    severity: "e",
    citation: "RFC 5280 §4.1",
    check: ({ refusal }) => refusal,
  },
  {
    name: "e_cert_extensions_version_not_3",
    severity: "e",
    citation: "RFC 5280 §4.1.2.9",
    check: ({ fields }) => {
      const { version } = fields;
      const number = version === undefined ? 0 : readSmallInteger(explicitValue(version, "version"), "version");
      return fields.extensions.length > 0 && number !== 2 ? `version is ${number}, not 2 (v3)` : undefined;
    },
  },
  {
    name: "e_cert_contains_unique_identifier",
    severity: "e",
    citation: "RFC 5280 §4.1.2.8",
    check: ({ fields }) => (fields.issuerUniqueID || fields.subjectUniqueID ? "a unique identifier is there" : undefined),
  },
  {
    name: "e_serial_number_not_positive",
    severity: "e",
    citation: "RFC 5280 §4.1.2.2",
    check: ({ fields }) => {
      const octets = contentOf(fields.serialNumber);
      const negative = (octets[0] ?? 0) >= 0x80;
      return negative || octets.every((octet) => octet === 0) ? `serialNumber is ${hexOf(fields.serialNumber)}` : undefined;
    },
  },
  {
    name: "e_serial_number_longer_than_20_octets",
    severity: "e",
    citation: "RFC 5280 §4.1.2.2",
    check: ({ fields }) => {
      const { length } = contentOf(fields.serialNumber);
      return length > 20 ? `serialNumber has ${length} octets` : undefined;
    },
  },
  {
    // 126 random bits behind 01: positive, of one length, and longer than the 64 bits that a guess must meet.
    name: "chancery_serial_number_not_16_octets",
    severity: "e",
    citation: "docs/CONFORMANCE.md XV-6; RFC 5280 §4.1.2.2",
    check: ({ fields }) => {
      const octets = contentOf(fields.serialNumber);
      const ours = octets.length === 16 && ((octets[0] ?? 0) & 0xc0) === 0x40;
      return fields.serialNumber.tag === tag.integer && ours ? undefined : `serialNumber is ${hexOf(fields.serialNumber)}`;
    },
  },
  {
    name: "e_tbs_signature_rsa_encryption_parameter_not_null",
    severity: "e",
    citation: "RFC 4055 §5",
    check: ({ fields }) => parametersNotNull(fields.signature, rsaSignatures),
  },
  {
    name: "e_spki_rsa_encryption_parameter_not_null",
    severity: "e",
    citation: "RFC 4055 §1.2",
    check: ({ fields }) => parametersNotNull(fields.subjectPublicKeyInfo.children[0], rsaKeys),
  },
  {
    name: "e_validity_time_not_positive",
    severity: "e",
    citation: "RFC 5280 §4.1.2.5",
    check: ({ times }) => (times && times.notAfter < times.notBefore ? "notAfter lies before notBefore" : undefined),
  },
  {
    name: "e_wrong_time_format_pre2050",
    severity: "e",
    citation: "RFC 5280 §4.1.2.5",
    check: ({ fields }) => {
      const early = [fields.notBefore, fields.notAfter].filter(
        (time) => time.tag === tag.generalizedTime && latin1(contentOf(time)).slice(0, 4) < "2050",
      );
      return early.length > 0 ? `${early.map((time) => latin1(contentOf(time))).join(", ")} is a GeneralizedTime` : undefined;
    },
  },
  {
    name: "e_ext_duplicate_extension",
    severity: "e",
    citation: "RFC 5280 §4.2",
    check: ({ fields, extensions }) =>
      fields.extensions.length > extensions.size ? `${fields.extensions.length - extensions.size} extensions occur again` : undefined,
  },
  {
    name: "e_cert_ext_invalid_der",
    severity: "e",
    citation: "RFC 5280 §4.2; X.690 §11.5",
    check: ({ fields }) => {
      const encoded = fields.extensions.filter(({ critical }) => critical === false);
      return encoded.length > 0 ? `${encoded.map((each) => oidName(each.oid)).join(", ")} encodes critical as FALSE` : undefined;
    },
  },
  {
    name: "e_ext_cannot_be_empty_sequence",
    severity: "e",
    citation: "RFC 5280 Appendix A.2",
    check: ({ fields }) => {
      const empty = fields.extensions.filter((each) => lists.has(each.oid) && each.value.children.length === 0);
      return empty.length > 0 ? `${empty.map((each) => oidName(each.oid)).join(", ")} is empty` : undefined;
    },
  },
];

// SEQUENCE SIZE (1..MAX) OF
const lists: ReadonlySet<string> = new Set([
  oid.subjectAltName,
  oid.extendedKeyUsage,
  oid.cRLDistributionPoints,
  oid.authorityInfoAccess,
  oid.certificatePolicies,
  oid.policyMappings,
  oid.issuerAltName,
  oid.freshestCRL,
]);

const rsaKeys: ReadonlySet<string> = new Set([oid.rsaEncryption]);
const rsaSignatures: ReadonlySet<string> = new Set([oid.sha256WithRSAEncryption, oid.sha384WithRSAEncryption, oid.sha512WithRSAEncryption]);

function parametersNotNull(identifier: DerValue | undefined, algorithms: ReadonlySet<string>): string | undefined {
  const [algorithm, parameters] = identifier?.children ?? [];
  if (algorithm === undefined || !algorithms.has(readOid(algorithm, "algorithm"))) return undefined;
  if (parameters?.tag === tag.null) return undefined;
  return `parameters are ${parameters === undefined ? "absent" : hexOf(parameters)}, not NULL`;
}
