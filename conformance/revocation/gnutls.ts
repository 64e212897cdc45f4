import { X509Certificate } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { execute, outputOf, several } from "../execute.ts";
import { crlsInPem, type Answer, type Question, type Specimen, type Tool } from "./tool.ts";

/** `certtool --verify` with CRLs, and `ocsptool`, which asks about a status alone and does not tell the reason. */
export const gnutls: Tool = {
  name: "gnutls",
  answers: (questions) => several(questions, 2, (question) => (question.method.endsWith("CRL") ? listed(question) : asked(question))),
};

async function listed(question: Question): Promise<Answer> {
  const { certificate, issuer, root } = question.specimen;
  const chain = await outputOf("cat", [certificate, issuer]);
  const crls = await crlsInPem(question);
  const ended = await execute("certtool", ["--verify", "--load-ca-certificate", root, "--load-crl", crls], { input: chain });
  const words = plain(`${ended.stdout} ${ended.stderr}`);
  const last = words.slice(words.indexOf("Chain verification output"));
  if (ended.status === 0) return { verdict: "good", words: last };
  if (last.includes("is revoked")) return { verdict: "revoked", words: last };
  return { verdict: last.includes("expired certificate") ? "expired" : "refused", words: last };
}

async function asked({ method, specimen, response }: Question): Promise<Answer> {
  const { certificate, issuer, root, ocspUrl } = specimen;
  // Beside the root it wants to be told of the issuer, under which it finds the responder's certificate.
  const trusted = `${certificate}.trust`;
  await writeFile(trusted, await outputOf("cat", [root, issuer]));
  const trust = ["--load-issuer", issuer, "--load-trust", trusted];
  const given = method === "OCSP GET" || method === "OCSP batch";
  const source = given ? ["--verify-response", `--load-response=${response}`] : [`--ask=${ocspUrl}`, "--load-cert", certificate];
  const ended = await execute("ocsptool", [...source, ...trust, ...(method === "OCSP nonce" ? ["--nonce"] : [])]);
  const words = plain(`${ended.stdout} ${ended.stderr}`.replaceAll(/-----BEGIN[^]*?-----END[^\n]*/g, ""));
  if (words.includes("Response Status: unauthorized")) return { verdict: "undetermined", words };
  if (ended.status !== 0 || !words.includes("Verifying OCSP Response: Success.")) return { verdict: "refused", words };
  return { verdict: await statusOf(specimen, words), words };
}

/** The status that the response has behind the certificate's serial number. */
async function statusOf({ certificate }: Specimen, words: string): Promise<Answer["verdict"]> {
  const serial = new X509Certificate(await readFile(certificate)).serialNumber.toLowerCase();
  const status = new RegExp(String.raw`Serial Number: ${serial} Certificate Status: (\w+)`).exec(words)?.[1];
  return status === "good" || status === "revoked" ? status : "undetermined";
}

function plain(text: string): string {
  return text.replaceAll(/\s+/g, " ").trim();
}
