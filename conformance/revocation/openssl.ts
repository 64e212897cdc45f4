import { execute, several } from "../execute.ts";
import { reasons, type Method, type Verdict } from "./method.ts";
import { crlsInPem, type Answer, type Question, type Specimen, type Tool } from "./tool.ts";

/** `openssl verify` with CRLs, and `openssl ocsp`, which asks about a status alone. */
export const openssl: Tool = {
  name: "openssl",
  async answers(questions) {
    const batch = await wholeBatch(questions.filter(({ method }) => method === "OCSP batch"));
    return await several(questions, 2, async (question) => batch.get(question) ?? (await single(question)));
  },
};

async function single(question: Question): Promise<Answer> {
  const { method, specimen, response } = question;
  const { certificate, issuer, root, ocspUrl } = specimen;
  if (method === "full CRL") return await verify(specimen, ["-crl_check_all", "-CRLfile", await crlsInPem(question)]);
  // Here OpenSSL itself fetches what the CDP names.
  if (method === "shard CRL") return await verify(specimen, ["-crl_check", "-crl_download"]);
  const source = method === "OCSP GET" ? ["-respin", response ?? ""] : ["-url", ocspUrl];
  const nonce = method === "OCSP nonce" ? ["-respout", nonceResponseOf(specimen)] : ["-no_nonce"];
  const ended = await execute("openssl", [
    "ocsp",
    ...source,
    ...nonce,
    "-issuer",
    issuer,
    hashOf(method),
    "-cert",
    certificate,
    ...trust(root),
  ]);
  return statusIn(`${ended.stdout}\n${ended.stderr}`, certificate, method);
}

/** The file in which OpenSSL keeps what the responder answered to its nonce. */
export function nonceResponseOf({ certificate }: Specimen): string {
  return `${certificate}.nonce.response`;
}

/** `openssl verify` of a certificate, with `options` about CRLs. */
async function verify({ certificate, issuer, root }: Specimen, options: readonly string[]): Promise<Answer> {
  const strictly = ["-x509_strict", "-no-CApath", "-no-CAstore", "-CAfile", root, "-untrusted", issuer];
  const ended = await execute("openssl", ["verify", ...strictly, ...options, certificate]);
  const words = `${ended.stdout} ${ended.stderr}`.replaceAll(/\s+/g, " ").trim();
  if (ended.status === 0) return { verdict: "good", words };
  const code = /error (\d+) at/.exec(words)?.[1];
  return { verdict: verdicts[code ?? ""] ?? "refused", words };
}

/** X509_V_ERR_…: no CRL of that issuer, certificate expired, CRL expired, revoked, a CRL of another scope. */
const verdicts: Readonly<Record<string, Verdict>> = {
  3: "undetermined",
  10: "expired",
  12: "undetermined",
  23: "revoked",
  44: "undetermined",
};

/** All certificates of the batch in one request. What the responder will not answer for, it refuses with the whole message: those are asked apart. */
async function wholeBatch(questions: readonly Question[]): Promise<Map<Question, Answer>> {
  const [first] = questions;
  if (first === undefined) return new Map();
  const known = questions.filter(({ specimen }) => answerable(specimen));
  const [good] = known;
  const groups = [
    known,
    ...questions.filter(({ specimen }) => !answerable(specimen)).map((question) => [...(good ? [good] : []), question]),
  ];
  const answers = await several(groups, 2, async (group) => {
    const ask = group.flatMap(({ specimen }) => ["-issuer", specimen.issuer, "-cert", specimen.certificate]);
    const ended = await execute("openssl", ["ocsp", "-url", first.specimen.ocspUrl, "-no_nonce", ...ask, ...trust(first.specimen.root)]);
    const asked = group === known ? group : group.slice(-1);
    return asked.map((question) => {
      const answer = statusIn(`${ended.stdout}\n${ended.stderr}`, question.specimen.certificate, "OCSP batch");
      return [question, answer] as const;
    });
  });
  return new Map(answers.flat());
}

/** Whether the responder gives a signed answer about the certificate. */
export function answerable({ condition }: Specimen): boolean {
  return condition !== "unassigned serial" && condition !== "another issuer's";
}

function trust(root: string): string[] {
  return ["-CAfile", root, "-no-CApath", "-no-CAstore"];
}

/** Old clients hash with SHA-1, which is OpenSSL's default; RFC 9919 §3.1.1 wants SHA-256 of new ones. */
function hashOf(method: Method): string {
  return method === "OCSP GET" ? "-sha1" : "-sha256";
}

function statusIn(output: string, certificate: string, method: Method): Answer {
  const words = output.replaceAll(/\s+/g, " ").trim();
  if (words.includes("Responder Error")) return { verdict: "undetermined", words };
  const nonced = method !== "OCSP nonce" || !/nonce/i.test(words);
  if (!words.includes("Response verify OK") || !nonced) return { verdict: "refused", words };
  const [, ...behind] = output.split(`${certificate}: `);
  // From the certificate's own line to the next line that is not indented.
  const own = /^.*(?:\n[ \t].*)*/.exec(behind.join(""))?.[0] ?? "";
  if (own.startsWith("good")) return { verdict: "good", words };
  if (!own.startsWith("revoked")) return { verdict: "undetermined", words };
  const told = /Reason: (\S+)/.exec(own)?.[1] ?? "unspecified";
  const reason = reasons.find((name) => name === told);
  return { verdict: reason === undefined ? "revoked" : `revoked ${reason}`, words };
}
