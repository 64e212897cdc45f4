import { X509Certificate } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { execute, outputOf, several } from "../execute.ts";
import type { Matrix } from "../matrix.ts";
import { rest, type Service } from "../service.ts";
import { fileOf } from "./evidence.ts";
import { crlPaths, type Stage } from "./stage.ts";
import { profiles, type Place } from "./stock.ts";

/** A certificate in a PEM file, and the profile that it was issued under. */
type LiveCertificate = { readonly file: string; readonly profile: string };

/** Inspects what the URLs of every live certificate lead to (XC-22). */
export async function inspectLiveUrls(matrix: Matrix, { service, place }: Stage): Promise<void> {
  const where = { subject: "URLs in live certificates", peer: "chancery" } as const;
  const live = await liveCertificates(service, place.directory);
  const found = new Set(live.map(({ profile }) => profile));
  await matrix.check({ ...where, check: "certificates of every profile are valid" }, async () =>
    [...Object.keys(named), ...Object.values(profiles)].every((name) => found.has(name)) ? undefined : [...found].join(),
  );
  for (const certificate of live) {
    await matrix.check({ ...where, check: "CRL, OCSP response and issuer are there, are its own and are young (XC-22)" }, async () => {
      const wrong = await wrongBehind(certificate, place);
      return wrong.length === 0 ? undefined : wrong.join("; ");
    });
  }
}

/** The directory from which any web server can serve the CRLs has them under the same paths, byte for byte. */
export async function inspectCrlDirectory(matrix: Matrix, { service, url }: Stage): Promise<void> {
  for (const path of [crlPaths.root, crlPaths.full, ...crlPaths.shards]) {
    await matrix.check({ subject: "CRLs", peer: "chancery", check: `the directory has ${path} as it is served` }, async () => {
      const served = Buffer.from(await (await fetch(url(path))).arrayBuffer());
      const kept = await readFile(join(service.dataDirectory, path));
      return kept.equals(served) ? undefined : `${kept.length} octets in the file, ${served.length} behind the URL, and not the same`;
    });
  }
}

/** Every certificate of `service` that is valid now, its own authorities' and responders' among them, below `directory`. */
async function liveCertificates(service: Service, directory: string): Promise<LiveCertificate[]> {
  const listed: { serial: string; profile: string }[] = [];
  let cursor: string | undefined;
  do {
    const query = new URLSearchParams({ status: "valid", limit: "100", ...(cursor === undefined ? {} : { cursor }) });
    const answer = await rest(service, "GET", `/v1/certificates?${query.toString()}`);
    if (answer.status !== 200) throw new Error(`GET /v1/certificates: ${answer.status} ${answer.body}`);
    const page = JSON.parse(answer.body) as { certificates: { serial: string; profile: string }[]; nextCursor?: string };
    listed.push(...page.certificates);
    cursor = page.nextCursor;
  } while (cursor !== undefined);
  return await several(listed, 2, async ({ serial, profile }) => {
    const headers = { Accept: "application/pem-certificate-chain" };
    const { body } = await rest(service, "GET", `/v1/certificates/${serial}`, undefined, headers);
    const file = join(directory, `live-${serial}.pem`);
    await writeFile(file, body);
    return { file, profile };
  });
}

/**
 * What is wrong behind the URLs that `certificate` names, as OpenSSL reads what is there (XC-22): the CRL and the OCSP response are the issuer's, have
 * not lived half of their life, and a CRL with an issuingDistributionPoint names this very URL; the issuer's certificate is the issuer's, byte for byte.
 */
export async function wrongBehind({ file: certificate, profile }: LiveCertificate, chain: Place): Promise<string[]> {
  // The root issued it.
  const inspection = profile === "subordinate" ? { ...chain, issuer: chain.root } : chain;
  const text = await outputOf("openssl", ["x509", "-in", certificate, "-noout", "-ext", "crlDistributionPoints,authorityInfoAccess"]);
  const uris = (pattern: RegExp): string[] => [...text.matchAll(pattern)].map(([, uri = ""]) => uri);
  const crls = uris(/^\s+URI:(\S+)/gm);
  const responders = uris(/OCSP - URI:(\S+)/g);
  const issuers = uris(/CA Issuers - URI:(\S+)/g);
  const found = [crls.length, responders.length, issuers.length].join();
  return [
    ...(found === (named[profile] ?? "1,1,1") ? [] : [`a ${profile} that names ${found} CRLs, responders and issuers`]),
    ...(await Promise.all(crls.map((url) => wrongCrl(url, inspection)))).flat(),
    ...(await Promise.all(responders.map((url) => wrongResponse(url, certificate, inspection)))).flat(),
    ...(await Promise.all(issuers.map((url) => wrongIssuer(url, inspection)))).flat(),
  ];
}

/** How many CRLs, responders and issuers a certificate names that is not an end entity's. */
const named: Readonly<Record<string, string>> = { root: "0,0,0", subordinate: "1,0,1", "ocsp-responder": "0,0,0" };

async function wrongCrl(url: string, { directory, issuer }: Place): Promise<string[]> {
  const { file, complaints } = await fetched(url, "application/pkix-crl", directory);
  if (complaints.length > 0) return complaints;
  const read = await execute("openssl", ["crl", "-in", file, "-inform", "DER", "-CAfile", issuer, "-noout", "-text"]);
  const text = read.stdout;
  const point = /Issuing Distribution Point[^]*?URI:(\S+)/.exec(text)?.[1];
  const shard = !url.endsWith("-1.crl");
  return [
    ...(read.status === 0 && read.stderr.includes("verify OK") ? [] : [`${url}: ${read.stderr.trim()}`]),
    ...aged(url, between(text, /Last Update: (.*)/, /Next Update: (.*)/)),
    ...(shard && point !== url ? [`${url}: its issuingDistributionPoint names ${point}`] : []),
    ...(!shard && point !== undefined ? [`${url}: a full CRL with the issuingDistributionPoint ${point}`] : []),
  ];
}

async function wrongResponse(url: string, certificate: string, { issuer, root }: Place): Promise<string[]> {
  const asked = ["-url", url, "-no_nonce", "-issuer", issuer, "-cert", certificate, "-CAfile", root, "-no-CApath", "-no-CAstore"];
  const ended = await execute("openssl", ["ocsp", ...asked]);
  const status = /: (good|revoked)$/m.exec(ended.stdout)?.[1];
  return [
    ...(ended.stderr.includes("Response verify OK") ? [] : [`${url}: ${ended.stderr.trim()}`]),
    ...(status === "good" ? [] : [`${url}: a valid certificate is not good: ${ended.stdout.trim()}`]),
    ...aged(url, between(ended.stdout, /This Update: (.*)/, /Next Update: (.*)/)),
  ];
}

async function wrongIssuer(url: string, { directory, issuer }: Place): Promise<string[]> {
  const { file, complaints } = await fetched(url, "application/pkix-cert", directory);
  if (complaints.length > 0) return complaints;
  const { raw } = new X509Certificate(await readFile(issuer));
  return raw.equals(await readFile(file)) ? [] : [`${url}: other bytes than the issuer's certificate`];
}

async function fetched(url: string, type: string, directory: string): Promise<{ file: string; complaints: string[] }> {
  const file = fileOf(directory, url);
  const answer = await fetch(url, { redirect: "manual" });
  await writeFile(file, Buffer.from(await answer.arrayBuffer()));
  const found = answer.headers.get("content-type");
  return {
    file,
    complaints: [
      ...(answer.status === 200 ? [] : [`${url}: HTTP status ${answer.status}`]),
      ...(found === type ? [] : [`${url}: Content-Type ${found}, RFC 5280 says ${type}`]),
    ],
  };
}

function between(text: string, from: RegExp, to: RegExp): { thisUpdate: Date; nextUpdate: Date } {
  const date = (pattern: RegExp): Date => new Date(pattern.exec(text)?.[1] ?? "none");
  return { thisUpdate: date(from), nextUpdate: date(to) };
}

/** Half of its life must lie ahead; a date that cannot be read is a complaint as well. */
function aged(url: string, { thisUpdate, nextUpdate }: { thisUpdate: Date; nextUpdate: Date }): string[] {
  const [begin, end] = [thisUpdate.getTime(), nextUpdate.getTime()];
  // A second of another clock is no fault.
  if (begin <= Date.now() + 1000 && Date.now() < begin + (end - begin) / 2) return [];
  return [`${url}: from ${String(thisUpdate)} to ${String(nextUpdate)}, of which less than half lies ahead`];
}
