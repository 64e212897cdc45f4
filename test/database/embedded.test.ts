import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { openDatabase } from "../../src/database/connect.ts";
import { environment, findBinaries } from "../../src/database/embedded-binaries.ts";
import { startEmbedded } from "../../src/database/embedded.ts";
import { recordedEvents } from "../support/events.ts";
import { rounds } from "../support/rounds.ts";
import { administer } from "../support/server.ts";

async function dataDirectory(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "chancery-embedded-"));
  onTestFinished(() => rm(path, { recursive: true, force: true }));
  return path;
}

/** One cluster, made once: most tests start on a copy of it. */
let made: string;
beforeAll(async () => {
  made = await mkdtemp(join(tmpdir(), "chancery-embedded-"));
  await (await startEmbedded(made))[Symbol.asyncDispose]();
});
afterAll(() => rm(made, { recursive: true, force: true }));

async function withCluster(): Promise<string> {
  const directory = await dataDirectory();
  await cp(join(made, "postgres"), join(directory, "postgres"), { recursive: true });
  return directory;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Process ids of everything that descends from `pid`. */
function descendants(pid: number): number[] {
  const children = execFileSync("ps", ["-A", "-o", "pid=,ppid="], { encoding: "utf8" })
    .trim()
    .split("\n")
    .map((line) => line.trim().split(/\s+/).map(Number))
    .filter(([, parent]) => parent === pid)
    .map(([child]) => child ?? 0);
  return [...children, ...children.flatMap(descendants)];
}

test("an empty directory gets a durable server that only this user reaches, and the next start finds its rows (EP-4, EP-6)", async () => {
  const directory = await dataDirectory();
  {
    await using server = await startEmbedded(directory);
    const settings = await administer(
      server.url,
      (sql) =>
        sql`select name, setting from pg_settings where name = any(${["listen_addresses", "fsync", "full_page_writes", "data_checksums", "max_connections"]})`,
    );
    expect(Object.fromEntries(settings.map(({ name, setting }) => [name, setting]))).toEqual({
      listen_addresses: "",
      fsync: "on",
      full_page_writes: "on",
      data_checksums: "on",
      max_connections: "100",
    });
    const [database] = await administer(
      server.url,
      (sql) =>
        sql`select pg_encoding_to_char(encoding) as encoding, datlocprovider as provider, datlocale as locale from pg_database where datname = current_database()`,
    );
    expect(database).toEqual({ encoding: "UTF8", provider: "b", locale: "C.UTF-8" });
    const socket = new URL(server.url).searchParams.get("host") ?? "";
    expect((await stat(socket)).mode & 0o777).toBe(0o700);
    expect((await stat(join(directory, "postgres"))).mode & 0o777).toBe(0o700);
    await administer(server.url, (sql) => sql.unsafe("create table kept (id int); insert into kept values (1)"));
  }
  await using server = await startEmbedded(directory);
  expect(await administer(server.url, (sql) => sql`select id from kept`)).toHaveLength(1);
});

test("a path too long for a socket moves it to a directory of its own, which goes with the server (EP-5)", async () => {
  const directory = join(await dataDirectory(), "x".repeat(100));
  await cp(join(made, "postgres"), join(directory, "postgres"), { recursive: true });
  let socket: string;
  {
    await using server = await startEmbedded(directory);
    socket = new URL(server.url).searchParams.get("host") ?? "";
    expect(socket.startsWith(directory)).toBe(false);
    expect((await stat(socket)).mode & 0o777).toBe(0o700);
    expect(await administer(server.url, (sql) => sql`select 1`)).toHaveLength(1);
  }
  await expect(stat(socket)).rejects.toThrow("ENOENT");
});

test("a cluster of another version is refused and left alone (EP-10)", async () => {
  const directory = await dataDirectory();
  await mkdir(join(directory, "postgres/data"), { recursive: true });
  await writeFile(join(directory, "postgres/data/PG_VERSION"), "17\n");
  await expect(startEmbedded(directory)).rejects.toMatchObject({
    code: "refusedToStart",
    detail: expect.stringContaining("belongs to PostgreSQL 17"),
  });
  expect(await readdir(join(directory, "postgres/data"))).toEqual(["PG_VERSION"]);
});

test("a cluster whose making was interrupted is made anew", async () => {
  const directory = await dataDirectory();
  await mkdir(join(directory, "postgres/data.new"), { recursive: true });
  await writeFile(join(directory, "postgres/data.new/PG_VERSION"), "18\n");
  await using server = await startEmbedded(directory);
  expect(await administer(server.url, (sql) => sql`select 1`)).toHaveLength(1);
});

test("a server that cannot start says why", async () => {
  const directory = await withCluster();
  await writeFile(join(directory, "postgres/data/postgresql.auto.conf"), "no_such_setting = 1\n");
  await expect(startEmbedded(directory)).rejects.toMatchObject({
    code: "refusedToStart",
    detail: expect.stringContaining("contains errors"),
  });
});

test("a server with fsync off is refused by its name (DB-8)", async () => {
  await using server = await startEmbedded(await withCluster());
  await administer(server.url, (sql) => sql`alter system set fsync = off`);
  await administer(server.url, (sql) => sql`select pg_reload_conf()`);
  await vi.waitFor(() =>
    expect(openDatabase({ url: server.url }, { events: recordedEvents() })).rejects.toMatchObject({
      code: "refusedToStart",
      detail: expect.stringContaining("fsync=off"),
    }),
  );
});

describe("a server that outlived its service (EP-8)", () => {
  test("is ended with SIGINT before the next one starts", async () => {
    const directory = await withCluster();
    const first = await startEmbedded(directory);
    const socket = new URL(first.url).searchParams.get("host") ?? "";
    await first[Symbol.asyncDispose]();
    const { prefix, postgres } = await findBinaries();
    const [file = "", ...args] = [
      ...prefix,
      postgres,
      "-D",
      join(directory, "postgres/data"),
      "-c",
      "listen_addresses=",
      "-c",
      `unix_socket_directories=${socket}`,
    ];
    const orphan = spawn(file, args, { env: environment, stdio: "ignore" });
    onTestFinished(() => void orphan.kill("SIGKILL"));
    await vi.waitFor(() => administer(first.url, (sql) => sql`select 1`), { timeout: 10_000 });
    const ended = once(orphan, "exit");
    await using server = await startEmbedded(directory);
    expect(await ended).toEqual([0, null]);
    expect(server.pid()).not.toBe(orphan.pid);
    expect(await administer(server.url, (sql) => sql`select 1`)).toHaveLength(1);
  });

  test("a stale lock file that names a living process of another kind harms nobody", async () => {
    const directory = await withCluster();
    await writeFile(join(directory, "postgres/data/postmaster.pid"), `${process.ppid}\n${join(directory, "postgres/data")}\n`);
    await startEmbedded(directory).then(
      (server) => server[Symbol.asyncDispose](),
      (error: unknown) => expect(error).toMatchObject({ code: "refusedToStart" }),
    );
    expect(isAlive(process.ppid)).toBe(true);
  });

  test.runIf(process.platform === "linux")("does not: kill -9 of the service ends it", async () => {
    const directory = await withCluster();
    const service = spawn(process.execPath, [join(import.meta.dirname, "embedded-child.ts"), directory], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const [pid] = await once(service.stdout, "data");
    const postmaster = Number(String(pid));
    expect(isAlive(postmaster)).toBe(true);
    service.kill("SIGKILL");
    await vi.waitFor(() => expect(isAlive(postmaster)).toBe(false), { timeout: 10_000 });
    // A clean end: no recovery at the next start.
    await using server = await startEmbedded(directory);
    expect(await readFile(join(directory, "postgres/server.log"), "utf8")).not.toContain("recovery");
    expect(server.pid()).not.toBe(postmaster);
  });
});

const kills = rounds(3, 50);
test(
  `kill -9 of the postmaster and its children under load, ${kills} times: back by itself, and every acknowledged row stands (T-PGKILL)`,
  { timeout: 20_000 * kills },
  async () => {
    await using server = await startEmbedded(await withCluster());
    await administer(server.url, (sql) => sql.unsafe("create table acknowledged (id text primary key)"));
    await using database = await openDatabase({ url: server.url }, { events: recordedEvents() });
    const acknowledged: string[] = [];
    let refused = 0;
    const load = { done: false };
    const writers = Array.from({ length: 4 }, async (_, name) => {
      for (let n = 0; !load.done; n += 1) {
        const id = `${name} ${n}`;
        await database
          .read((sql) => sql`insert into acknowledged values (${id})`)
          .then(
            () => acknowledged.push(id),
            async () => {
              refused += 1;
              await setTimeout(5);
            },
          );
      }
    });
    for (let kill = 0; kill < kills; kill += 1) {
      const before = acknowledged.length;
      await vi.waitFor(() => expect(acknowledged.length).toBeGreaterThan(before + 100), { interval: 1, timeout: 20_000 });
      const postmaster = server.pid() ?? 0;
      for (const pid of [postmaster, ...descendants(postmaster)]) process.kill(pid, "SIGKILL");
    }
    const before = acknowledged.length;
    await vi.waitFor(() => expect(acknowledged.length).toBeGreaterThan(before), { interval: 1, timeout: 20_000 });
    load.done = true;
    await Promise.all(writers);
    const rows = await vi.waitFor(() => database.read((sql) => sql`select id from acknowledged`), { timeout: 20_000 });
    const standing = new Set(rows.map((row) => row["id"]));
    expect(acknowledged.filter((id) => !standing.has(id))).toEqual([]);
    expect(refused).toBeGreaterThan(0);
  },
);
