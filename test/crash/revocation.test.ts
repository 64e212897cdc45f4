import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { beginRevocation, continueRevocation } from "../../src/ca/mass-revocation.ts";
import { writeCertificateRows } from "../support/certificate-rows.ts";
import { type Point, revocationPoints } from "../support/failpoints.ts";
import { rounds } from "../support/rounds.ts";
import { asking, freshGround, type Ground, opensslRequest, startService, type TestService } from "../support/service.ts";

/** Of seven kills: 70 in a soak. */
const killsOfPoint = rounds(1, 10);
/** Three batches. */
const size = 2_100;

/** Each point, and those that every batch passes once more in the second. */
const kills = [
  ...revocationPoints.map((point) => ({ point, nth: 1 })),
  { point: "progress:before" as const, nth: 2 },
  { point: "batch:after" as const, nth: 2 },
];

/** The key of the certificates that one kill is about. */
const keyOf = (point: Point, nth: number, kill: number) => Buffer.alloc(32, `${point} ${nth} ${kill}`);

async function startChild(ground: Ground, point: Point, nth: number): Promise<{ child: ChildProcess; ask: ReturnType<typeof asking> }> {
  const env = { ...process.env, ...ground.env };
  const child = fork(join(import.meta.dirname, "issue-child.ts"), [point, String(nth)], { env, execArgv: [] });
  const [{ port }] = (await once(child, "message")) as [{ port: number }];
  const ca = await readFile(join(ground.directory, "root.pem"), "utf8");
  const token = (await readFile(join(ground.directory, "admin.token"), "utf8")).trim();
  return { child, ask: asking({ port, ca, token }) };
}

/** How often each certificate of a key is revoked, and how many records tell of it. */
async function counted(
  { service }: TestService,
  spkiSha256: Uint8Array,
): Promise<readonly { revoked: number; records: number; count: number }[]> {
  return await service.ca.database.read(
    (sql) => sql<{ revoked: number; records: number; count: number }[]>`
      with told as (
        select convert_from(bytes, 'UTF8')::jsonb #>> '{object,serial}' as serial, count(*)::integer as records from audit_record
        where convert_from(bytes, 'UTF8')::jsonb ->> 'operation' = 'certificate.revoke' group by 1
      )
      select (r.serial is not null)::integer as revoked, coalesce(t.records, 0) as records, count(*)::integer as count
      from certificate c left join revocation r using (authority, serial) left join told t on t.serial = encode(c.serial, 'hex')
      where c.spki_sha256 = ${spkiSha256} group by 1, 2`,
  );
}

describe("the process is killed (SIGKILL) at each step of a revocation of many (T-CRASH)", () => {
  let ground: Ground;
  beforeAll(async () => {
    ground = await freshGround();
    await using chancery = await startService({}, ground);
    const { csr } = await opensslRequest("model.example.org");
    expect((await chancery.ask("/v1/certificates", { body: { csr, profile: "server" } })).status).toBe(201);
    for (const { point, nth } of kills) {
      for (let kill = 1; kill <= killsOfPoint; kill += 1) {
        const spkiSha256 = keyOf(point, nth, kill);
        await chancery.service.ca.database.read((sql) => writeCertificateRows(sql, { count: size, spkiSha256 }));
      }
    }
  });
  afterAll(() => ground[Symbol.asyncDispose]());

  test.for(kills)(
    "$point, time $nth: whoever goes on ends it with each certificate revoked once and one record of each",
    async ({ point, nth }) => {
      for (let kill = 1; kill <= killsOfPoint; kill += 1) {
        const spkiSha256 = keyOf(point, nth, kill);
        const question = {
          body: { filter: { spkiSha256: spkiSha256.toString("hex") }, reason: "superseded" },
          headers: { "idempotency-key": `many-${point}-${nth}-${kill}` },
        };
        const { child, ask } = await startChild(ground, point, nth);
        const exit = once(child, "exit");
        await expect(ask("/v1/revocations", question)).rejects.toThrow();
        expect((await exit)[1]).toBe("SIGKILL");

        await using chancery = await startService({}, ground);
        const answer = await chancery.ask("/v1/revocations", question);
        expect([200, 201, 202]).toContain(answer.status);
        const location = String(answer.headers["location"]);
        await expect
          .poll(async () => (await chancery.ask(location)).json(), { timeout: 20_000 })
          .toMatchObject({ state: "ended", revoked: size });
        expect(await counted(chancery, spkiSha256)).toEqual([{ revoked: 1, records: 1, count: size }]);
      }
    },
  );

  test("the same count sees a record too few and one too many (negative control)", async () => {
    const spkiSha256 = Buffer.alloc(32, "control");
    await using chancery = await startService({}, ground);
    const { read } = chancery.service.ca.database;
    const [first = "", second = ""] = await read((sql) => writeCertificateRows(sql, { count: 2, spkiSha256 }));
    await read(
      (sql) => sql`insert into revocation (authority, serial, revoked_at, reason, not_after)
        select authority, serial, now(), 4, not_after from certificate where spki_sha256 = ${spkiSha256}`,
    );
    for (const serial of [first, first]) {
      await read(
        (sql) => sql`insert into audit_record (id, bytes, leaf_hash) values (gen_random_uuid(),
          convert_to(jsonb_build_object('operation', 'certificate.revoke', 'object', jsonb_build_object('serial', ${serial}::text))::text, 'UTF8'),
          sha256('x'))`,
      );
    }
    expect(second).not.toBe(first);
    expect((await counted(chancery, spkiSha256)).toSorted((a, b) => a.records - b.records)).toEqual([
      { revoked: 1, records: 0, count: 1 },
      { revoked: 1, records: 2, count: 1 },
    ]);
  });
});

test("two instances at one revocation share its batches: each certificate once (JB-3)", async () => {
  await using chancery = await startService();
  const { csr } = await opensslRequest("model.example.org");
  await chancery.ask("/v1/certificates", { body: { csr, profile: "server" } });
  const spkiSha256 = Buffer.alloc(32, "shared");
  const { ca } = chancery.service;
  await ca.database.read((sql) => writeCertificateRows(sql, { count: 5_200, spkiSha256 }));
  const principal = { id: "system", namespace: "/", role: "admin" } as const;
  const filter = { spkiSha256: spkiSha256.toString("hex") };
  const { campaign } = await beginRevocation(ca, principal, { filter, reason: "superseded", requestId: "r" });
  const steps = new Set<string>();
  const worker = async (): Promise<void> => {
    for (let step = await continueRevocation(ca, campaign.id); step !== "ended"; step = await continueRevocation(ca, campaign.id)) {
      steps.add(step);
      const [row] = await ca.database.read((sql) => sql`select from revocation_campaign where id = ${campaign.id} and ended_at is null`);
      if (!row) return;
    }
  };
  await Promise.all([worker(), worker(), worker()]);
  expect(steps).toContain("elsewhere");
  expect(await counted(chancery, spkiSha256)).toEqual([{ revoked: 1, records: 1, count: 5_200 }]);
});
