import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { member } from "../certificates.ts";
import { outputOf, several } from "../execute.ts";
import { rest, type Service } from "../service.ts";
import { reasons, type Condition, type Family } from "./method.ts";
import type { Specimen } from "./tool.ts";

/** The profile of each family: the CRL of one is divided into shards, of the other not. Both admit a TLS server. */
export const profiles: Readonly<Record<Family, string>> = { full: "mtls", shard: "server" };

/** What certificates of one service have in common: where their files lie, and under whom they stand. */
export type Place = { readonly directory: string; readonly issuer: string; readonly root: string };

/** One certificate in each condition that the service knows: good, and revoked with each reason, with the time of that. */
export async function issueAndRevoke(service: Service, place: Place, family: Family): Promise<Specimen[]> {
  const wanted = ["good", ...reasons.map((reason) => `revoked ${reason}` as const)] as const;
  return await several(wanted, 2, async (condition) => {
    const { specimen, serial } = await issueSpecimen(service, place, { family, condition });
    const reason = condition === "good" ? undefined : condition.slice("revoked ".length);
    if (reason === undefined) return specimen;
    await revoke(service, serial, reason);
    return { ...specimen, revokedAt: new Date() };
  });
}

/** A certificate that is valid for no longer than its profile must allow: issued in the past it has expired by now. */
export async function issueShortLived(service: Service, place: Place, family: Family): Promise<Specimen> {
  const { specimen } = await issueSpecimen(service, place, { family, condition: "expired", lifetimeSeconds: 3600 });
  return specimen;
}

/** Where the files of a certificate lie, and the name that it stands for. */
export function filesOf({ directory }: Place, family: Family, condition: Condition): { certificate: string; key: string; name: string } {
  const label = `${family}-${condition}`.replaceAll(/[^a-z]+/gi, "-").toLowerCase();
  return { certificate: join(directory, `${label}.pem`), key: join(directory, `${label}.key`), name: `${label}.example.org` };
}

/** The URLs that a certificate in the PEM file `certificate` names for its CRL and its OCSP responder. @throws Error when one is missing. */
export async function statusUrls(certificate: string): Promise<{ crlUrl: string; ocspUrl: string }> {
  const text = await outputOf("openssl", ["x509", "-in", certificate, "-noout", "-ext", "crlDistributionPoints,authorityInfoAccess"]);
  const crlUrl = /CRL Distribution Points[^]*?URI:(\S+)/.exec(text)?.[1];
  const ocspUrl = /OCSP - URI:(\S+)/.exec(text)?.[1];
  if (crlUrl === undefined || ocspUrl === undefined) throw new Error(`${certificate} does not name a CRL and an OCSP responder: ${text}`);
  return { crlUrl, ocspUrl };
}

/** A new P-256 key in the PEM file `file`. */
export async function newKey(file: string): Promise<void> {
  await outputOf("openssl", ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", file]);
}

async function issueSpecimen(
  service: Service,
  place: Place,
  { family, condition, lifetimeSeconds }: { family: Family; condition: Condition; lifetimeSeconds?: number },
): Promise<{ specimen: Specimen; serial: string }> {
  const files = filesOf(place, family, condition);
  await newKey(files.key);
  const names = ["-subj", "/", "-addext", `subjectAltName=DNS:${files.name}`];
  const csr = await outputOf("openssl", ["req", "-new", "-key", files.key, ...names]);
  const answer = await rest(service, "POST", "/v1/certificates", { csr, profile: profiles[family], lifetimeSeconds });
  if (answer.status !== 201) throw new Error(`${files.name}: ${answer.status} ${answer.body}`);
  const issued: unknown = JSON.parse(answer.body);
  await writeFile(files.certificate, member(issued, "certificate"));
  const { issuer, root } = place;
  const specimen = { condition, ...files, issuer, root, ...(await statusUrls(files.certificate)) };
  return { specimen, serial: member(issued, "serial") };
}

async function revoke(service: Service, serial: string, reason: string): Promise<void> {
  const answer = await rest(service, "POST", `/v1/certificates/${serial}/revoke`, { reason });
  if (answer.status !== 200) throw new Error(`revoking for ${reason}: ${answer.status} ${answer.body}`);
}
