import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parseCertificate } from "../../src/pki/certificate.ts";
import { decodePem } from "../../src/pki/pem.ts";
import { type AcmeClient, acmeClient, certificateRequest } from "../support/acme-client.ts";
import { opensslRequest, standingGround, type Ground, startService, type TestService } from "../support/service.ts";

let ground: Ground;
let service: TestService;
let client: AcmeClient;
beforeAll(async () => {
  ground = await standingGround({ CHANCERY_TEST_ALWAYS_VALID: "true" });
  service = await startService({}, ground);
  client = await acmeClient(service);
  await client.register();
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
  await ground[Symbol.asyncDispose]();
});

const say = (path: string, reason: string) => service.ask(path, { body: { reason } });
const ops = (path: string) => fetch(`http://127.0.0.1:${service.service.listeners.ops.port}${path}`);

test("halted, REST says so with the reason, ACME as 503 that leaves the order ready, readiness too; status goes on; resumed, all is as before", async () => {
  const { csr } = await opensslRequest("halt.example.org");
  const order = await client.prove(await client.order(["halt.example.org"]));
  const url = order.header("location") ?? "";
  expect((await service.ask("/v1/halt")).json()).toEqual({ halted: false });

  const halted = await say("/v1/halt", "the key of issuing-1 may be lost");
  expect([halted.status, halted.json()["halted"], halted.json()["reason"]]).toEqual([200, true, "the key of issuing-1 may be lost"]);
  expect((await service.ask("/v1/halt")).json()).toEqual(halted.json());
  expect((await say("/v1/halt", "again")).json()).toEqual(halted.json());

  const refused = await service.ask("/v1/certificates", { body: { csr, profile: "server" } });
  expect([refused.status, refused.headers["retry-after"]]).toEqual([503, "60"]);
  expect(refused.json()).toMatchObject({ code: "issuanceHalted", reason: "the key of issuing-1 may be lost" });
  const finalized = await client.finalize(order, await certificateRequest(["halt.example.org"]));
  expect([finalized.status, finalized.problem, finalized.header("retry-after")]).toEqual([503, "serverInternal", "60"]);
  expect(JSON.stringify(finalized.json)).not.toContain("issuing-1");
  expect((await client.post(url, "")).json["status"]).toBe("ready");

  const readiness = await ops("/readyz/issue");
  expect(readiness.status).toBe(503);
  expect(await readiness.json()).toMatchObject({
    checks: {
      halt: { ready: false, detail: expect.stringContaining("the key of issuing-1 may be lost") as unknown },
      database: { ready: true },
    },
  });
  for (const path of ["/readyz/status", "/readyz/revoke"]) expect((await ops(path)).status).toBe(200);
  expect(await (await ops("/metrics")).text()).toMatch(/^chancery_issuance_halted(\{[^}]*\})? 1$/m);

  expect((await say("/v1/resume", "it was found")).json()).toEqual({ halted: false });
  expect((await say("/v1/resume", "once more")).status).toBe(200);
  expect((await ops("/readyz/issue")).status).toBe(200);
  expect((await service.ask("/v1/certificates", { body: { csr, profile: "server" } })).status).toBe(201);
  expect((await client.finalize(order, await certificateRequest(["halt.example.org"]))).json["status"]).toBe("valid");
});

test.for([{}, { reason: "" }, { reason: "two\nlines" }, { reason: "a".repeat(501) }, { reason: 1 }, { reason: "ok", more: 1 }])(
  "a reason is one line of 1 to 500 characters: %j is refused",
  async (body) => {
    for (const path of ["/v1/halt", "/v1/resume"]) {
      const refused = await service.ask(path, { body });
      expect([refused.status, refused.json()["code"]]).toEqual([400, "malformed"]);
    }
    expect((await service.ask("/v1/halt")).json()).toEqual({ halted: false });
  },
);

/** The certificate of the service's own listener. */
async function own() {
  const [leaf = Buffer.of()] = decodePem(await readFile(join(ground.directory, "tls.pem"), "utf8"), "CERTIFICATE");
  return parseCertificate(leaf);
}

test("the certificate of the service's own listener may be revoked, while issuance is halted too: it takes another one", async () => {
  const { serial } = await own();
  await say("/v1/halt", "a drill");
  expect((await service.ask(`/v1/certificates/${serial}/revoke`, { body: { reason: "superseded" } })).status).toBe(200);
  const renew = service.service.jobs.find(({ name }) => name === "service certificate");
  await renew?.act(new AbortController().signal);
  expect((await own()).serial).not.toBe(serial);
  expect((await service.ask("/v1/halt")).status).toBe(200);
  await say("/v1/resume", "the drill is over");
  const renewed = (await own()).serial;
  await renew?.act(new AbortController().signal);
  expect((await own()).serial).toBe(renewed);
});
