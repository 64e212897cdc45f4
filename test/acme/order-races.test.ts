import { createHmac } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { finalize } from "../../src/acme/finalize.ts";
import { readAccount } from "../../src/acme/account-store.ts";
import { openCa } from "../../src/ca/ca.ts";
import type { Sql } from "../../src/database/connection.ts";
import { type AcmeAnswer, certificateRequest, encoded, signed, type SigningKey, signingKey, texts } from "../support/acme-client.ts";
import { type Fleet, startFleet } from "../support/acme-fleet.ts";
import { brokenAcmeInvariants } from "../support/acme-invariants.ts";
import { failpoints } from "../support/failpoints.ts";
import { gateBefore } from "../support/held-statement.ts";
import { ask, certificateId, type Door, leafOf, politeClient, type PoliteClient } from "../support/polite-client.ts";
import { rounds } from "../support/rounds.ts";
import { administer } from "../support/server.ts";
import { brokenStatus } from "../support/status-invariants.ts";

const racers = 50;
/** How often each race is run: 200 times in a soak. */
const runs = Array.from({ length: rounds(1, 200) }, (_, index) => index + 1);

let fleet: Fleet;
let signatures = 0;
const signing = { takesMs: 0 };
const gate = gateBefore(/insert into issuance/);

beforeAll(async () => {
  const { hsm } = failpoints(async (point) => {
    if (point !== "sign:before") return;
    signatures += 1;
    await pause(signing.takesMs);
  });
  fleet = await startFleet({ overrides: { hsm, database: gate.database } });
});
afterAll(() => fleet[Symbol.asyncDispose]());

const query = <T>(statement: (sql: Sql) => PromiseLike<T>) => administer(fleet.grounds.ground.databaseUrl, statement);
const client = (key?: SigningKey, directory?: string): PoliteClient =>
  politeClient(() => fleet.doors, { host: fleet.grounds.host, ...(key && { key }), ...(directory !== undefined && { directory }) });
async function registered(): Promise<PoliteClient> {
  const made = client();
  expect((await made.register()).status).toBe(201);
  return made;
}

/** What one racer posts. */
type Racer = { readonly by: PoliteClient; readonly url: string; readonly payload: object | ""; readonly nonce?: string };

const doorOf = (index: number): Door => fleet.doors[index % 2] ?? fleet.doors[0];

/** Posts all of it at once, in turn to both instances, over connections that stand, with nonces and signatures made before. */
async function race(entries: readonly Racer[]): Promise<readonly AcmeAnswer[]> {
  const nonces = await Promise.all(entries.map(({ by, nonce }, index) => nonce ?? by.nonce(doorOf(index))));
  const bodies = entries.map(({ by, url, payload }, index) => by.sign(url, payload, nonces[index] ?? ""));
  return await Promise.all(bodies.map((body, index) => ask(doorOf(index), entries[index]?.url ?? "", { method: "POST", body })));
}
const together = (count: number, entry: (index: number) => Racer) => race(Array.from({ length: count }, (_, index) => entry(index)));

/** How often each outcome came: `200`, or status and type of a problem. */
function tally(answers: readonly AcmeAnswer[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { status, problem } of answers) {
    const name = problem === undefined ? String(status) : `${status} ${problem}`;
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
}
const locations = (answers: readonly AcmeAnswer[]) => new Set(answers.map((answer) => answer.header("location")));

let names = 0;
const freshName = (): string => `n${(names += 1)}.race.localhost`;
/** An order that is ready, with the name that it is for. */
async function ready(by: PoliteClient): Promise<{ url: string; finalize: string; name: string }> {
  const name = freshName();
  const order = await by.prove(await by.order([name]));
  expect(order.json["status"]).toBe("ready");
  return { url: order.header("location") ?? "", finalize: String(order.json["finalize"]), name };
}

describe(`${racers} requests at once over two instances on one database`, () => {
  test.for(runs)("with one nonce: one is taken, the others are badNonce (AK-1, T-NET, run %i)", async () => {
    const by = await registered();
    for (let round = rounds(4, 50); round > 0; round -= 1) {
      const nonce = await by.nonce();
      expect(tally(await together(racers, () => ({ by, url: by.account(), payload: "", nonce })))).toEqual({
        "200": 1,
        "400 badNonce": racers - 1,
      });
    }
  });

  test.for(runs)(
    "to finalize one order: one certificate of one intent, the others read the same order (AK-2, S-14, T-NET, run %i)",
    async () => {
      const by = await registered();
      const order = await ready(by);
      const csrs = await Promise.all([order.name, order.name].map((name) => certificateRequest([name])));
      const before = signatures;
      const answers = await together(racers, (index) => ({ by, url: order.finalize, payload: { csr: csrs[(index >> 1) % 2] } }));
      expect(tally(answers)).toEqual({ "200": 1, "403 orderNotReady": racers - 1 });
      expect(locations(answers)).toEqual(new Set([order.url]));
      const read = await by.post(order.url, "");
      expect(read.json["status"]).toBe("valid");
      expect(signatures - before).toBe(1);
      const id = order.url.split("/").at(-1) ?? "";
      const stands = await query(
        (sql) =>
          sql`select from issuance i join acme_order o using (request_id) join certificate c using (authority, serial) where o.id = ${id}`,
      );
      expect(stands).toHaveLength(1);
    },
  );

  test("to finalize one order at a token that takes longer than a second: one signature (AK-2)", async () => {
    const by = await registered();
    const order = await ready(by);
    const csr = await certificateRequest([order.name]);
    const before = signatures;
    signing.takesMs = 2_000;
    try {
      const answers = await together(racers, () => ({ by, url: order.finalize, payload: { csr } }));
      expect(tally(answers)).toEqual({ "200": 1, "403 orderNotReady": racers - 1 });
    } finally {
      signing.takesMs = 0;
    }
    expect((await by.post(order.url, "")).json["status"]).toBe("valid");
    expect(signatures - before).toBe(1);
  });

  test.for(runs)("to respond to one challenge: one validation (AK-3, T-NET, run %i)", async () => {
    const by = await registered();
    const order = await by.order([freshName()]);
    const [url = ""] = texts(order.json["authorizations"]);
    const { json } = await by.post(url, "");
    const challenge = (json["challenges"] as { type: string; url: string; token: string }[]).find(({ type }) => type === "http-01");
    if (!challenge) throw new Error("no challenge");
    const answers = await together(racers, () => ({ by, url: challenge.url, payload: {} }));
    expect(tally(answers)).toEqual({ "200": racers });
    await by.prove(order);
    expect(fleet.grounds.host.asked(challenge.token)).toBe(1);
  });

  test.for(runs)("for one new account: it is made once, and found by the others (AK-4, T-NET, run %i)", async () => {
    const key = signingKey();
    const answers = await together(racers, () => ({ by: client(key), url: client().url("new-account"), payload: {} }));
    expect(tally(answers)).toEqual({ "201": 1, "200": racers - 1 });
    expect(locations(answers).size).toBe(1);
  });

  test.for(runs)("of two accounts each for one new key: one of them has it, the other is refused (AK-5, T-NET, run %i)", async () => {
    const pairs = await Promise.all(
      Array.from({ length: racers / 2 }, async () => ({ key: signingKey(), accounts: [await registered(), await registered()] as const })),
    );
    const entries = pairs.flatMap(({ key, accounts }) =>
      accounts.map((by): Racer => {
        const url = by.url("key-change");
        const inner = signed(key, { alg: key.alg, jwk: key.jwk, url }, { account: by.account(), oldKey: by.key.jwk });
        return { by, url, payload: inner };
      }),
    );
    const answers = await race(entries);
    for (const index of pairs.keys()) {
      const both = answers.slice(index * 2, index * 2 + 2);
      expect(tally(both)).toEqual({ "200": 1, "409 malformed": 1 });
      const winner = entries[index * 2 + both.findIndex(({ status }) => status === 200)]?.by.account();
      expect(both.find(({ status }) => status === 409)?.header("location")).toBe(winner);
    }
  });

  test.for(runs)("with one external account key that may be used once: one account is made (AK-6, T-NET, run %i)", async () => {
    const made = await fleet.first.ask("/v1/acme/external-account-keys", { body: { namespace: "/", directory: "bound", usesAllowed: 1 } });
    expect(made.status).toBe(201);
    const { id, macKey } = made.json() as { id: string; macKey: string };
    const answers = await together(racers, () => {
      const by = client(signingKey(), "bound");
      const url = by.url("new-account");
      return { by, url, payload: { externalAccountBinding: binding(by.key, { id, macKey, url }) } };
    });
    expect(tally(answers)).toEqual({ "201": 1, "403 unauthorized": racers - 1 });
  });

  test.for(runs)("to revoke one certificate: it is revoked once (AK-7, T-NET, run %i)", async () => {
    const by = await registered();
    const { chain } = await by.issue([freshName()]);
    const answers = await together(racers, () => ({ by, url: by.url("revoke-cert"), payload: { certificate: leafOf(chain) } }));
    expect(tally(answers)).toEqual({ "200": 1, "400 alreadyRevoked": racers - 1 });
  });

  test.for(runs)("for one order: there is one; two that replace one certificate: one is refused (AK-8, T-NET, run %i)", async () => {
    const by = await registered();
    const identifiers = [{ type: "dns", value: freshName() }];
    const equal = await together(racers, () => ({ by, url: by.url("new-order"), payload: { identifiers } }));
    expect(tally(equal)).toEqual({ "201": racers });
    expect(locations(equal).size).toBe(1);

    const name = freshName();
    const { chain } = await by.issue([name]);
    const replaces = certificateId(chain);
    const others = await together(racers, (index) => {
      const also = index % 2 === 0 ? [] : [{ type: "dns", value: `also.${name}` }];
      return { by, url: by.url("new-order"), payload: { identifiers: [{ type: "dns", value: name }, ...also], replaces } };
    });
    // Equal ones of the winner's kind are the winner's order.
    expect(tally(others)).toEqual({ "201": racers / 2, "409 alreadyReplaced": racers / 2 });
    expect(locations(others.filter(({ status }) => status === 201)).size).toBe(1);
  });
});

/** Orders of one account that are ready and differ in their end alone, each with a request for its certificate. */
async function readyOrders(by: PoliteClient, count: number): Promise<readonly Racer[]> {
  const { name } = await ready(by);
  const end = Date.now() + 30 * 86_400_000;
  return await Promise.all(
    Array.from({ length: count }, async (_, index) => {
      const notAfter = new Date(end + index * 1_000).toISOString();
      const order = await by.order([name], { notAfter });
      expect(order.json["status"]).toBe("ready");
      return { by, url: String(order.json["finalize"]), payload: { csr: await certificateRequest([name]) } };
    }),
  );
}
const idOf = (url: string): string => /\/order\/([^/]+)/.exec(url)?.[1] ?? "";
const intentsOf = async (racing: readonly Racer[]): Promise<number> => {
  const ids = racing.map(({ url }) => idOf(url));
  return (await query((sql) => sql`select from issuance join acme_order o using (request_id) where o.id = any(${ids})`)).length;
};

/** What ends between the moment an order is read and the moment its intent is recorded. */
const endings: readonly {
  readonly name: string;
  readonly problem: string;
  readonly end: (by: PoliteClient, order: string) => Promise<{ readonly status: number }>;
}[] = [
  {
    name: "an administrator revokes the account",
    problem: "orderNotReady",
    end: async (by, order) => {
      const ended = await fleet.first.ask(`/v1/acme/accounts/${idOfAccount(by)}/revoke`, { body: { reason: "the server was sold" } });
      expect(ended.json()).toMatchObject({ status: "revoked" });
      // Its own requests are refused from now on.
      const refused = await by.post(order, "");
      expect([refused.status, refused.problem]).toEqual([401, "unauthorized"]);
      return ended;
    },
  },
  { name: "the account is deactivated", problem: "orderNotReady", end: (by) => by.post(by.account(), { status: "deactivated" }) },
  {
    name: "the account gets another key",
    problem: "unauthorized",
    end: (by) => {
      const key = signingKey();
      const url = by.url("key-change");
      return by.post(url, signed(key, { alg: key.alg, jwk: key.jwk, url }, { account: by.account(), oldKey: by.key.jwk }));
    },
  },
  {
    name: "the authorization is deactivated",
    problem: "orderNotReady",
    end: async (by, order) => await by.post(texts((await by.post(order, "")).json["authorizations"])[0] ?? "", { status: "deactivated" }),
  },
];

describe("finalize against what ends meanwhile (AK-11)", () => {
  test.for(endings)("$name: of 50 orders whose intent was to be recorded then, none begins", async ({ end, problem }) => {
    const by = await registered();
    const racing = await readyOrders(by, racers);
    gate.shut();
    const answers = race(racing);
    // One batch of intents of each instance is about to be sent, the others stand behind it.
    await expect.poll(() => gate.waiting(), { timeout: 5_000 }).toBe(2);
    expect((await end(by, (racing[0]?.url ?? "").replace(/\/finalize$/, ""))).status).toBe(200);
    gate.open();
    const outcomes = tally(await answers);
    expect(outcomes[`403 ${problem}`]).toBeGreaterThan(0);
    expect(Object.keys(outcomes).filter((outcome) => !outcome.startsWith("40"))).toEqual([]);
    expect(await intentsOf(racing)).toBe(0);
  });

  test("profile withdrawn: an order that is ready is refused, and nothing begins", async () => {
    const by = await registered();
    const order = await ready(by);
    const { acme } = fleet.first.service;
    const account = await query((sql) => readAccount(sql, idOfAccount(by)));
    if (!account) throw new Error("no account");
    const without = { ...acme, ca: { ...acme.ca, profiles: new Map() } };
    await expect(
      finalize(without, account, idOf(order.url), { csr: await certificateRequest([order.name]) }, "race"),
    ).rejects.toMatchObject({
      code: "invalidProfile",
    });
    expect(await intentsOf([{ by, url: order.url, payload: "" }])).toBe(0);
    expect((await by.post(order.url, "")).json["status"]).toBe("ready");
  });
});
const idOfAccount = (by: PoliteClient): string => by.account().split("/").at(-1) ?? "";

test("after all of it the tables hold what they must (AO-40, I2)", async () => {
  expect(await query(brokenAcmeInvariants)).toEqual([]);
  expect(await brokenStatus(fleet.first.service, fleet.second)).toEqual([]);
});

// The database of this file is of no more use after these.
describe("without what decides a race it has more winners: the tests above would see it", () => {
  test("the guard left out: intents of a deactivated account begin", async () => {
    const by = await registered();
    const racing = await readyOrders(by, 4);
    const account = await query((sql) => readAccount(sql, idOfAccount(by)));
    if (!account) throw new Error("no account");
    const { acme } = fleet.first.service;
    const unguarded = { ...acme, ca: await openCa({ ...acme.ca, guard: (sql) => sql`true` }) };
    gate.shut();
    const issuing = racing.map(({ url, payload }) => finalize(unguarded, account, idOf(url), payload as { csr: string }, "race"));
    await expect.poll(() => gate.waiting(), { timeout: 5_000 }).toBe(1);
    expect((await by.post(by.account(), { status: "deactivated" })).status).toBe(200);
    gate.open();
    await Promise.allSettled(issuing);
    expect(await intentsOf(racing)).toBeGreaterThan(0);
  });

  test("nonces without their unique key: one nonce is taken more than once", async () => {
    const by = await registered();
    const nonce = await by.nonce();
    await query((sql) => sql`alter table acme_nonce drop constraint acme_nonce_pkey`);
    expect(tally(await together(racers, () => ({ by, url: by.account(), payload: "", nonce })))["200"]).toBeGreaterThan(1);
  });

  test("no row where equal open orders meet: there are more orders than one", async () => {
    const by = await registered();
    await query(
      (sql) => sql`create function another_digest() returns trigger language plpgsql as
        $$ begin new.digest := sha256(convert_to(gen_random_uuid()::text, 'UTF8')); return new; end $$`,
    );
    await query((sql) => sql`create trigger apart before insert on acme_open_order for each row execute function another_digest()`);
    const identifiers = [{ type: "dns", value: freshName() }];
    expect(locations(await together(racers, () => ({ by, url: by.url("new-order"), payload: { identifiers } }))).size).toBeGreaterThan(1);
  });

  test("attempts without the unique key of their request: one order is issued more than once", async () => {
    const by = await registered();
    const order = await ready(by);
    await query((sql) => sql`alter table issuance drop constraint issuance_request_id_attempt_key`);
    const csr = await certificateRequest([order.name]);
    await together(racers, () => ({ by, url: order.finalize, payload: { csr } }));
    expect(await intentsOf([{ by, url: order.url, payload: "" }])).toBeGreaterThan(1);
  });
});

/** The inner JWS of RFC 8555 §7.3.4. */
function binding(key: SigningKey, { id, macKey, url }: { readonly id: string; readonly macKey: string; readonly url: string }) {
  const parts = { protected: encoded({ alg: "HS256", kid: id, url }), payload: encoded(key.jwk) };
  const signature = createHmac("sha256", Buffer.from(macKey, "base64url"))
    .update(`${parts.protected}.${parts.payload}`)
    .digest("base64url");
  return { ...parts, signature };
}
