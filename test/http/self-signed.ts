import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { Credentials } from "../../src/http/server.ts";

/** A certificate for localhost that is its own root, made by openssl: what a TLS listener can show where no authority stands behind it. */
export async function selfSigned(commonName: string): Promise<Credentials> {
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "-"];
  const content = ["-subj", `/CN=${commonName}`, "-addext", "subjectAltName=DNS:localhost", "-days", "3650"];
  const { stdout } = await promisify(execFile)("openssl", ["req", "-x509", ...key, ...content]);
  const certificateAt = stdout.indexOf("-----BEGIN CERTIFICATE-----");
  return { key: stdout.slice(0, certificateAt), certificate: stdout.slice(certificateAt) };
}
