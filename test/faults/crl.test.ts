import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadConfig } from "../../src/config.ts";
import { Fault } from "../../src/fault.ts";
import type { Hsm } from "../../src/ports/hsm.ts";
import { exchange } from "../http/exchange.ts";
import { movedClock } from "../support/clock.ts";
import { issueLeaf, opensslCrl, revokeLeaf } from "../support/crl-world.ts";
import { type RecordedEvents, recordedEvents } from "../support/events.ts";
import { type DatabaseProxy, startProxy } from "../support/proxy.ts";
import { type Ground, standingGround, startService, type TestService } from "../support/service.ts";

const clock = movedClock();
let ground: Ground;
let proxy: DatabaseProxy;
let chancery: TestService;
let events: RecordedEvents;
let tokenIsAway = false;
/** The token, which gives no signature over a CRL while it is away. */
const hsm = (token: Hsm): Hsm =>
  new Proxy(token, {
    get(target, property) {
      const value: unknown = Reflect.get(target, property, target);
      if (property === "signParts" && tokenIsAway) return () => Promise.reject(new Fault("hsmUnavailable", "the token is away"));
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
beforeAll(async () => {
  ground = await standingGround();
  proxy = await startProxy(ground.databaseUrl);
  const config = loadConfig({ env: { ...ground.env, DATABASE_URL: proxy.url }, directory: ground.directory });
  events = recordedEvents();
  chancery = await startService({ clock, hsm, events: () => events }, { ...ground, config });
});
afterAll(async () => {
  await chancery[Symbol.asyncDispose]();
  await proxy[Symbol.asyncDispose]();
  await ground[Symbol.asyncDispose]();
});

const crl = () => exchange(chancery.service.listeners.status, { path: "/crl/issuing-1.crl" });
const serials = async (): Promise<readonly string[]> => (await opensslCrl((await crl()).body)).serials;

describe("what was served stays served (XO-22)", () => {
  test("while the database is away, and what was revoked before is published once it is back", async () => {
    const leaf = await issueLeaf(chancery.service.ca);
    await revokeLeaf(chancery.service.ca, leaf);
    await proxy.down();
    try {
      // The jobs fail meanwhile, turn after turn.
      await expect
        .poll(() => events.told.some(({ event, fields }) => event === "job.failed" && fields["job"] === "crl directory"), {
          timeout: 20_000,
        })
        .toBe(true);
      const during = await crl();
      expect(during.status).toBe(200);
      expect(Number(/max-age=(\d+)/.exec(during.headers["cache-control"] ?? "")?.[1])).toBeGreaterThan(0);
      expect((await opensslCrl(during.body)).text).toContain("Certificate Revocation List");
    } finally {
      await proxy.up();
    }
    await expect.poll(serials, { timeout: 40_000, interval: 500 }).toContain(leaf.serial);
  });

  test("while the token is away, and what is revoked meanwhile is published once it is back", async () => {
    const before = await crl();
    tokenIsAway = true;
    let serial: string;
    try {
      const leaf = await issueLeaf(chancery.service.ca);
      serial = leaf.serial;
      await revokeLeaf(chancery.service.ca, leaf);
      await expect
        .poll(() => events.told.some(({ event, fields }) => event === "job.failed" && fields["job"] === "crl"), { timeout: 20_000 })
        .toBe(true);
      const during = await crl();
      expect([during.status, during.headers.etag]).toEqual([200, before.headers.etag]);
    } finally {
      tokenIsAway = false;
    }
    await expect.poll(serials, { timeout: 40_000, interval: 500 }).toContain(serial);
  });
});
