import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { contains, parseNamespace } from "../../src/access/namespace.ts";
import { Fault } from "../../src/fault.ts";

const eightLevels = "/a/b/c/d/e/f/g/h";
const longest = `/${"a".repeat(127)}`;

test.for(["/", "/team-a", "/team-a/x", "/0/9z", "/a-b--c", eightLevels, longest])("%s is a namespace", (text) => {
  expect(parseNamespace(text)).toBe(text);
});

test.for([
  { name: "the empty text", text: "" },
  { name: "no slash in front", text: "team-a" },
  { name: "a slash at the end", text: "/team-a/" },
  { name: "an empty level", text: "/team-a//x" },
  { name: "two slashes", text: "//" },
  { name: "an upper-case letter", text: "/Team" },
  { name: "an underscore", text: "/team_a" },
  { name: "a dot", text: "/team/.." },
  { name: "a percent sign", text: "/team%2fa" },
  { name: "a hyphen in front", text: "/-a" },
  { name: "a hyphen at the end", text: "/a-" },
  { name: "a letter outside ASCII", text: "/tëam" },
  { name: "a line feed at the end", text: "/team\n" },
  { name: "NUL", text: "/a\0b" },
  { name: "nine levels", text: `${eightLevels}/i` },
  { name: "129 characters", text: `${longest}a` },
])("$name is none", ({ text }) => {
  expect(() => parseNamespace(text)).toThrow(expect.objectContaining({ code: "malformed" }));
});

test("any text is a namespace or a Fault malformed, and a namespace is a path of its levels", () => {
  const level = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,6}[a-z0-9])?$/);
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string({ unit: "binary" }),
        fc.array(level, { maxLength: 10 }).map((levels) => `/${levels.join("/")}`),
      ),
      (text) => {
        try {
          expect(parseNamespace(text)).toBe(text);
          expect(text).toMatch(/^(\/|(\/[a-z0-9](?:[a-z0-9-]*[a-z0-9])?){1,8})$/);
          expect(text.length).toBeLessThanOrEqual(128);
        } catch (error) {
          if (!(error instanceof Fault)) throw error;
          expect(error.code).toBe("malformed");
        }
      },
    ),
  );
});

describe("containment", () => {
  test.for([
    { outer: "/", inner: "/", yes: true },
    { outer: "/", inner: "/a/b", yes: true },
    { outer: "/a", inner: "/a", yes: true },
    { outer: "/a", inner: "/a/b", yes: true },
    { outer: "/a", inner: "/ab", yes: false },
    { outer: "/a", inner: "/", yes: false },
    { outer: "/a/b", inner: "/a", yes: false },
    { outer: "/a", inner: "/b/a", yes: false },
  ])("$outer contains $inner: $yes", ({ outer, inner, yes }) => {
    expect(contains(outer, inner)).toBe(yes);
  });
});
