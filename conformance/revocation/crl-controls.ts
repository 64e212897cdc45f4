import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { outputOf } from "../execute.ts";
import type { Matrix, Run } from "../matrix.ts";
import { checkout } from "../service.ts";
import { fetchFile } from "./evidence.ts";
import { libraries } from "./install.ts";
import { wrongBehind } from "./live-urls.ts";
import type { ToolName, Verdict } from "./method.ts";
import { crlPaths, inCondition, type Stage } from "./stage.ts";
import { plantedFaults } from "./status-linters.ts";
import { profiles } from "./stock.ts";
import type { Stranger } from "./stranger.ts";
import type { Question, Specimen, Tool } from "./tool.ts";

/** What stands at a URL in place of what belongs there, and what each tool makes of a certificate that is good by the right one. */
export type Control = {
  readonly name: string;
  readonly verdicts: Readonly<Record<ToolName, Verdict | undefined>>;
  /** What a tool must have said, where the verdict alone would not show that it saw what is wrong. */
  readonly words?: Partial<Readonly<Record<ToolName, string>>>;
};

/** Another shard of the same issuer under the URL of a certificate's shard. */
const wrongShard: Control = {
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
  // X509_V_ERR_DIFFERENT_CRL_SCOPE; what Java took no CRL for, its status it does not know.
  words: { openssl: "error 44 at", java: "revocation status", "nginx+curl": "different CRL scope" },
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

/**
 * What the tools, the inspection of live URLs and the linters make of CRLs that are not what they should be. Afterwards a stranger's CRLs stand behind
 * the URLs.
 */
export async function crlControls({ matrix, peers }: Run, stage: Stage, tools: readonly Tool[]): Promise<void> {
  await withAnotherShard(stage, async (specimen) => {
    await matrix.check({ subject: "negative controls", peer: "chancery", check: `XC-22 finds ${wrongShard.name}` }, async () => {
      const wrong = await wrongBehind({ file: specimen.certificate, profile: profiles.shard }, stage.place);
      return wrong.some((one) => one.includes("issuingDistributionPoint")) ? undefined : `found: ${wrong.join("; ") || "nothing"}`;
    });
    const crl = await fetchFile(specimen.crlUrl, join(stage.place.directory, "another-shard.crl"));
    const rootCrl = await fetchFile(stage.url(crlPaths.root), join(stage.place.directory, "above.crl"));
    await judgeControl(matrix, wrongShard, { tools, question: { method: "shard CRL", specimen, crl, rootCrl, response: undefined } });
  });
  const directory = join(stage.place.directory, "stranger");
  await writeStrangersCrls(directory, stage.stranger);
  const specimen = inCondition(stage, "full", "another issuer's");
  stage.relay.serve(crlPaths.root, await readFile(join(directory, "root.crl")));
  for (const [name, control] of Object.entries(strangersCrls)) {
    const crl = join(directory, `${name}.crl`);
    stage.relay.serve(new URL(specimen.crlUrl).pathname, await readFile(crl));
    const rootCrl = join(directory, "root.crl");
    await judgeControl(matrix, control, { tools, question: { method: "full CRL", specimen, crl, rootCrl, response: undefined } });
  }
  await plantedFaults({ matrix, peers }, directory);
}

/** Holds what each tool makes of the question against what it must; one for which the control has no verdict cannot be asked. */
export async function judgeControl(
  matrix: Matrix,
  { name, verdicts, words }: Control,
  { tools, question }: { tools: readonly Tool[]; question: Question },
): Promise<void> {
  for (const tool of tools) {
    const expected = verdicts[tool.name];
    if (expected === undefined) continue;
    await matrix.check({ subject: "negative controls", peer: tool.name, check: name }, async () => {
      const [answer] = await tool.answers([question]);
      if (answer?.verdict !== expected) return `${answer?.verdict}, expected ${expected}: ${answer?.words}`;
      const wanted = words?.[tool.name];
      return wanted === undefined || answer.words.includes(wanted) ? undefined : `it does not say "${wanted}": ${answer.words}`;
    });
  }
}

/** While `act` runs, the CRL of another shard stands under the URL that a good certificate names. */
async function withAnotherShard(stage: Stage, act: (specimen: Specimen) => Promise<void>): Promise<void> {
  const specimen = inCondition(stage, "shard", "good");
  const path = new URL(specimen.crlUrl).pathname;
  const other = crlPaths.shards.find((one) => one !== path);
  if (other === undefined) throw new Error("there is one shard alone");
  stage.relay.serve(path, other);
  try {
    await act(specimen);
  } finally {
    stage.relay.serve(path, path);
  }
}

async function writeStrangersCrls(directory: string, { root, issuer, issuerKey }: Stranger): Promise<void> {
  await mkdir(directory);
  const program = join(checkout, "conformance/python/bad_crls.py");
  await outputOf(join(libraries.pyhanko, "bin/python"), [program, directory, issuer, issuerKey, root, `${root}.key`]);
}
