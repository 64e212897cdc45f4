import * as fc from "fast-check";
import { expect, test } from "vitest";
import { parseHttpDate } from "../../src/http/http-date.ts";

const lastModified = Date.parse("2026-11-24T00:00:00Z");

test.for([
  ["Sun, 06 Nov 1994 08:49:37 GMT", "1994-11-06T08:49:37Z"],
  ["Sunday, 06-Nov-94 08:49:37 GMT", "1994-11-06T08:49:37Z"],
  ["Sun Nov  6 08:49:37 1994", "1994-11-06T08:49:37Z"],
  ["Wed Nov 16 08:49:37 1994", "1994-11-16T08:49:37Z"],
  ["Thu, 29 Feb 2024 23:59:59 GMT", "2024-02-29T23:59:59Z"],
  ["Saturday, 21-Nov-76 00:00:00 GMT", "2076-11-21T00:00:00Z"],
  ["Monday, 21-Nov-77 00:00:00 GMT", "1977-11-21T00:00:00Z"],
  ["Saturday, 01-Jan-00 00:00:00 GMT", "2000-01-01T00:00:00Z"],
] as const)("%s is %s (RFC 9110 §5.6.7)", ([text, time]) => {
  expect(parseHttpDate(text, lastModified)).toBe(Date.parse(time));
});

test.for([
  "",
  "yesterday",
  "2026-11-24T00:00:00Z",
  "2026",
  "0",
  "Sun, 06 Nov 1994 08:49:37 UTC",
  "Sun, 06 Nov 1994 08:49:37 +0000",
  "Sun, 6 Nov 1994 08:49:37 GMT",
  "Sun, 06 nov 1994 08:49:37 GMT",
  "sun, 06 Nov 1994 08:49:37 GMT",
  "Mon, 06 Nov 1994 08:49:37 GMT",
  "Sun, 06 Nov 94 08:49:37 GMT",
  "Fri, 31 Feb 2023 00:00:00 GMT",
  "Sun, 06 Nov 1994 24:00:00 GMT",
  "Sun, 06 Nov 1994 08:60:37 GMT",
  " Sun, 06 Nov 1994 08:49:37 GMT",
  "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
  "Sun, 06-Nov-94 08:49:37 GMT",
  "Sunday, 06-Nov-1994 08:49:37 GMT",
  "Sun Nov 6 08:49:37 1994",
  "Sun Nov  6 08:49:37 1994 GMT",
])("%j is no HTTP-date", (text) => {
  expect(parseHttpDate(text, lastModified)).toBeUndefined();
});

test("every time is read back from the form that is written, and no other text gives one that is not written so (F-1)", () => {
  const second = fc.integer({ min: 0, max: 253_402_300_799 }).map((seconds) => seconds * 1000);
  fc.assert(
    fc.property(second, fc.nat(28), fc.constantFrom(..." 0123456789,:-GMTSun"), (time, at, character) => {
      const text = new Date(time).toUTCString();
      expect(parseHttpDate(text, lastModified)).toBe(time);
      const changed = text.slice(0, at) + character + text.slice(at + 1);
      const read = parseHttpDate(changed, lastModified);
      if (read !== undefined) expect(new Date(read).toUTCString()).toBe(changed);
    }),
    { numRuns: 2000 },
  );
});
