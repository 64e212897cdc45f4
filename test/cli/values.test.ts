import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { durationText, parseDuration, parseTime } from "../../src/cli/duration.ts";
import { fileNameOf, requestedName } from "../../src/cli/requested-name.ts";
import { members, printable, table } from "../../src/cli/table.ts";

const now = new Date("2026-11-01T12:00:00.900Z");

describe("durations", () => {
  test.for([
    ["45s", 45],
    ["30m", 1800],
    ["24h", 86_400],
    ["90d", 7_776_000],
  ] as const)("%s is %i seconds", ([text, seconds]) => {
    expect(parseDuration(text)).toBe(seconds);
  });

  test.for(["", "0d", "01d", "1.5h", "-1d", "90", "d", "1w", "1 d", "1D", "1e3s", "9999999999s"])("%j is refused", (text) => {
    expect(() => parseDuration(text)).toThrow(expect.objectContaining({ code: "commander.invalidArgument" }));
  });

  test("what is shown for a number of seconds reads back as that number", () => {
    fc.assert(fc.property(fc.integer({ min: 1, max: 999_999_999 }), (seconds) => parseDuration(durationText(seconds)) === seconds));
  });
});

describe("times", () => {
  test.for([
    ["90d", "2027-01-30T12:00:00Z"],
    ["24h", "2026-11-02T12:00:00Z"],
    ["2027-01-31", "2027-01-31T00:00:00Z"],
    ["2027-01-31T12:00Z", "2027-01-31T12:00:00Z"],
    ["2027-01-31T12:00:00+02:00", "2027-01-31T10:00:00Z"],
  ] as const)("%s, said at noon of 2026-11-01, is %s", ([text, expected]) => {
    expect(parseTime(text, now)).toBe(expected);
  });

  test.for(["", "soon", "2027-02-30T25:00:00Z", "2027-01-31T12:00:00", "01/02/2027", "9999999d"])("%j is refused", (text) => {
    expect(() => parseTime(text, now)).toThrow(expect.objectContaining({ code: "commander.invalidArgument" }));
  });
});

describe("names and their files", () => {
  test.for([
    ["a.example.org", { type: "dns", value: "a.example.org" }],
    ["*.Example.org", { type: "dns", value: "*.example.org" }],
    ["*.bücher.example", { type: "dns", value: "*.xn--bcher-kva.example" }],
    ["192.0.2.7", { type: "ip", value: "192.0.2.7" }],
    ["2001:DB8::0001", { type: "ip", value: "2001:db8::1" }],
    ["spiffe://example.org/shop", { type: "uri", value: "spiffe://example.org/shop" }],
    ["SPIFFE://Example.ORG/Shop", { type: "uri", value: "spiffe://example.org/Shop" }],
    ["urn:uuid:1", { type: "uri", value: "urn:uuid:1" }],
  ] as const)("%s is %j", ([text, name]) => {
    expect(requestedName(text)).toEqual(name);
  });

  test("a file name never leaves its directory, is never hidden, and is never empty for a name", () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.string({ minLength: 1 }), fc.webUrl(), fc.domain(), fc.constantFrom("..", ".", "-rf", "/", "*.a", "a/../b")),
        (name) => /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}$/.test(fileNameOf(name)),
      ),
    );
  });
});

describe("text for a terminal", () => {
  test("columns are as wide as their widest cell", () => {
    expect(
      table(
        ["A", "B"],
        [
          ["long", "x"],
          ["s", ""],
        ],
      ),
    ).toBe("A     B\nlong  x\ns\n");
    expect(members({ serial: "1", names: "a" })).toBe("serial  1\nnames   a\n");
  });

  test("no text of others keeps a control character or one that reverses the line", () => {
    const allowed = /^[^\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]*$/u;
    fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => allowed.test(printable(text))));
    expect(printable("a\u001b[2J\r\n\u0085\u2028\u202e\u2066b")).toBe("a?[2J??????b");
  });
});
