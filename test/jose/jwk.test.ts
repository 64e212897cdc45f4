import { createHash, createPublicKey, generateKeyPairSync, getDiffieHellman } from "node:crypto";
import { readFileSync } from "node:fs";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Fault } from "../../src/fault.ts";
import { parseJwk, refusePrimeModulus, storedKey, type AccountKey } from "../../src/jose/jwk.ts";
import { modulusIsPrime } from "../../src/pki/key-policy.ts";
import type { Json, JsonObject } from "../../src/jose/json.ts";
import { jwsAlgorithms } from "../../src/jose/jws.ts";
import { publicNumbers } from "../../src/pki/algorithm.ts";
import { base64url, signerOf } from "./signed-jws.ts";

function vectors<T>(file: string): T {
  return JSON.parse(readFileSync(new URL(`../vectors/${file}`, import.meta.url), "utf8")) as T; // our own committed file
}

const rsa = signerOf("RS256").jwk;
const p256 = signerOf("ES256").jwk;
const p384 = signerOf("ES384").jwk;
const p521 = signerOf("ES512").jwk;
const ed25519 = signerOf("Ed25519").jwk;

/** Big-endian octets of a number, as many as it needs or as many as given. */
function octets(value: bigint, length = 0): Uint8Array {
  const digits = value.toString(16);
  return Buffer.from(digits.padStart(Math.max(2 * length, digits.length + (digits.length % 2)), "0"), "hex");
}

const x = Buffer.from(p256["x"] ?? "", "base64url");
const prime = 2n ** 256n - 2n ** 224n + 2n ** 192n + 2n ** 96n - 1n;
const fieldOf25519 = 2n ** 255n - 19n;
const edwards = (y: bigint, sign = 0) => {
  const point = octets(y, 32).toReversed();
  point[31] = (point[31] ?? 0) | (sign << 7);
  return { ...ed25519, x: base64url(point) };
};
// RFC 8032 §5.1.7 excludes none of them by itself: y of the points of order 1, 2, 4 and 8 (computed with the group law of §5.1.4).
const y8 = 0x5fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826n;
const privateHalf = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({ format: "jwk" });
const { n = "", ...rsaRest } = rsa;
const modulus = Buffer.from(n, "base64url");
const withModulus = (value: bigint) => ({ ...rsaRest, n: base64url(octets(value)) });

describe("a JWK that is no key of a kind and form that is taken", () => {
  test.for<{ id: string; name: string; jwk: unknown; code?: string; detail: string }>([
    { id: "AJ-17", name: "oct", jwk: { kty: "oct", x: "AA" }, detail: '"kty"' },
    { id: "AJ-17", name: "another kty", jwk: { ...p256, kty: "ec" }, detail: '"kty"' },
    { id: "AJ-17", name: "AKP", jwk: { kty: "AKP", alg: "ML-DSA-44", pub: "AA" }, detail: '"kty"' },
    { id: "AJ-17", name: "P-224", jwk: { ...p256, crv: "P-224" }, detail: "not P-256, P-384 or P-521" },
    { id: "AJ-17", name: "secp256k1", jwk: { ...p256, crv: "secp256k1" }, detail: "not P-256, P-384 or P-521" },
    { id: "AJ-17", name: "Ed448", jwk: { ...ed25519, crv: "Ed448" }, detail: "not Ed25519" },
    { id: "AJ-17", name: "X25519", jwk: { ...ed25519, crv: "X25519" }, detail: "not Ed25519" },
    { id: "AJ-17", name: "an EC key of curve Ed25519", jwk: { ...p256, crv: "Ed25519" }, detail: "not P-256, P-384 or P-521" },
    { id: "AJ-17", name: "alg of another curve", jwk: { ...p256, alg: "ES384" }, detail: '"alg"' },
    { id: "AJ-17", name: "alg that is not taken", jwk: { ...rsa, alg: "PS256" }, detail: '"alg"' },
    { id: "AJ-17", name: "alg that is a list", jwk: { ...rsa, alg: ["RS256"] }, detail: '"alg"' },
    { id: "AJ-17", name: "a key for encryption", jwk: { ...rsa, use: "enc" }, detail: '"use"' },
    { id: "AJ-17", name: "key_ops of encryption alone", jwk: { ...rsa, key_ops: ["encrypt"] }, detail: '"key_ops"' },
    { id: "AJ-17", name: "key_ops that is no list", jwk: { ...rsa, key_ops: "verify" }, detail: '"key_ops"' },
    ...["d", "p", "q", "dp", "dq", "qi", "oth", "k"].map((name) => ({
      id: "AJ-18",
      name: `the private member ${name}`,
      jwk: { ...rsa, [name]: "AQ" },
      detail: `"${name}" of a private`,
    })),
    { id: "AJ-18", name: "a private key", jwk: privateHalf, detail: '"d" of a private' },
    { id: "AJ-18", name: "a private member null", jwk: { ...p256, d: null }, detail: '"d" of a private' },
    { id: "AJ-18", name: "RSA of 2047 bits", jwk: withModulus((1n << 2046n) | 1n), detail: "2047 bits" },
    { id: "AJ-18", name: "RSA of 1024 bits", jwk: withModulus((1n << 1023n) | 1n), detail: "1024 bits; 2048 to 8192 are accepted" },
    { id: "AJ-18", name: "RSA of 8200 bits", jwk: withModulus((1n << 8199n) | 1n), detail: "8200 bits" },
    { id: "AJ-18", name: "RSA of 65,536 bits", jwk: withModulus((1n << 65535n) | 1n), detail: "65536 bits" },
    { id: "AJ-18", name: "RSA of 2049 bits", jwk: withModulus((1n << 2048n) | 1n), detail: "no multiple of 8" },
    ...[1n, 2n, 3n, 17n, 65536n, 65539n, 1n << 300n].map((e) => ({
      id: "AJ-18",
      name: `exponent ${e}`,
      jwk: { ...rsa, e: base64url(octets(e)) },
      detail: "65537 is accepted",
    })),
    { id: "AJ-18", name: "exponent 0", jwk: { ...rsa, e: "AA" }, detail: "exponent is 0" },
    {
      id: "AJ-18",
      name: "an even modulus",
      jwk: { ...rsa, n: base64url(modulus.map((o, i) => (i === 255 ? o & 0xfe : o))) },
      detail: "factor 2",
    },
    {
      id: "AJ-18",
      name: "a point off the curve",
      jwk: { ...p256, x: base64url(x.map((o, i) => (i === 31 ? o ^ 1 : o))) },
      detail: "not a point",
    },
    { id: "AJ-18", name: "x and y exchanged", jwk: { ...p384, x: p384["y"], y: p384["x"] }, detail: "not a point of P-384" },
    {
      id: "AJ-18",
      name: "the point 0, 0",
      jwk: { ...p256, x: base64url(octets(0n, 32)), y: base64url(octets(0n, 32)) },
      detail: "not a point",
    },
    { id: "AJ-18", name: "a point of another curve", jwk: { ...p384, crv: "P-256" }, detail: "48 octets" },
    { id: "AJ-18", name: "x = p", jwk: { ...p256, x: base64url(octets(prime, 32)) }, detail: "not below the prime" },
    {
      id: "AJ-18",
      name: "y of ones",
      jwk: { ...p521, y: base64url(new Uint8Array(66).fill(0xff)) },
      detail: "not below the prime of P-521",
    },
    { id: "AJ-18", name: "a short coordinate", jwk: { ...p256, x: base64url(x.subarray(1)) }, detail: "31 octets" },
    {
      id: "AJ-18",
      name: "a coordinate with a zero in front",
      jwk: { ...p256, x: base64url(Buffer.concat([Uint8Array.of(0), x])) },
      detail: "33 octets",
    },
    { id: "AJ-18", name: "an empty coordinate", jwk: { ...p256, y: "" }, detail: "0 octets" },
    { id: "AJ-18", name: "Ed25519 of 31 octets", jwk: { ...ed25519, x: base64url(new Uint8Array(31)) }, detail: "31 octets" },
    ...[0n, 1n, fieldOf25519 - 1n, y8, fieldOf25519 - y8].flatMap((y) =>
      [0, 1].map((sign) => ({ id: "AJ-18", name: `Ed25519, y = ${y}, sign ${sign}`, jwk: edwards(y, sign), detail: "low order" })),
    ),
    { id: "AJ-18", name: "Ed25519, y = p", jwk: edwards(fieldOf25519), detail: "not below the prime" },
    { id: "AJ-18", name: "Ed25519, y = p + 1, which is 1", jwk: edwards(fieldOf25519 + 1n), detail: "not below the prime" },
    { id: "AJ-18", name: "Ed25519, y = 2, where there is no x", jwk: edwards(2n), detail: "not a point of edwards25519" },
    { id: "S-10", name: "n with a zero in front", jwk: { ...rsa, n: `AA${n}` }, code: "malformed", detail: '"n"' },
    { id: "S-10", name: "e with a zero in front", jwk: { ...rsa, e: "AAEAAQ" }, code: "malformed", detail: '"e"' },
    { id: "S-10", name: "an empty n", jwk: { ...rsa, n: "" }, code: "malformed", detail: '"n"' },
    { id: "AJ-11", name: "x with padding", jwk: { ...p256, x: `${p256["x"]}=` }, code: "malformed", detail: "base64url" },
    { id: "AJ-11", name: "e in the other alphabet", jwk: { ...rsa, e: "A+/B" }, code: "malformed", detail: "base64url" },
    { id: "AJ-11", name: "e with last bits that are not zero", jwk: { ...rsa, e: "AQ1" }, code: "malformed", detail: "base64url" },
    { id: "RFC 7517 §4.1", name: "no kty", jwk: { ...p256, kty: undefined }, code: "malformed", detail: '"kty" of the JWK is missing' },
    {
      id: "RFC 7517 §4.1",
      name: "a kty that is a number",
      jwk: { ...p256, kty: 1 },
      code: "malformed",
      detail: '"kty" of the JWK is not a string',
    },
    { id: "RFC 7518 §6.2.1", name: "no crv", jwk: { ...p256, crv: undefined }, code: "malformed", detail: '"crv" of the JWK is missing' },
    { id: "RFC 7518 §6.2.1", name: "no y", jwk: { ...p256, y: undefined }, code: "malformed", detail: '"y" of the JWK is missing' },
    { id: "RFC 7518 §6.3.1", name: "no n", jwk: rsaRest, code: "malformed", detail: '"n" of the JWK is missing' },
    {
      id: "RFC 7518 §6.3.1",
      name: "an e that is a number",
      jwk: { ...rsa, e: 65537 },
      code: "malformed",
      detail: '"e" of the JWK is not a string',
    },
    { id: "RFC 8037 §2", name: "no x", jwk: { ...ed25519, x: undefined }, code: "malformed", detail: '"x" of the JWK is missing' },
    { id: "RFC 7517 §4", name: "a list", jwk: [p256], code: "malformed", detail: "not a JSON object" },
    { id: "RFC 7517 §4", name: "null", jwk: null, code: "malformed", detail: "not a JSON object" },
    { id: "RFC 7517 §4", name: "a string", jwk: "{}", code: "malformed", detail: "not a JSON object" },
  ])("$name ($id)", ({ jwk, code = "badPublicKey", detail }) => {
    expect(() => parseJwk(jwk as Json)).toThrow(expect.objectContaining({ code, detail: expect.stringContaining(detail) })); // rows are JSON but for members left out
  });
});

type BadKey = { readonly name: string; readonly detail: string; readonly spki: string };
const weak = vectors<BadKey[]>("keys/bad.json").flatMap(({ name, spki }) => {
  try {
    const numbers = publicNumbers(Buffer.from(spki, "hex"));
    // What is no certificate's key for its length alone may be an account's.
    if ("curve" in numbers || numbers.modulus.length > 512) return [];
    return [{ name, jwk: { kty: "RSA", n: base64url(numbers.modulus), e: base64url(numbers.exponent) } }];
  } catch {
    return [];
  }
});

test.for(weak)("refuses what no certificate may hold either: $name (AJ-18)", ({ jwk }) => {
  expect(() => parseJwk(jwk)).toThrow(expect.objectContaining({ code: "badPublicKey" }));
});

test("the weak keys of the vectors are some, ROCA and close primes among them", () => {
  for (const kind of ["ROCA", "exponent", "factor", "Fermat"]) expect(weak.map(({ name }) => name).join("; ")).toContain(kind);
  expect(weak.length).toBeGreaterThanOrEqual(15);
});

type Published = { readonly source: string; readonly jwk: JsonObject };
const published = vectors<{ readonly signatures: Published[]; readonly thumbprints: (Published & { readonly thumbprint: string })[] }>(
  "jose/published.json",
);

test.for([...published.signatures, ...published.thumbprints])(
  "refuses the key whose private half is printed in $source (AJ-18)",
  ({ jwk }) => {
    expect(() => parseJwk(jwk)).toThrow(
      expect.objectContaining({ code: "badPublicKey", detail: expect.stringMatching(/^the private key is published in RFC \d/) }),
    );
  },
);

test.for(published.thumbprints)("the thumbprint is the one in $source", ({ jwk, thumbprint }) => {
  expect(storedKey(jwk).thumbprint).toBe(thumbprint);
  expect(storedKey({ ...jwk, use: "sig", kid: "2011-04-29" }).thumbprint).toBe(thumbprint);
});

const members = { RS256: ["e", "kty", "n"], ES: ["crv", "kty", "x", "y"], Ed: ["crv", "kty", "x"] };

test.for([
  { algorithm: "RS256", members: members.RS256, algorithms: ["RS256"] },
  { algorithm: "ES256", members: members.ES, algorithms: ["ES256"] },
  { algorithm: "ES384", members: members.ES, algorithms: ["ES384"] },
  { algorithm: "ES512", members: members.ES, algorithms: ["ES512"] },
  { algorithm: "EdDSA", members: members.Ed, algorithms: ["EdDSA", "Ed25519"] },
] as const)("a key for $algorithm is read as Node reads it (AJ-14, RFC 7638 §3)", ({ algorithm, members: names, algorithms }) => {
  const { jwk, publicKey } = signerOf(algorithm);
  const key = parseJwk({ kid: "mine", use: "sig", key_ops: ["verify"], ext: true, ...jwk });
  const der = publicKey.export({ format: "der", type: "spki" });
  expect(key.algorithms).toEqual(algorithms);
  expect(Buffer.from(key.spki).equals(der)).toBe(true);
  expect(key.spkiSha256).toBe(createHash("sha256").update(der).digest("hex"));
  expect(key.keyObject.equals(publicKey)).toBe(true);
  expect(Object.keys(key.jwk)).toEqual(names);
  expect(key.jwk).toEqual(jwk);
  const canonical = `{${names.map((name) => `"${name}":"${jwk[name]}"`).join(",")}}`;
  expect(key.thumbprint).toBe(createHash("sha256").update(canonical).digest("base64url"));
});

test.for(jwsAlgorithms)("a key for %s that was kept is the same key when it is read back", (algorithm) => {
  const key = parseJwk(signerOf(algorithm).jwk);
  const back = storedKey(JSON.parse(JSON.stringify(key.jwk)) as JsonObject); // what the line before wrote
  const { keyObject, ...rest } = back;
  expect(keyObject.equals(key.keyObject)).toBe(true);
  expect({ ...key, keyObject: undefined }).toEqual({ ...rest, keyObject: undefined });
});

test.for([{}, { kty: "EC", crv: "P-256", x: "AA", y: "AA" }, { kty: "RSA", n: "", e: "" }])(
  "a stored JWK that is no key is internal: %s",
  (jwk) => {
    expect(() => storedKey(jwk)).toThrow(expect.objectContaining({ code: "internal" }));
  },
);

test.for([
  { name: "1024 bits", bits: 1024, exponent: "010001", taken: true },
  { name: "8192 bits and an exponent of 32", bits: 8192, exponent: "ffffffff", taken: true },
  { name: "8200 bits", bits: 8200, exponent: "010001", taken: false },
  { name: "an exponent of 33 bits", bits: 2048, exponent: "01ffffffff", taken: false },
  { name: "an exponent as long as its 3072 bits", bits: 3072, exponent: "ff".repeat(384), taken: false },
])("a stored RSA key with $name is taken: $taken, so that no verification is long (AR-6)", ({ bits, exponent, taken }) => {
  const jwk = { kty: "RSA", n: Buffer.alloc(bits / 8, 0xff).toString("base64url"), e: Buffer.from(exponent, "hex").toString("base64url") };
  if (taken) expect(storedKey(jwk).jwk).toEqual(jwk);
  else expect(() => storedKey(jwk)).toThrow(expect.objectContaining({ code: "internal" }));
});

// The moduli are those of RFC 3526, which no other rule of form refuses; that they are primes is asked apart.
test.for([
  { bits: 2048, group: "modp14" },
  { bits: 3072, group: "modp15" },
  { bits: 4096, group: "modp16" },
  { bits: 8192, group: "modp18" },
])("a modulus of $bits bits is taken (AJ-18)", ({ bits, group }) => {
  const key = parseJwk({ kty: "RSA", e: "AQAB", n: getDiffieHellman(group).getPrime().toString("base64url") });
  expect(key.keyObject.asymmetricKeyDetails).toMatchObject({ modulusLength: bits, publicExponent: 65537n });
});

test("an RSA modulus that is a prime is seen, up to 8192 bits, and other keys have none (AJ-18)", async () => {
  for (const group of ["modp14", "modp16", "modp18"]) {
    const jwk = { kty: "RSA", e: "AQAB", n: getDiffieHellman(group).getPrime().toString("base64url") };
    await expect(refusePrimeModulus(parseJwk(jwk), modulusIsPrime)).rejects.toMatchObject({
      code: "badPublicKey",
      detail: "the RSA modulus is a prime",
    });
  }
  for (const jwk of [rsa, p256, p521, ed25519]) await expect(refusePrimeModulus(parseJwk(jwk), modulusIsPrime)).resolves.toBeUndefined();
});

test("100 good keys of each curve are taken", () => {
  for (let index = 0; index < 100; index++) {
    for (const curve of ["P-256", "P-384", "P-521"])
      parseJwk(generateKeyPairSync("ec", { namedCurve: curve }).publicKey.export({ format: "jwk" }) as Json); // a public JWK has strings only
    parseJwk(generateKeyPairSync("ed25519").publicKey.export({ format: "jwk" }) as Json); // the same
  }
});

/** The key, or what a Fault says of it. Anything else that is thrown fails the test. */
function attempt(jwk: Json): AccountKey | Fault {
  try {
    return parseJwk(jwk);
  } catch (error) {
    if (error instanceof Fault && ["malformed", "badPublicKey"].includes(error.code)) return error;
    throw error;
  }
}

test("whatever members come, the outcome is a Fault, or the key that Node reads in the same JWK (F-1)", () => {
  const value = fc.oneof(
    fc.constantFrom("RSA", "EC", "OKP", "oct", "P-256", "P-384", "P-521", "Ed25519", "AQAB", "", "AA", 1, null, "ES256", "sig"),
    fc.constantFrom(...[rsa, p256, p384, p521, ed25519].flatMap((jwk) => Object.values(jwk))),
    fc.uint8Array({ minLength: 31, maxLength: 67 }).map(base64url),
    fc.string({ maxLength: 8 }),
  );
  const name = fc.constantFrom("kty", "crv", "x", "y", "n", "e", "d", "alg", "use", "key_ops", "kid");
  const jwks = fc
    .record({ base: fc.constantFrom(rsa, p256, p384, p521, ed25519), changes: fc.dictionary(name, value, { maxKeys: 3 }) })
    .map(({ base, changes }): JsonObject => ({ ...base, ...changes }));
  let taken = 0;
  fc.assert(
    fc.property(jwks, (jwk) => {
      const key = attempt(jwk);
      if (key instanceof Fault) return;
      taken += 1;
      const node = createPublicKey({ key: { ...key.jwk }, format: "jwk" });
      expect(node.equals(key.keyObject)).toBe(true);
      expect(node.export({ format: "jwk" })).toEqual({ ...key.jwk });
      for (const [member, text] of Object.entries(key.jwk)) expect(jwk[member]).toBe(text);
    }),
    { numRuns: 3000 },
  );
  expect(taken).toBeGreaterThan(100);
});
