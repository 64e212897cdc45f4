import { generateKeyPairSync, sign, type KeyObject } from "node:crypto";
import { signatureAlgorithm, verificationKey, type KeyAlgorithm } from "../../src/pki/algorithm.ts";
import {
  keyIdentifier,
  notAfterOf,
  sealCertificate,
  tbsCertificate,
  type CertificateContent,
  type Issuer,
} from "../../src/pki/certificate.ts";
import type { GeneralName } from "../../src/pki/general-name.ts";
import { encodeName, type Name } from "../../src/pki/name.ts";
import { profileByName, type Profile } from "../../src/pki/profile.ts";

/** A key pair in software, as a token would give it. */
export type SoftwareKey = { readonly algorithm: KeyAlgorithm; readonly privateKey: KeyObject; readonly spki: Uint8Array };

/** Names of the built-in profiles. */
export const profileNames = ["server", "client", "mtls", "root", "subordinate", "ocsp-responder"] as const;

/** Kinds of key that each test of "every key algorithm" runs over. */
export const keyAlgorithms: readonly KeyAlgorithm[] = ["P-256", "P-384", "RSA-2048", "RSA-3072", "RSA-4096"];

const keys = new Map<KeyAlgorithm, SoftwareKey[]>();

/** The key pair number `index` of that kind, made once in each test file. */
export function softwareKey(algorithm: KeyAlgorithm, index = 0): SoftwareKey {
  const made = keys.get(algorithm) ?? [];
  keys.set(algorithm, made);
  return (made[index] ??= generate(algorithm));
}

function generate(algorithm: KeyAlgorithm): SoftwareKey {
  const pair = algorithm.startsWith("RSA-")
    ? generateKeyPairSync("rsa", { modulusLength: Number(algorithm.slice("RSA-".length)) })
    : generateKeyPairSync("ec", { namedCurve: algorithm });
  return { algorithm, privateKey: pair.privateKey, spki: new Uint8Array(pair.publicKey.export({ type: "spki", format: "der" })) };
}

/** The signature of a TBSCertificate as the token of that key would give it. */
export function signed(key: SoftwareKey, tbs: Uint8Array): Uint8Array {
  return sign(signatureAlgorithm(key.algorithm) === "ecdsa-with-SHA384" ? "sha384" : "sha256", tbs, key.privateKey);
}

/** The profile of that name, which must be there. */
export function profileOf(name: string): Profile {
  const profile = profileByName(name);
  if (profile === undefined) throw new Error(`no profile ${name}`);
  return profile;
}

/** A subject as our authorities have it. */
export function authorityName(commonName: string): Name {
  return [
    { type: "C", value: "CH" },
    { type: "O", value: "Example Trust" },
    { type: "CN", value: commonName },
  ];
}

/** An issuer of that key whose certificate is valid until 2035. */
export function issuerOf(key: SoftwareKey, slug = "issuing-1", commonName = "Example Issuing 1"): Issuer {
  return {
    subject: encodeName(authorityName(commonName)),
    spki: key.spki,
    subjectKeyIdentifier: keyIdentifier(key.spki),
    notAfter: new Date("2045-12-31T23:59:59Z"),
    algorithm: key.algorithm,
    urls: {
      caIssuers: `http://status.example.org/ca/${slug}.cer`,
      ocsp: `http://status.example.org/ocsp/${slug}`,
      crl: `http://status.example.org/crl/${slug}.crl`,
    },
  };
}

/** Names that the profile allows, of each of its types. */
function namesFor(profile: Profile): GeneralName[] {
  const all: GeneralName[] = [
    { type: "dns", value: "a.example.org" },
    { type: "ip", value: "192.0.2.1" },
    { type: "ip", value: "2001:db8::1" },
    { type: "uri", value: "spiffe://example.org/ns/a" },
  ];
  return all.filter(({ type }) => profile.names.types.includes(type));
}

/** What stands in a test's certificate of that profile under that key; a root issues itself. */
export function planOf(profileName: string, key: SoftwareKey, issuerKey: SoftwareKey, names?: readonly GeneralName[]) {
  const profile = profileOf(profileName);
  const root = profile.kind === "root";
  const commonName = root ? "Example Root 1" : `Example ${profile.name} 1`;
  const content: CertificateContent = {
    subject: profile.subject === "empty" ? [] : authorityName(commonName),
    names: names ?? namesFor(profile),
    spki: key.spki,
  };
  const issuer = root ? issuerOf(key, "root-1", commonName) : issuerOf(issuerKey);
  const notBefore = new Date("2026-01-10T12:00:00Z");
  const draw = { serial: "4a080f161d242b323940474e555c6304", notBefore, notAfter: notAfterOf(notBefore, profile.lifetimeSeconds.default) };
  return { profile, issuer, content, draw, tbs: tbsCertificate(issuer, profile, content, draw), signer: root ? key : issuerKey };
}

/** The plan, signed and sealed. */
export async function sealedPlan(profileName: string, key: SoftwareKey, issuerKey: SoftwareKey) {
  const plan = planOf(profileName, key, issuerKey);
  const der = await sealCertificate(plan.tbs, verificationKey(plan.signer.spki), signed(plan.signer, plan.tbs));
  if (der === undefined) throw new Error("the signature does not verify");
  return { ...plan, der };
}
