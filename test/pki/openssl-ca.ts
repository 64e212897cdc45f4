import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseCertificate } from "../../src/pki/certificate.ts";
import type { CrlIssuer } from "../../src/pki/crl.ts";

/** A revocation as OpenSSL's index has it. */
export type Revoked = { readonly serial: string; readonly revokedAt: string; readonly reason?: string };

/** What OpenSSL puts around its entries; times as YYMMDDHHMMSSZ or YYYYMMDDHHMMSSZ. */
export type OpensslCrl = {
  readonly revoked: readonly Revoked[];
  readonly thisUpdate: string;
  readonly nextUpdate: string;
  /** DER of the cRLNumber, hex octets divided by colons. */
  readonly number: string;
  readonly distributionPoint?: string;
};

/** An authority whose key and certificate OpenSSL made, and which signs with OpenSSL. */
export type OpensslCa = Disposable & {
  readonly issuer: CrlIssuer;
  readonly directory: string;
  /** DER CRL. */
  crl(content: OpensslCrl): Buffer;
  /** Signature of these bytes. */
  sign(bytes: Uint8Array): Buffer;
  /** DER certificate of a new key, with this serial number in hex. */
  issue(serial: string, distributionPoint?: string): Buffer;
};

/** Makes an authority. */
export function opensslCa(algorithm: "P-256" | "P-384" | "RSA-2048" = "P-256"): OpensslCa {
  const directory = mkdtempSync(join(tmpdir(), "chancery-openssl-ca-"));
  const openssl = (...words: readonly string[]): Buffer =>
    execFileSync("openssl", words, { cwd: directory, stdio: ["ignore", "pipe", "ignore"] });
  const key = algorithm === "RSA-2048" ? ["rsa:2048"] : ["ec", "-pkeyopt", `ec_paramgen_curve:${algorithm}`];
  const hash = algorithm === "P-384" ? "sha384" : "sha256";
  const extensions = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"];
  const subject = "/C=CH/O=Example Trust/CN=Issuing 1";
  openssl(
    "req",
    "-x509",
    "-newkey",
    ...key,
    "-nodes",
    "-keyout",
    "key.pem",
    "-out",
    "ca.pem",
    "-days",
    "400",
    `-${hash}`,
    "-subj",
    subject,
    ...extensions,
  );
  const { subject: name, subjectKeyIdentifier } = parseCertificate(openssl("x509", "-in", "ca.pem", "-outform", "DER"));
  if (!subjectKeyIdentifier) throw new Error("OpenSSL gave no subjectKeyIdentifier");
  return {
    issuer: { subject: name, subjectKeyIdentifier, algorithm },
    directory,
    crl({ revoked, thisUpdate, nextUpdate, number, distributionPoint }) {
      const index = revoked.map(({ serial, revokedAt, reason }) => {
        return `R\t301231235959Z\t${revokedAt}${reason === undefined ? "" : `,${reason}`}\t${serial.toUpperCase()}\tunknown\t/CN=${serial}\n`;
      });
      writeFileSync(join(directory, "index.txt"), index.join(""));
      writeFileSync(join(directory, "ca.cnf"), configuration(number, distributionPoint));
      const times = ["-crl_lastupdate", thisUpdate, "-crl_nextupdate", nextUpdate];
      openssl("ca", "-config", "ca.cnf", "-gencrl", "-md", hash, "-keyfile", "key.pem", "-cert", "ca.pem", ...times, "-out", "crl.pem");
      return openssl("crl", "-in", "crl.pem", "-outform", "DER");
    },
    sign(bytes) {
      writeFileSync(join(directory, "tbs"), bytes);
      return openssl("dgst", `-${hash}`, "-sign", "key.pem", "tbs");
    },
    issue(serial, distributionPoint) {
      const extension = distributionPoint === undefined ? "basicConstraints=CA:FALSE" : `crlDistributionPoints=URI:${distributionPoint}`;
      writeFileSync(join(directory, "leaf.cnf"), `${extension}\n`);
      openssl(
        "req",
        "-new",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-keyout",
        "leaf.key",
        "-out",
        "leaf.csr",
        "-subj",
        "/CN=leaf",
      );
      const issued = ["-CA", "ca.pem", "-CAkey", "key.pem", "-set_serial", `0x${serial}`, "-days", "30", "-extfile", "leaf.cnf"];
      openssl("x509", "-req", "-in", "leaf.csr", ...issued, "-out", "leaf.pem");
      return readFileSync(join(directory, "leaf.pem"));
    },
    [Symbol.dispose]: () => rmSync(directory, { recursive: true, force: true }),
  };
}

/** What a program said, on either output, and whether it was content. */
export function ask(
  program: string,
  words: readonly string[],
  options: { readonly cwd?: string; readonly input?: Uint8Array } = {},
): { said: string; content: boolean } {
  const { stdout, stderr, status } = spawnSync(program, words, { ...options, maxBuffer: 1 << 30 });
  return { said: `${stdout.toString()}${stderr.toString()}`, content: status === 0 };
}

function configuration(number: string, distributionPoint: string | undefined): string {
  return [
    "[ca]\ndefault_ca = ours",
    "[ours]\ndatabase = index.txt\ncrl_extensions = extensions\ndefault_crl_days = 1",
    `[extensions]\nauthorityKeyIdentifier = keyid:always\n2.5.29.20 = DER:${number}`,
    ...(distributionPoint === undefined
      ? []
      : [`issuingDistributionPoint = critical, @point\n[point]\nfullname = URI:${distributionPoint}\nonlyuser = TRUE`]),
    "",
  ].join("\n");
}
