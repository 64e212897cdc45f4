import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import type { Account } from "../../src/acme/account.ts";
import { type Ca, openCa } from "../../src/ca/ca.ts";
import { haltIssuance, type HaltState, resumeIssuance, watchHalt } from "../../src/ca/halt.ts";
import type { Halt } from "../../src/ca/halt-store.ts";
import type { Stops } from "../../src/ca/stop-store.ts";
import { issue, type IssueRequest } from "../../src/ca/issue.ts";
import { settle, settleUnfinished } from "../../src/ca/settle.ts";
import { timekeeper } from "../../src/ca/timekeeper.ts";
import { csrFromText, parseCsr } from "../../src/pki/csr.ts";
import { type AcmeGround, acmeGround, finalized, readyOrder } from "../support/acme-world.ts";
import { brokenInvariants } from "../support/invariants.ts";
import { opensslRequest } from "../support/service.ts";

let ground: AcmeGround;
let account: Account;
const administrator = { id: "system", namespace: "/", role: "admin" } as const;
const told = (reason: string) => ({ principal: administrator, reason, requestId: "test" });
const halted = { code: "issuanceHalted", members: { reason: "a key is lost" } };

beforeAll(async () => {
  ground = await acmeGround();
  account = await ground.newAccount();
});
afterAll(() => ground[Symbol.asyncDispose]());
beforeEach(async () => {
  ground.on.reach = undefined;
  await resumeIssuance(ground.acme.ca, told("the next test"));
  await ground.other.ca.halt.refresh();
});

/** What somebody by a token asks for, under a key where it is given. */
async function request(key?: string): Promise<IssueRequest> {
  const [token] = await ground.acme.database.read((sql) => sql<{ id: string }[]>`select id from api_token`);
  const csr = await parseCsr(csrFromText((await opensslRequest("halt.example.org")).csr));
  const principal = { id: `token:${token?.id ?? ""}`, namespace: "/" };
  return { door: "rest", key, principal, requestHash: Buffer.alloc(32), profile: "server", names: csr.names, publicKey: csr.publicKey };
}

const count = async (query: "certificate" | "open") => {
  const [row] = await ground.acme.database.read(
    (sql) => sql<{ certificates: number; open: number }[]>`
      select count(c.certificate)::integer as certificates, (count(*) filter (where c.serial is null))::integer as open
      from issuance i left join certificate c using (authority, serial)`,
  );
  return query === "open" ? (row?.open ?? 0) : (row?.certificates ?? 0);
};

/** An instance whose guard and view of the halt are taken out. */
async function unguarded(): Promise<Ca> {
  const never: HaltState = {
    current: () => Promise.resolve(undefined),
    known: () => undefined,
    revoked: () => [],
    refresh: () => Promise.resolve(),
  };
  const opened = await openCa({ ...ground.acme.ca, guard: (sql) => sql`true` });
  return { ...opened, halt: never, timekeeper: timekeeper(ground.clock, undefined) };
}

describe("while issuance is halted", () => {
  test("no instance begins a certificate, whatever it knows; with its guard out one is signed, and not recorded", async () => {
    await ground.other.ca.halt.refresh();
    await haltIssuance(ground.acme.ca, told("a key is lost"));
    const before = { certificates: await count("certificate"), signatures: ground.signatures() };
    // The other one has seen a moment ago that all is well, and has not looked again.
    for (const { ca } of [ground.acme, ground.other]) await expect(issue(ca, await request())).rejects.toMatchObject(halted);
    expect({ certificates: await count("certificate"), signatures: ground.signatures() }).toEqual(before);
    const open = await count("open");
    await expect(issue(await unguarded(), await request())).rejects.toMatchObject(halted);
    expect({ certificates: await count("certificate"), signatures: ground.signatures(), open: await count("open") }).toEqual({
      ...before,
      signatures: before.signatures + 1,
      open: open + 1,
    });
    await resumeIssuance(ground.acme.ca, told("it was found"));
    ground.clock.aheadSeconds += 60;
    expect(await settle(ground.acme.ca)).toMatchObject({ finished: 1 });
    expect((await issue(await unguarded(), await request())).certificate.status).toBe("valid");
  });

  test("what the service needs for itself is issued", async () => {
    await haltIssuance(ground.acme.ca, told("a key is lost"));
    const own = { ...(await request()), door: "system", principal: { id: "system", namespace: "/" } } as const;
    expect((await issue(ground.other.ca, own)).certificate.status).toBe("valid");
  });

  test("an order stays ready, and is issued when issuance goes on (AM-1)", async () => {
    const order = await readyOrder(ground, account, "halted.example.org");
    await haltIssuance(ground.acme.ca, told("a key is lost"));
    for (const acme of [ground.acme, ground.other]) await expect(finalized(acme, account, order)).rejects.toMatchObject(halted);
    await resumeIssuance(ground.other.ca, told("it was found"));
    await ground.acme.ca.halt.refresh();
    expect((await finalized(ground.acme, account, order)).status).toBe("valid");
  });

  test("a certificate that stands is given to whoever repeats its request", async () => {
    const asked = await request("stands");
    const { certificate } = await issue(ground.acme.ca, asked);
    await haltIssuance(ground.acme.ca, told("a key is lost"));
    expect(await issue(ground.other.ca, asked)).toMatchObject({ repeated: true, certificate: { serial: certificate.serial } });
  });

  test("what was being signed when it was halted is not recorded; nor is it signed again until issuance goes on", async () => {
    const asked = await request("caught");
    ground.on.reach = (point) =>
      point === "sign:before" ? haltIssuance(ground.acme.ca, told("a key is lost")).then(() => undefined) : undefined;
    await expect(issue(ground.acme.ca, asked)).rejects.toMatchObject(halted);
    ground.on.reach = undefined;
    await ground.other.ca.halt.refresh();
    expect(await count("open")).toBe(1);
    const signatures = ground.signatures();
    const certificates = await count("certificate");

    for (const { ca } of [ground.acme, ground.other]) await expect(issue(ca, asked)).rejects.toMatchObject(halted);
    ground.clock.aheadSeconds += 60;
    for (const { ca } of [ground.acme, ground.other]) {
      expect(await settle(ca)).toEqual({ finished: 0, closed: 0, failed: 0 });
      await settleUnfinished(ca);
    }
    expect([ground.signatures(), await count("open"), await count("certificate")]).toEqual([signatures, 1, certificates]);

    await resumeIssuance(ground.acme.ca, told("it was found"));
    expect(await settle(ground.acme.ca)).toMatchObject({ finished: 1 });
    expect((await issue(ground.acme.ca, asked)).repeated).toBe(true);
  });

  test("a certificate that waits to be recorded when it is halted is not: nothing is given that was recorded later", async () => {
    const asked = await request("waits");
    const certificates = await count("certificate");
    // Behind the last look at what is known: the statement alone keeps it back.
    const recordCertificate: Ca["recordCertificate"] = async (row) => {
      await haltIssuance(ground.other.ca, told("a key is lost"));
      return await ground.acme.ca.recordCertificate(row);
    };
    await expect(issue({ ...ground.acme.ca, recordCertificate }, asked)).rejects.toMatchObject(halted);
    expect([await count("certificate"), await count("open")]).toEqual([certificates, 1]);

    await resumeIssuance(ground.acme.ca, told("it was found"));
    ground.clock.aheadSeconds += 60;
    expect(await settle(ground.acme.ca)).toMatchObject({ finished: 1 });
    expect((await issue(ground.acme.ca, asked)).repeated).toBe(true);
  });

  test("an attempt that grows old meanwhile is not closed: its request goes on under another serial after that", async () => {
    const asked = await request("old");
    ground.on.reach = (point) => {
      if (point === "sign:before") throw new Error("the token ends");
    };
    await expect(issue(ground.acme.ca, asked)).rejects.toThrow("the token ends");
    ground.on.reach = undefined;
    await haltIssuance(ground.acme.ca, told("a key is lost"));
    ground.clock.aheadSeconds += 7_200;
    expect(await settle(ground.acme.ca)).toEqual({ finished: 0, closed: 0, failed: 0 });
    // Halted a moment ago, and this instance does not know it yet.
    const unaware = { ...ground.acme.ca, halt: (await unguarded()).halt };
    expect(await settle(unaware)).toMatchObject({ closed: 0, failed: 1 });
    expect(await count("open")).toBe(1);

    await resumeIssuance(ground.acme.ca, told("it was found"));
    expect(await settle(ground.acme.ca)).toMatchObject({ closed: 1, failed: 0 });
    expect((await issue(ground.acme.ca, asked)).repeated).toBe(true);
    expect(await ground.acme.database.read((sql) => brokenInvariants(sql))).toEqual([]);
  });
});

describe("a halt", () => {
  test("stands as it was first given, through a restart, and leaves its records", async () => {
    const first = await haltIssuance(ground.acme.ca, told("a key is lost"));
    const second = await haltIssuance(ground.other.ca, told("another reason"));
    expect(second).toEqual(first);
    const { halt } = await openCa(ground.acme.ca);
    expect((await halt.current())?.reason).toBe("a key is lost");
    await resumeIssuance(ground.acme.ca, told("it was found"));
    await resumeIssuance(ground.acme.ca, told("once more"));
    const records = await ground.acme.database.read(
      (sql) => sql<{ operation: string; reason: string }[]>`
        select convert_from(bytes, 'UTF8')::jsonb ->> 'operation' as operation, convert_from(bytes, 'UTF8')::jsonb #>> '{object,reason}' as reason
        from audit_record where convert_from(bytes, 'UTF8')::jsonb #>> '{object,halt}' = ${first.id} order by id`,
    );
    expect(records).toEqual([
      { operation: "issuance.halt", reason: "a key is lost" },
      { operation: "issuance.resume", reason: "it was found" },
    ]);
  });

  test.for([
    { name: "a requester of /", principal: { id: "token:1", namespace: "/", role: "requester" } as const },
    { name: "an administrator below /", principal: { id: "token:1", namespace: "/team", role: "admin" } as const },
  ])("is nothing that $name may begin or end", async ({ principal }) => {
    for (const act of [haltIssuance, resumeIssuance]) {
      await expect(act(ground.acme.ca, { ...told("no"), principal })).rejects.toMatchObject({ code: "policyDenied" });
    }
  });

  test("is looked for again when what is known of it is more than a second old, and never taken back by a slower look", async () => {
    vi.useFakeTimers({ toFake: ["performance"] });
    try {
      const looks: PromiseWithResolvers<Stops>[] = [];
      const halt = watchHalt({
        read: <T>() => {
          const look = Promise.withResolvers<Stops>();
          looks.push(look);
          return look.promise as Promise<T>;
        },
      });
      const standing: Halt = { id: "1", haltedAt: new Date(0), haltedBy: "token:1", reason: "a key is lost" };
      const first = halt.current();
      looks[0]?.resolve({ halt: undefined, revoked: [] });
      expect(await first).toBeUndefined();
      vi.advanceTimersByTime(1_000);
      expect([await halt.current(), looks.length]).toEqual([undefined, 1]);
      vi.advanceTimersByTime(1);
      const slow = halt.current();
      vi.advanceTimersByTime(10);
      const quick = halt.refresh();
      looks[2]?.resolve({ halt: standing, revoked: ["issuing-1"] });
      await quick;
      looks[1]?.resolve({ halt: undefined, revoked: [] });
      expect([await slow, halt.known(), halt.revoked(), looks.length]).toEqual([standing, standing, ["issuing-1"], 3]);
    } finally {
      vi.useRealTimers();
    }
  });
});
