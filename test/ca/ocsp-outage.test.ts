import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { Fault } from "../../src/fault.ts";
import { type OcspGround, ocspGround, type OcspInstance } from "../support/ocsp-world.ts";

let ground: OcspGround;
beforeAll(async () => {
  ground = await ocspGround();
});
afterAll(() => ground[Symbol.asyncDispose]());

let instance: OcspInstance;
beforeEach(async () => {
  instance = await ground.instance();
});

const databaseAway = new Fault("databaseUnavailable", "the database is away");
const tokenAway = () => {
  throw new Fault("hsmUnavailable", "the token is away");
};
const hour = 3_600;

/** Moves the clock, as if the database's had moved with it. */
function later(seconds: number): void {
  instance.clock.advance(seconds);
}

/** Moves it to a time. */
function laterAt(milliseconds: number): void {
  later((milliseconds - instance.clock.now().getTime()) / 1000);
}

const outages = [
  { name: "database", begin: () => void (instance.away.database = databaseAway), code: "databaseUnavailable" },
  { name: "token", begin: () => void (instance.on.sign = tokenAway), code: "hsmUnavailable" },
] as const;

describe("while something is away (XO-22)", () => {
  test.for(outages)("the $name: an answer that is kept is given until its nextUpdate, and not a second longer", async ({ begin, code }) => {
    const request = await ground.request(await ground.issued());
    const first = await instance.answer(request);
    const nextUpdate = first.kept?.nextUpdate.getTime() ?? 0;
    begin();
    for (const seconds of [hour, 10 * hour, 2 * hour, 10 * hour]) {
      later(seconds);
      expect(await instance.answer(request)).toEqual(first);
    }
    laterAt(nextUpdate - 1);
    expect(await instance.answer(request)).toEqual(first);
    laterAt(nextUpdate);
    await expect(instance.answer(request)).rejects.toMatchObject({ code });
  });

  test.for(outages)("the $name: what is not kept cannot be answered now", async ({ begin, code }) => {
    const serial = await ground.issued();
    const requests = [await ground.request(serial), await ground.requestWithNonce(serial)];
    begin();
    for (const request of requests) await expect(instance.answer(request)).rejects.toMatchObject({ code });
  });

  test("the token: a kept answer whose certificate was revoked is not given any more; one that says revoked goes on", async () => {
    const [good, revoked] = [await ground.issued(), await ground.issued()];
    await ground.revoke(revoked);
    const requests = { good: await ground.request(good), revoked: await ground.request(revoked) };
    await instance.answer(requests.good);
    const standing = await instance.answer(requests.revoked);
    await ground.revoke(good);
    await instance.ocsp.feed.poll();
    instance.on.sign = tokenAway;
    await expect(instance.answer(requests.good)).rejects.toMatchObject({ code: "hsmUnavailable" });
    expect(await instance.answer(requests.revoked)).toEqual(standing);
  });

  test("the token: a kept answer whose renewal failed is given without another try for ten seconds", async () => {
    const request = await ground.request(await ground.issued());
    const first = await instance.answer(request);
    instance.on.sign = tokenAway;
    later(12 * hour);
    expect(await instance.answer(request)).toEqual(first);
    const tries = instance.signatures();
    later(9);
    expect(await instance.answer(request)).toEqual(first);
    expect(instance.signatures()).toBe(tries);
    later(1);
    expect(await instance.answer(request)).toEqual(first);
    expect(instance.signatures()).toBe(tries + 1);
    instance.on.sign = undefined;
    later(10);
    const renewed = await instance.answer(request);
    expect([renewed.kept?.current, first.kept?.current]).toEqual([true, false]);
  });
});

const toldOfFeed = () =>
  instance.events.told.filter(({ event }) => event.startsWith("status.feed")).map(({ level, event }) => [level, event]);
const pollFails = async () => await expect(instance.ocsp.feed.poll()).rejects.toBe(databaseAway);

describe("an instance that learns of no revocations (XO-21)", () => {
  test("tells so once, after a minute, and once more when it is caught up again; what was revoked meanwhile is not called good from then on", async () => {
    const serial = await ground.issued();
    const request = await ground.request(serial);
    const good = await instance.answer(request);
    for (const outage of [1, 2]) {
      const before = toldOfFeed().length;
      await instance.ocsp.feed.poll();
      instance.away.database = databaseAway;
      later(60);
      await pollFails();
      expect(toldOfFeed()).toHaveLength(before);
      later(0.001);
      await pollFails();
      later(120);
      await pollFails();
      expect(toldOfFeed().slice(before)).toEqual([["error", "status.feed.stale"]]);
      if (outage === 1) {
        await ground.revoke(serial);
        expect(await instance.answer(request)).toEqual(good);
      }
      instance.away.database = undefined;
      await instance.ocsp.feed.poll();
      await instance.ocsp.feed.poll();
      expect(toldOfFeed().slice(before + 1)).toEqual([["info", "status.feed.fresh"]]);
      expect((await ground.verdict(await instance.answer(request), serial)).statuses).toEqual(["revoked"]);
    }
  });

  test("tells nothing where it only did not look for long, as after a sleep of the machine", async () => {
    later(3 * hour);
    await instance.ocsp.feed.poll();
    expect(toldOfFeed()).toEqual([]);
  });
});

describe("the times of answers", () => {
  test("an answer is renewed at twelve hours (XO-11)", async () => {
    const serial = await ground.issued();
    const request = await ground.request(serial);
    const first = await instance.answer(request);
    const refreshAt = first.kept?.refreshAt.getTime() ?? 0;
    expect(refreshAt - (first.kept?.thisUpdate.getTime() ?? 0)).toBe(12 * hour * 1000);
    laterAt(refreshAt - 1);
    expect(await instance.answer(request)).toEqual(first);
    laterAt(refreshAt);
    const renewed = await instance.answer(request);
    expect(renewed.kept?.thisUpdate.getTime()).toBeGreaterThanOrEqual(refreshAt);
    expect(first.kept?.current).toBe(false);
    // Whose times are not the time of the machine.
    const { verified, text } = await ground.verdict(renewed, serial);
    expect([verified, text.includes("Cert Status: good")]).toEqual([true, true]);
  });

  test("nextUpdate is not after the notAfter of the responder's certificate (XO-13)", async () => {
    const { certificate } = instance.ocsp.responders.get("issuing-1") ?? {};
    const notAfter = certificate?.notAfter ?? new Date(0);
    laterAt(notAfter.getTime() - hour * 1000);
    const request = await ground.request(await ground.issued());
    expect((await instance.answer(request)).kept?.nextUpdate).toEqual(notAfter);
    later(hour + 1);
    await expect(instance.answer(request)).rejects.toMatchObject({ code: "busy" });
  });

  test("a clock that goes back signs nothing, and says so once; what is kept goes on (XV-8)", async () => {
    const [kept, asked] = [await ground.request(await ground.issued()), await ground.request(await ground.issued())];
    const first = await instance.answer(kept);
    later(-10);
    await expect(instance.answer(asked)).rejects.toMatchObject({ code: "busy" });
    await expect(instance.answer(asked)).rejects.toMatchObject({ code: "busy" });
    expect(await instance.answer(kept)).toEqual(first);
    expect(instance.events.told.filter(({ event }) => event === "clock.refused")).toHaveLength(1);
    expect(instance.signatures()).toBe(1);
    later(12);
    await instance.answer(asked);
  });

  test("thisUpdate never goes back, nor by the one second that a clock may", async () => {
    const serial = await ground.issued();
    const requests = await Promise.all(Array.from({ length: 12 }, () => ground.requestWithNonce(serial)));
    const times: number[] = [];
    for (const [index, request] of requests.entries()) {
      later(index % 3 === 2 ? -0.9 : 0.7);
      const { text } = await ground.verdict(await instance.answer(request), serial);
      times.push(Date.parse(/This Update: (.*)$/m.exec(text)?.[1] ?? ""));
    }
    expect(times).toEqual(times.toSorted((left, right) => left - right));
  });
});
