import { chmod, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { build } from "../../src/app.ts";
import { loadConfig } from "../../src/config.ts";
import { evaluationPlan, initialise } from "../../src/initialise.ts";
import { sealCertificate } from "../../src/pki/certificate.ts";
import { freshDatabase } from "../support/database.ts";
import { type DatabaseProxy, startProxy } from "../support/proxy.ts";
import { brokenInvariants } from "../support/invariants.ts";
import { rounds } from "../support/rounds.ts";
import {
  type Answer,
  freshGround,
  type Ground,
  opensslRequest,
  standingGround,
  startService,
  type TestService,
} from "../support/service.ts";
import { shimAvailable, shimmed, type Shim } from "../support/shim.ts";
import { modulePath } from "../support/token.ts";
import { clockOf } from "../support/clock.ts";

const server = async (csr: string, { ask }: TestService) => await ask("/v1/certificates", { body: { csr, profile: "server" } });
const refusal = async (start: Promise<AsyncDisposable>): Promise<string> => {
  try {
    await (await start)[Symbol.asyncDispose]();
    return "it started";
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
};

/** The numbers from 1 to `count`, at most `size` of them together. */
const grouped = (count: number, size: number): number[][] =>
  Array.from({ length: Math.ceil(count / size) }, (_, group) =>
    Array.from({ length: Math.min(size, count - group * size) }, (__, index) => group * size + index + 1),
  );

describe.runIf(shimAvailable)("the HSM fails under the service", () => {
  let ground: Ground;
  let shim: Shim;
  let chancery: TestService;
  let csr: string;
  beforeAll(async () => {
    await using shelf = new AsyncDisposableStack();
    ground = shelf.use(await standingGround());
    shim = shimmed({ module: modulePath(), directory: ground.directory });
    ground = {
      ...ground,
      config: loadConfig({ env: { ...ground.env, CHANCERY_PKCS11_MODULE: shim.module }, directory: ground.directory }),
    };
    chancery = shelf.use(await startService({}, ground));
    csr = (await opensslRequest("hsm.example.org")).csr;
    shelf.move();
  });
  afterAll(async () => {
    shim.fault();
    await chancery[Symbol.asyncDispose]();
    await ground[Symbol.asyncDispose]();
  });

  test("of signatures with a flipped bit none is released; without the check all of them would be (PK-21, PS-3)", async () => {
    shim.fault({ function: "C_Sign", fault: "flip" });
    const answers = await Promise.all(Array.from({ length: 20 }, () => server(csr, chancery)));
    expect(answers.map((answer) => answer.status)).toEqual(Array.from({ length: 20 }, () => 503));
    expect(answers[0]?.json()["code"]).toBe("hsmUnavailable");

    // The same fault with the check left out: the token reports success, and the bytes are wrong.
    const authority = chancery.service.ca.authorities.get("issuing-1");
    if (!authority) throw new Error("no authority");
    const [row] = await chancery.service.ca.database.read(
      (sql) => sql<{ tbs: Uint8Array }[]>`select tbs from issuance where authority = 'issuing-1' limit 1`,
    );
    const tbs = new Uint8Array(row?.tbs ?? []);
    await expect
      .poll(
        () =>
          chancery.service.ca.hsm.sign(authority.key, "certificate", tbs).then(
            (bytes) => bytes.length > 0,
            () => false,
          ),
        { timeout: 15_000 },
      )
      .toBe(true);
    const unchecked = await chancery.service.ca.hsm.sign(authority.key, "certificate", tbs);
    expect(await sealCertificate(tbs, authority.verificationKey, unchecked)).toBeUndefined();

    shim.fault();
    await expect.poll(async () => (await server(csr, chancery)).status, { timeout: 15_000 }).toBe(201);
  });

  test("a token that takes half a second for a signature: everyone waits and everyone is served (PS-1)", async () => {
    shim.fault({ function: "C_Sign", fault: "latency", argument: 500 });
    const answers = await Promise.all(Array.from({ length: 8 }, () => server(csr, chancery)));
    expect(answers.map((answer) => answer.status)).toEqual(Array.from({ length: 8 }, () => 201));
    shim.fault();
  });

  test("a signature that hangs: 503 with Retry-After, and the service heals by itself (T-HSM, PS-6)", async () => {
    shim.fault({ function: "C_Sign", fault: "hang" });
    const answer = await server(csr, chancery);
    expect(answer.status).toBe(503);
    expect(answer.json()["code"]).toBe("hsmUnavailable");
    expect(answer.headers["retry-after"]).toMatch(/^\d+$/);
    shim.fault();
    await expect.poll(async () => (await server(csr, chancery)).status, { timeout: 20_000 }).toBe(201);
  });

  test.for([
    { name: "a device error", fault: { function: "C_Sign", fault: "return", argument: 0x30 } as const },
    { name: "a crash of the module", fault: { function: "C_Sign", fault: "abort" } as const },
  ])("$name: 503, nothing lost, and it heals (T-HSM, PS-2, PS-6)", async ({ fault }) => {
    shim.fault(fault);
    const answer = await server(csr, chancery);
    expect(answer.status).toBe(503);
    shim.fault();
    await expect.poll(async () => (await server(csr, chancery)).status, { timeout: 20_000 }).toBe(201);
    expect(await chancery.service.ca.database.read((sql) => brokenInvariants(sql))).toEqual([]);
  });

  test("the token is deleted: not ready, 503; it comes back: ready, without a restart (PK-40)", async () => {
    const tokens = join(ground.directory, "tokens");
    const ready = async () => (await fetch(`http://127.0.0.1:${chancery.service.listeners.ops.port}/readyz/issue`)).status;
    await expect.poll(ready, { timeout: 20_000 }).toBe(200);
    await rename(tokens, `${tokens}.away`);
    await expect.poll(ready, { timeout: 20_000 }).toBe(503);
    expect((await server(csr, chancery)).status).toBe(503);
    expect((await fetch(`http://127.0.0.1:${chancery.service.listeners.ops.port}/readyz/status`)).status).toBe(200);
    await rm(tokens, { recursive: true, force: true });
    await rename(`${tokens}.away`, tokens);
    await expect.poll(ready, { timeout: 20_000 }).toBe(200);
    expect((await server(csr, chancery)).status).toBe(201);
  });

  test("every signature that the token made over a certificate has a durable intent over the same bytes (I2, PK-29, PS-8)", async () => {
    const rows = await chancery.service.ca.database.read(
      (sql) => sql<{ digest: string }[]>`
      select encode(sha256(tbs), 'hex') as digest from issuance union all select encode(sha384(tbs), 'hex') from issuance`,
    );
    const intents = new Set(rows.map(({ digest }) => digest));
    const keys = await chancery.service.ca.database.read(
      (sql) => sql<{ id: string }[]>`select encode(cka_id, 'hex') as id from key_pair where name in ('root-1', 'issuing-1')`,
    );
    const signed = shim.calls("C_Sign").filter((call) => keys.some(({ id }) => id === call.key));
    const withoutIntent = signed.filter((call) => !intents.has(call.input));
    // What is left over are binding tests, which are no DER: as many as starts and hosts, and far fewer than certificates.
    expect(signed.length - withoutIntent.length).toBeGreaterThan(20);
    const certificates = new Set(signed.map((call) => call.input).filter((input) => intents.has(input)));
    const issued = await chancery.service.ca.database.read(
      (sql) =>
        sql<
          { digest: string }[]
        >`select encode(sha256(tbs), 'hex') as digest from issuance join certificate using (authority, serial) where certificate is not null and authority = 'issuing-1'`,
    );
    for (const { digest } of issued) expect(certificates).toContain(digest);
  });
});

describe.runIf(shimAvailable)("the PIN", () => {
  test("a wrong one is tried once in a start, and the start is refused with the option's name (PK-9, PS-4)", async () => {
    await using ground = await standingGround();
    const shim = shimmed({ module: modulePath(), directory: ground.directory });
    const config = loadConfig({ env: { ...ground.env, CHANCERY_PKCS11_MODULE: shim.module }, directory: ground.directory });
    await (await build(config))[Symbol.asyncDispose]();
    const before = shim.calls("C_Login").length;
    await chmod(config.pkcs11PinFile, 0o600);
    await writeFile(config.pkcs11PinFile, "not-the-pin");
    expect(await refusal(build(config))).toMatch(/CHANCERY_PKCS11_PIN_FILE/);
    expect(shim.calls("C_Login").length - before).toBe(1);
  });

  test("is nowhere but in its file: not in arguments or environment of the service or its children (S-44)", async () => {
    await using chancery = await startService();
    const pins = await Promise.all(
      ["issuing.pin", "root.pin", "security-officer.pin"].map((file) => readFile(join(chancery.ground.directory, file), "utf8")),
    );
    const children = (await readFile(`/proc/${process.pid}/task/${process.pid}/children`, "utf8")).trim().split(" ").filter(Boolean);
    expect(children.length).toBeGreaterThan(0);
    for (const pid of [String(process.pid), ...children]) {
      const told = `${await readFile(`/proc/${pid}/cmdline`, "latin1")} ${await readFile(`/proc/${pid}/environ`, "latin1")}`;
      for (const pin of pins) expect(told.includes(pin)).toBe(false);
    }
  });
});

describe("the database fails under the service", () => {
  let shared: Ground;
  let proxy: DatabaseProxy;
  let chancery: TestService;
  let csr: string;
  beforeAll(async () => {
    shared = await standingGround();
    proxy = await startProxy(shared.databaseUrl);
    const config = loadConfig({ env: { ...shared.env, DATABASE_URL: proxy.url }, directory: shared.directory });
    chancery = await startService({}, { ...shared, config });
    csr = (await opensslRequest("database.example.org")).csr;
  });
  afterAll(async () => {
    await chancery[Symbol.asyncDispose]();
    await proxy[Symbol.asyncDispose]();
    await shared[Symbol.asyncDispose]();
  });

  test("gone mid-request: 503 databaseUnavailable with Retry-After; back: served again, nothing acknowledged lost", async () => {
    const acknowledged = String((await server(csr, chancery)).json()["serial"]);
    await proxy.down();
    const refused = await server(csr, chancery);
    expect(refused.status).toBe(503);
    expect(refused.json()["code"]).toBe("databaseUnavailable");
    expect(refused.headers["retry-after"]).toMatch(/^\d+$/);
    const cer = await fetch(`http://127.0.0.1:${chancery.service.listeners.status.port}/ca/issuing-1.cer`);
    expect(cer.status).toBe(200);
    await proxy.up();
    await expect.poll(async () => (await server(csr, chancery)).status, { timeout: 15_000 }).toBe(201);
    expect((await chancery.ask(`/v1/certificates/${acknowledged}`)).status).toBe(200);
  });

  // At each place; 1,000 in a soak. At the third place a repeated request first waits a second for whoever else may be at work: the repeated ones go together.
  const cuts = rounds(1, 250);
  test.for([
    { statement: "insert into issuance", when: "before" },
    { statement: "insert into issuance", when: "after" },
    { statement: "insert into certificate ", when: "before" },
    { statement: "insert into certificate ", when: "after" },
  ] as const)(
    "cut $when the commit of `$statement`: told right, or settled by the repeated request (DB-10, T-NET)",
    { timeout: 30_000 + cuts * 1_000 },
    async ({ statement, when }) => {
      const { ca } = chancery.service;
      for (const group of grouped(cuts, 25)) {
        const asked = group.map((round) => {
          const key = `${statement.replaceAll(" ", "-")}${when}-${round}`;
          return { body: { csr, profile: "server" }, headers: { "idempotency-key": key } };
        });
        const first: Answer[] = [];
        for (const question of asked) {
          const before = proxy.cuts();
          proxy.cutAt(new RegExp(statement), when);
          first.push(await chancery.ask("/v1/certificates", question));
          expect(proxy.cuts()).toBe(before + 1);
        }
        const second = await Promise.all(asked.map((question) => chancery.ask("/v1/certificates", question)));
        for (const [index, { status, json }] of first.entries()) {
          expect([201, 503]).toContain(status);
          expect([200, 201]).toContain(second[index]?.status);
          if (status === 201) expect(second[index]?.json()).toEqual(json());
        }
        // Nothing of a connection that was cut is left: neither its place among the eight nor the attempt that it carried.
        expect(proxy.connections()).toBeLessThanOrEqual(8);
        expect(ca.finishing.size).toBe(0);
      }
      expect(await ca.database.read((sql) => brokenInvariants(sql))).toEqual([]);
    },
  );

  test("no database at the start: refused with a sentence", async () => {
    await using ground = await freshGround();
    const config = loadConfig({
      env: { ...ground.env, DATABASE_URL: "postgresql://nobody@127.0.0.1:1/none" },
      directory: ground.directory,
    });
    expect(await refusal(build(config))).toMatch(/database/);
  });

  test("a trigger that refuses certificates or audit records: nothing is delivered, and nothing issued without a record (XI-2, XI-8)", async () => {
    const { database } = chancery.service.ca;
    const refuse = (table: string) =>
      database.read((sql) =>
        sql.unsafe(`create trigger refused before insert on ${table} for each statement execute function refuse_change()`),
      );
    const permit = (table: string) => database.read((sql) => sql.unsafe(`drop trigger refused on ${table}`));
    const attempts = async () => (await database.read((sql) => sql`select from issuance`)).length;

    await refuse("certificate");
    expect((await server(csr, chancery)).status).toBe(500);
    await permit("certificate");
    const before = await attempts();
    await refuse("audit_record");
    expect((await server(csr, chancery)).status).toBe(500);
    await permit("audit_record");
    expect(await attempts()).toBe(before);
    expect(await database.read((sql) => brokenInvariants(sql))).toEqual([]);
    expect((await server(csr, chancery)).status).toBe(201);
  });
});

describe("dangerous states", () => {
  let stuck: Uint8Array<ArrayBuffer> | undefined;
  let offsetSeconds = 0;
  let chancery: TestService;
  let csr: string;
  beforeAll(async () => {
    chancery = await startService({
      clock: clockOf(() => new Date(Date.now() + offsetSeconds * 1000)),
      random: { bytes: (length) => (length === 16 && stuck ? new Uint8Array(stuck) : crypto.getRandomValues(new Uint8Array(length))) },
    });
    csr = (await opensslRequest("dangerous.example.org")).csr;
  });
  afterAll(() => chancery[Symbol.asyncDispose]());

  test("a generator that repeats itself: the second certificate is refused before anything is signed (S-25, XV-7)", async () => {
    stuck = crypto.getRandomValues(new Uint8Array(16));
    const [first, second] = [await server(csr, chancery), await server(csr, chancery)];
    stuck = undefined;
    expect(first.status).toBe(201);
    expect(second.status).toBeGreaterThanOrEqual(400);
    expect(await chancery.service.ca.database.read((sql) => brokenInvariants(sql))).toEqual([]);
  });

  test.for([
    { name: "a clock an hour behind what was signed", seconds: -3600 },
    { name: "a clock that steps back by ten seconds", seconds: -10 },
  ])("$name: nothing is signed, and the reason is told (XV-8)", async ({ seconds }) => {
    expect((await server(csr, chancery)).status).toBe(201);
    offsetSeconds = seconds;
    const refused = await server(csr, chancery);
    offsetSeconds = 0;
    expect(refused.status).toBe(503);
    expect(refused.json()["detail"]).toMatch(/clock/);
    expect((await server(csr, chancery)).status).toBe(201);
  });

  test("a clock more than 5 s away from the database's: nothing is signed", async () => {
    chancery.service.ca.timekeeper.compared(5.5);
    expect((await server(csr, chancery)).status).toBe(503);
    chancery.service.ca.timekeeper.compared(4.5);
    expect((await server(csr, chancery)).status).toBe(201);
  });

  test("a reserved key is refused whoever asks (XK-3)", async () => {
    const { csr: reserved } = await opensslRequest("reserved.example.org");
    const spki = Buffer.from(String((await server(reserved, chancery)).json()["spkiSha256"]), "hex");
    await chancery.service.ca.database.read((sql) => sql`insert into reserved_key values (${spki}, 'authority', now())`);
    const refused = await server(reserved, chancery);
    expect(refused.status).toBe(400);
    expect(refused.json()["code"]).toBe("badCSR");
  });

  test("two services on one data directory: the second is refused, and names the process", async () => {
    expect(await refusal(build(chancery.ground.config))).toContain(`in use by process ${process.pid}`);
  });

  test("a port in use: refused with the options' names, before any key or certificate is made", async () => {
    await using ground = await freshGround({ CHANCERY_STATUS_LISTEN: `127.0.0.1:${chancery.service.listeners.tls.port}` });
    expect(await refusal(build(ground.config))).toMatch(/set CHANCERY_STATUS_LISTEN and CHANCERY_STATUS_URL to another/);
    const config = loadConfig({ env: { ...ground.env, CHANCERY_STATUS_LISTEN: "127.0.0.1:0" }, directory: ground.directory });
    await using later = await startService({}, { ...ground, config });
    const made = await later.service.ca.database.read((sql) => sql`select from issuance`);
    expect(made).toHaveLength(4);
  });

  test("four instances start at once on an empty database and one HSM: all start, with one hierarchy (DB-6)", async () => {
    // A first evaluation makes the tokens.
    await using tokens = await freshGround();
    await (await build(tokens.config))[Symbol.asyncDispose]();
    await using empty = await freshDatabase({ empty: true });
    const configs = [1, 2, 3, 4].map((n) => {
      const env = {
        ...tokens.env,
        CHANCERY_ENV: "production",
        CHANCERY_DATA_DIR: join(tokens.directory, `instance-${n}`),
        CHANCERY_BASE_URL: "https://ca.example.org",
        CHANCERY_STATUS_URL: "http://status.example.org",
        CHANCERY_PKCS11_TOKEN: tokens.config.pkcs11Token,
        CHANCERY_PKCS11_PIN_FILE: tokens.config.pkcs11PinFile,
        CHANCERY_PKCS11_ROOT_PIN_FILE: tokens.config.pkcs11RootPinFile,
        SOFTHSM2_CONF: join(tokens.directory, "softhsm2.conf"),
        DATABASE_URL: empty.url,
      };
      return loadConfig({ env, directory: tokens.directory });
    });
    const plan = { ...evaluationPlan, organization: "Four", country: "XX" };
    const roots = await Promise.all(configs.map(async (config) => Buffer.from((await initialise(config, plan)).root).toString("hex")));
    expect(new Set(roots).size).toBe(1);
    await using instances = new AsyncDisposableStack();
    const services = await Promise.all(configs.map((config) => build(config)));
    for (const service of services) instances.use(service);
    expect(services.map(({ ca }) => [...ca.authorities.keys()])).toEqual(Array.from({ length: 4 }, () => ["root-1", "issuing-1"]));
    const [first] = services;
    expect(await first?.ca.database.read((sql) => brokenInvariants(sql))).toEqual([]);
  });
});
