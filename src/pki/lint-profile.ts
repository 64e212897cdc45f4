import { algorithmIdentifier, keyAlgorithm, signatureAlgorithm } from "./algorithm.ts";
import type { Certificate } from "./certificate.ts";
import { encodeAuthorityKeyIdentifier } from "./certificate-extension.ts";
import { bytesOf, tag } from "./der.ts";
import type { GeneralName } from "./general-name.ts";
import { ipText } from "./ip-address.ts";
import { hex } from "./hex.ts";
import { altNameTags, ofExtension, type AltName, type LintSubject, type Rule } from "./lint-subject.ts";
import { encodeName, type RawAttribute } from "./name.ts";
import { oid, oidName } from "./oid.ts";
import { allowsKey, keyUsageFor, type Profile } from "./profile.ts";
import { sameBytes } from "./tbs-certificate.ts";

/** Rules that hold the bytes against issuer, profile and request: ours, for no general linter knows these three. */
export const profileRules: readonly Rule[] = [
  row("chancery_signature_algorithm_not_issuer", "RFC 5280 §4.1.1.2", ({ fields, context: { issuer } }) => {
    if (issuer === undefined) return undefined;
    const algorithm = signatureAlgorithm(issuer.algorithm);
    return differ(bytesOf(fields.signature), algorithmIdentifier(algorithm), `signature is not ${algorithm}`);
  }),
  row(
    "chancery_issuer_bytes_differ_from_ca_subject",
    "RFC 5280 §4.1.2.4",
    ({ fields, context: { issuer } }) =>
      issuer && differ(bytesOf(fields.issuer), issuer.subject, "issuer is not the authority's subject, byte for byte"),
  ),
  row("chancery_authority_key_identifier_not_issuer", "RFC 5280 §4.2.1.1", ({ extensions, context: { issuer } }) => {
    const value = extensions.get(oid.authorityKeyIdentifier)?.value;
    if (value === undefined || issuer === undefined) return undefined;
    const planned = encodeAuthorityKeyIdentifier(issuer.subjectKeyIdentifier);
    return differ(bytesOf(value), planned, "authorityKeyIdentifier is not the authority's keyIdentifier alone");
  }),
  row("chancery_not_after_exceeds_issuer", "docs/CONFORMANCE.md XV-5", (subject) => {
    const { issuer } = subject.context;
    const notAfter = subject.times?.notAfter;
    if (issuer === undefined || notAfter === undefined || notAfter <= issuer.notAfter) return undefined;
    return `notAfter ${notAfter.toISOString()} is after the authority's ${issuer.notAfter.toISOString()}`;
  }),
  // Both ends count (RFC 5280 §4.1.2.5): from 12:00:00 to 12:00:00 is a second more than a day.
  row("chancery_validity_has_extra_second", "RFC 5280 §4.1.2.5", (subject) =>
    lifetime(subject, (seconds, { maximum }) => (seconds > maximum ? `it is valid for ${seconds} s, more than ${maximum}` : undefined)),
  ),
  row("chancery_validity_below_minimum", "RFC 5280 §4.1.2.5", (subject) =>
    lifetime(subject, (seconds, { minimum }) => (seconds < minimum ? `it is valid for ${seconds} s, less than ${minimum}` : undefined)),
  ),
  row("chancery_root_not_self_issued", "RFC 5280 §3.2", ({ fields, context: { profile } }) =>
    profile?.kind === "root" ? differ(bytesOf(fields.issuer), bytesOf(fields.subject), "issuer of a root is not its subject") : undefined,
  ),
  row("chancery_subject_not_profile", "RFC 5280 §4.1.2.6", ({ fields, subjectRdns, context: { profile, subject } }) => {
    if (subject !== undefined && !sameBytes(bytesOf(fields.subject), encodeName(subject))) return "subject is not the one asked for";
    return profile && subjectProblem(profile, subjectRdns.flat());
  }),
  row("chancery_public_key_not_allowed", "docs/CONFORMANCE.md XK-1", ({ fields, context: { profile } }) => {
    const algorithm = keyAlgorithm(bytesOf(fields.subjectPublicKeyInfo));
    return !profile || allowsKey(profile, algorithm)
      ? undefined
      : `the key is ${algorithm}, which profile ${profile.name} does not certify`;
  }),
  row(
    "chancery_public_key_not_request",
    "RFC 2986 §4.1",
    ({ fields, context: { spki } }) => spki && differ(bytesOf(fields.subjectPublicKeyInfo), spki, "the key is not the one of the request"),
  ),
  row("chancery_extension_not_in_profile", "RFC 5280 §4.2", ({ fields, context: { profile } }) => {
    if (profile === undefined) return undefined;
    const subjectEmpty = fields.subject.children.length === 0;
    const planned = plannedExtensions(profile, subjectEmpty);
    const found = fields.extensions.map((each) => marked(each.oid, each.critical === true));
    return sameValues(found, planned) ? undefined : `extensions are ${found.join(", ")}; profile ${profile.name} has ${planned.join(", ")}`;
  }),
  row("chancery_key_usage_not_profile", "RFC 5280 §4.2.1.3", (subject) =>
    ofProfile(subject, (profile, { keyUsage = [], keyAlgorithm: key }) => unequal("keyUsage", keyUsage, keyUsageFor(profile, key))),
  ),
  row("chancery_extended_key_usage_not_profile", "RFC 5280 §4.2.1.12", (subject) =>
    ofProfile(subject, (profile, { extendedKeyUsage = [] }) => unequal("extendedKeyUsage", extendedKeyUsage, profile.extendedKeyUsage)),
  ),
  row("chancery_basic_constraints_not_profile", "RFC 5280 §4.2.1.9", (subject) =>
    ofProfile(subject, (profile, { isCa, pathLength }) => {
      if (isCa !== isAuthority(profile)) return `cA is ${isCa} in a certificate of profile ${profile.name}`;
      return pathLength === profile.pathLength
        ? undefined
        : `pathLenConstraint is ${pathLength ?? "absent"}, not ${profile.pathLength ?? "absent"}`;
    }),
  ),
  row("chancery_san_not_in_profile", "RFC 5280 §4.2.1.6", ({ altNames, context: { profile } }) => profile && sanProblem(profile, altNames)),
  row("chancery_san_not_equal_request", "docs/CONFORMANCE.md XP-5; RFC 5280 §4.2.1.6", ({ altNames, context: { names } }) => {
    if (names === undefined) return undefined;
    const same = altNames.length === names.length && altNames.every((altName, index) => isName(altName, names[index]));
    return same ? undefined : `subjectAltName is not ${names.map(({ type, value }) => `${type} ${value}`).join(", ")}`;
  }),
  row(
    "chancery_crl_distribution_point_not_issuer",
    "RFC 5280 §4.2.1.13",
    ofExtension(oid.cRLDistributionPoints, (_, { distributionPoints, context: { issuer } }) => {
      if (distributionPoints === undefined) return "the distribution points cannot be read";
      const [point, ...more] = distributionPoints;
      if (issuer === undefined || point === undefined) return undefined;
      const plain = more.length === 0 && point.otherNames === 0 && !point.reasons && !point.cRLIssuer;
      return plain ? unequal("the distribution point", point.uris, [issuer.urls.crl]) : "there is more than one point with one fullName";
    }),
  ),
  row(
    "chancery_authority_info_access_not_issuer",
    "RFC 5280 §4.2.2.1",
    ofExtension(oid.authorityInfoAccess, (_, { accessDescriptions, context: { issuer, profile } }) => {
      if (accessDescriptions === undefined) return "authorityInfoAccess cannot be read";
      if (issuer === undefined || profile === undefined) return undefined;
      return unequal(
        "authorityInfoAccess",
        accessDescriptions.map(({ method, uri }) => `${method} ${uri}`),
        profile.authorityInfoAccess.map((method) => `${method} ${issuer.urls[method]}`),
      );
    }),
  ),
];

function row(name: string, citation: string, check: Rule["check"]): Rule {
  return { name, severity: "e", citation, check };
}

function differ(found: Uint8Array, planned: Uint8Array, sentence: string): string | undefined {
  return sameBytes(found, planned) ? undefined : `${sentence}: ${hex(found)}`;
}

function unequal(what: string, found: readonly unknown[], planned: readonly unknown[]): string | undefined {
  return sameValues(found, planned) ? undefined : `${what} is ${found.join(", ")}, not ${planned.join(", ")}`;
}

function sameValues(found: readonly unknown[], planned: readonly unknown[]): boolean {
  return found.length === planned.length && found.every((each, index) => each === planned[index]);
}

function ofProfile(
  { certificate, context: { profile } }: LintSubject,
  check: (profile: Profile, certificate: Certificate) => string | undefined,
): string | undefined {
  return profile && certificate && check(profile, certificate);
}

function lifetime(
  subject: LintSubject,
  check: (seconds: number, limits: Profile["lifetimeSeconds"]) => string | undefined,
): string | undefined {
  const { times } = subject;
  const limits = subject.context.profile?.lifetimeSeconds;
  return times && limits && check((times.notAfter.getTime() - times.notBefore.getTime()) / 1_000 + 1, limits);
}

function isAuthority({ kind }: Profile): boolean {
  return kind === "root" || kind === "subordinate";
}

function subjectProblem(profile: Profile, attributes: readonly RawAttribute[]): string | undefined {
  const planned = profile.subject === "empty" ? [] : [oid.countryName, oid.organizationName, oid.commonName];
  const problem = unequal(
    "subject",
    attributes.map((each) => oidName(each.oid)),
    planned.map(oidName),
  );
  if (problem !== undefined) return problem;
  const other = attributes.find(({ value }) => value.tag !== tag.printableString && value.tag !== tag.utf8String);
  return other && `${oidName(other.oid)} is neither PrintableString nor UTF8String`;
}

// In the order of RFC 5280 §4.2, with what must be critical marked.
function plannedExtensions(profile: Profile, subjectEmpty: boolean): string[] {
  const rows: readonly (readonly [wanted: boolean, extnID: string, critical: boolean])[] = [
    [true, oid.authorityKeyIdentifier, false],
    [profile.subjectKeyIdentifier, oid.subjectKeyIdentifier, false],
    [true, oid.keyUsage, true],
    [profile.names.maximum > 0, oid.subjectAltName, subjectEmpty],
    [isAuthority(profile), oid.basicConstraints, true],
    [profile.extendedKeyUsage.length > 0, oid.extendedKeyUsage, false],
    [profile.crlDistributionPoint, oid.cRLDistributionPoints, false],
    [profile.authorityInfoAccess.length > 0, oid.authorityInfoAccess, false],
    [profile.ocspNoCheck, oid.ocspNoCheck, false],
  ];
  return rows.flatMap(([wanted, extnID, critical]) => (wanted ? [marked(extnID, critical)] : []));
}

function marked(extnID: string, critical: boolean): string {
  return critical ? `${oidName(extnID)} (critical)` : oidName(extnID);
}

function sanProblem({ name, names }: Profile, altNames: readonly AltName[]): string | undefined {
  if (altNames.length < names.minimum || altNames.length > names.maximum) {
    return `there are ${altNames.length} names; profile ${name} allows ${names.minimum} to ${names.maximum}`;
  }
  const allowed: readonly number[] = names.types.map((type) => altNameTags[type]);
  if (!altNames.every((altName) => allowed.includes(altName.tag)))
    return `a name is not of a type that profile ${name} allows: ${names.types.join(", ")}`;
  if (!altNames.every(({ tag: type, octets }) => type !== altNameTags.ip || octets.length === 4 || octets.length === 16)) {
    return "an iPAddress has neither 4 nor 16 octets";
  }
  if (altNames.filter((altName) => altName.tag === altNameTags.uri).length > names.uris) return `profile ${name} allows ${names.uris} URIs`;
  if (!names.wildcard && altNames.some((altName) => altName.text.startsWith("*"))) return `profile ${name} allows no wildcard`;
  return undefined;
}

// Octets against text, so that case and form count.
function isName(altName: AltName, name: GeneralName | undefined): boolean {
  if (name === undefined || altName.tag !== altNameTags[name.type]) return false;
  return name.type === "ip" ? ipText(altName.octets) === name.value : altName.text === name.value;
}
