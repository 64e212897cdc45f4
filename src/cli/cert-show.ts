import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { type Command, Option } from "commander";
import { type IssuedCertificate, readCertificate, readCertificateChain, readCertificateDer } from "../client/certificate.ts";
import { Fault } from "../fault.ts";
import { fingerprintText, namesText, serialOf } from "./certificate-text.ts";
import { addCommand } from "./command.ts";
import { openService } from "./service.ts";
import { print, type Report, type Shell } from "./shell.ts";
import { members } from "./table.ts";

type Options = { readonly json?: boolean; readonly pem?: boolean; readonly der?: boolean };

/** Adds `cert show`: a certificate of the service by its serial, or one in a file. */
export function addCertShow(cert: Command, shell: Shell): void {
  addCommand(cert, {
    usage: "show <serial|file>",
    summary: "show a certificate",
    description:
      "Show a certificate: of the service, by its serial (32 hex digits, colons allowed), or the first one in a file (PEM or DER), which needs no service.",
    examples: [
      "npx chancery cert show ./var/first/localhost.pem",
      "npx chancery cert show 4f0c2a7d90b1e3856c4d2f1a0b9e8d7c --pem > localhost.pem",
    ],
  })
    .addOption(new Option("--pem", "print certificate and chain as PEM").conflicts(["json", "der"]))
    .addOption(new Option("--der", "print the certificate as DER").conflicts("json"))
    .action(async (subject: string, options: Options) => {
      const serial = serialOf(subject);
      if (serial === undefined) return showFile(shell, subject, options);
      await using service = openService(shell);
      if (options.pem) return shell.out(await readCertificateChain(service, serial));
      if (options.der) return shell.out(await readCertificateDer(service, serial));
      return print(shell, certificateReport(await readCertificate(service, serial)), options.json);
    });
}

/** What is shown of a certificate of the service. */
export function certificateReport(certificate: IssuedCertificate): Report {
  const {
    serial,
    status,
    revokedAt,
    revocationReason,
    profile,
    namespace,
    authority,
    subject,
    names,
    notBefore,
    notAfter,
    keyAlgorithm,
    spkiSha256,
  } = certificate;
  const text = members({
    serial,
    status,
    ...(revokedAt !== undefined && { revokedAt }),
    ...(revocationReason !== undefined && { revocationReason }),
    profile,
    namespace,
    authority,
    subject: subject === "" ? "(empty)" : subject,
    names: namesText(names),
    notBefore,
    notAfter,
    keyAlgorithm,
    spkiSha256,
    sha256: fingerprintText(fingerprint(certificate.certificate)),
  });
  return { document: certificate, text };
}

async function showFile(shell: Shell, file: string, options: Options): Promise<void> {
  const path = resolve(shell.cwd, file);
  const content = await readFile(path).catch((cause: unknown) => {
    if (!(cause instanceof Error && "code" in cause && cause.code === "ENOENT")) throw cause;
    throw new Fault("malformed", `${file} is neither a file nor a serial: a serial is 32 hex digits, colons allowed`, { cause });
  });
  const der = await certificateIn(path, content);
  if (options.der) return shell.out(der);
  const { encodePem } = await import("../pki/pem.ts");
  const pem = encodePem("CERTIFICATE", der);
  if (options.pem) return shell.out(pem);

  const [{ parseCertificate }, { formatName }] = await Promise.all([import("../pki/certificate.ts"), import("../pki/name.ts")]);
  const certificate = parseCertificate(der);
  const document = {
    serial: certificate.serial,
    issuer: formatName(certificate.issuer),
    subject: certificate.subjectText,
    names: certificate.names,
    notBefore: seconds(certificate.notBefore),
    notAfter: seconds(certificate.notAfter),
    keyAlgorithm: certificate.keyAlgorithm,
    spkiSha256: certificate.spkiSha256,
    sha256: fingerprint(der),
    certificate: pem,
  };
  const { names, certificate: _bytes, sha256, subject, ...rest } = document;
  const shown = { ...rest, subject: subject === "" ? "(empty)" : subject, names: namesText(names), sha256: fingerprintText(sha256) };
  print(shell, { document, text: members(shown) }, options.json);
}

async function certificateIn(path: string, content: Buffer): Promise<Uint8Array> {
  if (content[0] === 0x30) return content;
  const { decodePem } = await import("../pki/pem.ts");
  const [first] = decodePem(content.toString("latin1"), "CERTIFICATE");
  if (!first) throw new Fault("malformed", `${path} holds no certificate: give a PEM or DER file, or a serial of 32 hex digits`);
  return first;
}

function fingerprint(certificate: string | Uint8Array): string {
  return new X509Certificate(certificate).fingerprint256.replaceAll(":", "").toLowerCase();
}

function seconds(time: Date): string {
  return time.toISOString().replace(/\.\d{3}Z$/, "Z");
}
