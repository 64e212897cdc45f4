import { mkdir } from "node:fs/promises";
import type { Matrix, Run } from "../matrix.ts";
import { timesAgree } from "./agreement.ts";
import { crlControls } from "./crl-controls.ts";
import { questionsAbout } from "./evidence.ts";
import { gnutls } from "./gnutls.ts";
import { installTools } from "./install.ts";
import { judge } from "./judge.ts";
import { bouncyCastle, go, java, pyhanko, webpki } from "./library.ts";
import { inspectCrlDirectory, inspectLiveUrls } from "./live-urls.ts";
import { nss } from "./nss.ts";
import { givenMethods, otherIssuers } from "./other-issuers.ts";
import { ocspControls } from "./ocsp-controls.ts";
import { openssl } from "./openssl.ts";
import type { Relay } from "./relay.ts";
import { revokedIssuer } from "./revoked-issuer.ts";
import { setStage } from "./stage.ts";
import { nginxAndCurl } from "./staple.ts";
import { lintFiles, statusLinters } from "./status-linters.ts";
import type { Question, Tool } from "./tool.ts";

/**
 * Real verifiers about certificates in every condition, by every way in which their status is told, against a service of its own; files lie below
 * `directory`. Everything goes through the URLs that stand in the certificates. @returns what each tool says of its version.
 */
export async function revocation(
  run: Run,
  { directory, tell }: { directory: string; tell: (line: string) => void },
): Promise<Readonly<Record<string, string>>> {
  const versions = await installTools(tell);
  await mkdir(directory, { recursive: true });
  await using stage = await setStage(directory, tell);
  const { matrix } = run;
  await timesAgree(matrix, stage);
  const all = [openssl, gnutls, java, bouncyCastle, go, nss(directory), webpki, pyhanko, nginxAndCurl(directory)];
  const tools = all.filter(({ name }) => name in versions);
  const questions = await questionsAbout(stage);
  for (const tool of tools) {
    const begun = performance.now();
    await judgeVisibly(matrix, tool, { questions, relay: stage.relay });
    tell(`${tool.name}: ${((performance.now() - begun) / 1000).toFixed(1)} s`);
  }
  await inspectLiveUrls(matrix, stage);
  await inspectCrlDirectory(matrix, stage);
  await ocspControls(matrix, stage, tools);
  await statusLinters(run, stage, questions);
  await beyondTheService(run, tools, directory);
  // From here on a stranger's CRLs stand behind the URLs.
  await crlControls(run, stage, tools);
  // The last: from here on the service's own authority is revoked.
  await revokedIssuer(matrix, stage, tools);
  return versions;
}

/** What issuers of other key algorithms sign; see `otherIssuers`. */
async function beyondTheService(run: Run, tools: readonly Tool[], directory: string): Promise<void> {
  const issuers = await otherIssuers(directory);
  const subjects = new Map(
    issuers.flatMap(({ algorithm, questions }) => questions.map((question) => [question, `issuer ${algorithm}`] as const)),
  );
  for (const tool of tools) {
    const questions = [...subjects.keys()].filter(({ method }) => givenMethods[tool.name].includes(method));
    await judge(run.matrix, tool, { questions, subjectOf: (question) => subjects.get(question) ?? question.method });
  }
  for (const issuer of issuers) await lintFiles(run, issuer, () => `issuer ${issuer.algorithm}`);
}

/** By which method a tool asks that chooses by itself. */
const ways: Readonly<Record<string, "GET" | "POST">> = {
  openssl: "POST",
  gnutls: "POST",
  java: "GET",
  nss: "GET",
  pyhanko: "POST",
  "nginx+curl": "GET",
};

/** Asks a tool everything; the relay must have seen it ask in its way. */
async function judgeVisibly(
  matrix: Matrix,
  tool: Tool,
  { questions, relay }: { questions: readonly Question[]; relay: Relay },
): Promise<void> {
  const before = relay.seen.length;
  await judge(matrix, tool, { questions });
  const way = ways[tool.name];
  if (way === undefined) return;
  await matrix.check({ subject: `OCSP ${way}`, peer: tool.name, check: `it asks by ${way}` }, async () => {
    const asked = relay.seen.slice(before).filter(({ path }) => path.startsWith("/ocsp/"));
    return asked.some(({ method }) => method === way) ? undefined : `${asked.length} requests, none by ${way}`;
  });
}
