import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { loadConfig } from "../../src/config.ts";
import { examineCrls } from "../../src/cli/examine-crls.ts";
import { askOps } from "../../src/cli/examine-listeners.ts";
import { chanceryProcess } from "../cli/command-line.ts";
import { exchange } from "../http/exchange.ts";
import { issueLeaf, type Leaf, opensslCrl, revokeLeaf } from "../support/crl-world.ts";
import { freshDatabase } from "../support/database.ts";
import { recordedEvents } from "../support/events.ts";
import { opensslOcspRequest, opensslOcspVerdict, postOcsp } from "../support/ocsp.ts";
import { type Ground, standingGround, startService, type TestService } from "../support/service.ts";

/**
 * A service on a database that is a backup. Since that was made, certificates that it has were revoked (`kept`, and `changed` for another reason
 * than it has), `lost` was issued and revoked, and the root's CRL was renewed.
 */
const stack = new AsyncDisposableStack();
const events = recordedEvents();
let ground: Ground;
let chancery: TestService;
let [kept, changed, lost]: Leaf[] = [];
const lastServed = new Map<string, Buffer>();

const crl = async (path: string) => (await exchange(chancery.service.listeners.status, { path: `/crl/${path}.crl` })).body;
const numberOf = async (der: Uint8Array) => BigInt(/CRL Number: \s+(\d+)/.exec((await opensslCrl(der)).text)?.[1] ?? "0");
const serialOf = (leaf: Leaf | undefined): string => leaf?.serial ?? "none";
const run = (...args: readonly string[]) =>
  chanceryProcess(args, {
    cwd: ground.directory,
    env: { ...ground.env, CHANCERY_BASE_URL: `https://localhost:${chancery.service.listeners.tls.port}` },
  });
const readiness = async () => (await exchange(chancery.service.listeners.ops, { path: "/readyz/status" })).text;

beforeAll(async () => {
  const own = stack.use(await standingGround({ CHANCERY_CRL_SHARDS: "mtls=1" }));
  ground = own;
  {
    await using first = await startService({}, own);
    kept = await issueLeaf(first.service.ca);
    changed = await issueLeaf(first.service.ca);
    await revokeLeaf(first.service.ca, changed);
  }
  const backup = stack.use(await freshDatabase({ template: new URL(own.databaseUrl).pathname.slice(1) }));
  {
    chancery = await startService({}, own);
    await using second = chancery;
    const rootBefore = await numberOf(await crl("root-1"));
    lost = await issueLeaf(second.service.ca, "mtls");
    await revokeLeaf(second.service.ca, kept, 5);
    await revokeLeaf(second.service.ca, changed, 1);
    await revokeLeaf(second.service.ca, lost);
    expect((await run("ca", "crl", "root-1")).exitCode).toBe(0);
    const isNew = async (path: string, der: Buffer): Promise<boolean> =>
      path === "root-1" ? (await numberOf(der)) > rootBefore : (await opensslCrl(der)).serials.includes(serialOf(lost));
    for (const path of ["issuing-1", "issuing-1/0", "root-1"]) {
      const file = join(own.config.crlDir, `${path}.crl`);
      let der = await readFile(file);
      for (; !(await isNew(path, der)); der = await readFile(file)) await pause(200);
      lastServed.set(path, der);
    }
  }
  const env = { ...own.env, DATABASE_URL: backup.url };
  ground = { ...own, databaseUrl: backup.url, env, config: loadConfig({ env, directory: own.directory }) };
  chancery = stack.use(await startService({ events: () => events }, ground));
}, 180_000);
afterAll(() => stack.disposeAsync());

test("what was served last is served on, and says so: in the log with the serial numbers, in readiness and in doctor (XR-11)", async () => {
  for (const [path, der] of lastServed) {
    expect(await crl(path)).toEqual(der);
    expect(events.told).toContainEqual(
      expect.objectContaining({
        level: "error",
        event: "crl.held",
        fields: expect.objectContaining({
          crl: path,
          number: String(await numberOf(der)),
          remedy: expect.stringContaining("--after-restore"),
        }),
      }),
    );
  }
  const named = events.told.flatMap(({ event, fields }) => (event === "crl.held" ? String(fields?.["serials"]).split(" ") : []));
  expect(named).toEqual(expect.arrayContaining([kept, changed, lost].map(serialOf)));
  const told = await readiness();
  const opsListen = { host: "127.0.0.1", port: chancery.service.listeners.ops.port };
  const [finding] = await examineCrls(ground.config, new Date(), (await askOps({ ...ground.config, opsListen })).running);
  expect(finding?.verdict).toBe("warning");
  for (const authority of ["issuing-1", "root-1"]) {
    for (const said of [told, finding?.detail]) expect(said).toContain(`npx chancery ca crl ${authority} --after-restore`);
  }
});

test.for([
  { name: "one that the backup has", leaf: () => kept, reason: "cessationOfOperation (0x5)" },
  { name: "one that was revoked for another reason before", leaf: () => changed, reason: "keyCompromise (0x1)" },
  { name: "one that the backup does not know", leaf: () => lost, reason: "superseded (0x4)" },
])("OCSP calls no certificate good whose revocation the backup lacks: $name", async ({ leaf, reason }) => {
  const serials = [serialOf(leaf())];
  const files = { issuer: join(ground.directory, "chain.pem"), root: join(ground.directory, "root.pem") };
  const { body } = await postOcsp(chancery.service, await opensslOcspRequest({ serials, issuer: files.issuer }));
  const { verified, statuses, text } = await opensslOcspVerdict(body, { serials, ...files });
  expect([verified, statuses]).toEqual([true, ["revoked"]]);
  expect(text).toContain(`Revocation Reason: ${reason}`);
});

test("nothing follows it before somebody agrees: neither for a new revocation nor by command", async () => {
  const another = await issueLeaf(chancery.service.ca);
  await revokeLeaf(chancery.service.ca, another);
  await chancery.service.jobs.find(({ name }) => name === "crl")?.act(new AbortController().signal);
  const published = await chancery.service.ca.database.read(
    (sql) => sql<{ number: string }[]>`select number from crl_slot where path = 'issuing-1'`,
  );
  expect(BigInt(published[0]?.number ?? 0)).toBeLessThan(await numberOf(lastServed.get("issuing-1") ?? Buffer.alloc(0)));
  const refused = await run("ca", "crl", "root-1");
  expect([refused.exitCode === 0, refused.stderr]).toEqual([false, expect.stringContaining("--after-restore")]);
  for (const args of [["--after-restore"], ["--reason", "test"], ["--without-take-over"], ["--after-restore", "--reason", " "]]) {
    expect((await run("ca", "crl", "issuing-1", ...args)).stderr).toContain("--after-restore");
  }
  expect((await run("ca", "crl", "issuing-1", "--reason", "test")).exitCode).not.toBe(0);
});

test("once somebody has agreed they go on: greater numbers, and every entry of the last ones (XC-14, XC-18)", async () => {
  for (const authority of ["issuing-1", "root-1"]) {
    const { exitCode, stdout, stderr } = await run("ca", "crl", authority, "--after-restore", "--reason", "the backup of 02:00", "--json");
    expect([exitCode, stderr]).toEqual([0, expect.not.stringContaining('"level":"error"')]);
    const { released } = JSON.parse(stdout) as { released: { crl: string; revocations: number }[] };
    // The shard's is read first: what it brings back, the full one does not have to.
    const expected = { "issuing-1": 2, "issuing-1/0": 1, "root-1": 0 };
    for (const { crl: path, revocations } of released) expect(expected).toMatchObject({ [path]: revocations });
    expect(released.map(({ crl: path }) => path)).toEqual(Object.keys(expected).filter((path) => path.startsWith(authority)));
  }
  for (const [path, before] of lastServed) {
    await expect
      .poll(async () => (await numberOf(await crl(path))) > (await numberOf(before)), { timeout: 30_000, interval: 500 })
      .toBe(true);
    const [old, next] = [
      await opensslCrl(before),
      await opensslCrl(await crl(path), join(ground.directory, path === "root-1" ? "root.pem" : "chain.pem")),
    ];
    expect(next.verified).toBe(true);
    expect(next.serials).toEqual(expect.arrayContaining(old.serials));
  }
  await expect.poll(readiness, { timeout: 20_000, interval: 500 }).not.toContain("--after-restore");
  const again = await run("ca", "crl", "issuing-1", "--after-restore", "--reason", "again");
  expect([again.exitCode === 0, again.stderr]).toEqual([false, expect.stringContaining("no CRL of issuing-1 is held")]);
});

test("the audit log has each revocation that was brought back, what was held, and who agreed and why", async () => {
  const rows = await chancery.service.ca.database.read((sql) => sql<{ bytes: Uint8Array }[]>`select bytes from audit_record`);
  const entries = rows.map(({ bytes }) => JSON.parse(Buffer.from(bytes).toString("utf8")) as Record<string, unknown>);
  const of = (operation: string) => entries.filter((entry) => entry["operation"] === operation);
  for (const leaf of [kept, changed, lost]) {
    const record = { principal: "system", object: { serial: serialOf(leaf), crl: expect.stringMatching(/^issuing-1/) } };
    expect(of("certificate.revoke")).toContainEqual(expect.objectContaining({ ...record, object: expect.objectContaining(record.object) }));
  }
  expect(of("crl.hold")).toHaveLength(3);
  expect(of("crl.release").map(({ principal, object }) => [principal, object])).toEqual(
    ["issuing-1", "issuing-1/0", "root-1"].map((path) => [
      expect.stringMatching(/^host:\d+$/),
      { crl: path, reason: "the backup of 02:00" },
    ]),
  );
});
