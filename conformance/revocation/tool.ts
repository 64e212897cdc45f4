import { writeFile } from "node:fs/promises";
import { outputOf } from "../execute.ts";
import { reasons, type Condition, type Method, type ToolName, type Verdict } from "./method.ts";

/** A certificate to ask about; files are PEM. */
export type Specimen = {
  readonly condition: Condition;
  readonly certificate: string;
  readonly key: string;
  readonly issuer: string;
  readonly root: string;
  /** DNS name in its subjectAltName. */
  readonly name: string;
  /** The URLs that it names. */
  readonly crlUrl: string;
  readonly ocspUrl: string;
  /** When the service had answered that it is revoked. */
  readonly revokedAt?: Date;
};

/** One question, with what a tool needs that fetches nothing by itself; evidence is in DER. */
export type Question = {
  readonly method: Method;
  readonly specimen: Specimen;
  /** The CRL that stands behind the certificate's CDP. */
  readonly crl: string;
  /** The CRL of the root, which speaks of the issuer. */
  readonly rootCrl: string;
  /** The answer to a request that OpenSSL made: about this certificate by GET or POST, or about several in a batch. */
  readonly response: string | undefined;
};

/** A tool's answer, with its own words. */
export type Answer = { readonly verdict: Verdict; readonly words: string };

/** An implementation of revocation checking that is not ours; answers stand in the order of the questions. */
export type Tool = {
  readonly name: ToolName;
  answers(questions: readonly Question[]): Promise<Answer[]>;
};

/**
 * Asks a program that reads one question a line and writes one answer a line.
 * A question has seven fields, divided by tabs: method, certificate, issuer, root (PEM files), CRL ("-" for OCSP), OCSP response where the tool is not
 * to ask for one itself (both DER files, "-" else), and the responder's URL. An answer is "good", "revoked" (and the reason, where the tool tells it),
 * "expired", "undetermined" or "refused", the last two with the tool's words behind them.
 */
export async function batch(
  [program, ...parameters]: readonly [string, ...string[]],
  lines: readonly (readonly string[])[],
): Promise<Answer[]> {
  if (lines.length === 0) return [];
  const input = lines.map((fields) => `${fields.join("\t")}\n`).join("");
  const output = await outputOf(program, parameters, { input, limitSeconds: 120 });
  const answers = output.trim().split("\n");
  if (answers.length !== lines.length) throw new Error(`${program} gave ${answers.length} answers to ${lines.length} questions: ${output}`);
  return answers.map((line) => ({ verdict: verdictOf(line), words: line }));
}

/** The fields of a question for `batch`; `evidence` names the CRL and the response that the tool is to be given. */
export function fieldsOf({ method, specimen }: Question, evidence: { crl?: string | undefined; response?: string | undefined }): string[] {
  const { certificate, issuer, root, ocspUrl } = specimen;
  return [method, certificate, issuer, root, evidence.crl ?? "-", evidence.response ?? "-", ocspUrl];
}

/** The CRLs of a question in one PEM file, as the tools want them that do not read DER. */
export async function crlsInPem({ specimen, crl, rootCrl }: Question): Promise<string> {
  const file = `${specimen.certificate}.crls`;
  const read = [crl, rootCrl].map((one) => outputOf("openssl", ["crl", "-in", one, "-inform", "DER"]));
  await writeFile(file, (await Promise.all(read)).join(""));
  return file;
}

function verdictOf(line: string): Verdict {
  const [first = "", second] = line.split(" ");
  const reason = reasons.find((name) => name === second);
  if (first === "revoked") return reason === undefined ? "revoked" : `revoked ${reason}`;
  return first === "good" || first === "expired" || first === "undetermined" ? first : "refused";
}
