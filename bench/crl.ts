import { execFile, fork } from "node:child_process";
import { once } from "node:events";
import { createReadStream } from "node:fs";
import { mkdir, mkdtemp, open, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { execute, outputOf } from "../conformance/execute.ts";
import { checkout, pkcs11Module } from "../conformance/service.ts";
import { openDatabase, type Database } from "../src/database/connect.ts";
import { startEmbedded } from "../src/database/embedded.ts";
import { migrate } from "../src/database/migrate.ts";
import { readCrl } from "../src/pki/read-crl.ts";
import type { CrlMeasurement } from "./crl-writer.ts";
import { calibration, machine, type Machine } from "./machine.ts";
import { aimsList, markdown } from "./markdown.ts";
import { median } from "./median.ts";
import type { Part } from "./window.ts";

const entries = 1_000_000;
const authority = "issuing-1";

/** What another program took for the same entries; absent where it cannot be had. */
type Peer = { readonly seconds: number; readonly rssMegabytes: number };

type CrlReport = {
  readonly circumstances: Machine & { readonly rounds: number };
  readonly ours: readonly CrlMeasurement[];
  readonly openssl: readonly Peer[];
  readonly go: readonly Peer[];
  readonly verifySeconds: number;
};

/** A CRL of a million entries out of PostgreSQL, signed by a token, beside `openssl ca -gencrl` and crypto/x509 over the same entries. */
export async function measureCrl({ directory, quick, tell }: Part): Promise<void> {
  const rounds = quick ? 1 : 5;
  const circumstances = { ...machine(), rounds };
  const place = await mkdtemp(join(directory, "crl-"));
  await using server = await startEmbedded(join(place, "data"));
  await using database = await openDatabase(
    { url: server.url, deadlineMs: 600_000, statementTimeoutMs: 600_000 },
    { events: { tell: () => undefined, measure: () => undefined } },
  );
  await migrate(database);
  tell(`${entries} revocations are being recorded`);
  await fill(database);
  const peers = await opensslAndGo(place, database);
  await using writer = await startWriter(place, server.url);
  const report = { circumstances, ours: [] as CrlMeasurement[], openssl: [] as Peer[], go: [] as Peer[] };
  for (let round = 1; round <= rounds; round++) {
    const ours = await writer.write(join(place, "ours.der"));
    tell(`round ${round}: ${ours.seconds.toFixed(2)} s, ${ours.rssMegabytes.toFixed(0)} MB, longest stall ${ours.stallMs.toFixed(0)} ms`);
    report.ours.push(ours);
    report.openssl.push(await peers.openssl());
    report.go.push(await peers.go());
    tell(`openssl ${report.openssl.at(-1)?.seconds.toFixed(2)} s, crypto/x509 ${report.go.at(-1)?.seconds.toFixed(2)} s`);
  }
  const verifySeconds = await verify(join(place, "ours.der"), writer.spki);
  const whole: CrlReport = { ...report, verifySeconds };
  const text = `# A CRL of ${entries.toLocaleString("en")} entries\n\n${table(whole)}\n`;
  await mkdir(join(checkout, "bench/report"), { recursive: true });
  await writeFile(join(checkout, "bench/report/crl.md"), text);
  await writeFile(join(checkout, "bench/report/crl.json"), `${JSON.stringify(whole, undefined, 2)}\n`);
  tell(`\n${text}`);
}

function medianOf(values: readonly CrlMeasurement[], name: keyof CrlMeasurement): number {
  return median(values.map((each) => each[name]));
}

function table({ circumstances, ours, openssl, go, verifySeconds }: CrlReport): string {
  const seconds = medianOf(ours, "seconds");
  const stall = medianOf(ours, "stallMs");
  const rss = Math.max(...ours.map(({ rssMegabytes }) => rssMegabytes));
  const rows = [
    {
      writer: "chancery: PostgreSQL, lint, token, file",
      seconds: seconds.toFixed(2),
      "CPU s": medianOf(ours, "cpuSeconds").toFixed(2),
      "RSS MB": rss.toFixed(0),
      "longest stall ms": stall.toFixed(0),
    },
    ...[
      { writer: "openssl ca -gencrl: index.txt, key in a file", peer: openssl },
      { writer: "crypto/x509: entries and key in memory", peer: go },
    ].map(({ writer, peer }) => ({
      writer,
      seconds: median(peer.map((each) => each.seconds)).toFixed(2),
      "CPU s": "–",
      "RSS MB": Math.max(...peer.map((each) => each.rssMegabytes)).toFixed(0),
      "longest stall ms": "–",
    })),
  ];
  return [
    markdown(rows),
    "",
    `Median of ${circumstances.rounds}, contestants alternating (RSS: the most of all rounds; ours ${medianOf(ours, "rssBeforeMegabytes").toFixed(0)} MB before it began); ${circumstances.cores} cores shared with PostgreSQL and the token's host; half of the entries have a reason, ${medianOf(ours, "octets")} octets.`,
    `openssl verifies the signature and reads the whole in ${verifySeconds.toFixed(1)} s.`,
    aimsList([
      { aim: "at most 2 s", value: seconds, met: seconds <= 2 },
      { aim: "at most 250 MB", value: rss, met: rss <= 250 },
      { aim: "no stall of the event loop above 50 ms", value: stall, met: stall <= 50 },
    ]),
    calibration(circumstances),
  ].join("\n");
}

/** Revocations of no certificate of no authority: of these a CRL needs nothing, so the checks of their keys are left out. */
async function fill(database: Database): Promise<void> {
  await database.transactAlone(600_000, async ({ sql }) => {
    await sql.unsafe("set local session_replication_role = replica");
    await sql`insert into crl_slot (path, authority) values (${authority}, ${authority})`;
    await sql.unsafe(`
      insert into revocation (authority, serial, revoked_at, reason, not_after)
      select '${authority}', set_byte(digest, 0, 64 | (get_byte(digest, 0) & 63)), '2026-01-01'::timestamptz + i % 5000000 * interval '1 second',
        (array[0, 1, 0, 4, 0, 5])[1 + i % 6], '2036-01-01'
      from (select i, decode(md5(i::text), 'hex') as digest from generate_series(1, ${entries}) i) numbers`);
  });
  // As the server's own vacuuming leaves it.
  await database.read((sql) => sql.unsafe("vacuum (analyze) revocation"));
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

type Writer = AsyncDisposable & { readonly spki: string; write(file: string): Promise<CrlMeasurement> };

async function startWriter(place: string, url: string): Promise<Writer> {
  const child = fork(fileURLToPath(new URL("crl-writer.ts", import.meta.url)), [pkcs11Module(), place, url, authority], {
    execArgv: ["--expose-gc"],
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  const ended = once(child, "exit");
  const answer = async <Answer>(): Promise<Answer> => {
    const failed = ended.then(([status]) => {
      throw new Error(`crl-writer.ts ended with ${String(status)}`);
    });
    const [message] = (await Promise.race([once(child, "message"), failed])) as [Answer];
    return message;
  };
  const { spki } = await answer<{ spki: string }>();
  return {
    spki,
    write(file) {
      child.send({ file });
      return answer<CrlMeasurement>();
    },
    async [Symbol.asyncDispose]() {
      if (child.connected) child.disconnect();
      await ended;
    },
  };
}

/** Has the CRL read by ourselves and verified by OpenSSL under a certificate of its key; seconds that OpenSSL took. */
async function verify(file: string, spki: string): Promise<number> {
  let count = 0;
  for await (const piece of readCrl(createReadStream(file))) if (piece.piece === "tail") count = piece.entryCount;
  if (count !== entries) throw new Error(`the CRL has ${count} entries`);
  await writeFile(`${file}.key`, `-----BEGIN PUBLIC KEY-----\n${spki}\n-----END PUBLIC KEY-----\n`);
  const directory = join(file, "..");
  // OpenSSL looks for the issuer of a CRL among trusted certificates: one of this name and key, whoever signed it.
  await outputOf("openssl", ["req", "-new", "-key", "key.pem", "-subj", `/CN=${authority}`, "-out", "verifier.csr"], { directory });
  const certificate = ["-req", "-in", "verifier.csr", "-force_pubkey", `${file}.key`, "-signkey", "key.pem", "-out", "verifier.pem"];
  await outputOf("openssl", ["x509", ...certificate], { directory });
  const begun = performance.now();
  const { stderr, status } = await execute(
    "openssl",
    ["crl", "-inform", "DER", "-in", file, "-noout", "-verify", "-CAfile", "verifier.pem"],
    { directory, limitSeconds: 120 },
  );
  if (status !== 0 || !stderr.includes("verify OK")) throw new Error(`openssl does not verify the CRL: ${stderr}`);
  return (performance.now() - begun) / 1000;
}
