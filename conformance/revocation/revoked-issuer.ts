import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { outputOf } from "../execute.ts";
import type { Matrix } from "../matrix.ts";
import { chancery, rest } from "../service.ts";
import { fetchFile } from "./evidence.ts";
import type { ToolName, Verdict } from "./method.ts";
import { crlPaths, inCondition, type Stage } from "./stage.ts";
import type { Question, Tool } from "./tool.ts";

/** What the tools that are given or fetch the CRL of the root say of a leaf whose issuer stands in it, and words that show that it is the issuer. */
const refusals: Partial<Readonly<Record<ToolName, { readonly verdict: Verdict; readonly words?: string }>>> = {
  // X509_V_ERR_CERT_REVOKED; 0 is the leaf.
  openssl: { verdict: "revoked", words: "error 23 at 1 depth" },
  gnutls: { verdict: "revoked" },
  java: { verdict: "revoked cessationOfOperation" },
  bouncycastle: { verdict: "revoked cessationOfOperation" },
  pyhanko: { verdict: "revoked cessationOfOperation" },
  "nginx+curl": { verdict: "revoked" },
};

/**
 * The issuing authority is revoked and the root's CRL made anew: who looks beyond the leaf's own CRL refuses a leaf that it accepted just before, though
 * no CRL lists that leaf (XR-10). Afterwards the service of the stage issues nothing that anybody would trust.
 */
export async function revokedIssuer(matrix: Matrix, stage: Stage, tools: readonly Tool[]): Promise<void> {
  const { relay, service } = stage;
  const asked = tools.filter(({ name }) => refusals[name] !== undefined);
  const { crlUrl } = inCondition(stage, "full", "good");
  for (const path of [crlPaths.root, new URL(crlUrl).pathname]) relay.serve(path, path);
  const subject = "a revoked issuer";

  const before = await questionOf(stage, "before");
  for (const tool of asked) {
    const check = "a good leaf is accepted while its issuer is good";
    await matrix.check({ subject, peer: tool.name, check }, async () => {
      const [answer] = await tool.answers([before]);
      return answer?.verdict === "good" ? undefined : `${answer?.verdict}: ${answer?.words}`;
    });
  }

  const serial = new X509Certificate(await readFile(stage.place.issuer)).serialNumber.toLowerCase();
  const revoked = await rest(service, "POST", `/v1/certificates/${serial}/revoke`, { reason: "cessationOfOperation" });
  if (revoked.status !== 200) throw new Error(`revoking the issuing authority: ${revoked.status} ${revoked.body}`);
  const made = await chancery(service, ["ca", "crl", "root-1"]);
  if (made.status !== 0) throw new Error(`chancery ca crl root-1: ${made.stderr}`);
  await matrix.check({ subject, peer: "chancery", check: "the root's CRL that ca crl made is served and lists it" }, () =>
    listed(stage, serial),
  );

  const after = await questionOf(stage, "after");
  for (const tool of asked) {
    const refusal = refusals[tool.name];
    await matrix.check({ subject, peer: tool.name, check: "the same leaf is refused by the root's CRL (XR-10)" }, async () => {
      const [answer] = await tool.answers([after]);
      if (answer?.verdict !== refusal?.verdict) return `${answer?.verdict}, expected ${refusal?.verdict}: ${answer?.words}`;
      const { words = "" } = refusal ?? {};
      return answer?.words.includes(words) ? undefined : `it does not say "${words}": ${answer?.words}`;
    });
  }
}

/** About a good leaf by CRLs, with those that stand behind the URLs now. */
async function questionOf(stage: Stage, when: string): Promise<Question> {
  const specimen = inCondition(stage, "full", "good");
  const { directory } = stage.place;
  return {
    method: "full CRL",
    specimen,
    crl: await fetchFile(specimen.crlUrl, join(directory, `${when}.crl`)),
    rootCrl: await fetchFile(stage.url(crlPaths.root), join(directory, `${when}-root.crl`)),
    response: undefined,
  };
}

/** Waits until the root's CRL that is served lists the serial number; instances look for new ones every few seconds. */
async function listed({ url, place }: Stage, serial: string): Promise<string | undefined> {
  for (let attempt = 0; ; attempt++) {
    const file = await fetchFile(url(crlPaths.root), join(place.directory, "served-root.crl"));
    const text = await outputOf("openssl", ["crl", "-in", file, "-inform", "DER", "-CAfile", place.root, "-noout", "-text"]);
    if (text.toLowerCase().includes(`serial number: ${serial}`)) return undefined;
    if (attempt === 60) return `after ${attempt / 2} s it does not list ${serial}: ${text}`;
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}
