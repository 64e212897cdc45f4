import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { outputOf, several } from "../execute.ts";
import { answerable } from "./openssl.ts";
import { familyOf, methods, type Method } from "./method.ts";
import { crlPaths, type Stage } from "./stage.ts";
import type { Question, Specimen } from "./tool.ts";

/** Every method about every certificate, with the CRLs and OCSP responses that stand behind its URLs now. */
export async function questionsAbout({ specimens, place, url }: Stage): Promise<Question[]> {
  const rootCrl = await fetchFile(url(crlPaths.root), fileOf(place.directory, url(crlPaths.root)));
  const crlUrls = [...new Set(Object.values(specimens).flatMap((family) => family.map(({ crlUrl }) => crlUrl)))];
  const crls = new Map(await several(crlUrls, 2, async (one) => [one, await fetchFile(one, fileOf(place.directory, one))] as const));
  const wanted = methods.flatMap((method) => specimens[familyOf(method)].map((specimen) => ({ method, specimen })));
  return await several(wanted, 2, async ({ method, specimen }): Promise<Question> => {
    const response = await responseTo(method, specimen, specimens[familyOf(method)]);
    return { method, specimen, crl: crls.get(specimen.crlUrl) ?? "", rootCrl, response };
  });
}

/** Writes what stands behind `url` to `file`. @returns the file. @throws Error for any answer but 200. */
export async function fetchFile(url: string, file: string): Promise<string> {
  const answer = await fetch(url);
  if (answer.status !== 200) throw new Error(`${url}: HTTP status ${answer.status}`);
  await writeFile(file, Buffer.from(await answer.arrayBuffer()));
  return file;
}

/** A file of `directory` that is named after a URL's path. */
export function fileOf(directory: string, url: string): string {
  return join(directory, new URL(url).pathname.slice(1).replaceAll("/", "-"));
}

/** The answer to OpenSSL's request, in a file; undefined for methods that need none. */
async function responseTo(method: Method, specimen: Specimen, family: readonly Specimen[]): Promise<string | undefined> {
  if (method === "OCSP batch") return await exchange(specimen, "POST", companyOf(specimen, family));
  if (method === "OCSP GET" || method === "OCSP POST") return await exchange(specimen, method === "OCSP GET" ? "GET" : "POST", [specimen]);
  return undefined;
}

/** Whom a batch asks about beside a certificate: all that the responder answers for, or, for one that it does not, a good one. */
function companyOf(specimen: Specimen, family: readonly Specimen[]): readonly Specimen[] {
  const known = family.filter(answerable);
  return answerable(specimen) ? known : [...known.slice(0, 1), specimen];
}

async function exchange(specimen: Specimen, how: "GET" | "POST", asked: readonly Specimen[]): Promise<string> {
  const file = `${specimen.certificate}.${how}-${asked.length}`;
  const request = await writeRequest(`${file}.request`, asked);
  const { ocspUrl } = specimen;
  const headers = { "Content-Type": "application/ocsp-request" };
  const answer =
    how === "GET"
      ? await fetch(`${ocspUrl}/${encodeURIComponent(request.toString("base64"))}`)
      : await fetch(ocspUrl, { method: "POST", headers, body: request });
  if (answer.status !== 200) throw new Error(`${how} ${ocspUrl}: HTTP status ${answer.status}`);
  await writeFile(`${file}.response`, Buffer.from(await answer.arrayBuffer()));
  return `${file}.response`;
}

/** OpenSSL's OCSP request about all of them in one, without a nonce, which it also writes to `file`. */
export async function writeRequest(file: string, asked: readonly Specimen[]): Promise<Buffer<ArrayBuffer>> {
  const certificates = asked.flatMap(({ issuer, certificate }) => ["-issuer", issuer, "-cert", certificate]);
  await outputOf("openssl", ["ocsp", "-no_nonce", ...certificates, "-reqout", file]);
  return await readFile(file);
}
