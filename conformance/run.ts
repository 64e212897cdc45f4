import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { issueSpecimens } from "./certificates.ts";
import { issuers } from "./issuers.ts";
import { linters } from "./linters.ts";
import { lintVectors } from "./lint-vectors.ts";
import { matrixTable, newMatrix, silentPeers, writeReport, type Run } from "./matrix.ts";
import { newcomer } from "./newcomer.ts";
import { findPeers } from "./peers.ts";
import { published } from "./published.ts";
import { checkout, endOnSignals, startService } from "./service.ts";
import { verifiers } from "./verifiers.ts";
import { webServer } from "./web-server.ts";

const tell = (line: string): void => void process.stdout.write(`${line}\n`);

/** Real peers against a service of our own, one subject after the other; true when every check passed and every peer of the fixed list took part. */
async function main(): Promise<boolean> {
  const peers = await findPeers(tell);
  const directory = await mkdtemp(join(tmpdir(), "chancery-conformance-"));
  const run: Run = { matrix: newMatrix(tell), peers };
  try {
    tell("starting a service");
    await using service = await startService();
    await published(run, service);
    const specimens = [...(await issueSpecimens(service, join(directory, "issued"))), ...(await issuers(join(directory, "issuers")))];
    tell(`${specimens.length} certificates to judge`);
    await mkdir(join(directory, "controls"));
    await verifiers(run, specimens, join(directory, "controls"));
    await linters(run, specimens, join(directory, "controls"));
    await lintVectors(run, join(checkout, "test/vectors/lint"));
    await webServer(run, service, directory);
    await newcomer(run, directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
  const { outcomes } = run.matrix;
  const silent = silentPeers(outcomes);
  const failed = outcomes.filter(({ complaint }) => complaint !== undefined).length;
  await writeReport(join(checkout, "conformance/report"), { versions: peers.versions, outcomes });
  tell(`\n${matrixTable(outcomes)}\n`);
  for (const peer of silent) tell(`${peer} did not run: the run counts as failed`);
  tell(`${outcomes.length - failed} of ${outcomes.length} checks passed; report in conformance/report`);
  return failed === 0 && silent.length === 0;
}

endOnSignals();
// Debian keeps nginx where only root's PATH leads.
process.env["PATH"] = `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin`;
const passed = await main().catch((error: unknown) => {
  tell(error instanceof Error ? error.message : String(error));
  return false;
});
process.exitCode = passed ? 0 : 1;
