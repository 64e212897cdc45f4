import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { outputOf } from "../execute.ts";
import type { Matrix } from "../matrix.ts";
import { libraries } from "./install.ts";
import { checkout } from "../service.ts";
import type { ToolName, Verdict } from "./method.ts";
import type { Relay } from "./relay.ts";
import type { Stranger } from "./stranger.ts";
import type { Question, Specimen, Tool } from "./tool.ts";

/** What stands at a URL in place of what belongs there, and what each tool makes of a certificate that is good by the right one. */
export type Control = { readonly name: string; readonly verdicts: Readonly<Record<ToolName, Verdict>> };

/** Another shard of the same issuer under the URL of a certificate's shard. */
export const wrongShard: Control = {
  name: "the CRL of another shard",
  verdicts: {
    openssl: "undetermined",
    // It does not compare the issuingDistributionPoint with the CDP (XT-8).
    gnutls: "good",
    java: "undetermined",
    bouncycastle: "refused",
    // crypto/x509 checks a CRL's signature; what the CRL is about, it leaves to its caller.
    go: "good",
    // No CRL with an issuingDistributionPoint at all (XT-7).
    nss: "undetermined",
    "rustls-webpki": "undetermined",
    pyhanko: "undetermined",
    "nginx+curl": "undetermined",
  },
};

const everybodyAccepts: Readonly<Record<ToolName, Verdict>> = {
  openssl: "good",
  gnutls: "good",
  java: "good",
  bouncycastle: "good",
  go: "good",
  nss: "good",
  "rustls-webpki": "good",
  pyhanko: "good",
  "nginx+curl": "good",
};

/** Sound and bad CRLs of a stranger, who signs what we never would (XX-1), by the names that conformance/python/bad_crls.py gives them. */
const strangersCrls: Readonly<Record<string, Control>> = {
  sound: { name: "a sound CRL", verdicts: everybodyAccepts },
  expired: {
    name: "a CRL after its nextUpdate",
    verdicts: {
      openssl: "undetermined",
      // Both look for the certificate in any CRL that they have, and ask for no young one.
      gnutls: "good",
      nss: "good",
      java: "undetermined",
      bouncycastle: "undetermined",
      go: "undetermined",
      "rustls-webpki": "undetermined",
      pyhanko: "undetermined",
      "nginx+curl": "undetermined",
    },
  },
  "wrong-signer": {
    name: "a CRL that somebody else signed",
    verdicts: {
      openssl: "refused",
      // It passes over a CRL that it cannot verify, and asks for none.
      gnutls: "good",
      java: "undetermined",
      bouncycastle: "refused",
      go: "refused",
      nss: "undetermined",
      "rustls-webpki": "refused",
      pyhanko: "undetermined",
      "nginx+curl": "refused",
    },
  },
  "critical-reason": {
    name: "a CRL whose reasonCode is critical",
    // RFC 5280 §5.3.1 says non-critical; whoever knows the extension can read it all the same. The linters find it.
    verdicts: { ...everybodyAccepts, openssl: "refused", "nginx+curl": "refused" },
  },
};

/** Puts the stranger's CRLs behind the URLs of `specimen`, one after the other, and asks every tool. */
export async function judgeStrangersCrls(
  matrix: Matrix,
  { tools, relay, specimen, directory }: { tools: readonly Tool[]; relay: Relay; specimen: Specimen; directory: string },
): Promise<void> {
  const path = new URL(specimen.crlUrl).pathname;
  const rootCrl = join(directory, "root.crl");
  for (const [name, control] of Object.entries(strangersCrls)) {
    const crl = join(directory, `${name}.crl`);
    relay.serve(path, await readFile(crl));
    await judgeControl(matrix, control, { tools, questions: [{ method: "full CRL", specimen, crl, rootCrl, response: undefined }] });
  }
}

/** Holds what each tool of the control makes of the question against what it must. */
export async function judgeControl(
  matrix: Matrix,
  { name, verdicts }: Control,
  { tools, questions }: { tools: readonly Tool[]; questions: readonly Question[] },
): Promise<void> {
  for (const tool of tools) {
    const expected = verdicts[tool.name];
    await matrix.check({ subject: "negative controls", peer: tool.name, check: name }, async () => {
      const [answer] = await tool.answers(questions);
      return answer?.verdict === expected ? undefined : `${answer?.verdict}, expected ${expected}: ${answer?.words}`;
    });
  }
}

/** Writes the stranger's CRLs into `directory`. */
export async function writeStrangersCrls(directory: string, { root, issuer, issuerKey }: Stranger): Promise<void> {
  const program = join(checkout, "conformance/python/bad_crls.py");
  await outputOf(join(libraries.pyhanko, "bin/python"), [program, directory, issuer, issuerKey, root, `${root}.key`]);
}
