import { createPrivateKey, createPublicKey, X509Certificate } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadConfig } from "../../src/config.ts";
import type { Database } from "../../src/database/connect.ts";
import { type AcmeClient, acmeClient, encoded } from "../support/acme-client.ts";
import { type DatabaseProxy, startProxy } from "../support/proxy.ts";
import { type Ground, opensslRequest, standingGround, startService, type TestService } from "../support/service.ts";

let ground: Ground;
let proxy: DatabaseProxy;
let service: TestService;
let client: AcmeClient;
/** The table of whose next row nobody is to hear that it was committed, and how often that came about. */
let unheard: Act["table"] | undefined;
let cutBehind = 0;
beforeAll(async () => {
  ground = await standingGround();
  proxy = await startProxy(ground.databaseUrl);
  const config = loadConfig({ env: { ...ground.env, DATABASE_URL: proxy.url }, directory: ground.directory });
  service = await startService({ database: cutBehindCommit }, { ...ground, config });
  client = await acmeClient(service);
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
  await proxy[Symbol.asyncDispose]();
  await ground[Symbol.asyncDispose]();
});

/** Has the connection cut when the row was committed that nobody is to hear of. A job may commit in the same instant, and be cut instead. */
function cutBehindCommit(database: Database): Database {
  return {
    ...database,
    transact: async (act) => {
      let isIt = false;
      try {
        return await database.transact(async (tx) => {
          const done = await act(tx);
          if (unheard !== undefined) {
            const rows = await tx.sql`
              select from ${tx.sql(unheard)} where xmin::text = pg_current_xact_id_if_assigned()::xid::text limit 1`;
            isIt = rows.length > 0;
          }
          if (isIt) proxy.cutAt(/^commit$/, "after");
          return done;
        });
      } catch (error) {
        if (isIt) cutBehind += 1;
        throw error;
      }
    },
    [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
  };
}

type Issued = { readonly serial: string; readonly certificate: X509Certificate; readonly key: string };

async function issued(): Promise<Issued> {
  const { csr, key } = await opensslRequest("outage.example.org");
  const answer = (await service.ask("/v1/certificates", { body: { csr, profile: "server" } })).json();
  return { serial: String(answer["serial"]), certificate: new X509Certificate(String(answer["certificate"])), key };
}

/** Status, code or type of the problem, Retry-After. */
type Told = readonly [number, string | undefined, string | undefined];

/** What is asked while the database is away or its connection is cut, what is told then, and how it is seen afterwards whether it was done. */
type Act = {
  readonly name: string;
  readonly table: "revocation" | "revocation_campaign" | "issuance_halt";
  readonly act: (of: Issued) => Promise<Told>;
  readonly away: Told;
  readonly done: (of: Issued) => Promise<boolean>;
};

async function byRest(path: string, body: unknown): Promise<Told> {
  const { status, headers, text, json } = await service.ask(path, { body });
  const code = text === "" ? undefined : json()["code"];
  return [status, code === undefined ? undefined : String(code), headers["retry-after"]?.toString()];
}

async function byAcme({ certificate, key }: Issued): Promise<Told> {
  const privateKey = createPrivateKey(key);
  const signer = { alg: "ES256", privateKey, jwk: createPublicKey(key).export({ format: "jwk" }) };
  const answer = await client.post(
    client.url("revoke-cert"),
    { certificate: encoded(certificate.raw) },
    { key: signer, protected: { jwk: signer.jwk } },
  );
  return [answer.status, answer.problem, answer.header("retry-after")];
}

const away: Told = [503, "databaseUnavailable", "5"];

const acts: readonly Act[] = [
  {
    name: "a revocation",
    table: "revocation",
    act: ({ serial }) => byRest(`/v1/certificates/${serial}/revoke`, { reason: "superseded" }),
    away,
    done: isRevoked,
  },
  { name: "a revocation by ACME", table: "revocation", act: byAcme, away: [503, "serverInternal", "5"], done: isRevoked },
  {
    name: "a revocation of many",
    table: "revocation_campaign",
    act: ({ serial }) => byRest("/v1/revocations", { filter: { serials: [serial] }, reason: "superseded" }),
    away,
    done: isRevoked,
  },
  {
    name: "a halt",
    table: "issuance_halt",
    act: () => byRest("/v1/halt", { reason: "a drill" }),
    away,
    done: async () => (await service.ask("/v1/halt")).json()["halted"] === true,
  },
];

async function isRevoked({ serial }: Issued): Promise<boolean> {
  return (await service.ask(`/v1/certificates/${serial}`)).json()["status"] === "revoked";
}

async function answers(): Promise<void> {
  await expect.poll(async () => (await service.ask("/v1/certificates?limit=1")).status, { timeout: 20_000 }).toBe(200);
}

describe("what cannot be made durable is refused loudly (O-4)", () => {
  test.for(acts)("$name with the database away is 503 and not done, and done when it is asked again", async ({ act, away: told, done }) => {
    const one = await issued();
    await proxy.down();
    const refused = await act(one).finally(() => proxy.up());
    expect(refused).toEqual(told);
    await answers();
    expect(await done(one)).toBe(false);
    expect((await act(one))[0]).toBeLessThan(300);
    await expect.poll(() => done(one)).toBe(true);
    await service.ask("/v1/resume", { body: { reason: "the drill is over" } });
  });

  test.for(acts)("$name whose connection is cut before its commit is 503 and not done", async ({ act, away: told, done }) => {
    const one = await issued();
    const cuts = proxy.cuts();
    proxy.cutAt(/pg_current_xact_id_if_assigned/, "before");
    expect([await act(one), proxy.cuts()]).toEqual([told, cuts + 1]);
    await answers();
    expect(await done(one)).toBe(false);
  });

  test.for(acts)(
    "$name whose connection is cut behind its commit is told as it was done: it is read back",
    async ({ table, act, done }) => {
      const before = cutBehind;
      const wasCut = () => cutBehind > before;
      while (!wasCut()) {
        const one = await issued();
        unheard = table;
        const told = await act(one).finally(() => (unheard = undefined));
        expect(told[0]).toBeLessThan(300);
        await answers();
        await expect.poll(() => done(one), { timeout: 20_000 }).toBe(true);
        await service.ask("/v1/resume", { body: { reason: "the drill is over" } });
      }
    },
  );
});
