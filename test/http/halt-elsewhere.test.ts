import { afterAll, beforeAll, expect, test } from "vitest";
import { build, type Service } from "../../src/app.ts";
import { loadConfig } from "../../src/config.ts";
import { acmeClient, certificateRequest, signingKey } from "../support/acme-client.ts";
import { type FleetGround, fleetGround } from "../support/acme-fleet.ts";
import { type Ask, asking, opensslRequest, startService, type TestService } from "../support/service.ts";

let grounds: FleetGround;
let first: TestService;
let second: Service;
let askSecond: Ask;
beforeAll(async () => {
  grounds = await fleetGround(async () => ({ CHANCERY_TEST_ALWAYS_VALID: "true" }));
  first = await startService({}, grounds.ground);
  const { CHANCERY_TEST_ALWAYS_VALID: _validated, ...env } = grounds.another("second");
  second = await build(loadConfig({ env, directory: grounds.ground.directory }));
  askSecond = asking({ port: second.listeners.tls.port, ca: await grounds.place.ca(), token: first.adminToken });
});
afterAll(async () => {
  await second[Symbol.asyncDispose]();
  await first[Symbol.asyncDispose]();
  await grounds[Symbol.asyncDispose]();
});

test("a halt that is asked of one instance ends issuance by REST and ACME on another, from its answer on; so does its end", async () => {
  const key = signingKey();
  const [here, there] = [await acmeClient(first, { key }), await acmeClient({ service: second, ground: grounds.ground }, { key })];
  await here.register();
  await there.register();
  const names = ["elsewhere.example.org"];
  const order = await here.prove(await here.order(names));
  const { csr } = await opensslRequest(...names);
  const byRest = async () => await askSecond("/v1/certificates", { body: { csr, profile: "server" } });
  const issued = async () => {
    const [row] = await second.ca.database.read((sql) => sql<{ count: number }[]>`select count(*)::integer as count from issuance`);
    return row?.count;
  };
  // The other one has looked just now, and knows of no halt.
  await second.ca.halt.refresh();
  expect((await first.ask("/v1/halt", { body: { reason: "drill" } })).status).toBe(200);
  const before = await issued();
  const refused = await byRest();
  expect([refused.status, refused.json()["code"], refused.json()["reason"]]).toEqual([503, "issuanceHalted", "drill"]);
  const finalized = await there.finalize(order, await certificateRequest(names));
  expect([finalized.status, finalized.problem, finalized.header("retry-after")]).toEqual([503, "serverInternal", "60"]);
  expect((await there.post(order.header("location") ?? "", "")).json["status"]).toBe("ready");
  expect(await issued()).toBe(before);

  expect((await first.ask("/v1/resume", { body: { reason: "over" } })).status).toBe(200);
  await second.ca.halt.refresh();
  expect((await byRest()).status).toBe(201);
  expect((await there.finalize(order, await certificateRequest(names))).json["status"]).toBe("valid");
});
