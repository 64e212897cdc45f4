import { generateKeyPairSync, sign, type KeyObject } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { keyAlgorithm, verificationKey, type KeyAlgorithm } from "../src/pki/algorithm.ts";
import { keyIdentifier, notAfterOf, sealCertificate, tbsCertificate, type Issuer } from "../src/pki/certificate.ts";
import { encodeName, type Name } from "../src/pki/name.ts";
import { encodePem } from "../src/pki/pem.ts";
import { profileByName, type Profile } from "../src/pki/profile.ts";
import type { Specimen } from "./certificates.ts";
import { statusUrlInCertificates } from "./service.ts";

/** A CA of this process: what stands in the certificates it signs, and its private key. */
export type Authority = { readonly issuer: Issuer; readonly privateKey: KeyObject };

/** A key of this process. */
type Key = { readonly spki: Uint8Array; readonly privateKey: KeyObject };

/** Makes a key, by the name of its algorithm. */
export const newKey: Readonly<Record<string, () => Key>> = {
  "P-256": () => exported(generateKeyPairSync("ec", { namedCurve: "P-256" })),
  "P-384": () => exported(generateKeyPairSync("ec", { namedCurve: "P-384" })),
  "RSA-2048": () => exported(generateKeyPairSync("rsa", { modulusLength: 2048 })),
  "RSA-3072": () => exported(generateKeyPairSync("rsa", { modulusLength: 3072 })),
  "RSA-4096": () => exported(generateKeyPairSync("rsa", { modulusLength: 4096 })),
};

/**
 * For each key algorithm an issuer may have: root, subordinate, OCSP responder and server certificate, written by `src/pki` as the service writes
 * them and signed with keys of this process. A running service has one issuer; this covers the others, and the profile that nobody can ask for.
 */
export async function issuers(directory: string): Promise<Specimen[]> {
  await mkdir(directory, { recursive: true });
  const specimens: Specimen[] = [];
  for (const [algorithm, generate] of Object.entries(newKey)) specimens.push(...(await hierarchy(directory, algorithm, generate)));
  return specimens;
}

async function hierarchy(directory: string, algorithm: string, generate: () => Key): Promise<Specimen[]> {
  const file = (kind: string): string => join(directory, `${algorithm}-${kind}.pem`);
  const subject = (name: string): Name => [
    { type: "C", value: "CH" },
    { type: "O", value: "Example" },
    { type: "CN", value: `Example ${name} ${algorithm}` },
  ];
  const [rootKey, subordinateKey, responderKey, serverKey] = [generate(), generate(), newKey["P-256"]?.() ?? generate(), generate()];
  const root = authority(subject("Root"), rootKey, "root-1");
  const subordinate = authority(subject("Issuing"), subordinateKey, "issuing-1");
  const name = `by-${algorithm.toLowerCase()}.example.org`;
  await write(file("root"), await signed(root, profile("root"), { subject: subject("Root"), names: [], spki: rootKey.spki }));
  await write(
    file("subordinate"),
    await signed(root, profile("subordinate"), { subject: subject("Issuing"), names: [], spki: subordinateKey.spki }),
  );
  await write(
    file("responder"),
    await signed(subordinate, profile("ocsp-responder"), { subject: subject("Responder"), names: [], spki: responderKey.spki }),
  );
  await write(
    file("server"),
    await signed(subordinate, profile("server"), { subject: [], names: [{ type: "dns", value: name }], spki: serverKey.spki }),
  );
  const under = { root: file("root"), intermediates: file("subordinate") };
  return [
    { label: `root ${algorithm}`, certificate: file("root"), root: file("root"), purposes: ["any"], refused: [] },
    { label: `subordinate ${algorithm}`, certificate: file("subordinate"), root: file("root"), purposes: ["any"], refused: [] },
    {
      label: `ocsp-responder by ${algorithm}`,
      certificate: file("responder"),
      ...under,
      purposes: ["ocspSigning"],
      refused: ["serverAuth"],
    },
    { label: `server by ${algorithm}`, certificate: file("server"), ...under, name, purposes: ["serverAuth"], refused: ["clientAuth"] },
  ];
}

function exported({ publicKey, privateKey }: { publicKey: KeyObject; privateKey: KeyObject }): Key {
  return { spki: publicKey.export({ format: "der", type: "spki" }), privateKey };
}

/** A CA of that name and key; its URLs are those of our service's authority `slug`. */
export function authority(name: Name, { spki, privateKey }: Key, slug: string): Authority {
  const algorithm: KeyAlgorithm = keyAlgorithm(spki);
  const urls = {
    caIssuers: `${statusUrlInCertificates}/ca/${slug}.cer`,
    ocsp: `${statusUrlInCertificates}/ocsp/${slug}`,
    crl: `${statusUrlInCertificates}/crl/${slug}.crl`,
  };
  const notAfter = new Date("2049-01-01T00:00:00Z");
  return { privateKey, issuer: { subject: encodeName(name), spki, subjectKeyIdentifier: keyIdentifier(spki), notAfter, algorithm, urls } };
}

/** The profile of that name. @throws Error when there is none. */
export function profile(name: string): Profile {
  const found = profileByName(name);
  if (found === undefined) throw new Error(`no profile ${name}`);
  return found;
}

/** A DER certificate of the authority, of a random serial number. */
export async function signed(
  { issuer, privateKey }: Authority,
  made: Profile,
  content: { subject: Name; names: readonly { type: "dns"; value: string }[]; spki: Uint8Array },
): Promise<Uint8Array> {
  const notBefore = new Date(Math.floor(Date.now() / 1000) * 1000 - made.backdateSeconds * 1000);
  const notAfter = notAfterOf(notBefore, made.lifetimeSeconds.default);
  const serial = Buffer.from(crypto.getRandomValues(new Uint8Array(16)));
  // The same 126 random bits as the service's: positive, and no leading zero octet (RFC 5280 §4.1.2.2).
  serial.writeUInt8((serial.readUInt8(0) & 0x3f) | 0x40, 0);
  const tbs = tbsCertificate(issuer, made, content, { serial: serial.toString("hex"), notBefore, notAfter });
  const certificate = await sealCertificate(tbs, verificationKey(issuer.spki), signature({ issuer, privateKey }, tbs));
  if (certificate === undefined) throw new Error(`the signature of ${issuer.algorithm} does not verify`);
  return certificate;
}

/** A signature over `bytes` as an authority or a responder makes it. */
export function signature(
  { issuer, privateKey }: { readonly issuer: Pick<Issuer, "algorithm">; readonly privateKey: KeyObject },
  bytes: Uint8Array,
): Uint8Array {
  // P-384 signs with SHA-384, every other key of ours with SHA-256.
  return sign(issuer.algorithm === "P-384" ? "sha384" : "sha256", bytes, privateKey);
}

async function write(file: string, der: Uint8Array): Promise<void> {
  await writeFile(file, encodePem("CERTIFICATE", der));
}
