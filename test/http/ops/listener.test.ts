import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadConfig } from "../../../src/config.ts";
import type { Hsm, HsmHealth } from "../../../src/ports/hsm.ts";
import { type DatabaseProxy, startProxy } from "../../support/proxy.ts";
import { standingGround, type Ground, startService, type TestService } from "../../support/service.ts";
import { exchange, exchangeBytes } from "../exchange.ts";

/** What stands in for the state of the token, once it is away. */
let hsmAway: HsmHealth | undefined;

let ground: Ground;
let proxy: DatabaseProxy;
let service: TestService;

beforeAll(async () => {
  ground = await standingGround();
  proxy = await startProxy(ground.databaseUrl);
  const config = loadConfig({ env: { ...ground.env, DATABASE_URL: proxy.url }, directory: ground.directory });
  service = await startService({ hsm: withHealth }, { ...ground, config });
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
  await proxy[Symbol.asyncDispose]();
  await ground[Symbol.asyncDispose]();
});

function withHealth(hsm: Hsm): Hsm {
  return new Proxy(hsm, {
    get: (target, name) => {
      if (name === "health") return () => hsmAway ?? target.health();
      const member: unknown = Reflect.get(target, name, target);
      return typeof member === "function" ? member.bind(target) : member;
    },
  });
}

async function ask(path: string, method = "GET") {
  const answer = await exchange(service.service.listeners.ops, { path, method });
  return { ...answer, json: () => JSON.parse(answer.text) };
}

describe("health (O-3)", () => {
  test("/livez says that the process answers, and which one: the one that the lock of its data directory names", async () => {
    const answer = await ask("/livez");
    const instance = await readFile(join(ground.directory, "instance.lock"), "utf8");
    expect([answer.status, answer.json()]).toEqual([200, { live: true, instance }]);
    expect(instance).toMatch(new RegExp(`^${process.pid} `));
  });

  test("/readyz and its parts say what was checked", async () => {
    await expect.poll(async () => (await ask("/readyz")).status).toBe(200);
    expect((await ask("/readyz")).json()).toEqual({
      ready: true,
      checks: {
        database: { ready: true, detail: expect.any(String) },
        hsm: expect.objectContaining({ ready: true, detail: "token chancery-issuing: it signs, with 8 sessions" }),
        clock: { ready: true, detail: expect.any(String) },
        halt: { ready: true, detail: "issuance is not halted" },
        issuers: { ready: true, detail: "no authority is revoked" },
        crls: { ready: true, detail: "2 served, all current" },
        authorities: { ready: true, detail: "2 in memory" },
        responders: { ready: true, detail: expect.stringMatching(/^revocations were read \d+\.\d s ago$/) },
      },
    });
    expect((await ask("/readyz/issue")).status).toBe(200);
    expect((await ask("/readyz/revoke")).json()).toEqual({
      ready: true,
      checks: { database: { ready: true, detail: expect.any(String) } },
    });
    expect((await ask("/readyz/status")).status).toBe(200);
  });

  test("with the token away: 503 and the reason for issuing, while status stays ready and is served, and revoking too (O-4)", async () => {
    hsmAway = { ready: false, detail: "the token is away", queued: 0, sessions: 0 };
    try {
      for (const path of ["/readyz", "/readyz/issue"]) {
        const answer = await ask(path);
        expect([answer.status, answer.json().ready, answer.json().checks.hsm.detail]).toEqual([503, false, "the token is away"]);
      }
      expect((await ask("/readyz/revoke")).status).toBe(200);
      await statusIsServed();
    } finally {
      hsmAway = undefined;
    }
    expect((await ask("/readyz/issue")).status).toBe(200);
  });

  test("with the database away: the same, requests are 503 with Retry-After, and all of it heals when it is back", async () => {
    await proxy.down();
    try {
      await expect.poll(async () => (await ask("/readyz/issue")).json().checks.database.ready, { timeout: 20_000 }).toBe(false);
      for (const path of ["/readyz", "/readyz/revoke"]) expect((await ask(path)).status).toBe(503);
      await statusIsServed();
      const refused = await service.ask("/v1/certificates");
      expect([refused.status, refused.headers["retry-after"], refused.json()["code"]]).toEqual([503, "5", "databaseUnavailable"]);
    } finally {
      await proxy.up();
    }
    await expect.poll(async () => (await ask("/readyz")).status, { timeout: 20_000 }).toBe(200);
    expect((await service.ask("/v1/certificates")).status).toBe(200);
  });
});

async function statusIsServed(): Promise<void> {
  expect((await ask("/livez")).status).toBe(200);
  expect((await ask("/readyz/status")).status).toBe(200);
  expect((await exchange(service.service.listeners.status, { path: "/ca/issuing-1.cer" })).status).toBe(200);
}

const age = async () => /^chancery_hsm_health_age_seconds\{token="chancery-issuing"\} (.*)$/m.exec((await ask("/metrics")).text)?.[1];

describe("metrics", () => {
  test("/metrics has what was counted, in Prometheus' text format", async () => {
    await service.ask("/v1/profiles");
    const answer = await ask("/metrics");
    expect(answer.headers["content-type"]).toContain("text/plain; version=0.0.4");
    expect(answer.text).toMatch(/^chancery_http_request_seconds_count\{door="rest",route="GET \/v1\/profiles",status="200"\} 1$/m);
    expect(answer.text).toMatch(/^chancery_events_total\{event="service\.started"\} 1$/m);
    expect(answer.text).toMatch(/^process_cpu_seconds_total /m);
  });

  test("the age of the last health signature is that of the scrape, whether or not anybody asks for readiness", async () => {
    const health = { ready: true, detail: "", queued: 0, sessions: 1 };
    try {
      for (const ageSeconds of [3.25, 7.5]) {
        hsmAway = { ...health, ageSeconds };
        expect(await age()).toBe(String(ageSeconds));
      }
      hsmAway = health;
      expect(await age()).toBeUndefined();
    } finally {
      hsmAway = undefined;
    }
    const [first, second] = [Number(await age()), Number(await age())];
    expect(second).not.toBe(first);
  });
});

test.for([
  { method: "GET", path: "/", status: 404 },
  { method: "GET", path: "/readyz/nonsense", status: 404 },
  { method: "GET", path: "/constructor", status: 404 },
  { method: "GET", path: "/readyz?verbose", status: 200 },
  { method: "HEAD", path: "/livez", status: 200 },
  { method: "POST", path: "/livez", status: 405 },
])("$method $path of the ops listener: $status", async ({ method, path, status }) => {
  expect((await ask(path, method)).status).toBe(status);
});

test.for([
  { name: "a request without Host", bytes: "GET /livez HTTP/1.1\r\n\r\n", status: 400 },
  { name: "two Hosts", bytes: "GET /livez HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", status: 400 },
  { name: "a Host that is none", bytes: "GET /livez HTTP/1.1\r\nHost: a b/c@\r\n\r\n", status: 400 },
  { name: "a target in absolute form", bytes: "GET http://a/livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", status: 200 },
])("$name: $status from the ops listener (RFC 9112 §3.2)", async ({ bytes, status }) => {
  expect(await exchangeBytes(service.service.listeners.ops.port, bytes)).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
});
