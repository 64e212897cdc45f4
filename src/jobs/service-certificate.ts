import { createHash, createPrivateKey, createPublicKey, generateKeyPair, type KeyObject } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Ca } from "../ca/ca.ts";
import { readStoredCertificate } from "../ca/certificates.ts";
import { issue } from "../ca/issue.ts";
import { replaceFile } from "../durable-file.ts";
import { spkiSha256, verificationKey } from "../pki/algorithm.ts";
import { type Certificate, parseCertificate } from "../pki/certificate.ts";
import type { GeneralName } from "../pki/general-name.ts";
import { decodePem, encodePem } from "../pki/pem.ts";

/** Key and chain that the TLS listener shows, both PEM. */
export type ServiceCertificate = { readonly key: string; readonly chain: string; readonly notAfter: Date };

/** Where the certificate is kept between starts, and what it is for. */
export type ServiceCertificatePlan = { readonly dataDir: string; readonly names: readonly GeneralName[] };

/** Fourteen days, renewed with a third of them left. */
const lifetimeSeconds = 14 * 86_400;
const renewBeforeSeconds = lifetimeSeconds / 3;

/**
 * The certificate of the service's own TLS listener, from its own intermediate: the one kept in the data directory while it is good for
 * these names, far from its end and not revoked, else a new one under a new key.
 */
export async function serviceCertificate(ca: Ca, plan: ServiceCertificatePlan): Promise<ServiceCertificate> {
  const kept = await keptCertificate(ca, plan);
  if (kept && !(await isRevoked(ca, kept.leaf))) return kept.shown;
  return await newCertificate(ca, plan);
}

async function isRevoked(ca: Ca, { serial }: Certificate): Promise<boolean> {
  const issuing = [...ca.authorities.values()].filter(({ kind }) => kind === "issuing");
  const found = await Promise.all(issuing.map(({ slug }) => readStoredCertificate(ca, slug, Buffer.from(serial, "hex"))));
  return found.some((certificate) => certificate?.status === "revoked");
}

/** What the data directory holds, and the leaf of its chain. */
type Kept = { readonly shown: ServiceCertificate; readonly leaf: Certificate };

async function keptCertificate(ca: Ca, { dataDir, names }: ServiceCertificatePlan): Promise<Kept | undefined> {
  const files = await Promise.all([read(join(dataDir, "tls.key")), read(join(dataDir, "tls.pem"))]);
  const [key, chain] = files;
  if (key === undefined || chain === undefined) return undefined;
  try {
    const [leaf, issuer] = decodePem(chain, "CERTIFICATE");
    if (!leaf || !issuer) return undefined;
    const certificate = parseCertificate(leaf);
    const fits =
      spkiOf(createPrivateKey(key)).equals(Buffer.from(certificate.spki)) &&
      certificate.notAfter.getTime() - ca.clock.now().getTime() > renewBeforeSeconds * 1000 &&
      JSON.stringify(certificate.names) === JSON.stringify(names) &&
      [...ca.authorities.values()].some((authority) => Buffer.from(authority.certificate).equals(issuer));
    return fits ? { shown: { key, chain, notAfter: certificate.notAfter }, leaf: certificate } : undefined;
  } catch {
    // Whatever is wrong with what was kept, a new certificate takes its place.
    return undefined;
  }
}

async function newCertificate(ca: Ca, { dataDir, names }: ServiceCertificatePlan): Promise<ServiceCertificate> {
  const { privateKey } = await promisify(generateKeyPair)("ec", { namedCurve: "P-256" });
  const spki = spkiOf(privateKey);
  const { certificate } = await issue(ca, {
    door: "system",
    principal: { id: "system", namespace: "/" },
    requestHash: createHash("sha256").update(spkiSha256(spki)).digest(),
    profile: "server",
    names,
    publicKey: verificationKey(spki),
    lifetimeSeconds,
  });
  const key = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  const chain = [certificate.certificate, ...certificate.chain].map((der) => encodePem("CERTIFICATE", der)).join("");
  // A crash between the two leaves a key that the certificate does not fit: the next start replaces both.
  await replaceFile(join(dataDir, "tls.key"), { content: key, mode: 0o600 });
  await replaceFile(join(dataDir, "tls.pem"), { content: chain, mode: 0o600 });
  return { key, chain, notAfter: certificate.notAfter };
}

function spkiOf(privateKey: KeyObject): Buffer {
  return createPublicKey(privateKey).export({ type: "spki", format: "der" });
}

async function read(file: string): Promise<string | undefined> {
  return await readFile(file, "utf8").catch(() => undefined);
}
