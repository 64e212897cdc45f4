import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { Fault, type FaultCode } from "../../../src/fault.ts";
import type { Events } from "../../../src/ports/events.ts";
import { opensslRequest, startService, type TestService } from "../../support/service.ts";

/** What the token does instead of signing; nothing: it signs. */
let fails: (() => never) | undefined;
/** What was told while a test ran. */
let told: { level: string; event: string; fields: Record<string, unknown> }[] = [];

let service: TestService;
let csr: string;

const listening = (events: Events): Events => ({
  tell: (level, event, fields = {}) => told.push({ level, event, fields }),
  measure: events.measure,
});

beforeAll(async () => {
  service = await startService({
    events: listening,
    hsm: (hsm) =>
      new Proxy(hsm, {
        get: (target, name) => {
          if (name === "sign" && fails) return () => Promise.resolve().then(fails);
          const member: unknown = Reflect.get(target, name, target);
          return typeof member === "function" ? member.bind(target) : member;
        },
      }),
  });
  csr = (await opensslRequest("a.example.org")).csr;
});
beforeEach(() => {
  told = [];
  fails = undefined;
});
afterAll(() => service[Symbol.asyncDispose]());

describe("what fails behind the door", () => {
  test.for<{ code: FaultCode; status: number; retryAfter: string }>([
    { code: "hsmUnavailable", status: 503, retryAfter: "5" },
    { code: "databaseUnavailable", status: 503, retryAfter: "5" },
    { code: "busy", status: 503, retryAfter: "1" },
  ])(
    "$code: $status, Retry-After, its detail, and a line in the log with its cause under the same request id",
    async ({ code, status, retryAfter }) => {
      fails = () => {
        throw new Fault(code, "what to tell", { cause: new Error("what to log") });
      };
      const answer = await service.ask("/v1/certificates", { body: { csr, profile: "server" } });
      expect([answer.status, answer.headers["retry-after"]]).toEqual([status, retryAfter]);
      expect(answer.json()).toMatchObject({ code, detail: "what to tell" });
      expect(answer.text).not.toContain("what to log");
      const [line] = told.filter(({ event }) => event === "request.failed");
      expect(line).toMatchObject({
        level: "warn",
        fields: { requestId: answer.headers["x-request-id"], code, error: { cause: { message: "what to log" } } },
      });
    },
  );

  test("an error that nobody expected: 500 internal with no detail, and the error itself in the log", async () => {
    fails = () => {
      throw new TypeError("session handle 7 of /run/secret");
    };
    const answer = await service.ask("/v1/certificates", { body: { csr, profile: "server" } });
    const { type, ...problem } = answer.json();
    expect(problem).toEqual({ title: expect.any(String), status: 500, code: "internal", requestId: answer.headers["x-request-id"] });
    expect(type).toMatch(/\/problems\/internal$/);
    const [line] = told.filter(({ event }) => event === "request.failed");
    expect(line).toMatchObject({ level: "error", fields: { code: "internal", error: expect.any(TypeError) } });
  });

  test("after it the same request under its key succeeds, once", async () => {
    fails = () => {
      throw new Fault("hsmUnavailable", "away");
    };
    const question = { body: { csr, profile: "server" }, headers: { "idempotency-key": "healed" } };
    expect((await service.ask("/v1/certificates", question)).status).toBe(503);
    fails = undefined;
    const [first, second] = [await service.ask("/v1/certificates", question), await service.ask("/v1/certificates", question)];
    expect([first.status, second.status]).toEqual([200, 200]);
    expect(second.json()).toEqual(first.json());
  });
});

describe("secrets (S-40, AUD-18)", () => {
  test("neither token nor certificate request stands in what is told of a request, whatever becomes of it", async () => {
    fails = () => {
      throw new Error("boom");
    };
    await service.ask("/v1/certificates", { body: { csr, profile: "server" } });
    await service.ask("/v1/certificates", { body: { csr, profile: "server", lifetimeSeconds: 1 } });
    await service.ask(`/v1/certificates/x`, { method: "PUT" });
    const text = JSON.stringify(told);
    expect(told.length).toBeGreaterThan(0);
    expect(text).not.toContain(service.adminToken.slice(-30));
    expect(text).not.toContain(csr.split("\n")[1]);
  });
});
