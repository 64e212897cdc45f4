import { mkdtemp } from "node:fs/promises";
import { join } from "node:path";
import { execute, outputOf, several } from "../execute.ts";
import type { Answer, Question, Specimen, Tool } from "./tool.ts";

/** NSS over databases below `directory`: its library asks the responder by GET, or looks into a CRL that `crlutil` took in. */
export function nss(directory: string): Tool {
  return {
    name: "nss",
    answers: (questions) =>
      several(questions, 2, async (question) => {
        const database = await mkdtemp(join(directory, "nss-"));
        await prepare(database, question.specimen);
        return question.method.endsWith("CRL") ? await listed(database, question) : await asked(database);
      }),
  };
}

async function listed(database: string, { crl }: Question): Promise<Answer> {
  const taken = await execute("crlutil", ["-I", "-d", `sql:${database}`, "-i", crl]);
  // What it cannot take in, it does not look into: nothing can be said of the certificate then.
  if (taken.status !== 0 || taken.stderr.includes("unable to import")) return { verdict: "undetermined", words: plain(taken.stderr) };
  return verdictOf(await chain(database, []));
}

async function asked(database: string): Promise<Answer> {
  const ocsp = ["-pp", "-g", "leaf", "-m", "ocsp"];
  const answer = verdictOf(await chain(database, [...ocsp, "-s", "failIfNoInfo"]));
  if (answer.verdict !== "revoked") return answer;
  // Where it has no information it says "revoked" too: only a revoked certificate is refused also when it may do without.
  const leniently = verdictOf(await chain(database, ocsp));
  return leniently.verdict === "revoked" ? answer : { ...answer, verdict: "undetermined" };
}

async function prepare(database: string, { issuer, root, certificate }: Specimen): Promise<void> {
  const certutil = (parameters: readonly string[]): Promise<string> => outputOf("certutil", [...parameters, "-d", `sql:${database}`]);
  await certutil(["-N", "--empty-password"]);
  await certutil(["-A", "-n", "root", "-t", "CT,C,C", "-i", root]);
  await certutil(["-A", "-n", "issuer", "-t", ",,", "-i", issuer]);
  await outputOf("openssl", ["x509", "-in", certificate, "-outform", "DER", "-out", join(database, "leaf.der")]);
}

async function chain(database: string, options: readonly string[]): Promise<string> {
  const ended = await execute("vfychain", ["-d", `sql:${database}`, ...options, "-u", "1", join(database, "leaf.der")]);
  return plain(`${ended.stdout} ${ended.stderr}`);
}

function verdictOf(words: string): Answer {
  if (words.includes("Chain is good!")) return { verdict: "good", words };
  const code = /ERROR (-\d+)/.exec(words)?.[1];
  // SEC_ERROR_REVOKED_CERTIFICATE and SEC_ERROR_EXPIRED_CERTIFICATE.
  return { verdict: code === "-8180" ? "revoked" : code === "-8181" ? "expired" : "refused", words };
}

function plain(text: string): string {
  return text.replaceAll(/\s+/g, " ").trim();
}
