import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Listener } from "../../../src/http/server.ts";
import { listenForOcsp, ocspDoors } from "../../support/ocsp-doors.ts";
import { type OcspGround, ocspGround, type OcspInstance } from "../../support/ocsp-world.ts";
import { exchange } from "../exchange.ts";

let ground: OcspGround;
beforeAll(async () => {
  ground = await ocspGround();
});
afterAll(() => ground[Symbol.asyncDispose]());

const pathOf = (request: Uint8Array): string => `/ocsp/issuing-1/${encodeURIComponent(Buffer.from(request).toString("base64"))}`;

/** Two instances whose clocks stand, the one that many seconds ahead of the other. */
async function instances(seconds: number): Promise<{ behind: OcspInstance; ahead: OcspInstance }> {
  const [behind, ahead] = [await ground.instance(), await ground.instance()];
  behind.clock.advance(60);
  ahead.clock.set(new Date(behind.clock.now().getTime() + seconds * 1000).toISOString());
  return { behind, ahead };
}

describe("who holds a good answer and knows it by its date alone learns of the revocation (RFC 9110 §13.1.3, XO-17)", () => {
  test.for([
    { name: "in the same second", seconds: 0 },
    { name: "by an instance whose clock is a minute behind", seconds: 60 },
  ])("that was answered $name", async ({ seconds }) => {
    const { behind, ahead } = await instances(seconds);
    const serial = await ground.issued();
    const path = pathOf(await ground.request(serial));
    await using first = await listenForOcsp(ocspDoors(ahead));
    await using second = await listenForOcsp(ocspDoors(behind));
    const good = await exchange(first, { path });
    const date = good.headers["last-modified"] ?? "";
    expect(await ground.verdict({ response: good.body }, serial)).toMatchObject({ verified: true, statuses: ["good"] });
    expect((await exchange(first, { path, headers: { "if-modified-since": date } })).status).toBe(304);

    await ground.revoke(serial, 4);
    // The second time it is found by its path.
    for (const _ of [1, 2]) {
      const revoked = await exchange(second, { path, headers: { "if-modified-since": date } });
      expect([revoked.status, Date.parse(revoked.headers["last-modified"] ?? "") <= Date.parse(date)]).toEqual([200, true]);
      expect(await ground.verdict({ response: revoked.body }, serial)).toMatchObject({ verified: true, statuses: ["revoked"] });
    }
  });

  test("one that says revoked is known by its entity tag, and no date stands in its way (RFC 9110 §13.1.4)", async () => {
    const { ahead } = await instances(0);
    await using listener = await listenForOcsp(ocspDoors(ahead));
    const serial = await ground.issued();
    await ground.revoke(serial, 4);
    const path = pathOf(await ground.request(serial));
    const { etag = "", "last-modified": date = "" } = (await exchange(listener, { path })).headers;
    const statusOf = async (headers: Record<string, string>) => await statusWith(listener, path, headers);
    expect(await statusOf({ "if-none-match": etag, "if-modified-since": date })).toBe(304);
    expect(await statusOf({ "if-modified-since": date })).toBe(200);
    expect(await statusOf({ "if-unmodified-since": new Date(0).toUTCString() })).toBe(200);
    expect(await statusOf({ "if-match": '"x"' })).toBe(412);
  });
});

test("Last-Modified is not later than Date where the clock of who signed was ahead (RFC 9110 §8.8.2.1)", async () => {
  const { ahead } = await instances(0);
  await using listener = await listenForOcsp(ocspDoors(ahead));
  const path = pathOf(await ground.request(await ground.issued()));
  const lastModified = async (from: Listener) => Date.parse((await exchange(from, { path })).headers["last-modified"] ?? "");
  const thisUpdate = Math.floor(ahead.clock.now().getTime() / 1000) * 1000;
  expect(await lastModified(listener)).toBe(thisUpdate);
  ahead.clock.advance(-10);
  await using afterwards = await listenForOcsp(ocspDoors(ahead));
  expect(await lastModified(afterwards)).toBe(thisUpdate - 10_000);
});

async function statusWith(listener: Listener, path: string, headers: Record<string, string>): Promise<number> {
  return (await exchange(listener, { path, headers })).status;
}
