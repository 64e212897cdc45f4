import { join } from "node:path";
import { checkout } from "../service.ts";
import { libraries } from "./install.ts";
import { batch, fieldsOf, type Question, type Tool } from "./tool.ts";

/** Java's PKIX revocation checker. It fetches CRLs itself and asks by GET; what it would not send, POST and batch, it is given the answer of. */
export const java: Tool = {
  name: "java",
  answers: (questions) => {
    const exported = ["--add-exports", "java.base/sun.security.provider.certpath=ALL-UNNAMED"];
    return batch(
      ["java", ...briefly, ...exported, join(checkout, "conformance/java/Revoked.java")],
      linesOf(questions, ["OCSP POST", "OCSP batch"]),
    );
  },
};

/** BouncyCastle: its path validation with CRLs, its OCSP requests and answers. */
export const bouncyCastle: Tool = {
  name: "bouncycastle",
  answers: (questions) => {
    const program = join(checkout, "conformance/java/revocation/BouncyCastle.java");
    const lines = questions.map((question) => {
      const { method, crl, rootCrl, response } = question;
      const batched = method === "OCSP batch" ? response : undefined;
      return fieldsOf(question, { crl: method.endsWith("CRL") ? `${crl},${rootCrl}` : undefined, response: batched });
    });
    return batch(["java", ...briefly, "-cp", join(libraries.bouncyCastle, "*"), program], lines);
  },
};

/** crypto/x509 and golang.org/x/crypto/ocsp of Go. */
export const go: Tool = {
  name: "go",
  answers: (questions) => batch([libraries.go], linesOf(questions, ["OCSP nonce", "OCSP batch"])),
};

/** rustls-webpki. */
export const webpki: Tool = {
  name: "rustls-webpki",
  answers: (questions) => batch([libraries.webpki], linesOf(questions, [])),
};

/** pyhanko-certvalidator. It fetches CRLs itself and asks by POST; GET and batch it is given the answer of. */
export const pyhanko: Tool = {
  name: "pyhanko",
  answers: (questions) => {
    const program = join(checkout, "conformance/python/revoked.py");
    return batch([join(libraries.pyhanko, "bin/python"), program], linesOf(questions, ["OCSP GET", "OCSP batch"]));
  },
};

/** For a Java that ends after seconds: no second compiler and no parallel collector. */
const briefly = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"] as const;

/** @param given - the methods whose response comes with the question */
function linesOf(questions: readonly Question[], given: readonly Question["method"][]): string[][] {
  return questions.map((question) => {
    const { method, crl, response } = question;
    const evidence = { crl: method.endsWith("CRL") ? crl : undefined, response: given.includes(method) ? response : undefined };
    return fieldsOf(question, evidence);
  });
}
