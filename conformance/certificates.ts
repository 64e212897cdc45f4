import { X509Certificate } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { outputOf, several } from "./execute.ts";
import type { Purpose } from "./peer/verifier.ts";
import { rest, type Service } from "./service.ts";

/** A certificate under judgement, with what it was issued for. Files are PEM. */
export type Specimen = {
  /** Profile and key algorithm: `server RSA-2048`. */
  readonly label: string;
  readonly certificate: string;
  readonly key?: string;
  readonly intermediates?: string;
  readonly root: string;
  /** DNS name in its subjectAltName; absent in a CA's certificate. */
  readonly name?: string;
  readonly purposes: readonly Purpose[];
  /** Purposes its extendedKeyUsage leaves out. */
  readonly refused: readonly Purpose[];
};

const profiles = [
  { profile: "server", purposes: ["serverAuth"], refused: ["clientAuth"] },
  { profile: "client", purposes: ["clientAuth"], refused: ["serverAuth"] },
  { profile: "mtls", purposes: ["serverAuth", "clientAuth"], refused: [] },
] as const;

/** Key algorithms of leaves, as `openssl genpkey` wants them. */
const keyAlgorithms = {
  "P-256": ["EC", "ec_paramgen_curve:P-256"],
  "P-384": ["EC", "ec_paramgen_curve:P-384"],
  "RSA-2048": ["RSA", "rsa_keygen_bits:2048"],
  "RSA-3072": ["RSA", "rsa_keygen_bits:3072"],
  "RSA-4096": ["RSA", "rsa_keygen_bits:4096"],
} as const;

/** Has `service` issue one certificate of each profile and key algorithm over REST, keys and requests made by OpenSSL; and its CA certificates. */
export async function issueSpecimens(service: Service, directory: string): Promise<Specimen[]> {
  await mkdir(directory, { recursive: true });
  const algorithms = Object.entries(keyAlgorithms);
  const keys = await several(algorithms, 2, async ([algorithm, parameters]) => {
    const key = join(directory, `${algorithm}.key`);
    await outputOf("openssl", ["genpkey", "-algorithm", parameters[0], "-pkeyopt", parameters[1], "-out", key]);
    return { algorithm, key };
  });
  const wanted = profiles.flatMap((one) => keys.map((key) => ({ ...one, ...key })));
  const leaves = await several(wanted, 2, async ({ profile, purposes, refused, algorithm, key }): Promise<Specimen> => {
    const name = `${profile}-${algorithm.toLowerCase()}.example.org`;
    const issued = await issue(service, { profile, key, name });
    const certificate = join(directory, `${profile}-${algorithm}.pem`);
    const intermediates = join(directory, `${profile}-${algorithm}-chain.pem`);
    await writeFile(certificate, issued.certificate);
    await writeFile(intermediates, issued.chain);
    return { label: `${profile} ${algorithm}`, certificate, key, intermediates, root: service.rootFile, name, purposes, refused };
  });
  const root: Specimen = {
    label: "root",
    certificate: service.rootFile,
    root: service.rootFile,
    purposes: ["any"],
    refused: [],
  };
  const subordinate: Specimen = { ...root, label: "subordinate", certificate: join(service.dataDirectory, "chain.pem") };
  return [...leaves, subordinate, root];
}

/** Asks `service` for a certificate of `profile` for the key in the file `key`. */
export async function issue(
  service: Service,
  { profile, key, name }: { profile: string; key: string; name: string },
): Promise<{ certificate: string; chain: string; serial: string; authority: string }> {
  const csr = await outputOf("openssl", ["req", "-new", "-key", key, "-subj", "/", "-addext", `subjectAltName=DNS:${name}`]);
  const answer = await rest(service, "POST", "/v1/certificates", { csr, profile });
  if (answer.status !== 201) throw new Error(`${profile} for ${name}: ${answer.status} ${answer.body}`);
  const issued: unknown = JSON.parse(answer.body);
  return {
    certificate: member(issued, "certificate"),
    chain: member(issued, "chain"),
    serial: member(issued, "serial"),
    authority: member(issued, "authority"),
  };
}

/**
 * The string member `name` of a JSON object.
 * @throws Error when there is none.
 */
export function member(value: unknown, name: string): string {
  const found: unknown = typeof value === "object" && value !== null ? Reflect.get(value, name) : undefined;
  if (typeof found !== "string") throw new Error(`the answer has no string "${name}"`);
  return found;
}

/** A copy of a certificate with one bit of its serial number flipped: everything else, the signature too, stays as it was signed. */
export async function tampered(file: string, copy: string): Promise<string> {
  const certificate = new X509Certificate(await readFile(file));
  const der = Buffer.from(certificate.raw);
  const serial = Buffer.from(certificate.serialNumber, "hex");
  const last = der.indexOf(serial) + serial.length - 1;
  der.writeUInt8(der.readUInt8(last) ^ 1, last);
  const lines = der.toString("base64").match(/.{1,64}/g) ?? [];
  await writeFile(copy, `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`);
  return copy;
}

/** A self-signed root with the subject and the subjectKeyIdentifier of the one in `file`, and another key. */
export async function impostorRoot(file: string, copy: string): Promise<string> {
  const subject = await outputOf("openssl", ["x509", "-in", file, "-noout", "-subject", "-nameopt", "compat"]);
  const identifier = await outputOf("openssl", ["x509", "-in", file, "-noout", "-ext", "subjectKeyIdentifier"]);
  const hex = identifier.split("\n")[1]?.trim() ?? "hash";
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", `${copy}.key`];
  const name = ["-subj", subject.replace(/^subject=\s*/, "").trim(), "-days", "3650"];
  const extensions = ["-addext", `subjectKeyIdentifier=${hex}`, "-addext", "keyUsage=critical,keyCertSign,cRLSign"];
  await outputOf("openssl", ["req", "-x509", ...key, ...name, ...extensions, "-out", copy]);
  return copy;
}
