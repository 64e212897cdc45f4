import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { outputOf } from "../execute.ts";
import type { Matrix } from "../matrix.ts";
import { judgeControl, type Control } from "./crl-controls.ts";
import type { Method } from "./method.ts";
import { inCondition, type Stage } from "./stage.ts";
import type { Specimen, Tool } from "./tool.ts";

/** Somebody in the middle wants a revoked certificate to pass for good: what he puts in place of the responder's answer, and what each tool says. */
type Deceit = Control & { readonly methodOf: (tool: Tool) => Method; response(victim: Victim): Promise<string> };

/** A revoked certificate, and a good one of the same issuer whose key the attacker holds. */
type Victim = { readonly revoked: Specimen; readonly good: Specimen; readonly directory: string };

const deceits: readonly Deceit[] = [
  {
    name: "the OCSP response about another certificate",
    methodOf: plainly,
    verdicts: {
      openssl: "undetermined",
      gnutls: "undetermined",
      java: "refused",
      bouncycastle: "undetermined",
      go: "refused",
      nss: "undetermined",
      "rustls-webpki": undefined,
      pyhanko: "undetermined",
      "nginx+curl": "undetermined",
    },
    response: async ({ good, directory }) => await ask(good, join(directory, "about-another.response"), ["-no_nonce"]),
  },
  {
    name: "an OCSP response that a TLS server signed",
    methodOf: plainly,
    verdicts: {
      openssl: "refused",
      gnutls: "refused",
      java: "refused",
      bouncycastle: "refused",
      // x/crypto/ocsp asks whether the issuer signed the signer's certificate; what for, it leaves to its caller.
      go: "good",
      nss: "undetermined",
      "rustls-webpki": undefined,
      pyhanko: "undetermined",
      "nginx+curl": "undetermined",
    },
    response: signedByServer,
  },
  {
    name: "an OCSP response to another nonce",
    methodOf: () => "OCSP nonce",
    verdicts: {
      openssl: "refused",
      gnutls: "refused",
      java: "refused",
      bouncycastle: "refused",
      go: undefined,
      nss: undefined,
      "rustls-webpki": undefined,
      pyhanko: "undetermined",
      "nginx+curl": undefined,
    },
    response: async ({ revoked, directory }) => await ask(revoked, join(directory, "other-nonce.response"), ["-nonce"]),
  },
];

/** Puts each deceit behind the responder's URL, and holds what the tools say against what they must. */
export async function ocspControls(matrix: Matrix, stage: Stage, tools: readonly Tool[]): Promise<void> {
  const [revoked, good] = [inCondition(stage, "full", "revoked keyCompromise"), inCondition(stage, "full", "good")];
  const path = new URL(revoked.ocspUrl).pathname;
  for (const deceit of deceits) {
    const response = await deceit.response({ revoked, good, directory: stage.place.directory });
    stage.relay.serve(path, await readFile(response));
    for (const tool of tools) {
      const question = { method: deceit.methodOf(tool), specimen: revoked, crl: "", rootCrl: "", response };
      await judgeControl(matrix, deceit, { tools: [tool], question });
    }
    stage.relay.serve(path, path);
  }
}

/** By the method for which the tool asks by itself. */
function plainly({ name }: Tool): Method {
  return ["java", "nss", "nginx+curl"].includes(name) ? "OCSP GET" : "OCSP POST";
}

async function ask({ ocspUrl, issuer, certificate }: Specimen, file: string, options: readonly string[]): Promise<string> {
  const asked = ["-url", ocspUrl, "-issuer", issuer, "-cert", certificate, ...options];
  await outputOf("openssl", ["ocsp", ...asked, "-noverify", "-respout", file]);
  return file;
}

/** The good server's key vouches for the revoked certificate; its own certificate, of the same issuer, is in the response. */
async function signedByServer({ revoked, good, directory }: Victim): Promise<string> {
  const at = (name: string): string => join(directory, name);
  const told = await outputOf("openssl", ["x509", "-in", revoked.certificate, "-noout", "-serial", "-enddate"]);
  const serial = /serial=(\w+)/.exec(told)?.[1] ?? "";
  const end = new Date(/notAfter=(.*)/.exec(told)?.[1] ?? "").toISOString();
  // As in the database of `openssl ca`: a time is YYMMDDHHMMSSZ.
  const line = ["V", end.replaceAll(/[-:T]|\.000/g, "").slice(2), "", serial, "unknown", "/CN=revoked"];
  await writeFile(at("index.txt"), `${line.join("\t")}\n`);
  const asked = ["-no_nonce", "-issuer", revoked.issuer, "-cert", revoked.certificate];
  await outputOf("openssl", ["ocsp", ...asked, "-reqout", at("forged.request")]);
  const signer = ["-CA", revoked.issuer, "-rsigner", good.certificate, "-rkey", good.key, "-ndays", "1"];
  const answer = ["-index", at("index.txt"), "-reqin", at("forged.request"), ...signer, "-respout", at("forged.response")];
  await outputOf("openssl", ["ocsp", ...answer]);
  return at("forged.response");
}
