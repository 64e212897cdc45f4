import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { DatabaseHealth } from "../../../src/database/connect.ts";
import type { HsmHealth } from "../../../src/ports/hsm.ts";
import { startService, type TestService } from "../../support/service.ts";
import { exchange } from "../exchange.ts";

/** What stands in for the state of database and token, once they are away. */
const away: { database?: DatabaseHealth; hsm?: HsmHealth } = {};

let service: TestService;

beforeAll(async () => {
  service = await startService({
    database: (database) => ({
      ...database,
      health: () => away.database ?? database.health(),
      [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
    }),
    hsm: (hsm) =>
      new Proxy(hsm, {
        get: (target, name) => {
          if (name === "health") return () => away.hsm ?? target.health();
          const member: unknown = Reflect.get(target, name, target);
          return typeof member === "function" ? member.bind(target) : member;
        },
      }),
  });
});
afterAll(() => service[Symbol.asyncDispose]());

async function ask(path: string, method = "GET") {
  const answer = await exchange(service.service.listeners.ops, { path, method });
  return { ...answer, json: () => JSON.parse(answer.text) };
}

describe("health (O-3)", () => {
  test("/livez says that the process answers", async () => {
    const answer = await ask("/livez");
    expect([answer.status, answer.json()]).toEqual([200, { live: true }]);
  });

  test("/readyz and its parts say what was checked", async () => {
    await expect.poll(async () => (await ask("/readyz")).status).toBe(200);
    expect((await ask("/readyz")).json()).toEqual({
      ready: true,
      checks: {
        database: { ready: true, detail: expect.any(String) },
        hsm: expect.objectContaining({ ready: true }),
        clock: { ready: true, detail: expect.any(String) },
        authorities: { ready: true, detail: "2 in memory" },
      },
    });
    expect((await ask("/readyz/issue")).status).toBe(200);
    expect((await ask("/readyz/status")).status).toBe(200);
  });

  test.for<{ name: keyof typeof away }>([{ name: "database" }, { name: "hsm" }])(
    "with the $name away: 503 and the reason for issuing, 200 for status, and the status listener answers (O-4)",
    async ({ name }) => {
      away[name] = { ready: false, detail: `the ${name} is away`, queued: 0, sessions: 0 };
      try {
        for (const path of ["/readyz", "/readyz/issue"]) {
          const answer = await ask(path);
          expect([answer.status, answer.json().ready, answer.json().checks[name].detail]).toEqual([503, false, `the ${name} is away`]);
        }
        expect((await ask("/readyz/status")).status).toBe(200);
        expect((await ask("/livez")).status).toBe(200);
        expect((await exchange(service.service.listeners.status, { path: "/ca/issuing-1.cer" })).status).toBe(200);
      } finally {
        delete away[name];
      }
      expect((await ask("/readyz/issue")).status).toBe(200);
    },
  );
});

describe("metrics", () => {
  test("/metrics has what was counted, in Prometheus' text format", async () => {
    await service.ask("/v1/profiles");
    const answer = await ask("/metrics");
    expect(answer.headers["content-type"]).toContain("text/plain; version=0.0.4");
    expect(answer.text).toMatch(/^chancery_http_request_seconds_count\{door="rest",route="GET \/v1\/profiles",status="200"\} 1$/m);
    expect(answer.text).toMatch(/^chancery_events_total\{event="service\.started"\} 1$/m);
    expect(answer.text).toMatch(/^process_cpu_seconds_total /m);
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
