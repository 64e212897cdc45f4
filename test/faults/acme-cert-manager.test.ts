import { X509Certificate } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type AcmeAnswer, certificateRequest, signingKey, texts } from "../support/acme-client.ts";
import { harmful } from "../support/acme-crowd.ts";
import { type Fleet, fleetGround, startFleet } from "../support/acme-fleet.ts";
import { brokenAcmeInvariants } from "../support/acme-invariants.ts";
import { politeClient, type PoliteClient } from "../support/polite-client.ts";
import { administer } from "../support/server.ts";
import { type Shim, shimAvailable, shimmed } from "../support/shim.ts";
import { modulePath } from "../support/token.ts";

let fleet: Fleet;
let shim: Shim | undefined;
let names = 0;

beforeAll(async () => {
  const grounds = await fleetGround(async ({ directory }) => {
    shim = shimAvailable ? shimmed({ module: modulePath(), directory }) : undefined;
    return shim ? { CHANCERY_PKCS11_MODULE: shim.module } : {};
  });
  fleet = await startFleet({ grounds });
});
afterAll(async () => {
  await fleet[Symbol.asyncDispose]();
  await fleet.grounds[Symbol.asyncDispose]();
});

/** A controller with an account, and a name that it has no certificate for. */
async function controller(): Promise<{ client: PoliteClient; name: string }> {
  const client = politeClient(() => fleet.doors, { host: fleet.grounds.host });
  await client.register();
  return { client, name: `n${(names += 1)}.manager.localhost` };
}

/** An order on its way: what was answered so far, and what is next. */
async function proven(): Promise<{ client: PoliteClient; name: string; url: string; finalize: string; csr: string; order: AcmeAnswer }> {
  const { client, name } = await controller();
  const order = await client.prove(await client.order([name]));
  expect(order.json["status"]).toBe("ready");
  const csr = await certificateRequest([name]);
  return { client, name, url: order.header("location") ?? "", finalize: String(order.json["finalize"]), csr, order };
}

describe("what cert-manager's client relies on", () => {
  test("Location is on newAccount, made or found, on newOrder, on every read of an order and on finalize (AM-1, AT-6)", async () => {
    const key = signingKey();
    const client = politeClient(() => fleet.doors, { host: fleet.grounds.host, key });
    const [made, found] = [await client.register(), await client.register()];
    expect([made.status, found.status]).toEqual([201, 200]);
    expect(made.header("location")).toBe(found.header("location"));
    expect(made.header("location")).toMatch(/^https:\/\/localhost:9443\/acme\/default\/acct\/[A-Za-z0-9_-]{22}$/);

    const name = `n${(names += 1)}.manager.localhost`;
    const order = await client.order([name]);
    const url = order.header("location") ?? "";
    expect(order.status).toBe(201);
    expect(url).toMatch(/\/order\/[A-Za-z0-9_-]{22}$/);
    const read = [await client.post(url, ""), await client.prove(order)];
    const csr = await certificateRequest([name]);
    const answers = [...read, await client.post(String(order.json["finalize"]), { csr }), await client.post(url, "")];
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    expect(answers.map((answer) => answer.header("location"))).toEqual([url, url, url, url]);
  });

  test("finalize repeated after its answer was lost: 403, and the order reads valid, whichever instance is asked (AM-2)", async () => {
    const { client, url, finalize, csr } = await proven();
    expect((await client.once(fleet.doors[0], finalize, { csr })).status).toBe(200);
    for (const door of fleet.doors) {
      const again = await client.once(door, finalize, { csr });
      expect([again.status, again.problem, again.header("location")]).toEqual([403, "orderNotReady", url]);
      expect((await client.once(door, url, "")).json["status"]).toBe("valid");
    }
  });

  test("killed after finalize and resumed: the same order is found again, valid, with its certificate (AM-2, AM-5)", async () => {
    const { client, name, url, finalize, csr } = await proven();
    await client.once(fleet.doors[0], finalize, { csr });
    // What it kept is its key and the order's URL.
    const resumed = politeClient(() => fleet.doors, { host: fleet.grounds.host, key: client.key });
    await resumed.register();
    expect(resumed.account()).toBe(client.account());
    const order = await resumed.post(url, "");
    expect(order.json["status"]).toBe("valid");
    const { text } = await resumed.post(String(order.json["certificate"]), "");
    expect(new X509Certificate(text).subjectAltName).toBe(`DNS:${name}`);
    expect(text.replaceAll(/-----BEGIN CERTIFICATE-----\n[A-Za-z0-9+/=\n]+-----END CERTIFICATE-----\n/g, "")).toBe("");
  });

  test("newOrder repeated while the order is open is the same order; once it is issued, another (AM-5, AO-13)", async () => {
    const { client, name } = await controller();
    const orders = [await client.order([name]), await client.order([name])];
    expect(orders.map(({ status }) => status)).toEqual([201, 201]);
    expect(orders[0]?.header("location")).toBe(orders[1]?.header("location"));
    await client.issue([name]);
    expect((await client.order([name])).header("location")).not.toBe(orders[0]?.header("location"));
  });

  test("a challenge responded to again, its first answer lost, is no error at any time (AM-4)", async () => {
    const { client, name } = await controller();
    const order = await client.order([name]);
    const [url = ""] = texts(order.json["authorizations"]);
    const { json } = await client.post(url, "");
    const challenge = (json["challenges"] as { type: string; url: string }[]).find(({ type }) => type === "http-01");
    await client.prove(order);
    for (const door of fleet.doors) expect((await client.once(door, challenge?.url ?? "", {})).status).toBe(200);
  });

  test.runIf(shimAvailable)(
    "the HSM is away from finalize on: never a 4xx, also to who repeats it, and the order ends valid by itself (AM-2, AM-3, AF-11)",
    { timeout: 60_000 },
    async () => {
      const issuances = await Promise.all(Array.from({ length: 6 }, proven));
      shim?.fault({ function: "C_Sign", fault: "return", argument: 0x30 });
      // Half of them lose the first answer and repeat the request.
      const lost = issuances.slice(0, 3);
      await Promise.all(lost.map(({ client, finalize, csr }) => client.once(fleet.doors[0], finalize, { csr })));
      const ending = issuances.map(({ client, url, finalize, csr }) => client.finalize(url, finalize, csr));
      const told = () => lost.flatMap(({ client }) => client.seen).filter(({ status }) => status === 503).length;
      await expect.poll(told, { timeout: 20_000 }).toBeGreaterThan(0);
      shim?.fault();
      const ended = await Promise.all(ending);
      expect(ended.map(({ json }) => json["status"])).toEqual(issuances.map(() => "valid"));
      // Who asked twice may be refused once the order is valid: a refusal before that ends the client.
      const seen = issuances.flatMap(({ client }) => harmful(client.seen));
      expect(seen.filter(({ detail }) => !detail.startsWith("the order is valid"))).toEqual([]);
      expect(await administer(fleet.grounds.ground.databaseUrl, brokenAcmeInvariants)).toEqual([]);
    },
  );
});
