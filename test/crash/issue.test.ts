import { fork } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Ca } from "../../src/ca/ca.ts";
import { issue } from "../../src/ca/issue.ts";
import { settle } from "../../src/ca/settle.ts";
import { csrFromText, parseCsr } from "../../src/pki/csr.ts";
import type { Hsm } from "../../src/ports/hsm.ts";
import { movedClock } from "../support/clock.ts";
import { failpoints, issuancePoints, type Point } from "../support/failpoints.ts";
import { brokenInvariants } from "../support/invariants.ts";
import { rounds } from "../support/rounds.ts";
import { asking, standingGround, type Ground, opensslRequest, startService, type TestService } from "../support/service.ts";
import { brokenStatus } from "../support/status-invariants.ts";

const openAttempts = async ({ service }: TestService): Promise<number> => {
  const rows = await service.ca.database.read(
    (sql) => sql`select from issuance i where not exists (select from certificate c where c.serial = i.serial)`,
  );
  return rows.length;
};

const recorded = () => Promise.resolve("recorded" as const);

const closedAttempts = async ({ service }: TestService): Promise<number> => {
  const rows = await service.ca.database.read((sql) => sql`select from certificate where certificate is null`);
  return rows.length;
};

/** Of six points: 504 in a soak. */
const killsOfPoint = rounds(1, 84);

describe("the process is killed (SIGKILL) at each step of the issuance path (T-CRASH)", () => {
  let ground: Ground;
  beforeAll(async () => {
    ground = await standingGround();
    // The ceremony is held once, by a service that ends in peace.
    await using chancery = await startService({}, ground);
    expect(chancery.service.ca.authorities.size).toBe(2);
  });
  afterAll(() => ground[Symbol.asyncDispose]());

  test.for(issuancePoints)("%s: nothing acknowledged is lost, and the repeated request ends with one certificate", async (point) => {
    for (let kill = 1; kill <= killsOfPoint; kill += 1) {
      const { csr } = await opensslRequest("crash.example.org");
      const question = { body: { csr, profile: "server" }, headers: { "idempotency-key": `crash-${point}-${kill}` } };
      const child = fork(join(import.meta.dirname, "issue-child.ts"), [point], { env: { ...process.env, ...ground.env }, execArgv: [] });
      const exit = once(child, "exit");
      const [message] = (await once(child, "message")) as [{ port: number }];
      const ca = await readFile(join(ground.directory, "root.pem"), "utf8");
      const token = (await readFile(join(ground.directory, "admin.token"), "utf8")).trim();
      await expect(asking({ port: message.port, ca, token })("/v1/certificates", question)).rejects.toThrow();
      expect((await exit)[1]).toBe("SIGKILL");

      await using chancery = await startService({}, ground);
      const answer = await chancery.ask("/v1/certificates", question);
      expect([200, 201]).toContain(answer.status);
      const again = await chancery.ask("/v1/certificates", question);
      expect(again.json()).toEqual(answer.json());
      expect(await chancery.service.ca.database.read((sql) => brokenInvariants(sql))).toEqual([]);
    }
  });
});

describe("settling what was left open", () => {
  const clock = movedClock();
  let failing: Point | undefined;
  let chancery: TestService;
  beforeAll(async () => {
    const overrides = failpoints((point) => {
      if (point === failing) throw new Error(`failed at ${point}`);
    });
    chancery = await startService({ ...overrides, clock });
  });
  afterAll(() => chancery[Symbol.asyncDispose]());

  const refusedAt = async (point: Point, question: { body: unknown; headers?: Record<string, string> }): Promise<void> => {
    failing = point;
    expect((await chancery.ask("/v1/certificates", question)).status).toBe(500);
    failing = undefined;
  };

  test.for(issuancePoints)("%s fails: once nobody can be at work, the attempt is finished with the same bytes", async (point) => {
    const name = `${point.replace(":", "-")}.example.org`;
    const { csr } = await opensslRequest(name);
    await refusedAt(point, { body: { csr, profile: "server" } });
    clock.aheadSeconds += 60;
    await settle(chancery.service.ca);
    expect(await openAttempts(chancery)).toBe(0);
    expect(await chancery.service.ca.database.read((sql) => brokenInvariants(sql))).toEqual([]);
    const certificates = (await chancery.ask(`/v1/certificates?name=${name}`)).json()["certificates"];
    expect(certificates).toHaveLength(point === "intent:before" ? 0 : 1);
  });

  test("bytes that grew old are closed, their serial is revoked, and the request goes on under another (XI-1)", async () => {
    const { csr } = await opensslRequest("old.example.org");
    const question = { body: { csr, profile: "server" }, headers: { "idempotency-key": "old" } };
    await refusedAt("sign:before", question);
    const [first] = await chancery.service.ca.database.read(
      (sql) => sql<{ serial: string }[]>`select encode(serial, 'hex') as serial from issuance order by created_at desc limit 1`,
    );

    clock.aheadSeconds += 2 * 3600;
    // Whoever repeats the request before that is told to wait: bytes that old are not signed.
    const early = await chancery.ask("/v1/certificates", question);
    expect([early.status, early.json()["code"]]).toEqual([503, "busy"]);
    expect(await settle(chancery.service.ca)).toMatchObject({ closed: 1, failed: 0 });
    const answer = await chancery.ask("/v1/certificates", question);
    expect(answer.status).toBe(200);
    expect(answer.json()["serial"]).not.toBe(first?.serial);
    const revoked = await chancery.service.ca.database.read(
      (sql) => sql`select from revocation where encode(serial, 'hex') = ${first?.serial ?? ""}`,
    );
    expect(revoked).toHaveLength(1);
    expect(await chancery.service.ca.database.read((sql) => brokenInvariants(sql))).toEqual([]);
  });

  test("no signature stands without its intent and no acknowledged certificate is lost; with either record left out the same check finds it (I1, I2)", async () => {
    const { csr } = await opensslRequest("negative-control.example.org");
    const parsed = await parseCsr(csrFromText(csr));
    const signed: string[] = [];
    const hsm: Hsm = new Proxy(chancery.service.ca.hsm, {
      get(target, property) {
        const value: unknown = Reflect.get(target, property, target);
        if (property !== "sign" || typeof value !== "function") return typeof value === "function" ? value.bind(target) : value;
        return (...args: Parameters<Hsm["sign"]>) => {
          signed.push(createHash("sha256").update(args[2]).digest("hex"));
          return target.sign(...args);
        };
      },
    });
    /** Issues once and tells what is missing in the database afterwards. */
    const missing = async (ca: Ca) => {
      signed.length = 0;
      const { publicKey, names } = parsed;
      const request = {
        door: "system",
        principal: { id: "system", namespace: "/" },
        requestHash: new Uint8Array(32),
        profile: "server",
        names,
        publicKey,
      } as const;
      const { certificate } = await issue(ca, request);
      const intents = await ca.database.read((sql) => sql`select from issuance where encode(sha256(tbs), 'hex') in ${sql(signed)}`);
      const certificates = await ca.database.read(
        (sql) => sql`select from certificate where encode(serial, 'hex') = ${certificate.serial}`,
      );
      return { intents: signed.length - intents.length, certificates: 1 - certificates.length };
    };
    const ca: Ca = { ...chancery.service.ca, hsm };
    expect(await missing(ca)).toEqual({ intents: 0, certificates: 0 });
    expect(await missing({ ...ca, recordIntent: recorded, recordCertificate: recorded })).toEqual({ intents: 1, certificates: 1 });
  });

  test("a late signer cannot record a certificate for an attempt that was closed", async () => {
    const { csr } = await opensslRequest("late.example.org");
    const held = Promise.withResolvers<void>();
    let reached = false;
    const late = failpoints((point) => {
      if (point !== "sign:after" || reached) return undefined;
      reached = true;
      return held.promise;
    });
    const ca = { ...chancery.service.ca, hsm: late.hsm(chancery.service.ca.hsm) };
    const parsed = await parseCsr(csrFromText(csr));
    const slow = issue(ca, {
      door: "system",
      key: "late",
      principal: { id: "system", namespace: "/" },
      requestHash: new Uint8Array(32),
      profile: "server",
      names: parsed.names,
      publicKey: parsed.publicKey,
    });
    await expect.poll(() => reached).toBe(true);
    clock.aheadSeconds += 2 * 3600;
    const before = await closedAttempts(chancery);
    expect(await settle(chancery.service.ca)).toMatchObject({ closed: 1 });
    held.resolve();
    const issued = await slow;
    expect(await closedAttempts(chancery)).toBe(before + 1);
    expect(issued.certificate.status).toBe("valid");
    expect(await chancery.service.ca.database.read((sql) => brokenInvariants(sql))).toEqual([]);
    expect(await brokenStatus(chancery.service)).toEqual([]);
  });
});
