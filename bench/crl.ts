import { execFile } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { createReadStream } from "node:fs";
import { mkdir, mkdtemp, open, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { execute, outputOf } from "../conformance/execute.ts";
import { checkout, type Service, startService } from "../conformance/service.ts";
import { readAuthorityCertificate } from "../src/ca/crl-entry-store.ts";
import { openDatabase, type Database } from "../src/database/connect.ts";
import { runningEmbedded } from "../src/database/embedded.ts";
import { readCrl } from "../src/pki/read-crl.ts";
import { calibration, machine, type Machine } from "./machine.ts";
import { aimsList, markdown } from "./markdown.ts";
import { median } from "./median.ts";
import { type CpuSeconds, cpuSeconds, postmaster, type ProcessPart } from "./processes.ts";
import type { Part } from "./window.ts";

const entries = 1_000_000;
const authority = "issuing-1";

/** What another program took for the same entries; absent where it cannot be had. */
type Peer = { readonly seconds: number; readonly rssMegabytes: number };

/** What one publication by the service took. */
type Publication = {
  readonly seconds: number;
  /** Longest time that the service's event loop was held, in milliseconds. */
  readonly stallMs: number;
  /** The most memory that the service's process had on the way. */
  readonly rssMegabytes: number;
  readonly cpuSeconds: CpuSeconds;
};

type CrlReport = {
  readonly circumstances: Machine & { readonly rounds: number };
  readonly ours: readonly Publication[];
  readonly octets: number;
  /** Memory of the service's process before it had published anything of this size. */
  readonly rssAtStartMegabytes: number;
  readonly openssl: readonly Peer[];
  readonly go: readonly Peer[];
  readonly verifySeconds: number;
};

/**
 * A CRL of a million entries as the service publishes it, beside `openssl ca -gencrl` and crypto/x509 over the same entries, which write and
 * sign a list and do nothing else with it.
 */
export async function measureCrl({ directory, quick, tell }: Part): Promise<void> {
  const rounds = quick ? 1 : 5;
  const circumstances = { ...machine(), rounds };
  const place = await mkdtemp(join(directory, "crl-"));
  await using service = await startService({ CHANCERY_LOG_LEVEL: "warn" });
  await using database = await openDatabase(
    { url: (await runningEmbedded(service.dataDirectory)) ?? "", poolSize: 2, deadlineMs: 600_000, statementTimeoutMs: 600_000 },
    { events: { tell: () => undefined, measure: () => undefined } },
  );
  const rssAtStartMegabytes = await mostMemory(service.processId);
  tell(`${entries} revocations are being recorded`);
  const first = await published(database);
  await record(database, 1, entries - rounds);
  await nextPublished(database, first);
  const peers = await opensslAndGo(place, database);
  const report = { circumstances, ours: [] as Publication[], openssl: [] as Peer[], go: [] as Peer[] };
  for (let round = 1; round <= rounds; round++) {
    const ours = await publication(service, database, entries - rounds + round);
    tell(`round ${round}: ${ours.seconds.toFixed(2)} s, ${ours.rssMegabytes.toFixed(0)} MB, longest stall ${ours.stallMs.toFixed(0)} ms`);
    report.ours.push(ours);
    report.openssl.push(await peers.openssl());
    report.go.push(await peers.go());
    tell(`openssl ${report.openssl.at(-1)?.seconds.toFixed(2)} s, crypto/x509 ${report.go.at(-1)?.seconds.toFixed(2)} s`);
  }
  const file = join(service.dataDirectory, "crl", `${authority}.crl`);
  const verifySeconds = await verify(file, await issuerFile(place, database));
  const whole: CrlReport = { ...report, octets: (await stat(file)).size, rssAtStartMegabytes, verifySeconds };
  const text = `# A CRL of ${entries.toLocaleString("en")} entries\n\n${table(whole)}\n`;
  await mkdir(join(checkout, "bench/report"), { recursive: true });
  await writeFile(join(checkout, "bench/report/crl.md"), text);
  await writeFile(join(checkout, "bench/report/crl.json"), `${JSON.stringify(whole, undefined, 2)}\n`);
  tell(`\n${text}`);
}

/** Has one certificate more revoked, and the service publish it with all the others. */
async function publication(service: Service, database: Database, number: number): Promise<Publication> {
  const before = await published(database);
  const processes = [service.processId, (await postmaster(service.dataDirectory)) ?? service.processId];
  await writeFile(`/proc/${service.processId}/clear_refs`, "5");
  const [cpuBefore, metricsBefore] = [await cpuSeconds(processes), await metrics(service)];
  await record(database, number, number);
  await nextPublished(database, before);
  const [cpuAfter, metricsAfter] = [await cpuSeconds(processes), await metrics(service)];
  const parts = Object.entries(cpuAfter).map(([part, seconds]) => [part, seconds - (cpuBefore[part as ProcessPart] ?? 0)] as const); // its keys
  return {
    seconds: metricsAfter("chancery_crl_publish_seconds_sum") - metricsBefore("chancery_crl_publish_seconds_sum"),
    stallMs: metricsAfter("nodejs_eventloop_lag_max_seconds") * 1000,
    rssMegabytes: await mostMemory(service.processId),
    cpuSeconds: Object.fromEntries(parts),
  };
}

/** The most memory that a process has had since that was last set back, in megabytes. */
async function mostMemory(processId: number): Promise<number> {
  return Number(/VmHWM:\s+(\d+)/.exec(await readFile(`/proc/${processId}/status`, "utf8"))?.[1]) / 1000;
}

/** The figures of the service; what it tells of stalls begins anew with each reading. */
async function metrics({ opsUrl }: Service): Promise<(name: string) => number> {
  const text = await (await fetch(`${opsUrl}/metrics`)).text();
  return (name) => Number(new RegExp(`^${name} (\\S+)`, "m").exec(text)?.[1] ?? Number.NaN);
}

/** Number of the CRL that is published. */
async function published(database: Database): Promise<string> {
  const [row] = await database.read((sql) => sql<{ number: string }[]>`select number::text from crl_slot where path = ${authority}`);
  return row?.number ?? "";
}

async function nextPublished(database: Database, before: string): Promise<void> {
  for (let tries = 0; (await published(database)) === before; tries++) {
    if (tries === 240) throw new Error("the service has not published its CRL within two minutes");
    await wait(500);
  }
}

type Figure = Exclude<keyof Publication, "cpuSeconds">;

function medianOf(values: readonly Publication[], name: Figure): number {
  return median(values.map((each) => each[name]));
}

function cpuOf(values: readonly Publication[], part: ProcessPart): string {
  return median(values.map(({ cpuSeconds: of }) => of[part] ?? 0)).toFixed(2);
}

function table({ circumstances, ours, octets, rssAtStartMegabytes, openssl, go, verifySeconds }: CrlReport): string {
  const seconds = medianOf(ours, "seconds");
  const stall = medianOf(ours, "stallMs");
  const rss = Math.max(...ours.map(({ rssMegabytes }) => rssMegabytes));
  const rows = [
    {
      writer: "chancery: read, linted, compared with the one before, signed by the token, read back, published",
      seconds: seconds.toFixed(2),
      "RSS MB": rss.toFixed(0),
      "longest stall ms": stall.toFixed(0),
    },
    ...[
      { writer: "openssl ca -gencrl: index.txt, key in a file", peer: openssl },
      { writer: "crypto/x509: entries and key in memory", peer: go },
    ].map(({ writer, peer }) => ({
      writer,
      seconds: median(peer.map((each) => each.seconds)).toFixed(2),
      "RSS MB": Math.max(...peer.map((each) => each.rssMegabytes)).toFixed(0),
      "longest stall ms": "–",
    })),
  ];
  return [
    markdown(rows),
    "",
    `Median of ${circumstances.rounds}, contestants alternating (RSS: the most of all rounds; the service had ${rssAtStartMegabytes.toFixed(0)} MB when it was started); ${circumstances.cores} cores shared with PostgreSQL and the token's host; half of the entries have a reason, ${octets} octets.`,
    `CPU of ours: service ${cpuOf(ours, "service")} s, PostgreSQL ${cpuOf(ours, "PostgreSQL")} s, token's host ${cpuOf(ours, "HSM host")} s. Stalls are told within 10 ms.`,
    `openssl verifies the signature and reads the whole in ${verifySeconds.toFixed(1)} s.`,
    aimsList([
      { aim: "at most 2 s", value: seconds, met: seconds <= 2 },
      { aim: "at most 250 MB", value: rss, met: rss <= 250 },
      { aim: "no stall of the event loop above 50 ms", value: stall, met: stall <= 50 },
    ]),
    calibration(circumstances),
  ].join("\n");
}

/** Revocations of no certificate: of these a CRL needs nothing, so the checks of their keys are left out. */
async function record(database: Database, from: number, to: number): Promise<void> {
  await database.transactAlone(600_000, async ({ sql }) => {
    await sql.unsafe("set local session_replication_role = replica");
    await sql.unsafe(`
      insert into revocation (authority, serial, revoked_at, reason, not_after)
      select '${authority}', set_byte(digest, 0, 64 | (get_byte(digest, 0) & 63)), '2026-01-01'::timestamptz + i % 5000000 * interval '1 second',
        (array[0, 1, 0, 4, 0, 5])[1 + i % 6], '2036-01-01'
      from (select i, decode(md5(i::text), 'hex') as digest from generate_series(${from}, ${to}) i) numbers`);
  });
  // As the server's own vacuuming leaves it.
  if (to > from) await database.read((sql) => sql.unsafe("vacuum (analyze) revocation"));
}

const reasonNames: Readonly<Record<number, string>> = { 1: ",keyCompromise", 4: ",superseded", 5: ",cessationOfOperation" };

/** The other programs, over an index of the same entries. */
async function opensslAndGo(place: string, database: Database): Promise<{ openssl(): Promise<Peer>; go(): Promise<Peer> }> {
  const index = join(place, "index.txt");
  await using file = await open(index, "w");
  for (let after = ""; ;) {
    const rows = await database.read(
      (sql) => sql<{ serial: string; date: string; reason: number }[]>`
        select encode(serial, 'hex') as serial, to_char(revoked_at, 'YYMMDDHH24MISS"Z"') as date, reason from revocation
        where authority = ${authority} and serial > decode(${after}, 'hex') order by serial limit 20000`,
    );
    const last = rows.at(-1);
    if (!last) break;
    after = last.serial;
    const lines = rows.map(
      ({ serial, date, reason }) => `R\t360101000000Z\t${date}${reasonNames[reason] ?? ""}\t${serial.toUpperCase()}\tunknown\t/CN=a\n`,
    );
    await file.write(lines.join(""));
  }
  await writeFile(
    join(place, "ca.cnf"),
    "[ca]\ndefault_ca = ours\n[ours]\ndatabase = index.txt\ncrlnumber = crlnumber\ndefault_md = sha256\ndefault_crl_days = 1\ncrl_extensions = extensions\n[extensions]\nauthorityKeyIdentifier = keyid\n",
  );
  await writeFile(join(place, "crlnumber"), "01\n");
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "key.pem"];
  await outputOf("openssl", ["req", "-x509", ...key, "-subj", `/CN=${authority}`, "-out", "ca.pem"], { directory: place });
  await outputOf("go", ["build", "-o", join(place, "crl"), "."], { directory: join(checkout, "bench/crl"), limitSeconds: 300 });
  return {
    openssl: () =>
      observed("openssl", ["ca", "-config", "ca.cnf", "-gencrl", "-keyfile", "key.pem", "-cert", "ca.pem", "-out", "theirs.pem"], place),
    async go() {
      const { stdout, ...peer } = await observed(join(place, "crl"), [index, join(place, "theirs.der")], place);
      return { ...peer, seconds: Number(stdout) };
    },
  };
}

/** Runs a program to its end, and looks every 20 ms at the most memory that it had. */
async function observed(program: string, parameters: readonly string[], directory: string): Promise<Peer & { readonly stdout: string }> {
  const begun = performance.now();
  const child = execFile(program, parameters, { cwd: directory });
  let [stdout, rssMegabytes] = ["", 0];
  child.stdout?.on("data", (data: string) => (stdout += data));
  const look = setInterval(() => {
    void readFile(`/proc/${child.pid}/status`, "utf8").then(
      (status) => (rssMegabytes = Math.max(rssMegabytes, Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1000)),
      () => undefined,
    );
  }, 20);
  const [status] = (await once(child, "close")) as [number | null];
  clearInterval(look);
  if (status !== 0) throw new Error(`${program} ended with ${status}`);
  return { seconds: (performance.now() - begun) / 1000, rssMegabytes, stdout };
}

/** PEM of the certificate that signs the CRL. */
async function issuerFile(place: string, database: Database): Promise<string> {
  const der = await database.read((sql) => readAuthorityCertificate(sql, authority));
  if (!der) throw new Error(`there is no authority ${authority}`);
  const file = join(place, "issuer.pem");
  await writeFile(file, new X509Certificate(der).toString());
  return file;
}

/** Has the CRL read by ourselves and verified by OpenSSL; seconds that OpenSSL took. */
async function verify(file: string, issuer: string): Promise<number> {
  let count = 0;
  for await (const piece of readCrl(createReadStream(file))) if (piece.piece === "tail") count = piece.entryCount;
  if (count !== entries) throw new Error(`the CRL has ${count} entries`);
  const begun = performance.now();
  const words = ["crl", "-inform", "DER", "-in", file, "-noout", "-verify", "-CAfile", issuer];
  const { stderr, status } = await execute("openssl", words, { limitSeconds: 120 });
  if (status !== 0 || !stderr.includes("verify OK")) throw new Error(`openssl does not verify the CRL: ${stderr}`);
  return (performance.now() - begun) / 1000;
}
