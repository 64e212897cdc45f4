import { X509Certificate } from "node:crypto";
import { join } from "node:path";
import { issue } from "../conformance/certificates.ts";
import { outputOf } from "../conformance/execute.ts";
import { checkout, pkcs11Module, startService, type Service } from "../conformance/service.ts";
import { parseCertificate } from "../src/pki/certificate.ts";
import { chancery } from "./chancery.ts";
import { machine } from "./machine.ts";
import { table, writeBenchReport, type Row } from "./report.ts";
import { startSigner } from "./signer.ts";
import { startStepCa, stepCaInstallation, type StepCa } from "./step-ca.ts";
import { measureWindow, type Contestant, type Part } from "./window.ts";

/** Certificates a window, by callers: a window lasts a few seconds. */
const windows = [
  { callers: 1, requests: 1_000 },
  { callers: 8, requests: 4_000 },
  { callers: 32, requests: 6_000 },
  { callers: 64, requests: 6_000 },
];

/** Issuance over REST beside its baselines, all in one run: the token alone, the HSM client alone, and step-ca where its build is cached. */
export async function measureRest({ load, directory, quick, tell }: Part): Promise<void> {
  const rounds = quick ? 1 : 5;
  const circumstances = { ...machine(), rounds };
  await using cleanup = new AsyncDisposableStack();
  const service = cleanup.use(await startService({ CHANCERY_LOG_LEVEL: "warn" }));
  const stepCa = await startStepCa();
  if (stepCa) cleanup.use(stepCa);
  else tell(`step-ca is not in the cache, so it is left out; to have it: ${stepCaInstallation}`);
  const tbs = await leafTbs(service, directory);
  const raw = cleanup.use(await startSigner("raw-sign.ts", { module: pkcs11Module(), tbs }));
  const host = cleanup.use(await startSigner("host-sign.ts", { module: pkcs11Module(), tbs }));

  const ours = await chancery(service, ["-server", "chancery", "-url", service.baseUrl, "-token", service.tokenFile]);
  const peer = stepCa && peerOf(stepCa);
  const contestants = peer ? [ours, peer] : [ours];
  for (const contestant of contestants) {
    tell(`warming up ${contestant.name}`);
    await measureWindow(load, contestant, { callers: 32, requests: quick ? 2_000 : 5_000 });
  }
  const rows = windows.map(({ callers }): Row => ({ callers, chancery: [], stepCa: [], host: [], raw: [] }));
  for (let round = 1; round <= rounds; round++) {
    for (const [index, { callers, requests }] of windows.entries()) {
      const row = rows[index];
      if (row === undefined) continue;
      const window = { callers, requests: quick ? requests / 4 : requests };
      row.raw.push(await raw.rate({ signatures: window.requests, callers: 1 }));
      row.host.push(await host.rate({ signatures: window.requests, callers: window.callers }));
      // Who goes first changes with the round, so that neither always meets the warmer machine.
      for (const contestant of round % 2 === 1 ? contestants : contestants.toReversed()) {
        const measured = await measureWindow(load, contestant, window);
        (contestant === ours ? row.chancery : row.stepCa).push(measured);
        tell(
          `round ${round}, ${window.callers} callers, ${contestant.name}: ${measured.perSecond.toFixed(0)}/s, p99 ${measured.p99Ms.toFixed(1)} ms`,
        );
      }
    }
  }
  const all = { ...circumstances, stepCa: stepCa !== undefined };
  await writeBenchReport(join(checkout, "bench/report"), rows, all);
  tell(`\n${table(rows, all)}`);
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
