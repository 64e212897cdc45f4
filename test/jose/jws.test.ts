import { sign } from "node:crypto";
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { storedKey, parseJwk } from "../../src/jose/jwk.ts";
import type { JsonObject } from "../../src/jose/json.ts";
import { jwsAlgorithms, jwsFromJson, parseJws, requireAlgorithm, verifyJws, type JwsAlgorithm } from "../../src/jose/jws.ts";
import { base64url, signedJws, signerOf, utf8, type FlattenedJws } from "./signed-jws.ts";

const es256 = signerOf("ES256");
const good = signedJws(es256);

function withHeader(header: string | object): FlattenedJws {
  return { ...good, protected: base64url(typeof header === "string" ? header : JSON.stringify({ alg: "ES256", ...header })) };
}

const deep = (levels: number) => "[".repeat(levels) + "]".repeat(levels);
const many = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, index) => [`m${index}`, index]));
const text = (jws: object) => JSON.stringify(jws);
const twice = (member: string) => text(good).replace("{", `{${member},`);

describe("the form of a JWS (RFC 8555 §6.2, RFC 7515 §7.2.2)", () => {
  test.for([
    { id: "AJ-9", name: "no body", body: "", detail: "ends early" },
    { id: "AJ-9", name: "no JSON", body: "protected=", detail: "no JSON value" },
    { id: "AJ-9", name: "an array", body: text([good]), detail: "not a JSON object" },
    { id: "AJ-9", name: "a string", body: '"e30"', detail: "not a JSON object" },
    { id: "AJ-9", name: "null", body: "null", detail: "not a JSON object" },
    { id: "AJ-9", name: "two values", body: text(good) + text(good), detail: "bytes after" },
    { id: "AJ-9", name: "an unprotected header", body: text({ ...good, header: { kid: "x" } }), detail: '"header"' },
    { id: "AJ-9", name: "an empty unprotected header", body: text({ ...good, header: {} }), detail: '"header"' },
    { id: "AJ-9", name: "an unprotected header null", body: text({ ...good, header: null }), detail: '"header"' },
    {
      id: "AJ-9",
      name: "the general serialization",
      body: text({ payload: good.payload, signatures: [{ protected: good.protected, signature: good.signature }] }),
      detail: '"signatures"',
    },
    { id: "AJ-9", name: "both serializations", body: text({ ...good, signatures: [] }), detail: '"signatures"' },
    {
      id: "AJ-9",
      name: "the compact form",
      body: `${good.protected}.${good.payload}.${good.signature}`,
      detail: "no JSON value",
    },
    {
      id: "AJ-9",
      name: "the compact form as a string",
      body: text({}).replace("{}", `"${good.protected}.${good.payload}.${good.signature}"`),
      detail: "not a JSON object",
    },
    { id: "AJ-9", name: "no protected header", body: text({ ...good, protected: undefined }), detail: '"protected" of the JWS is missing' },
    { id: "AJ-9", name: "no payload", body: text({ ...good, payload: undefined }), detail: '"payload" of the JWS is missing' },
    { id: "AJ-9", name: "no signature", body: text({ ...good, signature: undefined }), detail: '"signature" of the JWS is missing' },
    { id: "AJ-9", name: "a payload null", body: text({ ...good, payload: null }), detail: '"payload" of the JWS is not a string' },
    { id: "AJ-9", name: "a payload as it is", body: text({ ...good, payload: {} }), detail: '"payload" of the JWS is not a string' },
    { id: "AJ-9", name: "an empty signature", body: text({ ...good, signature: "" }), detail: "signature is empty" },
    {
      id: "AJ-9",
      name: "an empty protected header",
      body: text({ ...good, protected: "" }),
      detail: "protected header: the JSON text ends early",
    },
    { id: "AJ-9", name: "a protected header that is no JSON", body: text(withHeader("alg")), detail: "protected header: no JSON value" },
    {
      id: "AJ-9",
      name: "a protected header that is an array",
      body: text(withHeader("[]")),
      detail: "protected header is not a JSON object",
    },
    { id: "AJ-9", name: "no alg", body: text(withHeader("{}")), detail: 'lacks the member "alg"' },
    { id: "AJ-9", name: "an alg that is a list", body: text(withHeader({ alg: ["ES256"] })), detail: '"alg" of the protected header' },
    { id: "AJ-9", name: "a kid that is a number", body: text(withHeader({ kid: 1 })), detail: '"kid" of the protected header' },
    { id: "AJ-9", name: "a kid null", body: text(withHeader({ kid: null })), detail: '"kid" of the protected header' },
    { id: "AJ-9", name: "a jwk that is a string", body: text(withHeader({ jwk: "{}" })), detail: '"jwk" of the protected header' },
    { id: "AJ-9", name: "a jwk that is a list", body: text(withHeader({ jwk: [es256.jwk] })), detail: '"jwk" of the protected header' },
    { id: "AJ-9", name: "a nonce that is a number", body: text(withHeader({ nonce: 1 })), detail: '"nonce" of the protected header' },
    { id: "AJ-9", name: "a url that is an object", body: text(withHeader({ url: {} })), detail: '"url" of the protected header' },
    { id: "AJ-10", name: "crit", body: text(withHeader({ crit: ["b64"], b64: false })), detail: '"crit"' },
    { id: "AJ-10", name: "an empty crit", body: text(withHeader({ crit: [] })), detail: '"crit"' },
    { id: "AJ-10", name: "crit with a name that we know", body: text(withHeader({ crit: ["nonce"] })), detail: '"crit"' },
    { id: "AJ-10", name: "b64 false", body: text(withHeader({ b64: false })), detail: '"b64"' },
    { id: "AJ-10", name: "b64 true", body: text(withHeader({ b64: true })), detail: '"b64"' },
    { id: "AJ-8", name: "9 levels", body: twice(`"x":${deep(8)}`), detail: "8 levels" },
    { id: "AJ-8", name: "9 levels in the protected header", body: text(withHeader(`{"alg":"ES256","x":${deep(8)}}`)), detail: "8 levels" },
    { id: "AJ-8", name: "65 members", body: text({ ...good, ...many(62) }), detail: "64 members" },
    { id: "AJ-8", name: "65 members in the protected header", body: text(withHeader(many(64))), detail: "64 members" },
    { id: "AJ-8", name: "payload twice", body: twice('"payload":"e30"'), detail: "a member name occurs twice" },
    { id: "AJ-8", name: "protected twice, once escaped", body: twice('"\\u0070rotected":"e30"'), detail: "a member name occurs twice" },
    { id: "AJ-8", name: "an unknown member twice", body: twice('"x":1,"x":1'), detail: "a member name occurs twice" },
    { id: "AJ-8", name: "alg twice", body: text(withHeader('{"alg":"none","alg":"ES256"}')), detail: "a member name occurs twice" },
    {
      id: "AJ-8",
      name: "kty twice in the jwk",
      body: text(withHeader('{"alg":"ES256","jwk":{"kty":"EC","kty":"RSA"}}')),
      detail: "a member name occurs twice",
    },
  ])("$name is malformed ($id)", ({ body, detail }) => {
    expect(() => parseJws(utf8(body))).toThrow(expect.objectContaining({ code: "malformed", detail: expect.stringContaining(detail) }));
  });

  const spoiled = [
    { name: "padding", spoil: (value: string) => `${value}=` },
    { name: "two characters of padding", spoil: (value: string) => `${value}==` },
    { name: "+", spoil: (value: string) => `+${value.slice(1)}` },
    { name: "/", spoil: (value: string) => `/${value.slice(1)}` },
    { name: "a blank in front", spoil: (value: string) => ` ${value}` },
    { name: "a line break", spoil: (value: string) => `${value.slice(0, 4)}\r\n${value.slice(4)}` },
    { name: "a character too many", spoil: (value: string) => `${value.slice(0, value.length - (value.length % 4))}A` },
    { name: "last bits that are not zero", spoil: (value: string) => `${value.slice(0, value.length - (value.length % 4))}AB` },
  ].flatMap((row) => (["protected", "payload", "signature"] as const).map((member) => ({ ...row, member })));
  test.for(spoiled)("$member with $name is malformed (AJ-11)", ({ member, spoil }) => {
    const body = utf8({ ...good, [member]: spoil(good[member]) });
    expect(() => parseJws(body)).toThrow(expect.objectContaining({ code: "malformed", detail: expect.stringContaining("base64url") }));
  });

  test("a good one is read: header, payload, signature, and the octets that are signed", () => {
    const header = { alg: "ES256", jwk: es256.jwk, nonce: "bm9uY2U", url: "https://ca.example/acme" };
    const jws = parseJws(utf8(good));
    expect(jws.protected).toEqual(header);
    expect(new TextDecoder().decode(jws.payload)).toBe("{}");
    expect(base64url(jws.signature)).toBe(good.signature);
    expect(new TextDecoder().decode(jws.signingInput)).toBe(`${good.protected}.${good.payload}`);
    expect(jwsFromJson({ ...good })).toEqual(jws);
  });

  test.for([
    { name: "members that we do not know (AJ-32, RFC 7515 §7.2.1)", body: text({ ...good, resource: "new-reg", x: [1] }) },
    {
      name: "white space around them",
      body: `\r\n{ "payload" : "${good.payload}",\t"protected":"${good.protected}","signature":"${good.signature}" } `,
    },
    { name: "64 members", body: text({ ...good, ...many(61) }) },
    { name: "8 levels", body: twice(`"x":${deep(7)}`) },
  ])("takes $name", ({ body }) => {
    expect(parseJws(utf8(body))).toEqual(parseJws(utf8(good)));
  });

  test.for([
    { name: "header parameters that we do not know", header: { typ: "JWT", x5u: "https://example/", resource: "new-order" }, read: {} },
    { name: "a kid", header: { kid: "https://ca.example/acct/1" }, read: { kid: "https://ca.example/acct/1" } },
    { name: "an empty kid, which names no account", header: { kid: "" }, read: { kid: "" } },
    { name: "a nonce that is no base64url, for others to judge", header: { nonce: "+/=" }, read: { nonce: "+/=" } },
    { name: "64 members", header: many(63), read: {} },
  ])("reads a protected header with $name", ({ header, read }) => {
    expect(parseJws(utf8(withHeader(header))).protected).toEqual({ alg: "ES256", ...read });
  });

  test("takes an empty payload: POST-as-GET (RFC 8555 §6.3)", async () => {
    const jws = parseJws(utf8(signedJws(es256, {}, "")));
    expect(jws.payload).toHaveLength(0);
    await verifyJws(jws, parseJwk(es256.jwk));
  });
});

describe("algorithms (RFC 8555 §6.2)", () => {
  test.for(jwsAlgorithms)("%s is taken, and its signature verifies (AJ-14)", async (algorithm) => {
    const signer = signerOf(algorithm);
    const jws = parseJws(utf8(signedJws(signer, {}, '{"payload":true}')));
    expect(requireAlgorithm(algorithm)).toBe(algorithm);
    await verifyJws(jws, parseJwk(signer.jwk));
  });

  test.for([
    "none",
    "HS256",
    "HS384",
    "HS512",
    "PS256",
    "PS384",
    "PS512",
    "RS384",
    "RS512",
    "ES256K",
    "Ed448",
    "es256",
    "ES256 ",
    "",
    "toString",
  ])('"%s" is badSignatureAlgorithm, with those that are taken (AJ-13)', async (alg) => {
    const fault = expect.objectContaining({
      code: "badSignatureAlgorithm",
      members: { algorithms: ["RS256", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"] },
    });
    expect(() => requireAlgorithm(alg)).toThrow(fault);
    await expect(verifyJws(parseJws(utf8(signedJws(es256, { alg }))), parseJwk(es256.jwk))).rejects.toThrow(fault);
  });

  const others: readonly { readonly alg: JwsAlgorithm; readonly key: JwsAlgorithm }[] = [
    { alg: "ES384", key: "ES256" },
    { alg: "ES256", key: "ES384" },
    { alg: "ES512", key: "ES256" },
    { alg: "RS256", key: "ES256" },
    { alg: "ES256", key: "RS256" },
    { alg: "EdDSA", key: "ES256" },
    { alg: "ES256", key: "EdDSA" },
  ];
  test.for(others)("$alg with a key for $key is badPublicKey by jwk, badSignatureAlgorithm by kid (AJ-15)", async ({ alg, key }) => {
    const signer = signerOf(key);
    const byJwk = parseJws(utf8(signedJws(signer, { alg })));
    const byKid = parseJws(utf8(signedJws(signer, { alg, jwk: undefined, kid: "https://ca.example/acct/1" })));
    await expect(verifyJws(byJwk, parseJwk(signer.jwk))).rejects.toMatchObject({ code: "badPublicKey" });
    await expect(verifyJws(byKid, parseJwk(signer.jwk))).rejects.toMatchObject({ code: "badSignatureAlgorithm" });
    await expect(verifyJws(byKid, parseJwk(signer.jwk), { mismatch: "badPublicKey" })).rejects.toMatchObject({ code: "badPublicKey" });
  });

  test.for([
    { name: "the other name of Ed25519", key: "EdDSA", jwkAlg: "Ed25519", alg: "EdDSA" },
    { name: "an algorithm of this curve alone", key: "ES256", jwkAlg: "ES256", alg: "ES384" },
  ] as const)("a JWK whose alg is not the header's is badPublicKey: $name (AJ-17)", async ({ key, jwkAlg, alg }) => {
    const signer = signerOf(key);
    const jws = parseJws(utf8(signedJws(signer, { alg, jwk: { ...signer.jwk, alg: jwkAlg } })));
    const { jwk = {} } = jws.protected;
    await expect(verifyJws(jws, parseJwk(jwk))).rejects.toMatchObject({ code: "badPublicKey" });
  });

  test("a JWK whose alg is the header's is taken (AJ-17)", async () => {
    const jws = parseJws(utf8(signedJws(es256, { jwk: { ...es256.jwk, alg: "ES256", use: "sig", key_ops: ["verify"] } })));
    await verifyJws(jws, parseJwk(jws.protected.jwk ?? {}));
  });
});

const orders = {
  ES256: 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n,
  ES384: 0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973n,
  ES512:
    0x1fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409n,
} as const;
const halfOctets = { ES256: 32, ES384: 48, ES512: 66 } as const;

function half(algorithm: keyof typeof orders, value: bigint): Uint8Array {
  return Buffer.from(value.toString(16).padStart(2 * halfOctets[algorithm], "0"), "hex");
}

async function outcome(jws: FlattenedJws, jwk: JsonObject): Promise<string> {
  return verifyJws(parseJws(utf8(jws)), parseJwk(jwk)).then(
    () => "verified",
    (error: { code: string; detail: string }) => `${error.code}: ${error.detail}`,
  );
}

describe("a signature that is not the key's own in its one form is malformed (AJ-25)", () => {
  const refused = /^malformed: the signature does not verify/;

  const curves = (["ES256", "ES384", "ES512"] as const).map((algorithm) => ({ algorithm, signer: signerOf(algorithm) }));
  const forms = curves.flatMap(({ algorithm, signer }) => {
    const jws = signedJws(signer);
    const raw = Buffer.from(jws.signature, "base64url");
    const octets = halfOctets[algorithm];
    const [r, s] = [raw.subarray(0, octets), raw.subarray(octets)];
    const n = orders[algorithm];
    const hash = { ES256: "sha256", ES384: "sha384", ES512: "sha512" }[algorithm];
    return [
      { name: "in DER", signature: sign(hash, Buffer.from(`${jws.protected}.${jws.payload}`), signer.privateKey) },
      { name: "one octet short", signature: raw.subarray(0, -1) },
      { name: "one octet long", signature: Buffer.concat([raw, Uint8Array.of(0)]) },
      { name: "with zeros in front of r and s", signature: Buffer.concat([Uint8Array.of(0), r, Uint8Array.of(0), s]) },
      { name: "r alone", signature: r },
      { name: "r = 0", signature: Buffer.concat([half(algorithm, 0n), s]) },
      { name: "s = 0", signature: Buffer.concat([r, half(algorithm, 0n)]) },
      { name: "r = s = 0 (CVE-2022-21449)", signature: new Uint8Array(2 * octets) },
      { name: "r = n", signature: Buffer.concat([half(algorithm, n), s]) },
      { name: "s = n", signature: Buffer.concat([r, half(algorithm, n)]) },
      { name: "r and s of ones", signature: new Uint8Array(2 * octets).fill(0xff) },
      { name: "s and r", signature: Buffer.concat([s, r]) },
      { name: "s = n − 1", signature: Buffer.concat([r, half(algorithm, n - 1n)]) },
      { name: "a bit of r", signature: Buffer.concat([r.map((octet, index) => (index === octets - 1 ? octet ^ 1 : octet)), s]) },
    ].map(({ name, signature }) => ({ algorithm, name, jws: { ...jws, signature: base64url(signature) }, jwk: signer.jwk }));
  });
  test.for(forms)("$algorithm: $name", async ({ jws, jwk }) => {
    expect(await outcome(jws, jwk)).toMatch(refused);
  });

  test.for(jwsAlgorithms)("%s: another key, another payload, another header, a bit changed, an octet more or less", async (algorithm) => {
    const signer = signerOf(algorithm);
    const jws = signedJws(signer);
    const raw = Buffer.from(jws.signature, "base64url");
    const flipped = [0, raw.length >> 1, raw.length - 1].map((at) => raw.map((octet, index) => (index === at ? octet ^ 1 : octet)));
    const longer = [Buffer.concat([Uint8Array.of(0), raw]), Buffer.concat([raw, Uint8Array.of(0)])];
    const wrong: FlattenedJws[] = [
      { ...jws, payload: base64url("[]") },
      { ...jws, payload: "" },
      { ...jws, protected: signedJws(signer, { nonce: "b3RoZXI" }).protected },
      ...[...flipped, ...longer, raw.subarray(1), raw.subarray(0, -1)].map((octets) => ({ ...jws, signature: base64url(octets) })),
    ];
    expect(await outcome(jws, signer.jwk)).toBe("verified");
    for (const changed of wrong) expect(await outcome(changed, signer.jwk)).toMatch(refused);
    expect(await outcome(jws, signerOf(algorithm).jwk)).toMatch(refused);
  });

  test("Ed25519 with S + L, which only a careless verifier takes (RFC 8032 §5.1.7)", async () => {
    const signer = signerOf("Ed25519");
    const jws = signedJws(signer);
    const raw = Buffer.from(jws.signature, "base64url");
    const s =
      BigInt(`0x${Buffer.from(raw.subarray(32).toReversed()).toString("hex")}`) + 2n ** 252n + 27742317777372353535851937790883648493n;
    const changed = Buffer.concat([raw.subarray(0, 32), Buffer.from(s.toString(16).padStart(64, "0"), "hex").toReversed()]);
    expect(await outcome({ ...jws, signature: base64url(changed) }, signer.jwk)).toMatch(refused);
  });

  test("the payload decides nothing before the signature is known: 200 at once are judged each on its own", async () => {
    const jws = signedJws(es256);
    const wrong = { ...jws, payload: base64url("[]") };
    const outcomes = await Promise.all(Array.from({ length: 200 }, (_, index) => outcome(index % 2 === 0 ? jws : wrong, es256.jwk)));
    outcomes.forEach((found, index) => expect(found).toMatch(index % 2 === 0 ? /^verified$/ : refused));
  });
});

type Published = FlattenedJws & { readonly source: string; readonly jwk: JsonObject; readonly spki: string };
const published = (
  JSON.parse(readFileSync(new URL("../vectors/jose/published.json", import.meta.url), "utf8")) as { readonly signatures: Published[] }
) // our own committed file
.signatures;

test.for(published)("the JWS printed in $source verifies, and not with a bit changed", async ({ jwk, spki, ...jws }) => {
  const key = storedKey(jwk);
  expect(Buffer.from(key.spki).toString("hex")).toBe(spki);
  await verifyJws(parseJws(utf8(jws)), key);
  const changed = Buffer.from(jws.signature, "base64url").map((octet, index) => (index === 9 ? octet ^ 0x10 : octet));
  await expect(verifyJws(parseJws(utf8({ ...jws, signature: base64url(changed) })), key)).rejects.toMatchObject({ code: "malformed" });
});
