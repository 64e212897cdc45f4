import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { Fault, type FaultCode } from "../../../src/fault.ts";
import { type AcmeAnswer, acmeClient, type AcmeClient, certificateRequest } from "../../support/acme-client.ts";
import { failpoints, type Point } from "../../support/failpoints.ts";
import { standingGround, type Ground, startService, type TestService } from "../../support/service.ts";

/** The step of issuance that fails, and as what. */
let failing: { readonly point: Point; readonly code: FaultCode } | undefined;
let ground: Ground;
let service: TestService;
let client: AcmeClient;
beforeAll(async () => {
  const points = failpoints((point) => {
    if (point === failing?.point) throw new Fault(failing.code, `away at ${point}`);
  });
  ground = await standingGround({ CHANCERY_TEST_ALWAYS_VALID: "true" });
  service = await startService(points, ground);
  client = await acmeClient(service);
  await client.register();
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
  await ground[Symbol.asyncDispose]();
});
beforeEach(() => {
  failing = undefined;
});

/** An order that is ready, with a CSR for it. */
async function readyOrder(name: string): Promise<{ readonly order: AcmeAnswer; readonly url: string; readonly csr: string }> {
  const order = await client.prove(await client.order([name]));
  return { order, url: order.header("location") ?? "", csr: await certificateRequest([name]) };
}

async function statusOf(url: string): Promise<unknown> {
  return (await client.post(url, "")).json["status"];
}

test.for([
  { name: "the database", point: "intent:before", code: "databaseUnavailable" },
  { name: "the token", point: "intent:before", code: "hsmUnavailable" },
] as const)("AF-11: with $name away before the intent, finalize is serverInternal 503 with Retry-After, and good later", async (row) => {
  const { order, url, csr } = await readyOrder(`${row.code.toLowerCase()}.example.org`);
  failing = row;
  const refused = await client.finalize(order, csr);
  expect([refused.status, refused.problem, refused.header("retry-after")]).toEqual([503, "serverInternal", "5"]);
  expect(await statusOf(url)).toBe("ready");
  failing = undefined;
  expect((await client.finalize(order, csr)).json["status"]).toBe("valid");
});

test("AF-11, AF-3: with the token away after it the order is processing; finalize then waits for the end, and is orderNotReady 403", async () => {
  const { order, url, csr } = await readyOrder("after.example.org");
  failing = { point: "sign:before", code: "hsmUnavailable" };
  const begun = await client.finalize(order, csr);
  expect([begun.status, begun.json["status"], begun.header("retry-after")]).toEqual([200, "processing", "1"]);
  expect(begun.header("location")).toBe(url);
  expect(await statusOf(url)).toBe("processing");
  const again = client.finalize(order, csr);
  failing = undefined;
  const late = await again;
  expect([late.status, late.problem, late.header("location")]).toEqual([403, "orderNotReady", url]);
  expect(late.detail).toContain("valid");
  expect(await statusOf(url)).toBe("valid");
});
