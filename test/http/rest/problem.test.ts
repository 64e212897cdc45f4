import { describe, expect, test } from "vitest";
import { Fault, type FaultCode } from "../../../src/fault.ts";
import { problemCodes, problemDocument, problemExplanation, problemOf } from "../../../src/http/rest/problem.ts";

const at = { baseUrl: "https://ca.example.org", requestId: "4f".repeat(16) };

/** Status and Retry-After of every code, as the interface promises them. */
const promised: Readonly<Record<string, readonly [number, string?]>> = {
  malformed: [400],
  badCSR: [400],
  unauthenticated: [401],
  policyDenied: [403],
  notFound: [404],
  methodNotAllowed: [405],
  notAcceptable: [406],
  requestTimeout: [408],
  alreadyRevoked: [409],
  certificateExpired: [409],
  tooLarge: [413],
  unsupportedMediaType: [415],
  idempotencyMismatch: [422],
  lifetimeOutOfRange: [422],
  lintRefused: [422],
  badRevocationReason: [422],
  tooManyRevocations: [409],
  headersTooLarge: [431],
  refusedToStart: [500],
  internal: [500],
  notImplemented: [501],
  issuanceHalted: [503, "60"],
  issuerRevoked: [503, "3600"],
  hsmUnavailable: [503, "5"],
  databaseUnavailable: [503, "5"],
  busy: [503, "1"],
};

describe("problem documents (RFC 9457)", () => {
  test("every code is in the table of this test", () => {
    expect(problemCodes.toSorted()).toEqual(Object.keys(promised).toSorted());
  });

  test.for(problemCodes.map((code) => ({ code })))("$code has its status, title and headers", ({ code }) => {
    const { status, headers, body } = problemDocument({ code, detail: "what was wrong" }, at);
    const [promisedStatus, retryAfter] = promised[code] ?? [];
    expect([status, headers["retry-after"]]).toEqual([promisedStatus, retryAfter]);
    expect(headers["content-type"]).toBe("application/problem+json");
    expect(headers["www-authenticate"]).toBe(status === 401 ? 'Bearer realm="chancery"' : undefined);
    expect(JSON.parse(body)).toEqual({
      type: `https://ca.example.org/problems/${code}`,
      title: expect.stringMatching(/^\S.{10,}[^.]$/),
      status,
      detail: "what was wrong",
      code,
      requestId: at.requestId,
    });
    expect(problemExplanation(code)).toMatch(new RegExp(`^${code} \\(${status}\\)\n\n`));
  });

  test.for([
    { code: "unauthenticated", tokenError: "invalid_token", challenge: 'Bearer realm="chancery", error="invalid_token"' },
    { code: "policyDenied", tokenError: "insufficient_scope", challenge: 'Bearer realm="chancery", error="insufficient_scope"' },
  ] as const)("$code for want of a better token says $tokenError (RFC 6750 §3.1)", ({ code, tokenError, challenge }) => {
    expect(problemDocument({ code, tokenError }, at).headers["www-authenticate"]).toBe(challenge);
  });

  test("members of a Fault stand beside the others and cannot replace them (§3.2)", () => {
    const fault = new Fault("lintRefused", "x", { members: { rules: ["e_ext_san_missing"], status: 200, type: "about:blank" } });
    expect(JSON.parse(problemDocument(problemOf(fault), at).body)).toMatchObject({
      rules: ["e_ext_san_missing"],
      status: 422,
      type: "https://ca.example.org/problems/lintRefused",
    });
  });

  test.for<{ name: string; error: unknown }>([
    { name: "a TypeError", error: new TypeError("cannot read /etc/secret") },
    { name: "a text", error: "cannot read /etc/secret" },
    { name: "undefined", error: undefined },
    { name: "a Fault internal", error: new Fault("internal", "cannot read /etc/secret") },
    { name: "a Fault of the start", error: new Fault("refusedToStart", "cannot read /etc/secret") },
    {
      name: "an error that looks like a Fault",
      error: Object.assign(new Error("x"), { code: "malformed", detail: "cannot read /etc/secret" }),
    },
  ])("$name is told as internal, with nothing of it", ({ error }) => {
    const { status, body } = problemDocument(problemOf(error), at);
    expect(status).toBe(500);
    expect(Object.keys(JSON.parse(body)).toSorted()).toEqual(["code", "requestId", "status", "title", "type"]);
    expect(body).not.toContain("secret");
  });

  test.for<{ code: FaultCode }>([{ code: "badCSR" }, { code: "hsmUnavailable" }])(
    "a Fault $code shows its detail and not its cause",
    ({ code }) => {
      const { body } = problemDocument(problemOf(new Fault(code, "shown", { cause: new Error("hidden") })), at);
      expect(body).toContain("shown");
      expect(body).not.toContain("hidden");
    },
  );
});
