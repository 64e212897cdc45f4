import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { parseJws } from "../../src/jose/jws.ts";
import { macAlgorithms, requireMacAlgorithm, verifyMac } from "../../src/jose/mac.ts";
import { base64url, utf8, type FlattenedJws } from "./signed-jws.ts";

type Published = FlattenedJws & { readonly source: string; readonly k: string };
const published = (
  JSON.parse(readFileSync(new URL("../vectors/jose/published.json", import.meta.url), "utf8")) as { readonly macs: Published[] }
) // our own committed file
.macs;

test.for(published)("the MAC printed in $source verifies", ({ k, ...jws }) => {
  expect(verifyMac(parseJws(utf8(jws)), Buffer.from(k, "base64url"))).toBe(true);
});

const hashes = { HS256: "sha256", HS384: "sha384", HS512: "sha512" } as const;

function authenticated(alg: keyof typeof hashes, key: Uint8Array, header: object = {}): FlattenedJws {
  const parts = {
    protected: base64url(JSON.stringify({ alg, kid: "k1", url: "https://ca.example/acme/new-account", ...header })),
    payload: "e30",
  };
  const mac = createHmac(hashes[alg], key).update(`${parts.protected}.${parts.payload}`).digest();
  return { ...parts, signature: base64url(mac) };
}

const key = Uint8Array.from({ length: 64 }, (_, index) => index);

test.for(macAlgorithms)("%s verifies with its key, and with nothing changed (AA-21, AA-22)", (alg) => {
  const jws = authenticated(alg, key);
  const mac = Buffer.from(jws.signature, "base64url");
  const other = key.map((octet, index) => (index === 63 ? octet ^ 1 : octet));
  const judged = (changes: Partial<FlattenedJws>, macKey = key) => verifyMac(parseJws(utf8({ ...jws, ...changes })), macKey);
  expect(judged({})).toBe(true);
  expect(judged({}, other)).toBe(false);
  expect(judged({ payload: "W10" })).toBe(false);
  expect(judged({ protected: authenticated(alg, key, { kid: "k2" }).protected })).toBe(false);
  for (const at of [0, mac.length - 1])
    expect(judged({ signature: base64url(mac.map((octet, index) => (index === at ? octet ^ 0x80 : octet))) })).toBe(false);
  expect(judged({ signature: base64url(mac.subarray(0, 16)) })).toBe(false);
  expect(judged({ signature: base64url(Buffer.concat([mac, Uint8Array.of(0)])) })).toBe(false);
});

test.for([
  { alg: "HS256", octets: 32 },
  { alg: "HS384", octets: 48 },
  { alg: "HS512", octets: 64 },
] as const)("$alg takes a key of $octets octets and none that is shorter (RFC 7518 §3.2)", ({ alg, octets }) => {
  for (const [length, verdict] of [
    [octets, true],
    [octets - 1, false],
    [0, false],
  ] as const) {
    const short = key.subarray(0, length);
    expect(verifyMac(parseJws(utf8(authenticated(alg, short))), short)).toBe(verdict);
  }
});

test.for(["none", "RS256", "ES256", "hs256", "HS1", "", "constructor"])('"%s" is no MAC and malformed (AA-21)', (alg) => {
  const malformed = expect.objectContaining({ code: "malformed" });
  expect(() => requireMacAlgorithm(alg)).toThrow(malformed);
  expect(() => verifyMac(parseJws(utf8(authenticated("HS256", key, { alg }))), key)).toThrow(malformed);
});
