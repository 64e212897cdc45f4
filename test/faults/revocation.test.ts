import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadConfig } from "../../src/config.ts";
import { type DatabaseProxy, startProxy } from "../support/proxy.ts";
import { type Answer, type Ground, opensslRequest, standingGround, startService, type TestService } from "../support/service.ts";

let ground: Ground;
let proxy: DatabaseProxy;
let service: TestService;
beforeAll(async () => {
  ground = await standingGround();
  proxy = await startProxy(ground.databaseUrl);
  const config = loadConfig({ env: { ...ground.env, DATABASE_URL: proxy.url }, directory: ground.directory });
  service = await startService({}, { ...ground, config });
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
  await proxy[Symbol.asyncDispose]();
  await ground[Symbol.asyncDispose]();
});

async function issued(): Promise<string> {
  const { csr } = await opensslRequest("outage.example.org");
  return String((await service.ask("/v1/certificates", { body: { csr, profile: "server" } })).json()["serial"]);
}

/** What is asked while the database is away or its connection is cut, and how it is seen afterwards whether it was done. */
const acts: readonly { name: string; act: (serial: string) => Promise<Answer>; done: (serial: string) => Promise<boolean> }[] = [
  {
    name: "a revocation",
    act: (serial) => service.ask(`/v1/certificates/${serial}/revoke`, { body: { reason: "superseded" } }),
    done: isRevoked,
  },
  {
    name: "a revocation of many",
    act: (serial) => service.ask("/v1/revocations", { body: { filter: { serials: [serial] }, reason: "superseded" } }),
    done: isRevoked,
  },
  {
    name: "a halt",
    act: () => service.ask("/v1/halt", { body: { reason: "a drill" } }),
    done: async () => (await service.ask("/v1/halt")).json()["halted"] === true,
  },
];

async function isRevoked(serial: string): Promise<boolean> {
  return (await service.ask(`/v1/certificates/${serial}`)).json()["status"] === "revoked";
}

async function answers(): Promise<void> {
  await expect.poll(async () => (await service.ask("/v1/certificates?limit=1")).status, { timeout: 20_000 }).toBe(200);
}

describe("what cannot be made durable is refused loudly (O-4)", () => {
  test.for(acts)("$name with the database away is 503 and not done, and done when it is asked again", async ({ act, done }) => {
    const serial = await issued();
    await proxy.down();
    const refused = await act(serial);
    await proxy.up();
    expect([refused.status, refused.json()["code"], refused.headers["retry-after"]]).toEqual([503, "databaseUnavailable", "5"]);
    await answers();
    expect(await done(serial)).toBe(false);
    expect((await act(serial)).status).toBeLessThan(300);
    expect(await done(serial)).toBe(true);
    await service.ask("/v1/resume", { body: { reason: "the drill is over" } });
  });

  test.for(acts)("$name whose connection is cut before its commit is 503 and not done", async ({ act, done }) => {
    const serial = await issued();
    const cuts = proxy.cuts();
    proxy.cutAt(/pg_current_xact_id_if_assigned/, "before");
    const refused = await act(serial);
    expect([refused.status, refused.json()["code"], proxy.cuts()]).toEqual([503, "databaseUnavailable", cuts + 1]);
    await answers();
    expect(await done(serial)).toBe(false);
  });
});
