import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadConfig } from "../../src/config.ts";
import { Fault } from "../../src/fault.ts";
import type { Hsm } from "../../src/ports/hsm.ts";
import { exchange } from "../http/exchange.ts";
import { issuedSerial, opensslOcspRequest, opensslOcspVerdict, postOcsp, revokeSerial } from "../support/ocsp.ts";
import { aroundAnswers } from "../support/ocsp-world.ts";
import { type DatabaseProxy, startProxy } from "../support/proxy.ts";
import { type Ground, standingGround, startService, type TestService } from "../support/service.ts";
import { brokenStatus } from "../support/status-invariants.ts";

let tokenAway = false;

const tryLater = "30030a0103";

/** The token, which signs no answer while it is away. */
function leaving(token: Hsm): Hsm {
  return aroundAnswers(token, async (sign) => {
    if (tokenAway) throw new Fault("hsmUnavailable", "the token is away");
    return await sign();
  });
}

describe("OCSP by the listener while database or token are away (XO-22)", () => {
  const shelf = new AsyncDisposableStack();
  let proxy: DatabaseProxy;
  let chancery: TestService;
  let files: { readonly issuer: string; readonly root: string };

  beforeAll(async () => {
    const bare = shelf.use(await standingGround());
    proxy = shelf.use(await startProxy(bare.databaseUrl));
    const config = loadConfig({ env: { ...bare.env, DATABASE_URL: proxy.url }, directory: bare.directory });
    const ground: Ground = { ...bare, config };
    chancery = shelf.use(await startService({ hsm: leaving }, ground));
    files = { issuer: join(bare.directory, "chain.pem"), root: join(bare.directory, "root.pem") };
  });
  afterAll(() => shelf[Symbol.asyncDispose]());

  const asked = async () => {
    const serial = await issuedSerial(chancery.service);
    const request = await opensslOcspRequest({ serials: [serial], issuer: files.issuer });
    const path = `/ocsp/issuing-1/${encodeURIComponent(Buffer.from(request).toString("base64"))}`;
    const statuses = async (body: Uint8Array) => (await opensslOcspVerdict(body, { serials: [serial], ...files })).statuses;
    return { serial, request, get: () => exchange(chancery.service.listeners.status, { path }), statuses };
  };

  test("the database: kept answers are given by GET and by POST, others are told to try later; both heal", async () => {
    const [kept, fresh] = [await asked(), await asked()];
    const before = await kept.get();
    expect(await kept.statuses(before.body)).toEqual(["good"]);
    await proxy.down();
    try {
      const during = await kept.get();
      expect([during.status, during.body.equals(before.body), during.headers.etag]).toEqual([200, true, before.headers.etag]);
      expect((await postOcsp(chancery.service, kept.request)).body.equals(before.body)).toBe(true);
      const refused = await fresh.get();
      expect([refused.status, refused.body.toString("hex"), refused.headers["cache-control"]]).toEqual([200, tryLater, "no-store"]);
      const ready = await exchange(chancery.service.listeners.ops, { path: "/readyz/status" });
      expect(ready.status).toBe(200);
    } finally {
      await proxy.up();
    }
    await expect.poll(async () => fresh.statuses((await fresh.get()).body), { timeout: 30_000 }).toEqual(["good"]);
  });

  test("the token: a kept answer is given until its certificate is revoked, then nothing until the revocation can be signed", async () => {
    const { serial, get, statuses } = await asked();
    const before = await get();
    expect(await statuses(before.body)).toEqual(["good"]);
    tokenAway = true;
    try {
      expect((await get()).body.equals(before.body)).toBe(true);
      await revokeSerial(chancery.service, serial, 4);
      await expect.poll(async () => (await get()).body.toString("hex"), { timeout: 30_000 }).toBe(tryLater);
    } finally {
      tokenAway = false;
    }
    expect(await statuses((await get()).body)).toEqual(["revoked"]);
    expect(await brokenStatus(chancery.service)).toEqual([]);
  });
});
