import { readFile } from "node:fs/promises";
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
import { type RevocationRound, revocationTable, writeRevocationReport } from "./revocation-report.ts";
import type { Part } from "./window.ts";

const callers = 16;

/** Revocation of many certificates at once, beside one by one over REST; the certificates are rows as issuance writes them. */
export async function measureRevocation({ directory, quick, tell }: Part): Promise<void> {
  const many = quick ? 5_000 : 20_000;
  const single = quick ? 500 : 2_000;
  const circumstances = { ...machine(), many, single, callers, rounds: quick ? 1 : 3 };
  await using service = await startService({ CHANCERY_LOG_LEVEL: "warn" });
  await using database = await databaseOf(service);
  const key = join(directory, "revoked.key");
  await outputOf("openssl", ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key]);
  await issue(service, { profile: "server", key, name: "bench.example.org" });

  const rounds: RevocationRound[] = [];
  for (let round = 1; round <= circumstances.rounds; round++) {
    const atOnce = await revokeMany(service, database, { count: many, spkiSha256: Buffer.alloc(32, `many ${round}`) });
    const oneByOne = await revokeSingly(service, database, { count: single, spkiSha256: Buffer.alloc(32, `single ${round}`) });
    rounds.push({ atOnce, ...oneByOne });
    tell(
      `round ${round}: ${atOnce.toFixed(0)}/s at once, ${oneByOne.oneByOne.toFixed(0)}/s one by one, p99 ${oneByOne.p99Ms.toFixed(1)} ms`,
    );
  }
  await writeRevocationReport(join(checkout, "bench/report"), { rounds, circumstances });
  tell(`\n${revocationTable({ rounds, circumstances })}`);
}

type Rows = { readonly count: number; readonly spkiSha256: Uint8Array };

/** Certificates a second, from the request until the revocation has ended. */
async function revokeMany(service: Service, database: Database, rows: Rows): Promise<number> {
  await written(database, rows);
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

async function revokeSingly(service: Service, database: Database, rows: Rows): Promise<Omit<RevocationRound, "atOnce">> {
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
