import { execFile } from "node:child_process";
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Service } from "../../src/app.ts";
import { issue } from "../../src/ca/issue.ts";
import { type RevocationOutcome, revoke } from "../../src/ca/revoke.ts";
import { verificationKey } from "../../src/pki/algorithm.ts";
import { exchange, type Received } from "../http/exchange.ts";

/** What a client asks, as `openssl ocsp` writes it. */
export type Asked = {
  /** Hex. */
  readonly serials: readonly string[];
  readonly hash?: "sha1" | "sha256";
  readonly nonce?: boolean;
  /** File with the issuer's certificate in PEM. */
  readonly issuer: string;
};

/** DER OCSPRequest written by openssl. */
export async function opensslOcspRequest({ serials, hash = "sha1", nonce = false, issuer }: Asked): Promise<Uint8Array> {
  return await inDirectory(async (directory) => {
    const file = join(directory, "request.der");
    const entries = serials.flatMap((serial) => [`-${hash}`, "-serial", `0x${serial}`]);
    await promisify(execFile)("openssl", ["ocsp", "-issuer", issuer, ...entries, nonce ? "-nonce" : "-no_nonce", "-reqout", file]);
    return await readFile(file);
  });
}

/** What openssl makes of a response: whether it believes it, and what it says of each serial number, in the order of `serials`. */
export type Verdict = {
  readonly verified: boolean;
  readonly text: string;
  readonly statuses: readonly string[];
  readonly error: string | undefined;
};

/** Judges a response by `openssl ocsp`, which trusts the root alone and is given no responder's certificate. */
export async function opensslOcspVerdict(
  response: Uint8Array,
  { serials, hash = "sha1", issuer, root }: Asked & { readonly root: string },
): Promise<Verdict> {
  return await inDirectory(async (directory) => {
    const file = join(directory, "response.der");
    await writeFile(file, response);
    const entries = serials.flatMap((serial) => [`-${hash}`, "-serial", `0x${serial}`]);
    const args = ["ocsp", "-issuer", issuer, ...entries, "-no_nonce", "-respin", file, "-CAfile", root, "-resp_text"];
    const { stdout, stderr } = await promisify(execFile)("openssl", args).catch((error: { stdout: string; stderr: string }) => error);
    const said = (serial: string) =>
      new RegExp(
        `^0x${serial}: (.*(?:\\n\\tThis Update: .*|\\n\\tNext Update: .*|\\n\\tReason: .*|\\n\\tRevocation Time: .*)*)`,
        "mi",
      ).exec(stdout)?.[1];
    return {
      verified: stderr.includes("Response verify OK"),
      text: stdout,
      statuses: serials.map((serial) => said(serial)?.split("\n")[0] ?? "not answered"),
      error: /Responder Error: (\w+)/.exec(stdout + stderr)?.[1],
    };
  });
}

/** Sends a request to the responder of `slug` by POST. */
export async function postOcsp({ listeners }: Service, request: Uint8Array, slug = "issuing-1"): Promise<Received> {
  const headers = { "content-type": "application/ocsp-request" };
  return await exchange(listeners.status, { method: "POST", path: `/ocsp/${slug}`, headers, body: request });
}

/** Issues a certificate by the service's own right, and gives its serial number. */
export async function issuedSerial({ ca }: Pick<Service, "ca">): Promise<string> {
  const { certificate } = await issue(ca, systemRequest());
  return certificate.serial;
}

/** A request of the service itself, for a new key. */
export function systemRequest() {
  const { publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return {
    door: "system",
    principal: { id: "system", namespace: "/" },
    requestHash: randomBytes(32),
    profile: "server",
    names: [{ type: "dns", value: "ocsp.example.org" }],
    publicKey: verificationKey(publicKey.export({ type: "spki", format: "der" })),
  } as const;
}

/** Revokes by the service's own right. */
export async function revokeSerial({ ca }: Pick<Service, "ca">, serial: string, reason = 0): Promise<RevocationOutcome> {
  return await revoke(ca, {
    authority: "issuing-1",
    serial: Buffer.from(serial, "hex"),
    reason,
    namespace: "/",
    principal: "system",
    requestId: "test",
  });
}

async function inDirectory<T>(act: (directory: string) => Promise<T>): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), "chancery-ocsp-"));
  try {
    return await act(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
