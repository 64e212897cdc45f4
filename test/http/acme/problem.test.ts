import { describe, expect, test } from "vitest";
import { Fault } from "../../../src/fault.ts";
import { type ProblemCode, problemDocument, problemOf } from "../../../src/http/acme/problem.ts";
import { urlsOf } from "../../../src/http/acme/urls.ts";

const urls = urlsOf("https://ca.example.org", "default");

/** Registered in "ACME Error Types" by RFC 8555 §6.7 and RFC 9773 §7.4, and `invalidProfile` of draft-ietf-acme-profiles. */
const registered = [
  "accountDoesNotExist alreadyReplaced alreadyRevoked badCSR badNonce badPublicKey badRevocationReason badSignatureAlgorithm caa compound",
  "connection dns externalAccountRequired incorrectResponse invalidContact invalidProfile malformed orderNotReady rateLimited",
  "rejectedIdentifier serverInternal tls unauthorized unsupportedContact unsupportedIdentifier userActionRequired",
].flatMap((line) => line.split(" "));

test.for<[ProblemCode, string, number]>([
  ["malformed", "malformed", 400],
  ["notFound", "malformed", 404],
  ["methodNotAllowed", "malformed", 405],
  ["keyInUse", "malformed", 409],
  ["tooLarge", "malformed", 413],
  ["unsupportedMediaType", "malformed", 415],
  ["accountInactive", "unauthorized", 401],
  ["policyDenied", "unauthorized", 403],
  ["unauthorized", "unauthorized", 403],
  ["orderNotReady", "orderNotReady", 403],
  ["alreadyReplaced", "alreadyReplaced", 409],
  ["lintRefused", "badCSR", 400],
  ["lifetimeOutOfRange", "badCSR", 400],
  ["rateLimited", "rateLimited", 429],
  ["overloaded", "rateLimited", 503],
  ["hsmUnavailable", "serverInternal", 503],
  ["databaseUnavailable", "serverInternal", 503],
  ["busy", "serverInternal", 503],
  ["validatorUnavailable", "serverInternal", 503],
  ["internal", "serverInternal", 500],
])("%s is told as %s %i, a registered type (AJ-40)", ([code, type, status]) => {
  const document = problemDocument({ code, detail: "why" }, urls);
  expect(document.status).toBe(status);
  expect(JSON.parse(document.body)).toEqual({ type: `urn:ietf:params:acme:error:${type}`, detail: "why", status });
  expect(registered).toContain(type);
});

test.for<ProblemCode>(["hsmUnavailable", "databaseUnavailable", "busy", "validatorUnavailable", "overloaded", "rateLimited"])(
  "%s passes by itself: Retry-After in whole seconds, at most a minute (AM-3, AN-4)",
  (code) => {
    const after = problemDocument({ code, detail: "" }, urls).headers["retry-after"] ?? "";
    expect(after).toMatch(/^\d+$/);
    expect(Number(after)).toBeGreaterThan(0);
    expect(Number(after)).toBeLessThanOrEqual(60);
  },
);

describe("members of a Fault", () => {
  test("subproblems get types of their own and keep their identifiers (RFC 8555 §6.7.1)", () => {
    const identifier = { type: "dns", value: "a_b.example.org" };
    const members = { subproblems: [{ code: "rejectedIdentifier", detail: "no", identifier }] };
    expect(JSON.parse(problemDocument({ code: "compound", detail: "", members }, urls).body)).toMatchObject({
      subproblems: [{ type: "urn:ietf:params:acme:error:rejectedIdentifier", detail: "no", identifier }],
    });
  });

  test("an account or an order becomes its URL in Location, and nothing of the document", () => {
    const keyInUse = problemDocument({ code: "keyInUse", detail: "", members: { account: "A" } }, urls);
    expect(keyInUse.headers["location"]).toBe("https://ca.example.org/acme/default/acct/A");
    const notReady = problemDocument({ code: "orderNotReady", detail: "", members: { order: "B" } }, urls);
    expect(notReady.headers["location"]).toBe("https://ca.example.org/acme/default/order/B");
    for (const { body } of [keyInUse, notReady]) expect(Object.keys(JSON.parse(body) as object)).toEqual(["type", "detail", "status"]);
  });

  test("what clients do not know is not shown", () => {
    expect(problemDocument({ code: "badCSR", detail: "", members: { rules: ["r"], cause: "c" } }, urls).body).not.toMatch(/rules|cause/);
  });
});

test.for([new Error("secret"), new Fault("internal", "secret"), new Fault("refusedToStart", "secret"), "secret"])(
  "of %s nothing is told but where the log tells of it (AJ-40)",
  (error) => {
    const { code, detail } = problemOf(error, "0123");
    expect(code).toBe("internal");
    expect(detail).toContain("0123");
    expect(detail).not.toContain("secret");
  },
);
