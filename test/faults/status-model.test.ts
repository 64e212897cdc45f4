import { randomInt } from "node:crypto";
import * as fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Service } from "../../src/app.ts";
import { closeAttempt } from "../../src/ca/attempt-store.ts";
import { beginRevocation, continueRevocation } from "../../src/ca/mass-revocation.ts";
import { revoke } from "../../src/ca/revoke.ts";
import type { Sql } from "../../src/database/connection.ts";
import { exchange, type Received } from "../http/exchange.ts";
import { type Fleet, type FleetGround, fleetGround, startFleet } from "../support/acme-fleet.ts";
import { writeCertificateRows } from "../support/certificate-rows.ts";
import { movedClock } from "../support/clock.ts";
import { issueLeaf, opensslCrl } from "../support/crl-world.ts";
import { holdBeforeFaults } from "../support/emitted-status.ts";
import { type Rewriting, rewritten } from "../support/rewritten-statement.ts";
import { statusWitness, type StatusWitness } from "../support/status-invariants.ts";
import { certId, ocspRequest, statusIssuer } from "../support/status-bytes.ts";

const clock = movedClock();
/** What the second instance's statements say otherwise: faults that are planted. */
const faults: Rewriting[] = [];
let grounds: FleetGround;
let fleet: Fleet;
let services: readonly [Service, Service];
let witness: StatusWitness;

beforeAll(async () => {
  grounds = await fleetGround(async () => ({ CHANCERY_CRL_SHARDS: "mtls=3", CHANCERY_OCSP_NONCES_PER_SECOND: "100000" }));
  let built = 0;
  fleet = await startFleet({
    grounds,
    overrides: {
      clock,
      database: (database) => rewritten(database, (built += 1) === 1 ? [] : faults),
    },
  });
  services = [fleet.first.service, fleet.second];
  witness = statusWitness({ services });
});
afterAll(async () => {
  await fleet[Symbol.asyncDispose]();
  await grounds[Symbol.asyncDispose]();
});

const query = <T>(act: (sql: Sql) => Promise<T>): Promise<T> => services[0].ca.database.read(act);
const job = (service: Service, name: string) => service.jobs.find((each) => each.name === name)?.act(new AbortController().signal);

/** What may happen, at either instance; `pick` says to which of the certificates. */
const step = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({ act: fc.constant("issue"), at: fc.nat(1), profile: fc.constantFrom("server", "mtls"), long: fc.boolean() }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ act: fc.constant("revoke"), at: fc.nat(1), pick: fc.nat(), reason: fc.constantFrom(0, 1, 3, 4, 5, 9) }),
  },
  { weight: 2, arbitrary: fc.record({ act: fc.constant("compromise"), at: fc.nat(1), pick: fc.nat(), backSeconds: fc.nat(600) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      act: fc.constant("revoke many"),
      at: fc.nat(1),
      pick: fc.nat(),
      reason: fc.constantFrom("unspecified", "superseded", "keyCompromise"),
    }),
  },
  { weight: 1, arbitrary: fc.record({ act: fc.constant("close"), at: fc.nat(1) }) },
  { weight: 5, arbitrary: fc.record({ act: fc.constant("ask"), at: fc.nat(1), pick: fc.nat(), sha256: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ act: fc.constant("publish"), at: fc.nat(1) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      act: fc.constant("time"),
      at: fc.nat(1),
      seconds: fc.constantFrom(1, 61, 3_600, 7 * 3_600, 13 * 3_600, 25 * 3_600),
    }),
  },
  { weight: 1, arbitrary: fc.record({ act: fc.constant("look"), at: fc.nat(1) }) },
);
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

async function picked(pick: number): Promise<{ serial: string; notBefore: Date } | undefined> {
  const rows = await query(
    (sql) => sql<{ serial: string; notBefore: Date }[]>`
      select encode(serial, 'hex') as serial, not_before as "notBefore" from certificate
      where authority = 'issuing-1' and certificate is not null and profile in ('server', 'mtls') order by recorded_at, serial`,
  );
  return rows.length === 0 ? undefined : rows[pick % rows.length];
}

async function revokedAt(service: Service, serial: string, reason: number, at?: Date): Promise<void> {
  const request = {
    authority: "issuing-1",
    serial: Buffer.from(serial, "hex"),
    reason,
    namespace: "/",
    principal: "system",
    requestId: "test",
  };
  await revoke(service.ca, { ...request, ...(at && { revokedAt: at }) });
}

async function asked(service: Service, serial: string, hash: "sha1" | "sha256"): Promise<void> {
  const authority = await query((sql) => sql<{ certificate: Uint8Array }[]>`select certificate from authority where slug = 'issuing-1'`);
  const request = ocspRequest([certId(statusIssuer(authority[0]?.certificate ?? new Uint8Array()), serial, hash)]);
  const { status } = await exchange(service.listeners.status, {
    path: `/ocsp/issuing-1/${encodeURIComponent(request.toString("base64"))}`,
  });
  expect(status).toBe(200);
}

/** An attempt that ends without a certificate: a copy of another one's intent under a serial number of its own. */
async function attemptClosed(service: Service): Promise<void> {
  const [serial = ""] = await service.ca.database.read((sql) => writeIntent(sql));
  const ended = {
    authority: "issuing-1",
    serial: Buffer.from(serial, "hex"),
    namespace: "/",
    profile: "mtls",
    spkiSha256: Buffer.alloc(32, 7),
  };
  const now = service.ca.clock.now();
  await service.ca.database.transact((tx) =>
    closeAttempt(tx, { ...ended, notBefore: now, notAfter: new Date(now.getTime() + 7_200_000), recordedAt: now }),
  );
}

async function writeIntent(sql: Sql): Promise<string[]> {
  const rows = await sql<{ serial: string }[]>`
    insert into issuance (authority, serial, request_id, attempt, request_hash, namespace, principal, profile_sha256, tbs, created_at, shard)
    select authority, set_byte(decode(replace(gen_random_uuid()::text, '-', ''), 'hex'), 0, 64), sha256(convert_to(gen_random_uuid()::text, 'UTF8')),
      1, request_hash, namespace, principal, profile_sha256, tbs, created_at, shard
    from issuance where authority = 'issuing-1' order by random() limit 1 returning encode(serial, 'hex') as serial`;
  return rows.map(({ serial }) => serial);
}

async function take(taken: Step): Promise<void> {
  const service = services[taken.at === 0 ? 0 : 1];
  if ("long" in taken) return void (await issueLeaf(service.ca, taken.profile, taken.long ? 86_400 : 3_600));
  if (taken.act === "close") return await attemptClosed(service);
  if (taken.act === "publish") return void (await job(service, "crl"));
  if (taken.act === "look") return expect(await witness.look()).toEqual([]);
  if ("seconds" in taken) {
    clock.aheadSeconds += taken.seconds;
    for (const each of services) await job(each, "responders");
    return;
  }
  const certificate = "pick" in taken ? await picked(taken.pick) : undefined;
  if (!certificate) return;
  const { serial, notBefore } = certificate;
  if ("sha256" in taken) return await asked(service, serial, taken.sha256 ? "sha256" : "sha1");
  if ("backSeconds" in taken) {
    const since = Math.floor(clock.now().getTime() / 1000 - taken.backSeconds) * 1000;
    return await revokedAt(service, serial, 1, new Date(Math.max(since, notBefore.getTime())));
  }
  if (typeof taken.reason === "number") return await revokedAt(service, serial, taken.reason);
  const principal = { id: "system", namespace: "/", role: "admin" } as const;
  const { campaign } = await beginRevocation(service.ca, principal, {
    filter: { serials: [serial] },
    reason: taken.reason,
    requestId: "test",
  });
  while ((await continueRevocation(service.ca, campaign.id)) === "more");
}

test(
  "whatever is issued, revoked, published and asked in whatever order, CRL and OCSP of two instances tell the same, and nothing goes back (XC-6, XC-12, XC-14, XC-18, XO-5, XO-10, XO-11)",
  { timeout: 240_000 },
  async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 12 }), async (steps) => {
        for (const each of steps) await take(each);
        expect(await witness.look()).toEqual([]);
      }),
      { numRuns: 15, endOnFailure: true },
    );
    // It was not over nothing.
    const kinds = await query((sql) => sql<{ reason: number }[]>`select distinct reason from revocation`);
    expect(kinds.map(({ reason }) => reason)).toContain(1);
    expect(kinds.length).toBeGreaterThan(1);
  },
);

/** Looks at every certificate alone, too: what was kept for it is seen. */
const everything = () => statusWitness({ services, alone: 10_000 });
/** A certificate that was just issued, and revoked where a reason is given. */
const leafOf = async (reason?: number): Promise<string> => {
  const { serial } = await issueLeaf(services[0].ca, "mtls", 86_400);
  if (reason !== undefined) await revokedAt(services[0], serial, reason);
  return serial;
};

describe("the same look finds what is planted", () => {
  beforeAll(() => holdBeforeFaults(grounds.ground));

  test("a row that was changed behind the back of the CRL", async () => {
    const serial = Buffer.from(await leafOf(4), "hex");
    const one = everything();
    expect(await one.look()).toEqual([]);
    const changed = (reason: number) =>
      services[0].ca.database.transact(async ({ sql }) => {
        await sql`alter table revocation disable trigger revocation_change`;
        await sql`update revocation set reason = ${reason} where serial = ${serial}`;
        await sql`alter table revocation enable trigger revocation_change`;
      });
    await changed(5);
    const found = await one.look();
    for (const instance of [1, 2]) {
      expect(found).toContainEqual(
        expect.stringMatching(new RegExp(`^instance ${instance}, CRL issuing-1: the entry .* for 4, the table .* for 5`)),
      );
      expect(found).toContainEqual(
        expect.stringMatching(
          new RegExp(`^instance ${instance}, OCSP by GET and sha256 .* is revoked at .* for 4, in the table revoked at .* for 5`),
        ),
      );
    }
    await changed(4);
    // What was answered meanwhile is kept for half of its life.
    clock.aheadSeconds += 13 * 3_600;
    expect(await one.look()).toEqual([]);
  });

  test("a CRL of another state at one instance", async () => {
    let stale: Received | undefined;
    const one = statusWitness({
      services,
      ask: async (instance, sent) =>
        stale && instance === 1 && sent.path === "/crl/issuing-1.crl"
          ? stale
          : await exchange(services[instance === 0 ? 0 : 1].listeners.status, sent),
    });
    await one.look();
    const before = await exchange(services[1].listeners.status, { path: "/crl/issuing-1.crl" });
    const serial = await leafOf(1);
    expect(await one.look()).toEqual([]);
    stale = before;
    const found = await one.lookOnly();
    expect(found).toContain(`instance 2, CRL issuing-1: ${serial} is revoked and not on it (XC-6, XC-18)`);
    expect(found).toContainEqual(expect.stringMatching(/^instance 2 issuing-1: number \d+ is served behind \d+ \(XC-14\)$/));
    expect(found).toContainEqual(expect.stringMatching(new RegExp(`^instance 2: of ${serial} OCSP says revoked .*, the CRL nothing`)));
    expect(found.filter((sentence) => sentence.startsWith("instance 1"))).toEqual([]);
  });

  test("a kept answer that one instance does not drop", async () => {
    const serial = await leafOf();
    const one = everything();
    expect(await one.look()).toEqual([]);
    faults.push(
      { find: "where transaction_id >= pg_snapshot_xmax(p.since)", put: "where false and transaction_id >= pg_snapshot_xmax(p.since)" },
      { find: "select pg_snapshot_xip(p.since)", put: "select pg_snapshot_xip(p.since) where false" },
    );
    try {
      await revokedAt(services[0], serial, 4);
      const found = await one.look();
      expect(found).toContainEqual(
        expect.stringMatching(new RegExp(`^instance 2, OCSP by GET and sha1 for ${serial}: ${serial} is good, in the table revoked`)),
      );
      expect(found.filter((sentence) => sentence.startsWith("instance 1"))).toEqual([]);
    } finally {
      faults.length = 0;
    }
    clock.aheadSeconds += 13 * 3_600;
    expect(await one.look()).toEqual([]);
  });

  test("good for what was never issued, and an answer that is too old", async () => {
    faults.push({ within: "with ordinality", find: "coalesce(c.certificate is not null, false)", put: "true" });
    try {
      expect(await everything().look()).toContainEqual(expect.stringMatching(/^instance 2, .* is good, in the table nothing \(XO-5\)$/));
    } finally {
      faults.length = 0;
    }
    clock.aheadSeconds += 13 * 3_600;

    const kept = new Map<string, Received>();
    let repeats = false;
    const one = statusWitness({
      services,
      ask: async (instance, sent) => {
        const answer = (repeats && kept.get(sent.path)) || (await exchange(services[instance === 0 ? 0 : 1].listeners.status, sent));
        if (sent.path.startsWith("/ocsp/issuing-1/")) kept.set(sent.path, answer);
        return answer;
      },
    });
    expect(await one.look()).toEqual([]);
    clock.aheadSeconds += 25 * 3_600;
    repeats = true;
    expect(await one.look()).toContainEqual(expect.stringMatching(/^instance 1, OCSP by GET .* hours old \(XO-11\)$/));
  });
});

describe("10,000 random rows (XC-6)", () => {
  test("CRL and OCSP give the same status, time and reason for each serial number, on both instances", { timeout: 300_000 }, async () => {
    for (let model = 0; model < 10; model++) {
      await issueLeaf(services[0].ca, model % 3 === 0 ? "server" : "mtls", 86_400);
      const serials = await query((sql) => writeCertificateRows(sql, { count: 1_000 }));
      const chosen = serials.filter(() => randomInt(3) > 0);
      await query(
        (sql) => sql`
          insert into revocation (authority, serial, revoked_at, reason, not_after, shard)
          select authority, serial, c.not_before + make_interval(secs => random() * extract(epoch from ${clock.now().toISOString()}::timestamptz - c.not_before)),
            (array[0, 1, 3, 4, 5, 9])[1 + floor(random() * 6)::integer], c.not_after, i.shard
          from certificate c join issuance i using (authority, serial)
          where encode(serial, 'hex') = any (string_to_array(${chosen.join()}, ','))`,
      );
    }
    expect(await witness.look()).toEqual([]);
    const { body } = await exchange(services[1].listeners.status, { path: "/crl/issuing-1.crl" });
    const seen = await opensslCrl(body, `${grounds.ground.directory}/chain.pem`);
    expect(seen.verified).toBe(true);
    expect(seen.serials.length).toBeGreaterThan(6_000);
  });
});
