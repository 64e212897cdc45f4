import { createPrivateKey, createPublicKey, type KeyObject, randomUUID, sign } from "node:crypto";
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { type Command, InvalidArgumentError, Option } from "commander";
import { revokeCertificate } from "../client/revocation.ts";
import { Fault } from "../fault.ts";
import { reasonNames } from "../pki/crl-reason.ts";
import { certificateReport } from "./cert-show.ts";
import { serialOf } from "./certificate-text.ts";
import { addCommand } from "./command.ts";
import { parseTime } from "./duration.ts";
import { openService } from "./service.ts";
import { print, type Shell } from "./shell.ts";

type Options = {
  readonly reason: string;
  readonly revokedAt?: string;
  readonly key?: string;
  readonly blockKey?: true;
  readonly json?: boolean;
};

/** Adds `cert revoke`. */
export function addCertRevoke(cert: Command, shell: Shell): void {
  const past = (text: string): string => {
    if (/^\d+[smhd]$/.test(text)) throw new InvalidArgumentError("It is a time that is over: 2026-10-31T12:00:00Z.");
    return parseTime(text, shell.now());
  };
  addCommand(cert, {
    usage: "revoke <serial>",
    summary: "revoke a certificate",
    description:
      "Revoke a certificate for good, by its serial (32 hex digits, colons allowed). With --key, the private key shows that it is compromised: it is blocked, and all of its certificates are revoked; --block-key does the same without the key, for administrators of /.",
    examples: [
      "npx chancery cert revoke 4f0c2a7d90b1e3856c4d2f1a0b9e8d7c --reason superseded",
      "npx chancery cert revoke 4f0c2a7d90b1e3856c4d2f1a0b9e8d7c --reason keyCompromise --key ./var/first/localhost.key",
    ],
  })
    .addOption(reasonOption().default("unspecified"))
    .option("--revoked-at <time>", "since when the key is known to be compromised: 2026-10-31T12:00:00Z", past)
    .option("--key <file>", "with keyCompromise: the certificate's private key, PEM; it is not sent, but signs the proof")
    .option(
      "--block-key",
      "with keyCompromise: block the key and revoke all of its certificates, without the key at hand; for administrators of /",
    )
    .action(async (text: string, { key, json, ...rest }: Options) => {
      const serial = requireSerial(text);
      if (key !== undefined && rest.reason !== "keyCompromise")
        throw new Fault("malformed", "--key goes with --reason keyCompromise alone");
      const proof = key === undefined ? undefined : await proofBy(await readKey(resolve(shell.cwd, key)), serial);
      await using service = openService(shell);
      const request = { ...rest, ...(proof !== undefined && { proof }), idempotencyKey: randomUUID() };
      print(shell, certificateReport(await revokeCertificate(service, serial, request)), json);
    });
}

/** `--reason`, by the names of RFC 5280. */
export function reasonOption(): Option {
  return new Option("--reason <reason>", "why (RFC 5280 §5.3.1); privilegeWithdrawn is for administrators").choices(reasonNames);
}

/** @throws Fault `malformed` when it is none. */
export function requireSerial(text: string): string {
  const serial = serialOf(text);
  if (serial === undefined)
    throw new Fault("malformed", `${JSON.stringify(text.slice(0, 64))} is no serial: it has 32 hex digits, colons allowed`);
  return serial;
}

async function readKey(file: string): Promise<KeyObject> {
  const content = await readFile(file);
  try {
    return createPrivateKey(content);
  } catch (cause) {
    throw new Fault("malformed", `${file} holds no private key in PEM that can be read without a passphrase`, { cause });
  }
}

/** PEM of a request that this key signs and that names the certificate: what it proves, nobody else can. */
async function proofBy(key: KeyObject, serial: string): Promise<string> {
  const [{ keyAlgorithm, signatureAlgorithm }, { keyProofInfo, sealKeyProof }, { encodePem }] = await Promise.all([
    import("../pki/algorithm.ts"),
    import("../pki/key-proof.ts"),
    import("../pki/pem.ts"),
  ]);
  const spki = createPublicKey(key).export({ type: "spki", format: "der" });
  const algorithm = signatureAlgorithm(keyAlgorithm(spki));
  const info = keyProofInfo(serial, spki);
  const signature = sign(algorithm === "ecdsa-with-SHA384" ? "sha384" : "sha256", info, key);
  return encodePem("CERTIFICATE REQUEST", sealKeyProof(info, algorithm, signature));
}
