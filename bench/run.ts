import { generateKeyPairSync, sign, X509Certificate } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { availableParallelism, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { issue } from "../conformance/certificates.ts";
import { outputOf } from "../conformance/execute.ts";
import { checkout, endOnSignals, pkcs11Module, startService, type Service } from "../conformance/service.ts";
import { parseCertificate } from "../src/pki/certificate.ts";
import { postmaster } from "./processes.ts";
import { table, writeBenchReport, type Row } from "./report.ts";
import { startSigner } from "./signer.ts";
import { startStepCa, stepCaInstallation, type StepCa } from "./step-ca.ts";
import { measureWindow, type Contestant } from "./window.ts";

const { values: options } = parseArgs({ options: { quick: { type: "boolean", default: false } } });
const rounds = options.quick ? 1 : 5;
/** Certificates a window, by callers: a window lasts a few seconds. */
const windows = [
  { callers: 1, requests: 1_000 },
  { callers: 8, requests: 4_000 },
  { callers: 32, requests: 6_000 },
  { callers: 64, requests: 6_000 },
].map(({ callers, requests }) => ({ callers, requests: options.quick ? requests / 4 : requests }));

const tell = (line: string): void => void process.stdout.write(`${line}\n`);

/** Issuance over REST beside its baselines, all in one run: the token alone, the HSM client alone, and step-ca where its build is cached. */
async function main(): Promise<void> {
  const [loadAverage = 0] = loadavg();
  const directory = await mkdtemp(join(tmpdir(), "chancery-bench-"));
  await using cleanup = new AsyncDisposableStack();
  cleanup.defer(() => rm(directory, { recursive: true, force: true }));
  const load = join(directory, "load");
  await outputOf("go", ["build", "-o", load, "."], { directory: join(checkout, "bench/load"), limitSeconds: 300 });
  const service = cleanup.use(await startService({ CHANCERY_LOG_LEVEL: "warn" }));
  const stepCa = await startStepCa();
  if (stepCa) cleanup.use(stepCa);
  else tell(`step-ca is not in the cache, so it is left out; to have it: ${stepCaInstallation}`);
  const tbs = await leafTbs(service, directory);
  const raw = cleanup.use(await startSigner("raw-sign.ts", { module: pkcs11Module(), tbs }));
  const host = cleanup.use(await startSigner("host-sign.ts", { module: pkcs11Module(), tbs }));

  const chancery = await ourselves(service);
  const peer = stepCa && peerOf(stepCa);
  const contestants = peer ? [chancery, peer] : [chancery];
  for (const contestant of contestants) {
    tell(`warming up ${contestant.name}`);
    await measureWindow(load, contestant, { callers: 32, requests: options.quick ? 2_000 : 5_000 });
  }
  const rows = windows.map(({ callers }): Row => ({ callers, chancery: [], stepCa: [], host: [], raw: [] }));
  for (let round = 1; round <= rounds; round++) {
    for (const [index, window] of windows.entries()) {
      const row = rows[index];
      if (row === undefined) continue;
      row.raw.push(await raw.rate({ signatures: window.requests, callers: 1 }));
      row.host.push(await host.rate({ signatures: window.requests, callers: window.callers }));
      // Who goes first changes with the round, so that neither always meets the warmer machine.
      for (const contestant of round % 2 === 1 ? contestants : contestants.toReversed()) {
        const measured = await measureWindow(load, contestant, window);
        (contestant === chancery ? row.chancery : row.stepCa).push(measured);
        tell(
          `round ${round}, ${window.callers} callers, ${contestant.name}: ${measured.perSecond.toFixed(0)}/s, p99 ${measured.p99Ms.toFixed(1)} ms`,
        );
      }
    }
  }
  const machine = { cores: availableParallelism(), loadAverage, nodeSignaturesPerSecond: nodeSignatures() };
  const circumstances = { rounds, stepCa: stepCa !== undefined, ...machine };
  await writeBenchReport(join(checkout, "bench/report"), rows, circumstances);
  tell(`\n${table(rows, circumstances)}`);
}

async function ourselves(service: Service): Promise<Contestant> {
  const database = await postmaster(service.dataDirectory);
  return {
    name: "chancery",
    parameters: ["-server", "chancery", "-url", service.baseUrl, "-ca", service.rootFile, "-token", service.tokenFile],
    processes: [service.processId, ...(database === undefined ? [] : [database])],
    roundTrips: async () => {
      const metrics = await (await fetch(`${service.opsUrl}/metrics`)).text();
      const found = /^chancery_database_round_trips_total(?:\{[^}]*\})? (\S+)/m.exec(metrics)?.[1];
      if (found === undefined) throw new Error("/metrics has no chancery_database_round_trips_total");
      return Number(found);
    },
  };
}

function peerOf({ url, rootFile, keyFile, provisioner, processId }: StepCa): Contestant {
  return {
    name: "step-ca",
    parameters: ["-server", "step", "-url", url, "-ca", rootFile, "-key", keyFile, "-provisioner", provisioner],
    processes: [processId],
  };
}

/** The TBSCertificate of a leaf, which is what the signing baselines sign: the host of the token refuses other bytes. */
async function leafTbs(service: Service, directory: string): Promise<Uint8Array> {
  const key = join(directory, "leaf.key");
  await outputOf("openssl", ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key]);
  const { certificate } = await issue(service, { profile: "server", key, name: "bench.example.org" });
  return parseCertificate(new X509Certificate(certificate).raw).tbs;
}

/** P-256 signatures per second of Node itself on one thread: what the machine can do while we measure. */
function nodeSignatures(): number {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const bytes = Buffer.alloc(500);
  const begun = performance.now();
  const signatures = 10_000;
  for (let count = 0; count < signatures; count++) sign("sha256", bytes, privateKey);
  return signatures / ((performance.now() - begun) / 1000);
}

endOnSignals();
await main();
