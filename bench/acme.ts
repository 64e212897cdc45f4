import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { checkout, freePort, startService } from "../conformance/service.ts";
import { startEmbedded } from "../src/database/embedded.ts";
import { type AcmeRow, acmeTable, type ContestantName, writeAcmeReport } from "./acme-report.ts";
import { chancery } from "./chancery.ts";
import { machine } from "./machine.ts";
import { hasPebble, startPebble } from "./pebble.ts";
import { postmaster } from "./processes.ts";
import { type StepCa, startStepCa, stepCaInstallation } from "./step-ca.ts";
import { type Contestant, type Measurement, type Part, tryWindow } from "./window.ts";

const callers = [1, 8, 32, 64];
const windowSeconds = 5;
const longSeconds = 60;
/** More certificates a second than any contestant gives: so many keys are made beforehand. */
const mostPerSecond = 500;

/** Where the load client answers challenges and look-ups of names, the same for every contestant. */
type Applicant = { readonly http01Port: number; readonly resolver: string; readonly parameters: readonly string[] };

/** Gives the contestant for one window; disposal ends what was started for this window alone. */
type Entrant = { readonly name: ContestantName; enter(): Promise<AsyncDisposable & { readonly contestant: Contestant }> };

/** Whole issuances by ACME with http-01, beside Pebble and step-ca over both of its stores, where these can be had. */
export async function measureAcme({ load, directory, quick, tell }: Part): Promise<void> {
  const rounds = quick ? 1 : 5;
  const circumstances = { ...machine(), rounds, windowSeconds };
  await using cleanup = new AsyncDisposableStack();
  const applicant = await applicantOnFreePorts();
  const ours = await ourselves(applicant, cleanup);
  const peers = await stepCas(applicant, directory, cleanup);
  if (peers.length === 0) tell(`step-ca is not in the cache, so it is left out; to have it: ${stepCaInstallation}`);
  const entrants = [ours, ...((await hasPebble(tell)) ? [pebble(applicant)] : []), ...peers];

  const measure = async ({ name, enter }: Entrant, window: { callers: number; seconds: number }): Promise<Measurement> => {
    await using entered = await enter();
    const measured = await tryWindow(load, entered.contestant, { ...window, requests: window.seconds * mostPerSecond });
    const outcome = measured.errors === 0 ? "" : `, ${measured.errors} errors: ${measured.firstError}`;
    tell(`${window.callers} clients, ${name}: ${measured.perSecond.toFixed(0)}/s, p99 ${measured.p99Ms.toFixed(0)} ms${outcome}`);
    return measured;
  };
  tell("warming up");
  for (const entrant of entrants) await measure(entrant, { callers: 8, seconds: entrant === ours ? 20 : 2 });
  const rows = callers.map((count): AcmeRow => ({
    callers: count,
    measured: { chancery: [], pebble: [], "step-ca": [], "step-ca on PostgreSQL": [] },
  }));
  for (let round = 1; round <= rounds; round++) {
    for (const row of rows) {
      // Who goes first changes with the round, so that nobody always meets the warmer machine.
      for (const entrant of round % 2 === 1 ? entrants : entrants.toReversed()) {
        row.measured[entrant.name].push(await measure(entrant, { callers: row.callers, seconds: windowSeconds }));
      }
    }
  }
  const long = await measure(ours, { callers: 64, seconds: longSeconds });
  const report = { rows, long, circumstances };
  await writeAcmeReport(join(checkout, "bench/report"), report);
  tell(`\n${acmeTable(report)}`);
}

async function applicantOnFreePorts(): Promise<Applicant> {
  const [http01Port, dnsPort] = await Promise.all([freePort(), freePort()]);
  const resolver = `127.0.0.1:${dnsPort}`;
  return { http01Port, resolver, parameters: ["-http01", `127.0.0.1:${http01Port}`, "-dns", resolver] };
}

async function ourselves({ http01Port, resolver, parameters }: Applicant, cleanup: AsyncDisposableStack): Promise<Entrant> {
  const service = cleanup.use(
    await startService({
      CHANCERY_LOG_LEVEL: "warn",
      CHANCERY_HTTP01_PORT: String(http01Port),
      CHANCERY_DNS_SERVERS: resolver,
      CHANCERY_VALIDATION_ALLOW: "127.0.0.0/8",
    }),
  );
  const url = `${service.baseUrl}/acme/default/directory`;
  return standing("chancery", await chancery(service, ["-server", "acme", "-url", url, ...parameters]));
}

/** A fresh process for every window: it keeps all it ever made, and hangs under load. */
function pebble({ http01Port, resolver, parameters }: Applicant): Entrant {
  return {
    name: "pebble",
    enter: async () => {
      const started = await startPebble({ http01Port, resolver });
      const { acmeDirectory, rootFile, processId } = started;
      const asked = ["-server", "acme", "-url", acmeDirectory, "-ca", rootFile, ...parameters];
      const contestant = { name: "pebble", parameters: asked, processes: [processId] };
      return { contestant, [Symbol.asyncDispose]: () => started[Symbol.asyncDispose]() };
    },
  };
}

async function stepCas(applicant: Applicant, directory: string, cleanup: AsyncDisposableStack): Promise<Entrant[]> {
  const embedded = await startStepCa(applicant);
  if (!embedded) return [];
  cleanup.use(embedded);
  const cluster = join(directory, "step");
  await mkdir(cluster);
  const database = cleanup.use(await startEmbedded(cluster));
  const databaseUrl = database.url.replace("/chancery?", "/?");
  const overPostgres = await startStepCa({ ...applicant, databaseUrl });
  if (!overPostgres) return [];
  cleanup.use(overPostgres);
  const server = await postmaster(cluster);
  return [
    standing("step-ca", stepCaContestant(embedded, applicant, [])),
    standing("step-ca on PostgreSQL", stepCaContestant(overPostgres, applicant, server === undefined ? [] : [server])),
  ];
}

function stepCaContestant(stepCa: StepCa, { parameters }: Applicant, more: readonly number[]): Contestant {
  const asked = ["-server", "acme", "-url", stepCa.acmeDirectory, "-ca", stepCa.rootFile, ...parameters];
  return { name: "step-ca", parameters: asked, processes: [stepCa.processId, ...more] };
}

/** One that stands through all windows. */
function standing(name: ContestantName, contestant: Contestant): Entrant {
  return { name, enter: async () => ({ contestant, [Symbol.asyncDispose]: async () => undefined }) };
}
