import * as fc from "fast-check";
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { Fault } from "../../src/fault.ts";
import { parseOcspRequest } from "../../src/pki/ocsp.ts";

const vectors = new URL("../vectors/ocsp/", import.meta.url);

function read<T>(name: string): readonly (T & { readonly name: string; readonly der: string })[] {
  return JSON.parse(readFileSync(new URL(name, vectors), "utf8")); // our own committed file
}

type Entry = {
  readonly hashAlgorithm: string;
  readonly issuerNameHash: string;
  readonly issuerKeyHash: string;
  readonly serial: string;
};
const requests = read<{ readonly entries: readonly Entry[]; readonly nonce: string | null }>("requests.json");
const unusual = read<{ readonly serials?: readonly (string | null)[]; readonly nonce?: string; readonly hashAlgorithm?: string | null }>(
  "unusual.json",
);
const malformed = read<{ readonly detail: string }>("malformed.json");

const bytes = (base64: string): Uint8Array => new Uint8Array(Buffer.from(base64, "base64"));
const hex = (octets: Uint8Array | undefined): string | undefined => octets && Buffer.from(octets).toString("hex");

describe("a request is read as OpenSSL reads it (RFC 6960 §4.1.1, XO-2, XO-3)", () => {
  test.for(requests)("$name", ({ der, entries, nonce }) => {
    const request = parseOcspRequest(bytes(der));
    expect(
      request.entries.map((entry) => ({
        hashAlgorithm: entry.hashAlgorithm,
        issuerNameHash: hex(entry.issuerNameHash),
        issuerKeyHash: hex(entry.issuerKeyHash),
        serial: entry.serial,
      })),
    ).toEqual(entries);
    expect(hex(request.nonce)).toBe(nonce ?? undefined);
  });

  test("of a CertID the octets are kept as the client wrote them", () => {
    for (const { der } of requests) {
      for (const entry of parseOcspRequest(bytes(der)).entries)
        expect(Buffer.from(der, "base64").includes(Buffer.from(entry.der))).toBe(true);
    }
  });
});

describe("what is unusual and allowed is taken", () => {
  test.for(unusual)("$name", ({ der, serials = ["5a080f161d242b323940474e555c6304"], nonce, hashAlgorithm = "sha1" }) => {
    const { entries, nonce: found } = parseOcspRequest(bytes(der));
    expect(entries.map(({ serial }) => serial)).toEqual(serials.map((serial) => serial ?? undefined));
    expect(hex(found)).toBe(nonce);
    expect(entries[0]?.hashAlgorithm).toBe(hashAlgorithm ?? undefined);
  });
});

describe("what is malformed is refused, with a sentence that names it (XO-2, XO-14)", () => {
  test.for(malformed)("$name", ({ der, detail }) => {
    expect(() => parseOcspRequest(bytes(der))).toThrow(
      expect.objectContaining({ code: "malformed", detail: expect.stringContaining(detail) }),
    );
  });
});

test("any bytes are read or refused with Fault malformed, and nothing else is thrown (F-1)", () => {
  const base = fc.constantFrom(...[...requests, ...unusual, ...malformed].map(({ der }) => bytes(der)));
  const changed = fc
    .tuple(base, fc.array(fc.tuple(fc.nat(2047), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 4 }), fc.nat(40))
    .map(([from, changes, cut]) => {
      const copy = Uint8Array.from(from);
      for (const [at, octet] of changes) if (copy.length > 0) copy[at % copy.length] = octet;
      return cut === 0 ? copy.subarray(0, copy.length >> 1) : copy;
    });
  fc.assert(
    fc.property(fc.oneof(changed, fc.uint8Array({ maxLength: 300 })), (der) => {
      try {
        const { entries, nonce } = parseOcspRequest(der);
        expect(entries.length).toBeGreaterThanOrEqual(1);
        expect(entries.length).toBeLessThanOrEqual(10);
        if (nonce) expect(nonce.length).toBeGreaterThan(2);
      } catch (error) {
        if (!(error instanceof Fault) || error.code !== "malformed") throw error;
      }
    }),
    { numRuns: 20_000 },
  );
}, 60_000);
