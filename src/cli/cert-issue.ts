import { randomUUID } from "node:crypto";
import { readFile, rename, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { type Command, InvalidArgumentError, Option } from "commander";
import { type IssuedCertificate, issueCertificate } from "../client/certificate.ts";
import { ClientError } from "../client/client-error.ts";
import { createFile, replaceFile } from "../durable-file.ts";
import { Fault } from "../fault.ts";
import type { GeneralName } from "../pki/general-name.ts";
import { namesText } from "./certificate-text.ts";
import { addCommand } from "./command.ts";
import { parseDuration } from "./duration.ts";
import { type RequestKeyAlgorithm, requestKeyAlgorithms } from "./key-algorithm.ts";
import { fileNameOf, requestedName } from "./requested-name.ts";
import { requireOutput, writeCertificate } from "./output.ts";
import { openService, serviceLocation } from "./service.ts";
import { print, type Report, type Shell } from "./shell.ts";
import { members } from "./table.ts";

type Options = {
  readonly name?: readonly GeneralName[];
  readonly csr?: string;
  readonly profile: string;
  readonly out?: string;
  readonly lifetime?: number;
  readonly keyAlgorithm: RequestKeyAlgorithm;
  readonly idempotencyKey?: string;
  readonly force?: boolean;
  readonly json?: boolean;
};

/** Adds `cert issue`: makes key and request, or takes a request, and writes what the service issues for it. */
export function addCertIssue(cert: Command, shell: Shell): void {
  addCommand(cert, {
    usage: "issue",
    summary: "have a certificate issued",
    description:
      "Have a certificate issued. Makes a key and a request on the spot and writes NAME.key (PKCS#8, mode 0600) and NAME.pem (certificate, then its issuers without the root), NAME being the first name; or takes a request made elsewhere.",
    examples: [
      "npx chancery cert issue --name localhost --out ./var/first",
      "npx chancery cert issue --name www.example.org --name 192.0.2.7 --lifetime 30d --key-algorithm P-384",
      "npx chancery cert issue --csr request.pem --profile client --out .",
    ],
  })
    .addOption(new Option("--name <name>", "DNS name, IP address or URI; repeat it for more names").argParser(anotherName))
    .option("--csr <file>", "take this PKCS#10 request, PEM or DER, instead of --name; without --out the certificate goes to stdout")
    .option("--profile <profile>", "what kind of certificate: see `profile list`", "server")
    .option("--out <directory>", "where the files go; made when it is not there (default: the current directory)")
    .option("--lifetime <duration>", "how long it is valid: 90d, 24h, 30m or 45s (default: the profile's)", parseDuration)
    .addOption(new Option("--key-algorithm <algorithm>", "key to make").choices(requestKeyAlgorithms).default("P-256"))
    .option(
      "--idempotency-key <key>",
      "1 to 255 visible ASCII characters; the same --csr with the same key gives the same certificate again (default: a new key)",
      parseIdempotencyKey,
    )
    .option("--force", "replace NAME.key when it is there already")
    .action(async (options: Options) => print(shell, await issue(shell, options), options.json));
}

async function issue(shell: Shell, options: Options): Promise<Report> {
  const { name: names, csr } = options;
  if (names && csr === undefined) return issueForNames(shell, options, names);
  if (!names && csr !== undefined) return issueForRequest(shell, options, csr);
  throw new InvalidArgumentError("give either --name or --csr");
}

async function issueForNames(shell: Shell, options: Options, names: readonly GeneralName[]): Promise<Report> {
  const first = names[0]?.value ?? "";
  const directory = resolve(shell.cwd, options.out ?? ".");
  const keyFile = join(directory, `${fileNameOf(first)}.key`);
  const certificateFile = join(directory, `${fileNameOf(first)}.pem`);
  await using service = openService(shell);
  await requireOutput(directory, [keyFile, certificateFile]);
  const { makeRequest } = await import("./request.ts");
  const { privateKey, csr } = await makeRequest(names, options.keyAlgorithm);

  // The key is durable before anyone may certify it. One that is to be replaced stays until its successor has a certificate.
  const pendingFile = options.force ? `${keyFile}.new` : keyFile;
  const key = { content: privateKey, mode: 0o600 };
  if (options.force) await replaceFile(pendingFile, key);
  else await createFile(pendingFile, key, "use --force to replace it, or another --out");
  const issued = await issueCertificate(service, requestOf(options, csr)).catch((error: unknown) => withoutCertificate(error, pendingFile));
  if (options.force) await rename(pendingFile, keyFile);
  await writeCertificate(certificateFile, issued.serial, issued.certificate + issued.chain);

  const { caFile } = serviceLocation(shell);
  const hint =
    `next: give both files to the server (nginx: ssl_certificate ${certificateFile}; ssl_certificate_key ${keyFile};) ` +
    `and let clients trust ${caFile}\n`;
  return {
    document: { ...issued, files: { key: keyFile, certificate: certificateFile } },
    text: `wrote ${keyFile} (private key, mode 0600)\nwrote ${certificateFile} (certificate and chain)\n${summary(issued)}${hint}`,
  };
}

async function issueForRequest(shell: Shell, options: Options, csrFile: string): Promise<Report> {
  const csr = await readFile(resolve(shell.cwd, csrFile));
  // A DER SEQUENCE begins with 0x30, which is no beginning of PEM; the interface takes DER as base64.
  const text = csr[0] === 0x30 ? csr.toString("base64") : csr.toString("utf8");
  await using service = openService(shell);
  const directory = options.out === undefined ? undefined : resolve(shell.cwd, options.out);
  const fileOf = (name: string) => join(directory ?? shell.cwd, `${fileNameOf(name)}.pem`);
  if (directory !== undefined) await requireOutput(directory, (await firstName(text)).map(fileOf));
  const issued = await issueCertificate(service, requestOf(options, text));
  const pem = issued.certificate + issued.chain;
  if (directory === undefined) return { document: issued, text: pem };

  const certificateFile = fileOf(issued.names[0]?.value ?? issued.serial);
  await writeCertificate(certificateFile, issued.serial, pem);
  return {
    document: { ...issued, files: { certificate: certificateFile } },
    text: `wrote ${certificateFile} (certificate and chain)\n${summary(issued)}next: let clients trust ${serviceLocation(shell).caFile}\n`,
  };
}

/** The first name that a request asks for; none when it has none, or when it is one that the service will refuse. */
async function firstName(csr: string): Promise<string[]> {
  const { csrFromText, parseCsr } = await import("../pki/csr.ts");
  try {
    const { names } = await parseCsr(csrFromText(csr));
    return names.slice(0, 1).map(({ value }) => value);
  } catch (error) {
    if (error instanceof Fault) return [];
    throw error;
  }
}

function requestOf({ profile, lifetime, idempotencyKey }: Options, csr: string) {
  return {
    csr,
    profile,
    ...(lifetime !== undefined && { lifetimeSeconds: lifetime }),
    idempotencyKey: idempotencyKey ?? randomUUID(),
  };
}

/** A key that surely has no certificate is taken away again; one that may have is kept, and the error says so. */
async function withoutCertificate(error: unknown, keyFile: string): Promise<never> {
  if (!(error instanceof ClientError)) throw error;
  const { reason, detail, problem, outcomeKnown } = error;
  if (!outcomeKnown) {
    // Where it was recorded before the halt it is finished when that ends; else nothing comes of it. The answer is the same.
    const halted = "a request that was begun before the halt is finished when issuance is resumed, else no certificate comes of it";
    const outcome = problem?.code === "issuanceHalted" ? halted : "a certificate may yet have been issued";
    const kept = `${detail}; ${outcome}, so its key stays in ${keyFile}`;
    throw new ClientError(reason, kept, { outcomeKnown, cause: error, ...(problem && { problem }) });
  }
  await rm(keyFile, { force: true });
  throw error;
}

function summary(issued: IssuedCertificate): string {
  return members({ serial: issued.serial, names: namesText(issued.names), notAfter: issued.notAfter, issuer: issued.authority });
}

function anotherName(text: string, before: readonly GeneralName[] = []): readonly GeneralName[] {
  return [...before, requestedName(text)];
}

function parseIdempotencyKey(text: string): string {
  if (!/^[\x21-\x7e]{1,255}$/.test(text)) throw new InvalidArgumentError("It is 1 to 255 visible ASCII characters.");
  return text;
}
