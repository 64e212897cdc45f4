import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Config } from "../config.ts";
import { Fault } from "../fault.ts";
import { parseCertificate } from "../pki/certificate.ts";
import { decodePem } from "../pki/pem.ts";
import { readCrl } from "../pki/read-crl.ts";
import { sameBytes } from "../pki/tbs-certificate.ts";
import type { Running } from "./examine-listeners.ts";
import type { Finding } from "./finding.ts";

const check = "CRLs";

/**
 * The CRLs of the directory, as they stand for whoever serves it: none is over, and half of the life of a root's is not. What no file can show, a
 * revocation that a root's CRL lacks, is asked of the running service.
 */
export async function examineCrls({ crlDir, dataDir }: Config, now: Date, running?: Running): Promise<Finding[]> {
  const files = await readdir(crlDir, { recursive: true }).catch(() => []);
  const names = files.filter((file) => file.endsWith(".crl") && !file.split("/").at(-1)?.startsWith(".")).toSorted();
  if (names.length === 0) return [{ check, verdict: "ok", detail: `none in ${crlDir} yet: the first start makes them` }];
  const root = await rootName(dataDir);
  const findings: Finding[] = [];
  for (const name of names) {
    const finding = await examineFile({ file: join(crlDir, name), name, root }, now);
    if (finding) findings.push(finding);
  }
  if (findings.length > 0) return findings;
  const told = running?.checks.find(({ name }) => name === "crls");
  if (told?.detail.includes("npx chancery ca crl")) return [{ check, verdict: "warning", detail: told.detail }];
  return [{ check, verdict: "ok", detail: `${names.length} in ${crlDir}, all current` }];
}

type Place = { readonly file: string; readonly name: string; readonly root: Uint8Array | undefined };

async function examineFile({ file, name, root }: Place, now: Date): Promise<Finding | undefined> {
  const head = await headOf(file);
  if (!head) return { check, verdict: "wrong", detail: `${file} is no CRL: a running service replaces it within seconds` };
  const { issuer, thisUpdate, nextUpdate } = head;
  const slug = name.slice(0, -".crl".length);
  const ofRoot = root !== undefined && sameBytes(issuer, root);
  const remedy = ofRoot
    ? `renew it by \`npx chancery ca crl ${slug}\`, with the root's token at hand`
    : "a running service renews it: start it, or see in its log why the job crl fails";
  // A start renews those of issuing authorities; a root's waits for a person.
  if (nextUpdate <= now)
    return { check, verdict: ofRoot ? "wrong" : "warning", detail: `${slug} ended at ${nextUpdate.toISOString()}: ${remedy}` };
  const half = (thisUpdate.getTime() + nextUpdate.getTime()) / 2;
  if (now.getTime() < half) return undefined;
  return {
    check,
    verdict: "warning",
    detail: `more than half of the life of ${slug} is over, it ends at ${nextUpdate.toISOString()}: ${remedy}`,
  };
}

/** What the CRL says before its entries; undefined when it is none. */
async function headOf(file: string) {
  try {
    for await (const piece of readCrl([await readFile(file)])) if (piece.piece === "head") return piece;
  } catch (error) {
    if (!(error instanceof Fault && error.code === "malformed")) throw error;
  }
  return undefined;
}

/** DER Name of the root, as the data directory has it. */
async function rootName(dataDir: string): Promise<Uint8Array | undefined> {
  const pem = await readFile(join(dataDir, "root.pem"), "utf8").catch(() => undefined);
  const [root] = pem === undefined ? [] : decodePem(pem, "CERTIFICATE");
  return root && parseCertificate(root).subject;
}
