import { join } from "node:path";
import { execute, outputOf, several, type Ended } from "../execute.ts";
import { checkout } from "../service.ts";

/** What a certificate is to be accepted for: a TLS server, a TLS client, an OCSP responder, or nothing in particular (a CA). */
export type Purpose = "serverAuth" | "clientAuth" | "ocspSigning" | "any";

/** One question to a verifier; certificates are PEM files. */
export type Question = {
  readonly certificate: string;
  readonly intermediates?: string;
  readonly root: string;
  readonly purpose: Purpose;
  /** DNS name the certificate must stand for. */
  readonly name?: string;
};

/** A verifier's answer, with its own words. */
export type Answer = { readonly accepted: boolean; readonly words: string };

/** An implementation of path validation (RFC 5280 §6) that is not ours; answers stand in the order of the questions. */
export type Verifier = {
  readonly peer: "openssl" | "gnutls" | "java" | "go";
  answers(questions: readonly Question[]): Promise<Answer[]>;
};

/** `openssl verify -x509_strict`: also refuses what RFC 5280 forbids and OpenSSL otherwise lets pass. */
export const openssl: Verifier = {
  peer: "openssl",
  answers: (questions) =>
    several(questions, 2, async ({ certificate, intermediates, root, purpose, name }) => {
      const purposes = { serverAuth: "sslserver", clientAuth: "sslclient", ocspSigning: "ocsphelper", any: "any" };
      const trust = ["-x509_strict", "-no-CApath", "-no-CAstore", "-CAfile", root, "-purpose", purposes[purpose]];
      const path = intermediates === undefined ? [] : ["-untrusted", intermediates];
      const host = name === undefined ? [] : ["-verify_hostname", name];
      const ended = await execute("openssl", ["verify", ...trust, ...path, ...host, certificate]);
      return exitStatus(ended);
    }),
};

/** `certtool --verify` of GnuTLS. */
export const gnutls: Verifier = {
  peer: "gnutls",
  answers: (questions) =>
    several(questions, 2, async ({ certificate, intermediates, root, purpose, name }) => {
      const purposes = {
        serverAuth: "1.3.6.1.5.5.7.3.1",
        clientAuth: "1.3.6.1.5.5.7.3.2",
        ocspSigning: "1.3.6.1.5.5.7.3.9",
        any: undefined,
      };
      const chain = await outputOf("cat", [certificate, ...(intermediates === undefined ? [] : [intermediates])]);
      const wanted = purposes[purpose];
      const usage = wanted === undefined ? [] : [`--verify-purpose=${wanted}`];
      const host = name === undefined ? [] : [`--verify-hostname=${name}`];
      const ended = await execute("certtool", ["--verify", "--load-ca-certificate", root, ...usage, ...host], { input: chain });
      return exitStatus(ended);
    }),
};

/** The PKIX trust manager of Java. */
export const java: Verifier = {
  peer: "java",
  answers: (questions) =>
    batch("java", ["--add-exports", "java.base/sun.security.util=ALL-UNNAMED", join(checkout, "conformance/java/Verify.java")], questions),
};

/** crypto/x509 of Go. */
export const go: Verifier = {
  peer: "go",
  answers: (questions) => batch("go", ["run", "."], questions, join(checkout, "conformance/go")),
};

function exitStatus({ status, stdout, stderr }: Ended): Answer {
  return { accepted: status === 0, words: `${stdout} ${stderr}`.replaceAll(/\s+/g, " ").trim() };
}

/** Asks a program that reads one question a line and writes one answer a line. */
async function batch(program: string, parameters: string[], questions: readonly Question[], directory?: string): Promise<Answer[]> {
  const lines = questions.map((one) => [one.purpose, one.name ?? "-", one.root, one.certificate, one.intermediates ?? "-"].join("\t"));
  const output = await outputOf(program, parameters, {
    input: `${lines.join("\n")}\n`,
    limitSeconds: 300,
    ...(directory === undefined ? {} : { directory }),
  });
  const answers = output.trim().split("\n");
  if (answers.length !== questions.length) throw new Error(`${program} gave ${answers.length} answers to ${questions.length} questions`);
  return answers.map((line) => ({ accepted: line === "accepted", words: line }));
}
