import { afterAll, beforeAll, expect, test } from "vitest";
import type { Events } from "../../../src/ports/events.ts";
import { acmeClient } from "../../support/acme-client.ts";
import { standingGround, type Ground, startService, type TestService } from "../../support/service.ts";

let ground: Ground;
let service: TestService;
const told = new Map<string, Readonly<Record<string, unknown>>>();

/** Keeps the last of each event. */
function listening({ measure }: Events): Events {
  return { tell: (_level, event, fields = {}) => void told.set(event, fields), measure };
}

beforeAll(async () => {
  ground = await standingGround({ CHANCERY_TEST_NONCE_REJECT_PERCENT: "20", CHANCERY_TEST_ALWAYS_VALID: "true" });
  service = await startService({ events: listening }, ground);
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
  await ground[Symbol.asyncDispose]();
});

test("an evaluation's log says what it takes for granted", () => {
  expect(told.get("acme.evaluation")).toMatchObject({
    directories: ["default"],
    takes: expect.stringContaining("every name"),
    contacts: ["127.0.0.0/8", "::1/128"],
    challenges: expect.stringContaining("nobody is asked"),
    noncesRefusedPercent: 20,
  });
});

test("CHANCERY_TEST_NONCE_REJECT_PERCENT=20: every fifth good nonce of an account is badNonce, never two running", async () => {
  const client = await acmeClient(service);
  await client.register();
  const answers: (string | undefined)[] = [];
  for (let index = 0; index < 20; index++) answers.push((await client.post(client.account(), "")).problem);
  expect(answers.map((problem, index) => (problem === undefined ? 0 : index + 1)).filter(Boolean)).toEqual([5, 10, 15, 20]);
  expect(new Set(answers)).toEqual(new Set([undefined, "badNonce"]));
});

test("CHANCERY_TEST_ALWAYS_VALID: a challenge that nobody could meet is met", async () => {
  const client = await acmeClient(service);
  await client.register();
  const order = await client.order(["nobody.example.invalid"]);
  await client.prove(order, "dns-01");
  // Of the questions that are asked until it is ready every fifth is refused its nonce.
  await expect.poll(async () => (await client.post(order.header("location") ?? "", "")).json["status"]).toBe("ready");
});
