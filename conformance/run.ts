import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { acmeClients } from "./acme/run.ts";
import { fixedClients } from "./acme/ability.ts";
import { untold } from "./acme/document.ts";
import { issueSpecimens } from "./certificates.ts";
import { holdStatus } from "./held-status.ts";
import { issuers } from "./issuers.ts";
import { linters } from "./linters.ts";
import { lintVectors } from "./lint-vectors.ts";
import {
  clientTable,
  fixedPeers,
  matrixTable,
  newMatrix,
  silentPeers,
  writeReport,
  type Matrix,
  type PeerName,
  type Run,
} from "./matrix.ts";
import { newcomer } from "./newcomer.ts";
import { findPeers } from "./peers.ts";
import { published } from "./published.ts";
import { untoldOfRevocation } from "./revocation/document.ts";
import { revocation } from "./revocation/run.ts";
import { checkout, endOnSignals, startService } from "./service.ts";
import { verifiers } from "./verifiers.ts";
import { webServer } from "./web-server.ts";

const tell = (line: string): void => void process.stdout.write(`${line}\n`);

/** What takes part: everything, or the part that is named; after the word `acme` the clients that are named, all where none is. */
type Choice = { readonly parts: readonly Part[]; readonly clients: readonly string[] };

const parts = ["certificates", "revocation", "acme"] as const;
type Part = (typeof parts)[number];

/** Real peers against services of our own, one subject after the other; true when every check passed and every peer of the fixed list took part. */
async function main(choice: Choice): Promise<boolean> {
  const directory = await mkdtemp(join(tmpdir(), "chancery-conformance-"));
  const matrix = newMatrix(tell);
  const versions: Record<string, string> = {};
  const has = (part: Part): boolean => choice.parts.includes(part);
  try {
    if (has("certificates") || has("revocation")) Object.assign(versions, await judges(matrix, { directory, choice }));
    if (has("acme")) {
      const clients = await acmeClients(matrix, { only: choice.clients, tell });
      Object.assign(versions, clients);
      if (choice.clients.length === 0) await judgeDocument(matrix, clients);
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
  const { outcomes } = matrix;
  const named = (client: string): boolean => choice.clients.length === 0 || choice.clients.includes(client);
  const silent = silentPeers(outcomes, neededOf(choice).filter(named));
  const failed = outcomes.filter(({ complaint }) => complaint !== undefined).length;
  await writeReport(join(checkout, "conformance/report"), { versions, outcomes });
  if (has("certificates") || has("revocation")) tell(`\n${matrixTable(outcomes)}`);
  if (has("acme")) tell(`\n${clientTable(outcomes)}\n`);
  for (const peer of silent) tell(`${peer} did not run: the run counts as failed`);
  tell(`${outcomes.length - failed} of ${outcomes.length} checks passed; report in conformance/report`);
  return failed === 0 && silent.length === 0;
}

/** The peers without which the parts of the choice prove too little: all of them judge revocation, some judge certificates. */
function neededOf({ parts: chosen }: Choice): PeerName[] {
  const judgesOfCertificates: readonly PeerName[] = ["openssl", "gnutls", "java", "go", "nginx+curl", "zlint", "pkilint"];
  const judging = chosen.includes("revocation") ? fixedPeers : chosen.includes("certificates") ? judgesOfCertificates : [];
  return [...judging, ...(chosen.includes("acme") ? fixedClients : [])];
}

/** The document tells a reader which client was seen to do what: it is held against what was seen. */
async function judgeDocument(matrix: Matrix, versions: Readonly<Record<string, string>>): Promise<void> {
  const markdown = await readFile(join(checkout, "docs/CONFORMANCE.md"), "utf8");
  await matrix.check({ subject: "ACME clients", peer: "chancery", check: "docs/CONFORMANCE.md says what was seen" }, async () =>
    untold(markdown, { versions, outcomes: matrix.outcomes }),
  );
}

/** The parts of the run in which peers judge what we sign. @returns the versions of those peers. */
async function judges(
  matrix: Matrix,
  { directory, choice }: { directory: string; choice: Choice },
): Promise<Readonly<Record<string, string>>> {
  const peers = await findPeers(tell);
  const run: Run = { matrix, peers };
  if (choice.parts.includes("certificates")) await certificates(run, directory);
  if (!choice.parts.includes("revocation")) return peers.versions;
  const versions = await revocation(run, { directory: join(directory, "revocation"), tell });
  const markdown = await readFile(join(checkout, "docs/CONFORMANCE.md"), "utf8");
  await matrix.check({ subject: "revocation", peer: "chancery", check: "docs/CONFORMANCE.md says what was seen" }, async () =>
    untoldOfRevocation(markdown, { versions, outcomes: matrix.outcomes }),
  );
  return { ...peers.versions, ...versions };
}

/** Certificates before verifiers, linters and a web server, and the README before somebody new. */
async function certificates(run: Run, directory: string): Promise<void> {
  tell("starting a service");
  await using service = await startService();
  await published(run, service);
  const specimens = [...(await issueSpecimens(service, join(directory, "issued"))), ...(await issuers(join(directory, "issuers")))];
  tell(`${specimens.length} certificates to judge`);
  await mkdir(join(directory, "controls"));
  await verifiers(run, specimens, join(directory, "controls"));
  await linters(run, specimens, join(directory, "controls"));
  await lintVectors(run, join(checkout, "test/vectors/lint"));
  await lintVectors(run, join(checkout, "test/vectors/lint-crl"));
  await webServer(run, service, directory);
  await newcomer(run, directory);
  await run.matrix.check(
    { subject: "every certificate", peer: "chancery", check: "CRL and OCSP say what stands in the tables" },
    async () => {
      await holdStatus(service);
      return undefined;
    },
  );
}

function choose([section, ...clients]: readonly string[]): Choice {
  if (section === undefined) return { parts, clients: [] };
  const part = parts.find((name) => name === section);
  if (part === undefined) throw new Error(`there is no part ${section} of the conformance run: ${parts.join(", ")} are`);
  return { parts: [part], clients: part === "acme" ? clients : [] };
}

endOnSignals();
// Debian keeps nginx where only root's PATH leads.
process.env["PATH"] = `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin`;
const passed = await Promise.try(() => main(choose(process.argv.slice(2)))).catch((error: unknown) => {
  tell(error instanceof Error ? error.message : String(error));
  return false;
});
process.exitCode = passed ? 0 : 1;
