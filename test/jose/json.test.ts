import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Fault } from "../../src/fault.ts";
import { isJsonObject, readJson } from "../../src/jose/json.ts";

const utf8 = (text: string) => new TextEncoder().encode(text);

/** What readJson makes of a text: its value, or the detail of its Fault. Anything else that is thrown fails the test. */
function judged(bytes: Uint8Array): { readonly value: unknown } | { readonly detail: string } {
  try {
    return { value: readJson(bytes) };
  } catch (error) {
    if (error instanceof Fault && error.code === "malformed") return { detail: error.detail };
    throw error;
  }
}

describe("JSON of a body (RFC 8259, RFC 7493; IN-2)", () => {
  test.for([
    { name: "nothing", text: "", detail: "ends early" },
    { name: "two values", text: "{} {}", detail: "bytes after" },
    { name: "a byte order mark", text: "\ufeff{}", detail: "no JSON value" },
    { name: "a trailing comma", text: "[1,]", detail: "no JSON value" },
    { name: "a comment", text: "{/**/}", detail: "no member name" },
    { name: "single quotes", text: "{'a':1}", detail: "no member name" },
    { name: "a leading zero", text: "01", detail: "bytes after" },
    { name: "a number beyond a double", text: "1e999", detail: "out of range" },
    { name: "NaN", text: "NaN", detail: "no JSON value" },
    { name: "a raw line feed in a string", text: '"a\nb"', detail: "control character" },
    { name: "an unknown escape", text: '"\\x41"', detail: "unknown escape" },
    { name: "a lone surrogate", text: '"\\ud800"', detail: "lone surrogate" },
    { name: "the same member twice", text: '{"a":1,"a":2}', detail: "occurs twice in one JSON object (JSON offset 7)" },
    { name: "the same member twice, once escaped", text: '{"a":1,"\\u0061":2}', detail: "occurs twice in one JSON object (JSON offset 7)" },
    {
      name: "__proto__ twice, once escaped",
      text: '{"__proto__":1,"\\u005f_proto__":1}',
      detail: "occurs twice in one JSON object (JSON offset 15)",
    },
    { name: "9 levels", text: "[".repeat(9) + "]".repeat(9), detail: "8 levels" },
    { name: "65 members", text: members(65), detail: "64 members" },
    { name: "129 items", text: JSON.stringify(Array.from({ length: 129 }, (_, index) => index)), detail: "128 items" },
    { name: "an object without end", text: '{"a":1', detail: "does not end" },
  ])("refuses $name", ({ text, detail }) => {
    expect(judged(utf8(text))).toEqual({ detail: expect.stringContaining(detail) });
  });

  test.for([
    { name: "8 levels", text: "[".repeat(8) + "]".repeat(8) },
    { name: "64 members", text: members(64) },
    { name: "128 items", text: JSON.stringify(Array.from({ length: 128 }, (_, index) => index)) },
    { name: "the same name in two objects", text: '[{"a":1},{"a":1}]' },
    { name: "white space everywhere", text: ' \t\r\n{ "a" : [ 1 , null ] } \n' },
    { name: "names that only look dangerous", text: '{"toString":1,"hasOwnProperty":2}' },
  ])("takes $name as JSON.parse does", ({ text }) => {
    expect(judged(utf8(text))).toEqual({ value: JSON.parse(text) });
  });

  test("shows nothing of a name that stands twice, and where it stands (AJ-40)", () => {
    expect(judged(utf8('{"<b>":1,"<b>":2}'))).toEqual({ detail: "a member name occurs twice in one JSON object (JSON offset 9)" });
  });

  test("refuses bytes that are not UTF-8", () => {
    expect(judged(Uint8Array.of(0x22, 0xc3, 0x28, 0x22))).toEqual({ detail: expect.stringContaining("UTF-8") });
  });

  test("gives objects without a prototype, so that a member name reaches nothing but data", () => {
    expect(Object.getPrototypeOf(readJson(utf8('{"a":{}}')))).toBeNull();
  });

  test.for(["__proto__", "constructor", "prototype", "toString"])("takes a member %s for data like any other (TR-8)", (name) => {
    const value = readJson(utf8(`{"${name}":{"admin":true}}`));
    if (!isJsonObject(value)) throw new Error("no object");
    expect([Object.keys(value), Object.getPrototypeOf(value)]).toEqual([[name], null]);
    expect(value["admin"]).toBeUndefined();
    expect(JSON.stringify(value)).toBe(`{"${name}":{"admin":true}}`);
  });

  test("takes every JSON value within its limits, and reads it as JSON.parse does", () => {
    const value = fc.letrec((tie) => ({
      leaf: fc.oneof(fc.string({ unit: "grapheme" }), fc.double({ noNaN: true, noDefaultInfinity: true }), fc.boolean(), fc.constant(null)),
      value: fc.oneof({ maxDepth: 6 }, tie("leaf"), fc.array(tie("value"), { maxLength: 8 }), object(tie("value"))),
    })).value;
    fc.assert(
      fc.property(value, fc.constantFrom(undefined, 2, "\t"), (given, space) => {
        const text = JSON.stringify(given, undefined, space);
        expect(judged(utf8(text))).toEqual({ value: JSON.parse(text) });
      }),
      { numRuns: 1000 },
    );
  });

  test("takes nothing that JSON.parse refuses, and throws nothing but malformed, whatever bytes come", () => {
    const fragment = fc.constantFrom(
      "{",
      "}",
      "[",
      "]",
      ",",
      ":",
      '"',
      "\\",
      '"a"',
      "1",
      "-",
      "0",
      ".",
      "e+",
      "true",
      "null",
      " ",
      "\\u00",
      "\u2028",
      "\ud83d",
    );
    const text = fc.oneof(
      fc.array(fragment, { maxLength: 24 }).map((parts) => parts.join("")),
      fc.json().chain(damaged),
    );
    fc.assert(
      fc.property(text, (given) => {
        const outcome = judged(utf8(given));
        if ("value" in outcome) expect(outcome.value).toEqual(JSON.parse(new TextDecoder().decode(utf8(given))));
      }),
      { numRuns: 3000 },
    );
  });
});

function members(count: number): string {
  return JSON.stringify(Object.fromEntries(Array.from({ length: count }, (_, i) => [`m${i}`, i])));
}

function object(value: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> {
  // By these toEqual itself tells types apart: they have a test of their own.
  const name = fc.string().filter((text) => !["__proto__", "constructor", "prototype"].includes(text));
  return fc.dictionary(name, value, { maxKeys: 8 });
}

/** A text with one character removed, doubled or replaced. */
function damaged(text: string): fc.Arbitrary<string> {
  return fc
    .record({ at: fc.nat({ max: Math.max(0, text.length - 1) }), by: fc.string({ maxLength: 2 }), keep: fc.boolean() })
    .map(({ at, by, keep }) => text.slice(0, at) + by + text.slice(keep ? at : at + 1));
}
