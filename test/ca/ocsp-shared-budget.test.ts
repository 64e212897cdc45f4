import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type OcspGround, ocspGround } from "../support/ocsp-world.ts";

let ground: OcspGround;
beforeAll(async () => {
  ground = await ocspGround();
});
afterAll(() => ground[Symbol.asyncDispose]());

const busy = { code: "busy" };
const [client, another] = ["192.0.2.1", "192.0.2.2"];

const scarce = () => ground.instance(undefined, { perSecond: 0.1, atOnce: 256 });
const asked = async () => ground.request(await ground.issued());

describe("beyond its budget of answers that are kept for everybody (XO-15)", () => {
  test("a client is told to try later, while another one is answered; what is kept or being made costs nothing", async () => {
    const instance = await scarce();
    const [first, second] = [await asked(), await asked()];
    const held = Promise.withResolvers<void>();
    instance.on.sign = () => held.promise;
    const answers = [instance.answer(first, client), instance.answer(first, client)];
    try {
      await expect(instance.answer(second, client)).rejects.toMatchObject(busy);
    } finally {
      held.resolve();
    }
    const [kept, together] = await Promise.all(answers);
    expect([together, await instance.answer(first, client)]).toEqual([kept, kept]);
    await expect(instance.answer(second, client)).rejects.toMatchObject(busy);
    expect((await instance.answer(second, another)).kept?.current).toBe(true);
    expect((await instance.answer(second, client)).kept?.current).toBe(true);
  });

  test("a client is given what is kept until its nextUpdate, and keeps nobody else from a newer one", async () => {
    const instance = await scarce();
    const [first, second] = [await asked(), await asked()];
    const old = await instance.answer(first, client);
    instance.clock.advance(12 * 3_600);
    await instance.answer(second, client);
    for (let times = 0; times < 3; times += 1) expect(await instance.answer(first, client)).toEqual(old);
    const renewed = await instance.answer(first, another);
    expect([renewed.kept?.current, old.kept?.current]).toEqual([true, false]);
  });

  test("serial numbers that were never assigned count too", async () => {
    const instance = await scarce();
    const [one, other] = [await ground.request("40".repeat(16)), await ground.request("41".repeat(16))];
    expect(Buffer.from((await instance.answer(one, client)).response).toString("hex")).toBe("30030a0106");
    await expect(instance.answer(other, client)).rejects.toMatchObject(busy);
  });

  test("whoever asks, no more are being made at once than may be", async () => {
    const instance = await ground.instance(undefined, { perSecond: 1_000, atOnce: 2 });
    const requests = [await asked(), await asked()];
    const third = await asked();
    const held = Promise.withResolvers<void>();
    instance.on.sign = () => held.promise;
    const made = requests.map((request, index) => instance.answer(request, `192.0.2.${index}`));
    try {
      await expect(instance.answer(third, "192.0.2.9")).rejects.toMatchObject(busy);
    } finally {
      held.resolve();
    }
    await Promise.all(made);
    expect((await instance.answer(third, "192.0.2.9")).kept?.current).toBe(true);
  });
});
