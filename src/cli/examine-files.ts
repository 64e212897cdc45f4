import { X509Certificate } from "node:crypto";
import { constants } from "node:fs";
import { access, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Config } from "../config.ts";
import { Fault } from "../fault.ts";
import type { Finding } from "./finding.ts";
import type { Trials } from "./shell.ts";

/** The Node that runs this. */
export function examineNode(version: string): Finding {
  const old = Number(version.split(".")[0]) < 24;
  return old
    ? {
        check: "Node",
        verdict: "wrong",
        detail: `${version} is too old: run it by npx, which takes the checkout's own, or install Node 24`,
      }
    : { check: "Node", verdict: "ok", detail: version };
}

/** The data directory: there, ours to write, closed to others. */
export async function examineDataDirectory({ dataDir }: Config): Promise<Finding> {
  const check = "data directory";
  const mode = await modeOf(dataDir);
  if (mode === undefined) {
    return { check, verdict: "ok", detail: `${dataDir} is not there yet: the first start makes it` };
  }
  if (!(await isAllowed(dataDir, constants.R_OK | constants.W_OK | constants.X_OK))) {
    return {
      check,
      verdict: "wrong",
      detail: `${dataDir} is not writable for this user: give it to the service's user (chown), or set CHANCERY_DATA_DIR`,
    };
  }
  return (mode & 0o077) === 0
    ? { check, verdict: "ok", detail: dataDir }
    : { check, verdict: "warning", detail: `${dataDir} is open to other users (mode ${octal(mode)}): chmod 700 ${dataDir}` };
}

/** The admin's token in the data directory, where there is one: closed to others, and valid for more than a month. */
export async function examineAdminToken(config: Config, trials: Trials, now: Date): Promise<Finding[]> {
  const check = "admin token";
  const file = join(config.dataDir, "admin.token");
  const mode = await modeOf(file);
  if (mode === undefined) return [];
  const secret = secretFinding(check, file, mode);
  if (secret.verdict !== "ok" || !(await isAllowed(file, constants.R_OK))) return [secret];
  // What is wrong with the database is another check's to say.
  const standing = await trials.adminToken(config).catch((error: unknown) => {
    if (error instanceof Fault) return undefined;
    throw error;
  });
  if (standing === undefined) return [secret];
  const remedy = "`npx chancery token recover` on this machine writes a new one";
  if (standing === "invalid") return [{ check, verdict: "warning", detail: `${file} holds no token that is valid: ${remedy}` }];
  const days = Math.floor((standing.expiresAt.getTime() - now.getTime()) / 86_400_000);
  return days < renewalDays
    ? [{ check, verdict: "warning", detail: `the token in ${file} is valid for ${days} more days: ${remedy}` }]
    : [{ ...secret, detail: `${secret.detail}, valid for ${days} more days` }];
}

const renewalDays = 30;

/** A file with a PIN: there, and closed to others. An evaluation makes it with its token, and not for one that was made before (`tokenMade`). */
export async function examinePinFile({ pkcs11PinFile, env }: Config, tokenMade: boolean): Promise<Finding> {
  const check = "PIN file";
  const mode = await modeOf(pkcs11PinFile);
  if (mode !== undefined) return secretFinding(check, pkcs11PinFile, mode);
  return env === "evaluation" && !tokenMade
    ? { check, verdict: "ok", detail: `${pkcs11PinFile} is not there yet: the first start makes it` }
    : {
        check,
        verdict: "wrong",
        detail: `${pkcs11PinFile} is not there: put the token's user PIN into it, mode 0400, or set CHANCERY_PKCS11_PIN_FILE`,
      };
}

/** The certificate that the TLS listener shows, as the data directory keeps it. */
export async function examineServiceCertificate({ dataDir, baseUrl }: Config, now: Date): Promise<Finding> {
  const check = "service certificate";
  const pem = await readFile(join(dataDir, "tls.pem"), "utf8").catch(() => undefined);
  if (pem === undefined) return { check, verdict: "ok", detail: "none yet: the first start issues it" };
  const certificate = parsed(pem);
  if (!certificate)
    return { check, verdict: "warning", detail: `${join(dataDir, "tls.pem")} is no certificate: the next start replaces it` };
  const host = new URL(baseUrl).hostname.replace(/^\[|\]$/g, "");
  const named = certificate.checkHost(host) ?? certificate.checkIP(host);
  if (!named)
    return { check, verdict: "warning", detail: `it is not for ${host}, the host of CHANCERY_BASE_URL: the next start replaces it` };
  const days = Math.floor((certificate.validToDate.getTime() - now.getTime()) / 86_400_000);
  if (days < 0)
    return {
      check,
      verdict: "warning",
      detail: "it has expired: the next start replaces it; a running service should have, look at its log",
    };
  return { check, verdict: "ok", detail: `valid for ${days} more days; it renews itself` };
}

function secretFinding(check: string, file: string, mode: number): Finding {
  return (mode & 0o077) === 0
    ? { check, verdict: "ok", detail: `${file}, mode ${octal(mode)}` }
    : { check, verdict: "wrong", detail: `${file} is open to other users (mode ${octal(mode)}): chmod 600 ${file}` };
}

async function isAllowed(path: string, mode: number): Promise<boolean> {
  return access(path, mode).then(
    () => true,
    () => false,
  );
}

async function modeOf(path: string): Promise<number | undefined> {
  return stat(path).then(
    ({ mode }) => mode & 0o777,
    () => undefined,
  );
}

function octal(mode: number): string {
  return `0${mode.toString(8)}`;
}

function parsed(pem: string): X509Certificate | undefined {
  try {
    return new X509Certificate(pem);
  } catch {
    return undefined;
  }
}
