import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { chmod, chown, mkdir, mkdtemp, open, readFile, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { Fault } from "../fault.ts";
import { openConnection, type Sql } from "./connection.ts";
import { environment, findBinaries, parentDeathPrefix, run, type Binaries } from "./embedded-binaries.ts";
import { endOrphan } from "./embedded-orphan.ts";
import { livePostmaster } from "./embedded-postmaster.ts";

/** A PostgreSQL server of the service's own: for evaluation, development and tests. */
export type EmbeddedServer = AsyncDisposable & {
  /** Connection URI of the database `chancery`. */
  readonly url: string;
  /** Process id of the postmaster now. */
  readonly pid: () => number | undefined;
};

/**
 * Starts PostgreSQL over `<dataDir>/postgres`, made when it is not there, and answers when it answers. It listens on a Unix socket in a directory
 * of mode 0700 and nowhere else, is started again when it dies, and ends with the service. The caller holds the lock of `dataDir`.
 * @throws Fault `refusedToStart` with what to do.
 */
export async function startEmbedded(dataDir: string): Promise<EmbeddedServer> {
  const binaries = await findBinaries();
  const base = join(dataDir, "postgres");
  const cluster = join(base, "data");
  await ownDirectory(base, binaries);
  await endOrphan(cluster);
  await makeCluster(cluster, binaries);
  const socket = await socketDirectory(base, binaries);
  const server = await supervise({ binaries, cluster, socket: socket.path, log: join(base, "server.log") });
  try {
    await ask(server, socket.path, "postgres", async (sql) => {
      const [row] = await sql`select 1 from pg_database where datname = ${database}`;
      if (!row) await sql.unsafe(`create database ${database}`);
    });
  } catch (error) {
    await server[Symbol.asyncDispose]();
    await socket.remove();
    throw error;
  }
  return {
    url: url(socket.path),
    pid: server.pid,
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      await socket.remove();
    },
  };
}

/** Connection URI of the server that another process runs over `<dataDir>/postgres`; undefined while there is none that may be asked. */
export async function runningEmbedded(dataDir: string): Promise<string | undefined> {
  const socket = (await livePostmaster(join(dataDir, "postgres", "data")))?.socket;
  return socket === undefined ? undefined : url(socket);
}

/** Whether `startEmbedded` would find rows that an earlier start left, rather than make an empty cluster. */
export async function hasEmbedded(dataDir: string): Promise<boolean> {
  return readFile(join(dataDir, "postgres", "data", "PG_VERSION")).then(
    () => true,
    () => false,
  );
}

function url(socket: string): string {
  return `postgresql:///${database}?host=${encodeURIComponent(socket)}&user=${user}`;
}

const database = "chancery";
const user = "postgres";
const version = "18";

/** sun_path has 108 bytes, the last of them NUL. */
const maxSocketPathBytes = 107;

async function ownDirectory(path: string, { owner }: Binaries): Promise<void> {
  await mkdir(path, { recursive: true, mode: 0o700 });
  await chmod(path, 0o700);
  if (owner) await chown(path, owner.uid, owner.gid);
}

/** A cluster stands complete or not at all: initdb works beside it, and a rename puts it in place. */
async function makeCluster(cluster: string, binaries: Binaries): Promise<void> {
  const found = await readFile(join(cluster, "PG_VERSION"), "utf8").then(
    (text) => text.trim(),
    () => undefined,
  );
  if (found === version) return;
  if (found !== undefined)
    throw new Fault(
      "refusedToStart",
      `${cluster} belongs to PostgreSQL ${found}, and the embedded one is ${version}: move its data with pg_dump, or set DATABASE_URL`,
    );
  const fresh = `${cluster}.new`;
  await rm(fresh, { recursive: true, force: true });
  await ownDirectory(fresh, binaries);
  const options = ["-U", user, "-E", "UTF8", "--locale-provider=builtin", "--locale=C.UTF-8", "--auth=trust"];
  try {
    await run([...binaries.prefix, binaries.initdb, "-D", fresh, ...options]);
  } catch (error) {
    throw new Fault("refusedToStart", `initdb could not make ${cluster}: ${lastLine(String(error))}`, { cause: error });
  }
  await rename(fresh, cluster);
  await using parent = await open(join(cluster, ".."));
  await parent.sync();
}

/** Where the socket lies: beside the cluster, or, where the path would be too long for it, in a fresh directory under the temporary one. */
async function socketDirectory(base: string, binaries: Binaries): Promise<{ path: string; remove(): Promise<void> }> {
  const path = join(base, "socket");
  if (fits(path)) {
    await ownDirectory(path, binaries);
    return { path, remove: async () => {} };
  }
  const temporary = await mkdtemp(join(tmpdir(), "chancery-"));
  if (!fits(temporary)) throw new Fault("refusedToStart", `no path for a Unix socket is short enough: ${temporary} is not; set TMPDIR`);
  await ownDirectory(temporary, binaries);
  return { path: temporary, remove: () => rm(temporary, { recursive: true, force: true }) };
}

function fits(directory: string): boolean {
  return Buffer.byteLength(join(directory, ".s.PGSQL.5432")) <= maxSocketPathBytes;
}

type Plan = { readonly binaries: Binaries; readonly cluster: string; readonly socket: string; readonly log: string };
type Supervised = AsyncDisposable & { readonly log: string; readonly pid: () => number | undefined; readonly running: () => boolean };

/** Keeps a postmaster running until disposed of. A cluster that was killed recovers by itself; one that cannot start is tried every two seconds. */
async function supervise(plan: Plan): Promise<Supervised> {
  const prefix = [...plan.binaries.prefix, ...(await parentDeathPrefix())];
  const stopping = new AbortController();
  let child = await start(plan, prefix, "w");
  const supervision = (async () => {
    for (let pauseMs = 100; ; pauseMs = Math.min(pauseMs * 2, 2000)) {
      if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
      await setTimeout(pauseMs, undefined, { signal: stopping.signal }).catch(() => {});
      if (stopping.signal.aborted) return;
      child = await start(plan, prefix, "a");
      if (stopping.signal.aborted) child.kill("SIGINT");
    }
  })();
  return {
    log: plan.log,
    pid: () => child.pid,
    running: () => child.exitCode === null && child.signalCode === null,
    async [Symbol.asyncDispose]() {
      stopping.abort();
      // SIGINT is the fast stop: SIGTERM waits for clients, SIGQUIT leaves recovery to the next start.
      child.kill("SIGINT");
      const patience = new AbortController();
      void setTimeout(stopMs, undefined, { signal: patience.signal }).then(
        () => child.kill("SIGQUIT"),
        () => {},
      );
      await supervision;
      patience.abort();
    },
  };
}

const stopMs = 10_000;

async function start({ binaries, cluster, socket, log }: Plan, prefix: readonly string[], flags: "a" | "w"): Promise<ChildProcess> {
  await using output = await open(log, flags, 0o600);
  const settings = {
    listen_addresses: "",
    unix_socket_directories: `"${socket.replaceAll('"', '""')}"`,
    unix_socket_permissions: "0700",
    max_connections: "100",
    shared_buffers: "64MB",
    log_min_messages: "warning",
    log_min_error_statement: "panic",
  };
  const [file = "", ...args] = [
    ...prefix,
    binaries.postgres,
    "-D",
    cluster,
    ...Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]),
  ];
  // Of a process group of its own, else Ctrl-C would end it before the service has drained.
  return spawn(file, args, { detached: true, env: environment, stdio: ["ignore", output.fd, output.fd] });
}

/** Waits for the server's first answer, recovery included, and asks. */
async function ask(server: Supervised, host: string, name: string, question: (sql: Sql) => Promise<void>): Promise<void> {
  const address = { host, port: 5432, user, password: "", database: name, sslmode: "disable" } as const;
  const limits = { deadlineMs: 10_000, connectTimeoutMs: 3000, statementTimeoutMs: 10_000, lockTimeoutMs: 2000 };
  for (let attempt = 0; ; attempt += 1) {
    const connection = openConnection(address, limits, { roundTrip: () => {}, lost: () => {} });
    try {
      await connection.run(async () => connection.sql`select 1`);
      await connection.run(() => question(connection.sql));
      return;
    } catch (error) {
      if (!server.running() || attempt === maxAttempts)
        throw new Fault("refusedToStart", `the embedded PostgreSQL does not start: ${lastLine(await readFile(server.log, "utf8"))}`, {
          cause: error,
        });
    } finally {
      await connection.close();
    }
    await setTimeout(attemptMs);
  }
}

const attemptMs = 20;
/** Two minutes: recovery after a kill reads the log of up to 1 GB. */
const maxAttempts = 6000;

function lastLine(text: string): string {
  return text.trim().split("\n").at(-1) ?? "";
}
