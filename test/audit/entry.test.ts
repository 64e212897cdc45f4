import { createHash } from "node:crypto";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { auditRow } from "../../src/audit/entry.ts";
import { fixedClock } from "../support/clock.ts";
import { seeded } from "../support/random.ts";

const zeros = { bytes: (length: number) => new Uint8Array(length) };
const text = (bytes: Uint8Array) => new TextDecoder("utf-8", { fatal: true }).decode(bytes);

test("a record is canonical JSON: names sorted, no white space, absent members left out (AUD-3)", () => {
  const row = auditRow(
    {
      principal: "token:7d9f0c1e-0000-4000-8000-000000000000",
      outcome: "success",
      operation: "certificate.issue",
      namespace: "/team-a",
      object: { serial: "4f0c", "a\u2028b": 'quote " and ü', attempt: 2, repeated: false },
    },
    { clock: fixedClock("2026-01-01T00:00:00.123Z"), random: zeros, node: "node-1" },
  );
  // 0x019b76daa87b = 1767225600123, the milliseconds of that time; version 7, variant 10 (RFC 9562 §5.7).
  expect(row.id).toBe("019b76da-a87b-7000-8000-000000000000");
  expect(text(row.bytes)).toBe(
    '{"id":"019b76da-a87b-7000-8000-000000000000","namespace":"/team-a","node":"node-1",' +
      '"object":{"attempt":2,"a\u2028b":"quote \\" and ü","repeated":false,"serial":"4f0c"},"operation":"certificate.issue",' +
      '"outcome":"success","principal":"token:7d9f0c1e-0000-4000-8000-000000000000","time":"2026-01-01T00:00:00.123Z"}',
  );
});

test("its leaf hash is SHA-256 over 0x00 and the bytes (RFC 6962 §2.1)", () => {
  const { bytes, leafHash } = auditRow(
    { operation: "token.revoke", namespace: "/", principal: "system", outcome: "denied" },
    { clock: fixedClock("2026-01-01T00:00:00Z"), random: seeded(1), node: "n" },
  );
  expect(Buffer.from(leafHash).toString("hex")).toBe(
    createHash("sha256")
      .update(Buffer.concat([Buffer.of(0x00), bytes]))
      .digest("hex"),
  );
});

test("ids follow the clock, and differ within a millisecond (RFC 9562 §5.7)", () => {
  const clock = fixedClock("2026-01-01T00:00:00Z");
  const random = seeded(2);
  const ids = Array.from({ length: 1000 }, (_, n) => {
    if (n % 10 === 0) clock.advance(0.001);
    return auditRow({ operation: "token.create", namespace: "/", principal: "system", outcome: "success" }, { clock, random, node: "n" })
      .id;
  });
  expect(new Set(ids).size).toBe(1000);
  const times = ids.map((id) => id.slice(0, 13));
  expect(times).toEqual(times.toSorted());
  for (const id of ids) expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
});

test("a record of 65,535 bytes is made, one of a byte more is not (AUD-3)", () => {
  const world = { clock: fixedClock("2026-01-01T00:00:00Z"), random: zeros, node: "n" };
  const make = (padding: number) =>
    auditRow(
      { operation: "token.create", namespace: "/", principal: "system", outcome: "success", object: { padding: "x".repeat(padding) } },
      world,
    );
  const room = 65_535 - make(0).bytes.length;
  expect(make(room).bytes).toHaveLength(65_535);
  expect(() => make(room + 1)).toThrow("65536 bytes");
});

test("whatever an object holds, the bytes are UTF-8 that parses to it, and the same whatever the order of its members", () => {
  const world = { clock: fixedClock("2026-01-01T00:00:00Z"), random: zeros, node: "n" };
  const make = (object: Record<string, string | number | boolean>) =>
    auditRow({ operation: "token.create", namespace: "/", principal: "system", outcome: "success", object }, world).bytes;
  const value = fc.oneof(fc.string({ unit: "grapheme" }), fc.boolean(), fc.integer());
  fc.assert(
    fc.property(fc.dictionary(fc.string({ unit: "grapheme" }), value, { noNullPrototype: true }), (object) => {
      const bytes = make(object);
      expect(JSON.parse(text(bytes)).object).toEqual(object);
      expect(make(Object.fromEntries(Object.entries(object).toReversed()))).toEqual(bytes);
    }),
  );
});

test("text that is no Unicode is replaced, a number that is none is refused", () => {
  const world = { clock: fixedClock("2026-01-01T00:00:00Z"), random: zeros, node: "n" };
  const entry = { operation: "token.create", namespace: "/", principal: "system", outcome: "success" } as const;
  expect(text(auditRow({ ...entry, object: { name: "a\ud800b" } }, world).bytes)).toContain('"name":"a\ufffdb"');
  expect(() => auditRow({ ...entry, object: { count: Number.NaN } }, world)).toThrow("number");
});
