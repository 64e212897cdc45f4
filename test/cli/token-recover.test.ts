import { readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openDatabase } from "../../src/database/connect.ts";
import { freshDatabase } from "../support/database.ts";
import { recordedEvents } from "../support/events.ts";
import { freshGround, type Ground } from "../support/service.ts";
import { chanceryProcess, freePorts, startChancery, untilWritten } from "./command-line.ts";
import { chancery } from "./shell.ts";

const now = () => new Date();
const recover = (ground: Ground, settings: Readonly<Record<string, string>> = {}) =>
  chancery(["token", "recover", "--json"], { cwd: ground.directory, env: { ...ground.env, ...settings } });
const tokenIn = async (directory: string) => (await readFile(join(directory, "admin.token"), "utf8")).trim();

/** Records of tokens made at the host, and who the rows say made them. */
async function madeAtHost({ databaseUrl }: Ground) {
  await using database = await openDatabase({ url: databaseUrl }, { events: recordedEvents() });
  const records = await database.read((sql) => sql`select bytes from audit_record order by transaction_id`);
  const rows = await database.read((sql) => sql`select id from api_token where created_by like 'host:%' order by created_at, id`);
  return {
    records: records
      .map((row) => JSON.parse(Buffer.from(row["bytes"]).toString("utf8")))
      .filter(({ principal }) => principal.startsWith("host:")),
    ids: rows.map((row) => String(row["id"])),
  };
}

test(
  "a lost admin token is made anew beside the running service and after it has stopped, over the embedded database, and the service takes it",
  { timeout: 120_000 },
  async () => {
    const [tls, status, ops] = await freePorts(3);
    await using ground = await freshGround({
      DATABASE_URL: "",
      CHANCERY_LISTEN: `127.0.0.1:${tls}`,
      CHANCERY_STATUS_LISTEN: `127.0.0.1:${status}`,
      CHANCERY_OPS_LISTEN: `127.0.0.1:${ops}`,
      CHANCERY_BASE_URL: `https://localhost:${tls}`,
      CHANCERY_STATUS_URL: `http://localhost:${status}`,
    });
    const place = { cwd: ground.directory, env: ground.env };
    const file = join(ground.directory, "admin.token");
    const ask = (...args: string[]) => chancery(args, { ...place, now });
    const first = startChancery(["serve"], place);
    await untilWritten(first, "--help what else there is.\n");
    await rm(file);
    expect(await ask("token", "list")).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("npx chancery token recover") });

    const recovered = await chanceryProcess(["token", "recover"], place);
    expect(recovered).toMatchObject({ exitCode: 0, stderr: "" });
    expect(recovered.stdout).toMatch(
      /^wrote .*admin\.token \(mode 0600\): token [0-9a-f-]{36}, role admin, namespace \/, valid until .*\n.*host:\d+.*\n$/,
    );
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect((await ask("cert", "issue", "--name", "recovered.example.org")).exitCode).toBe(0);

    const again = await chanceryProcess(["token", "recover", "--json"], place);
    const { id, replaced } = JSON.parse(again.stdout);
    expect(recovered.stdout).toContain(replaced.id);
    expect(await ask("token", "revoke", replaced.id)).toMatchObject({ exitCode: 0 });
    expect(JSON.parse((await ask("token", "list", "--json")).stdout).tokens).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ id, role: "admin", namespace: "/" }),
        expect.objectContaining({ id: replaced.id, revokedAt: expect.any(String) }),
      ]),
    );
    const { checks } = JSON.parse((await chanceryProcess(["doctor", "--json"], place)).stdout);
    expect(checks).toContainEqual({
      check: "admin token",
      verdict: "ok",
      detail: expect.stringMatching(/mode 0600, valid for 36[45] more days/),
    });

    first.child.kill("SIGTERM");
    expect((await first.ended).exitCode).toBe(0);
    await writeFile(file, "");
    expect(await chanceryProcess(["token", "recover"], place)).toMatchObject({ exitCode: 0, stderr: "" });
    const second = startChancery(["serve"], place);
    await untilWritten(second, "--help what else there is.\n");
    expect((await ask("token", "list")).exitCode).toBe(0);
    second.child.kill("SIGTERM");
    expect((await second.ended).exitCode).toBe(0);
  },
);

test("a further data directory on the same database gets a token of its own, with DATABASE_URL alone and no module (no HSM is opened)", async () => {
  await using ground = await freshGround();
  const directory = join(ground.directory, "second");
  const env = { CHANCERY_DATA_DIR: directory, DATABASE_URL: ground.databaseUrl };
  const { exitCode, stdout, stderr } = await chancery(["token", "recover", "--json"], { cwd: ground.directory, env });
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
  const { id, createdBy, expiresAt, createdAt, ...rest } = JSON.parse(stdout);
  expect(rest).toEqual({ role: "admin", namespace: "/", file: join(directory, "admin.token") });
  expect(Date.parse(expiresAt) - Date.parse(createdAt)).toBe(365 * 86_400_000);
  expect((await stat(directory)).mode & 0o777).toBe(0o700);
  expect(await tokenIn(directory)).toMatch(/^chancery_/);

  const { records, ids } = await madeAtHost(ground);
  expect(ids).toEqual([id]);
  expect(records).toEqual([
    expect.objectContaining({
      operation: "token.create",
      principal: createdBy,
      namespace: "/",
      outcome: "success",
      object: { role: "admin", namespace: "/", token: id, expiresAt: expiresAt.replace("Z", ".000Z") },
    }),
  ]);
  expect(createdBy).toBe(`host:${process.geteuid?.()}`);
});

test("what stood in admin.token and was no valid token is replaced without a word about it", async () => {
  await using ground = await freshGround();
  await writeFile(join(ground.directory, "admin.token"), "chancery_token\n");
  expect(JSON.parse((await recover(ground)).stdout)).not.toHaveProperty("replaced");
  expect(await tokenIn(ground.directory)).not.toBe("chancery_token");
});

test.for([
  {
    name: "no database in the data directory",
    settings: { DATABASE_URL: "" },
    exitCode: 1,
    says: "set DATABASE_URL, or CHANCERY_DATA_DIR",
  },
  {
    name: "a database that does not answer",
    settings: { DATABASE_URL: "postgresql://nobody@127.0.0.1:1/none" },
    exitCode: 4,
    says: "database",
  },
  {
    name: "a database on another machine without sslmode, where nobody said that this is an evaluation",
    settings: { DATABASE_URL: "postgresql://nobody@192.0.2.1/none", CHANCERY_ENV: "" },
    exitCode: 1,
    says: "sslmode",
  },
  { name: "production without a database", settings: { DATABASE_URL: "", CHANCERY_ENV: "production" }, exitCode: 2, says: "DATABASE_URL" },
  { name: "an option that there is none of", settings: { CHANCERY_LISTENN: "x" }, exitCode: 2, says: "CHANCERY_LISTENN" },
])("$name: exit code $exitCode, and no token is written", async ({ settings, exitCode, says }) => {
  await using ground = await freshGround();
  const refused = await recover(ground, settings);
  expect(refused).toMatchObject({ exitCode, stdout: "", stderr: expect.stringContaining(says) });
  await expect(stat(join(ground.directory, "admin.token"))).rejects.toThrow("ENOENT");
  await expect(stat(join(ground.directory, "postgres"))).rejects.toThrow("ENOENT");
});

test("a database without this release's tables is refused, naming `migrate`", async () => {
  await using ground = await freshGround();
  await using empty = await freshDatabase({ empty: true });
  const refused = await recover(ground, { DATABASE_URL: empty.url });
  expect(refused).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("npx chancery migrate") });
});

test("a data directory that nobody can write to is seen before a token is made", async () => {
  await using ground = await freshGround();
  const file = join(ground.directory, "file");
  await writeFile(file, "");
  expect(await recover(ground, { CHANCERY_DATA_DIR: join(file, "var") })).toMatchObject({
    exitCode: 1,
    stderr: expect.stringContaining(file),
  });
  expect((await madeAtHost(ground)).ids).toEqual([]);
});
