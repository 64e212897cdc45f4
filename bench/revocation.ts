import { readFile, writeFile } from "node:fs/promises";
import { Agent, request } from "node:https";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { issue } from "../conformance/certificates.ts";
import { outputOf, several } from "../conformance/execute.ts";
import { checkout, type Service, startService } from "../conformance/service.ts";
import { type Database, openDatabase } from "../src/database/connect.ts";
import { runningEmbedded } from "../src/database/embedded.ts";
import { writeCertificateRows } from "../test/support/certificate-rows.ts";
import { machine } from "./machine.ts";
import { median } from "./median.ts";
import { type Delay, measureDelays } from "./revocation-delay.ts";
import { type KeptAnswers, type KeptRate, type KeptRates, openKeptAnswers } from "./revocation-kept.ts";
import { type RevocationRound, revocationTable, writeRevocationReport } from "./revocation-report.ts";
import type { Part } from "./window.ts";

const callers = 16;
/** So many certificates are being revoked for longer than kept answers are counted. */
const manyMore = 40_000;

/**
 * Revocation of many certificates at once, beside one by one over REST; how soon OCSP and CRL tell of one; and what kept OCSP answers come to meanwhile.
 * The certificates are rows as issuance writes them.
 */
export async function measureRevocation(part: Part): Promise<void> {
  const { directory, quick, tell } = part;
  const many = quick ? 5_000 : 20_000;
  const single = quick ? 500 : 2_000;
  const delayed = quick ? 5 : 20;
  const circumstances = { ...machine(), many, single, callers, rounds: quick ? 1 : 3 };
  await using service = await startService({ CHANCERY_LOG_LEVEL: "warn" });
  await using database = await databaseOf(service);
  const key = join(directory, "revoked.key");
  await outputOf("openssl", ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key]);
  const { certificate, chain } = await issue(service, { profile: "server", key, name: "bench.example.org" });
  await Promise.all([writeFile(join(directory, "leaf.pem"), certificate), writeFile(join(directory, "chain.pem"), chain)]);
  await using kept = await openKeptAnswers(part, service);

  const serials = await written(database, { count: delayed, spkiSha256: Buffer.alloc(32, "delays") });
  const delays = await delaysOf(service, directory, serials);
  tell(`until OCSP says it: ${delays.map(({ ocspMs }) => ocspMs.toFixed(0)).join(", ")} ms`);
  tell(`until the CRL lists it: ${delays.map(({ crlMs }) => crlMs.toFixed(0)).join(", ")} ms`);

  const rounds: RevocationRound[] = [];
  for (let round = 1; round <= circumstances.rounds; round++) {
    const atOnce = await revokeMany(service, await ofKey(database, { count: many, spkiSha256: Buffer.alloc(32, `many ${round}`) }));
    const oneByOne = await revokeSingly(service, database, { count: single, spkiSha256: Buffer.alloc(32, `single ${round}`) });
    const meant = await ofKey(database, { count: manyMore, spkiSha256: Buffer.alloc(32, `kept ${round}`) });
    const rates = await keptMeanwhile(kept, () => revokeMany(service, meant));
    rounds.push({ atOnce, ...oneByOne, kept: rates });
    tell(
      `round ${round}: ${atOnce.toFixed(0)}/s at once, ${oneByOne.oneByOne.toFixed(0)}/s one by one, p99 ${oneByOne.p99Ms.toFixed(1)} ms`,
    );
    tell(`round ${round}: kept answers ${each(rates.before)}; meanwhile ${each(rates.meanwhile)}`);
  }
  const report = { rounds, delays, circumstances };
  await writeRevocationReport(join(checkout, "bench/report"), report);
  tell(`\n${revocationTable(report)}`);
}

function each({ kept, bare }: KeptRate): string {
  return `${kept.perSecond.toFixed(0)}/s, bare node:http ${bare.perSecond.toFixed(0)}/s`;
}

async function delaysOf(service: Service, directory: string, serials: readonly string[]): Promise<readonly Delay[]> {
  await using client = await restClient(service);
  const revoke = (serial: string) => client.ask("POST", `/v1/certificates/${serial}/revoke`, { reason: "superseded" });
  return await measureDelays(service, { directory, serials, revoke });
}

/** What kept answers come to before a revocation of many, and while it goes on. */
async function keptMeanwhile(kept: KeptAnswers, revokeAll: () => Promise<number>): Promise<KeptRates> {
  const before = await kept.measure();
  let ended = false;
  const revoking = revokeAll().finally(() => (ended = true));
  await wait(300);
  const meanwhile = await kept.measure();
  if (ended) throw new Error("the revocation of many had ended before the kept answers were counted");
  await revoking;
  return { before, meanwhile };
}

type Rows = { readonly count: number; readonly spkiSha256: Uint8Array };

/** Writes the rows of a key's certificates. */
async function ofKey(database: Database, rows: Rows): Promise<Rows> {
  await written(database, rows);
  return rows;
}

/** Certificates a second, from the request until the revocation has ended. */
async function revokeMany(service: Service, rows: Rows): Promise<number> {
  await using client = await restClient(service);
  const filter = { spkiSha256: Buffer.from(rows.spkiSha256).toString("hex") };
  const begun = performance.now();
  const { id } = await client.ask("POST", "/v1/revocations", { filter, reason: "superseded" });
  for (;;) {
    const { state, revoked } = await client.ask("GET", `/v1/revocations/${String(id)}`);
    if (state === "ended") {
      if (revoked !== rows.count) throw new Error(`${String(revoked)} of ${rows.count} were revoked`);
      return rows.count / ((performance.now() - begun) / 1000);
    }
    await wait(20);
  }
}

async function revokeSingly(service: Service, database: Database, rows: Rows): Promise<Omit<RevocationRound, "atOnce" | "kept">> {
  const serials = await written(database, rows);
  await using client = await restClient(service);
  const begun = performance.now();
  const times = await several(serials, callers, async (serial) => {
    const asked = performance.now();
    await client.ask("POST", `/v1/certificates/${serial}/revoke`, { reason: "superseded" });
    return performance.now() - asked;
  });
  const seconds = (performance.now() - begun) / 1000;
  const sorted = times.toSorted((a, b) => a - b);
  return { oneByOne: rows.count / seconds, p50Ms: median(times), p99Ms: sorted[Math.floor(sorted.length * 0.99)] ?? Number.NaN };
}

/** Writes the rows without the time limit of a request, and has the server know how many there are now. */
async function written(database: Database, rows: Rows): Promise<readonly string[]> {
  const serials = await database.transactAlone(120_000, ({ sql }) => writeCertificateRows(sql, rows));
  await database.transactAlone(120_000, ({ sql }) => sql`analyze certificate, issuance, revocation`);
  return serials;
}

async function databaseOf({ dataDirectory }: Service): Promise<Database> {
  const url = await runningEmbedded(dataDirectory);
  if (url === undefined) throw new Error("the service has no PostgreSQL of its own");
  return await openDatabase({ url, poolSize: 2 }, { events: { tell: () => undefined, measure: () => undefined } });
}

type RestClient = AsyncDisposable & { ask(method: string, path: string, body?: unknown): Promise<Record<string, unknown>> };

/** Asks over connections that are kept alive; anything but 2xx is an error. */
async function restClient({ baseUrl, rootFile, tokenFile }: Service): Promise<RestClient> {
  const [ca, token] = await Promise.all([readFile(rootFile, "utf8"), readFile(tokenFile, "utf8")]);
  const agent = new Agent({ keepAlive: true, maxSockets: callers, ca });
  return {
    ask: (method, path, body) =>
      new Promise((resolve, reject) => {
        const text = body === undefined ? undefined : JSON.stringify(body);
        const headers = {
          authorization: `Bearer ${token.trim()}`,
          ...(text !== undefined && { "content-type": "application/json", "content-length": String(Buffer.byteLength(text)) }),
        };
        const outgoing = request(new URL(path, baseUrl), { method, agent, headers }, (incoming) => {
          const chunks: Buffer[] = [];
          incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
          incoming.on("error", reject);
          incoming.on("end", () => {
            const answer = Buffer.concat(chunks).toString("utf8");
            if ((incoming.statusCode ?? 500) >= 300) reject(new Error(`${method} ${path}: ${String(incoming.statusCode)} ${answer}`));
            else resolve(JSON.parse(answer) as Record<string, unknown>); // an object, as every answer of the interface
          });
        });
        outgoing.on("error", reject);
        outgoing.end(text);
      }),
    [Symbol.asyncDispose]: async () => agent.destroy(),
  };
}
