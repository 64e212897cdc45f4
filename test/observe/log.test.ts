import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Fault } from "../../src/fault.ts";
import { type LogLevel, openLog } from "../../src/observe/log.ts";
import { clockOf } from "../support/clock.ts";

/** The lines that one write gives, as they would reach standard error. */
function written(fields: Readonly<Record<string, unknown>>, level: LogLevel = "info", atLeast: LogLevel = "debug"): string[] {
  const lines: string[] = [];
  const clock = clockOf(() => new Date("2026-11-01T12:00:00.123Z"));
  openLog({ level: atLeast, clock, sink: (line) => lines.push(line) }).write(level, "request.failed", fields);
  return lines;
}

function parsed(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return JSON.parse(written(fields).join(""));
}

/** Printable ASCII, and letters of other scripts: nothing that a terminal or a log shipper acts on. */
const harmless = /^[^\p{C}\p{Zl}\p{Zp}]*\n$/u;

describe("the log is one line of JSON an event (S-43)", () => {
  test.for([
    { name: "CR and LF", text: 'a\r\n{"level":"error","event":"forged"}' },
    { name: "an ANSI escape", text: "\u001b[31mred\u001b[0m" },
    { name: "CSI as one character (C1)", text: "\u009b2Jgone" },
    { name: "DEL and NUL", text: "a\u007f\u0000b" },
    { name: "line and paragraph separator", text: "a\u2028b\u2029c" },
    { name: "right-to-left override and isolates", text: "a\u202eb\u2066c\u2069" },
    { name: "zero-width characters and a byte order mark", text: "a\u200bb\ufeffc" },
    { name: "quotation marks and backslashes", text: '","level":"fatal\\' },
  ])("$name: escaped in a value, in a name and in an error, and read back as it was", ({ text }) => {
    const [line = "", ...more] = written({ subject: text, [text]: 1, nested: { list: [text] }, error: new Error(text) });
    expect(more).toEqual([]);
    expect(line).toMatch(harmless);
    expect(JSON.parse(line)).toMatchObject({ subject: text, [text]: 1, nested: { list: [text] }, error: { message: text } });
  });

  test("any text in any field stays one line that a JSON parser reads back", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 200 }), fc.string({ unit: "binary", maxLength: 20 }), (text, name) => {
        const [line = "", ...more] = written({ [`x${name}`]: text });
        expect(more).toEqual([]);
        expect(line.indexOf("\n")).toBe(line.length - 1);
        expect(JSON.parse(line).event).toBe("request.failed");
      }),
      { numRuns: 2000 },
    );
  });

  test("a field cannot stand in for time, level or event", () => {
    expect(parsed({ time: "never", level: "fatal", event: "forged" })).toMatchObject({
      time: "2026-11-01T12:00:00.123Z",
      level: "info",
      event: "request.failed",
      event_: "forged",
    });
  });

  test.for<{ level: LogLevel; lines: number }>([
    { level: "debug", lines: 0 },
    { level: "info", lines: 0 },
    { level: "warn", lines: 1 },
    { level: "error", lines: 1 },
  ])("at level warn, $level gives $lines lines", ({ level, lines }) => {
    expect(written({}, level, "warn")).toHaveLength(lines);
  });

  test.for([
    { name: "a cycle", value: cyclic() },
    {
      name: "a getter that throws",
      value: Object.defineProperty({}, "x", { enumerable: true, get: () => JSON.parse("{") }),
      refused: true,
    },
    { name: "a BigInt", value: 2n ** 70n },
    { name: "an invalid date", value: new Date(Number.NaN) },
    { name: "a function", value: () => 1 },
    { name: "bytes", value: new Uint8Array(1_000_000) },
    { name: "a text of a megabyte", value: "x".repeat(1_000_000) },
    { name: "a list of 100,000", value: Array.from({ length: 100_000 }, (_, i) => i) },
  ])("$name makes no long line and no second one", ({ value, refused }) => {
    if (refused) return expect(() => written({ value })).toThrow();
    const lines = written({ value });
    expect(lines).toHaveLength(1);
    expect(lines[0]?.length).toBeLessThan(10_000);
  });
});

describe("secrets are never in the log (S-40, S-44, AUD-18)", () => {
  const canary = "Zz9canary";
  test.for([
    { name: "an Authorization header by name", fields: { authorization: canary } },
    { name: "headers, deep inside", fields: { request: { headers: { Authorization: `Basic ${canary}`, cookie: canary } } } },
    { name: "a PIN, whatever kind", fields: { pin: canary, userPin: canary, so_pin: canary } },
    { name: "a password and a secret", fields: { password: canary, clientSecret: canary, privateKey: canary } },
    {
      name: "a certificate request",
      fields: { csr: canary, body: `-----BEGIN CERTIFICATE REQUEST-----\n${canary}\n-----END CERTIFICATE REQUEST-----` },
    },
    { name: "a private key in a text", fields: { text: `-----BEGIN EC PRIVATE KEY-----\n${canary}\n-----END EC PRIVATE KEY-----` } },
    { name: "a private key that was cut", fields: { text: `-----BEGIN PRIVATE KEY-----\n${canary}` } },
    { name: "one of our tokens in a path", fields: { path: `/v1/tokens/chancery_${canary}0123456789abcdef_AAAAAA` } },
    { name: "a bearer credential in a message", fields: { error: new Error(`no principal for Bearer ${canary}`) } },
    {
      name: "a password in a URL of a cause",
      fields: { error: new Fault("databaseUnavailable", "away", { cause: new Error(`postgres://u:${canary}@h/d`) }) },
    },
    {
      name: "parameters that a driver hangs onto an error",
      fields: { error: Object.assign(new Error("x"), { parameters: [canary], query: canary }) },
    },
  ])("$name is struck out", ({ fields }) => {
    const line = written(fields).join("");
    expect(line).not.toContain(canary);
    expect(JSON.parse(line).event).toBe("request.failed");
  });

  test("what was bound to a failed statement is cut from its error, from the stack and from the cause", () => {
    const failed = new Error(`Failed query: insert into api_token values ($1)\nparams: ${canary}\n${canary}`);
    const line = written({ error: failed, wrapped: new Error("x", { cause: failed }) }).join("");
    expect(line).not.toContain(canary);
    expect(JSON.parse(line).error.message).toBe("Failed query: insert into api_token values ($1)\n[parameters cut]");
  });

  test("the label of a token is no secret: it says which HSM failed", () => {
    expect(parsed({ token: "chancery-issuing" })).toMatchObject({ token: "chancery-issuing" });
  });

  test("an error keeps its name, code, message and causes", () => {
    const cause = Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" });
    expect(parsed({ error: new Fault("databaseUnavailable", "the database is away", { cause }) })).toMatchObject({
      error: { name: "Fault", code: "databaseUnavailable", cause: { code: "ECONNREFUSED", message: "connect ECONNREFUSED" } },
    });
  });
});

function cyclic(): unknown {
  const value: Record<string, unknown> = {};
  value["self"] = value;
  return value;
}
