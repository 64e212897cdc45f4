import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Fault } from "../../src/fault.ts";
import { parseJwk } from "../../src/jose/jwk.ts";
import { parseJws, verifyJws, type Jws } from "../../src/jose/jws.ts";
import { base64url, signedJws, signerOf, utf8 } from "./signed-jws.ts";

type Gate = (bytes: Uint8Array) => Jws;
type Verifier = (jws: Jws) => Promise<void>;

const signer = signerOf("ES256");
const key = parseJwk(signer.jwk);
const good = signedJws(signer);
const otherPayload = base64url("[]");

/** What a gate makes of octets: a JWS, or undefined for a Fault of the codes that it may throw. Anything else that is thrown fails the test. */
function judged(gate: Gate, bytes: Uint8Array): Jws | undefined {
  try {
    return gate(bytes);
  } catch (error) {
    if (error instanceof Fault && error.code === "malformed") return undefined;
    throw error;
  }
}

// A JSON object as the list of its members, so that a name may stand in it twice and the test knows it.
type Members = readonly (readonly [name: string, json: string])[];
const object = (members: Members) => `{${members.map(([name, json]) => `${JSON.stringify(name)}:${json}`).join(",")}}`;
const names = (members: Members) => members.map(([name]) => name);
const unique = (members: Members) => new Set(names(members)).size === members.length;

const goodHeader: Members = [
  ["alg", '"ES256"'],
  ["kid", '"https://ca.example/acct/1"'],
  ["nonce", '"bm9uY2U"'],
  ["url", '"https://ca.example/acme"'],
  ["jwk", JSON.stringify(signer.jwk)],
  ["typ", '"x"'],
];
const badHeader: Members = [
  ["alg", '"none"'],
  ["alg", "1"],
  ["kid", "1"],
  ["crit", '["exp"]'],
  ["b64", "false"],
];
const [alg, ...optional] = goodHeader;
const headers = fc.oneof(
  { weight: 4, arbitrary: fc.shuffledSubarray(optional).map((members) => (alg === undefined ? members : [...members, alg])) },
  { weight: 1, arbitrary: fc.shuffledSubarray(optional, { minLength: 1 }) },
  { weight: 2, arbitrary: fc.shuffledSubarray([...goodHeader, ...badHeader], { minLength: 1 }) },
);

function isGoodHeader(members: Members): boolean {
  return unique(members) && members.some(([name]) => name === "alg") && !members.some(([, json]) => refusedValues.has(json));
}
// An unknown alg is refused later, by its name.
const refusedValues = new Set(badHeader.map(([, json]) => json).filter((json) => json !== '"none"'));

// Whether a text is what an encoder writes, told from RFC 4648 §5 by its characters alone.
function canonical(text: string): boolean {
  return /^(?:[A-Za-z0-9_-]{4})*(?:[A-Za-z0-9_-][AQgw]|[A-Za-z0-9_-]{2}[AEIMQUYcgkosw048])?$/.test(text);
}

type Edit = (text: string) => string;
const unedited: Edit = (text) => text;
const inserted = fc.record({ at: fc.nat({ max: 999 }), insert: fc.constantFrom("=", "==", "+", "/", " ", "\n", "A", "B") }).map(
  ({ at, insert }): Edit =>
    (text) =>
      text.slice(0, at % (text.length + 1)) + insert + text.slice(at % (text.length + 1)),
);
const atTheEnd = fc.constantFrom<Edit[]>(
  (text) => `${text}=`,
  (text) => `${text}==`,
  (text) => text.slice(0, -1),
  (text) => `${text.slice(0, -1)}B`,
);
const edits = fc.oneof(
  { weight: 12, arbitrary: fc.constant(unedited) },
  { weight: 1, arbitrary: inserted },
  { weight: 1, arbitrary: atTheEnd },
);

type Candidate = { readonly bytes: Uint8Array; readonly accepted: boolean };

const goodOuter: Members = Object.entries(good);
const memberNames = names(goodOuter);
const additions: fc.Arbitrary<string[]> = fc.shuffledSubarray([...memberNames, "header", "signatures", "resource", "resource"], {
  maxLength: 2,
});

/** A JWS made of parts that are good or not, and whether RFC 8555 §6.2 with AJ-8 to AJ-11 takes it: reckoned from the parts, not read from the text. */
const candidates: fc.Arbitrary<Candidate> = fc
  .record({
    header: headers,
    edited: fc.tuple(edits, edits, edits),
    more: fc.oneof(fc.constant<string[]>([]), additions),
    less: fc.oneof({ weight: 5, arbitrary: fc.constant("") }, { weight: 1, arbitrary: fc.constantFrom(...memberNames) }),
    turn: fc.nat(4),
  })
  .map(({ header, edited, more, less, turn }): Parts => {
    const texts = [base64url(object(header)), good.payload, good.signature];
    const whole = memberNames.map((name, index) => [name, (edited[index] ?? unedited)(texts[index] ?? "")] as const);
    const outer = [...whole.filter(([name]) => name !== less), ...more.map((name) => [name, "e30"] as const)];
    const at = turn % outer.length;
    return { header, outer: [...outer.slice(at), ...outer.slice(0, at)] };
  })
  .filter((parts) => isDecided(parts))
  .map((parts) => ({
    bytes: utf8(object(parts.outer.map(([name, text]) => [name, outerJson(name, text)]))),
    accepted: isGood(parts),
  }));

type Parts = { readonly header: Members; readonly outer: Members };

// `header` and `signatures` have the types that RFC 7515 §7.2 gives them: their presence is what is refused.
function outerJson(name: string, text: string): string {
  return name === "signatures" ? "[]" : name === "header" ? "{}" : JSON.stringify(text);
}

function isGood({ header, outer }: Parts): boolean {
  const texts = new Map(outer);
  return (
    unique(outer) &&
    !texts.has("header") &&
    !texts.has("signatures") &&
    memberNames.every((name) => canonical(texts.get(name) ?? "=")) &&
    texts.get("protected") === base64url(object(header)) &&
    isGoodHeader(header)
  );
}

// An edit may leave canonical base64url of other octets; whether those are a header still, only JSON can say.
function isDecided({ header, outer }: Parts): boolean {
  return outer.every(([name, text]) => name !== "protected" || text === "e30" || text === base64url(object(header)) || !canonical(text));
}

/** The gate takes exactly the good candidates, and what it took is what they hold. */
function formProperty(gate: Gate): fc.IProperty<[Candidate]> {
  return fc.property(candidates, ({ bytes, accepted }) => {
    const jws = judged(gate, bytes);
    expect(jws !== undefined).toBe(accepted);
    if (jws === undefined) return;
    const outer = JSON.parse(new TextDecoder().decode(bytes)) as Record<string, string>; // accepted, so an object of strings
    expect(base64url(jws.payload)).toBe(outer["payload"]);
    expect(base64url(jws.signature)).toBe(outer["signature"]);
    expect(new TextDecoder().decode(jws.signingInput)).toBe(`${outer["protected"]}.${outer["payload"]}`);
    expect(jws.protected.alg).toMatch(/^(?:ES256|none)$/);
  });
}

const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
const raw = Buffer.from(good.signature, "base64url");
const scalar = (value: bigint) => Buffer.from(value.toString(16).padStart(64, "0"), "hex");
const [r, s] = [raw.subarray(0, 32), raw.subarray(32)];

/** DER ECDSA-Sig-Value of r and s, by hand: two INTEGERs with a zero in front where the first bit is set. */
function der(): Uint8Array {
  const integers = [r, s].map((half) => {
    const minimal = half.subarray(half.findIndex((octet) => octet !== 0));
    const content = (minimal[0] ?? 0) >= 0x80 ? Buffer.concat([Uint8Array.of(0), minimal]) : minimal;
    return Buffer.concat([Uint8Array.of(2, content.length), content]);
  });
  const content = Buffer.concat(integers);
  return Buffer.concat([Uint8Array.of(0x30, content.length), content]);
}

const signatures = fc.oneof(
  { weight: 1, arbitrary: fc.constant(raw) },
  { weight: 1, arbitrary: fc.constant(der()) },
  { weight: 1, arbitrary: fc.constantFrom(scalar(0n), scalar(order), scalar(order - 1n)).map((half) => Buffer.concat([r, half])) },
  { weight: 1, arbitrary: fc.constantFrom(scalar(0n), scalar(order), scalar(1n)).map((half) => Buffer.concat([half, s])) },
  { weight: 1, arbitrary: fc.nat(64).map((length) => raw.subarray(0, length)) },
  { weight: 1, arbitrary: fc.nat({ max: 511 }).map((bit) => raw.map((octet, at) => (at === bit >> 3 ? octet ^ (1 << (bit & 7)) : octet))) },
  { weight: 1, arbitrary: fc.uint8Array({ minLength: 1, maxLength: 140 }) },
);

/** The verifier takes the one signature in its one form, over what was signed, and no other. */
function signatureProperty(verifier: Verifier): fc.IAsyncProperty<[Uint8Array, string]> {
  return fc.asyncProperty(
    signatures.filter((signature) => signature.length > 0),
    fc.constantFrom(good.payload, good.payload, good.payload, otherPayload),
    async (signature, payload) => {
      const jws = parseJws(utf8({ ...good, payload, signature: base64url(signature) }));
      const found = await verifier(jws).then(
        () => true,
        (error: unknown) => {
          if (error instanceof Fault && error.code === "malformed") return false;
          throw error;
        },
      );
      expect(found).toBe(payload === good.payload && Buffer.compare(signature, raw) === 0);
    },
  );
}

describe("the gate of JWS (AJ-8 to AJ-11, AJ-25)", () => {
  test("takes exactly what RFC 8555 §6.2 allows, and reads what it says", () => {
    fc.assert(formProperty(parseJws), { numRuns: 8000 });
    // Neither all good nor all bad: both verdicts are asked for often.
    const share = fc.sample(candidates, 1000).filter(({ accepted }) => accepted).length;
    expect(share).toBeGreaterThan(100);
    expect(share).toBeLessThan(900);
  });

  test("takes no signature but the one in its one form", async () => {
    await fc.assert(
      signatureProperty((jws) => verifyJws(jws, key)),
      { numRuns: 2000 },
    );
  });

  test("throws nothing but malformed, whatever octets come", () => {
    const fragments = fc.constantFrom(
      "{",
      "}",
      "[",
      "]",
      ",",
      ":",
      '"',
      "\\",
      '"protected"',
      '"payload"',
      '"signature"',
      '"e30"',
      '""',
      "null",
      "1",
    );
    const parameters = fc.constantFrom("alg", "jwk", "kid", "nonce", "url");
    const withHeader = (header: object) => utf8({ ...good, protected: base64url(JSON.stringify(header)) });
    const whole = JSON.stringify(good);
    const damaged = fc
      .record({ at: fc.nat(whole.length), length: fc.nat(6), by: fc.string({ maxLength: 3, unit: "binary" }) })
      .map(({ at, length, by }) => whole.slice(0, at) + by + whole.slice(at + length));
    const bytes = fc.oneof(
      { weight: 4, arbitrary: fc.array(fragments, { maxLength: 24 }).map((parts) => utf8(parts.join(""))) },
      { weight: 4, arbitrary: damaged.map(utf8) },
      { weight: 4, arbitrary: fc.uint8Array({ maxLength: 64 }) },
      { weight: 1, arbitrary: fc.json({ maxDepth: 1 }).map((json) => utf8({ ...good, protected: base64url(json) })) },
      { weight: 1, arbitrary: fc.dictionary(parameters, fc.jsonValue({ maxDepth: 1 })).map(withHeader) },
    );
    fc.assert(
      fc.property(bytes, (given) => {
        judged(parseJws, given);
      }),
      { numRuns: 6000 },
    );
  });
});

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const lenient = (pattern: RegExp, by: string) => (bytes: Uint8Array) => parseJws(utf8(text(bytes).replaceAll(pattern, by)));
const derTaken: Verifier = (jws) => verifyJws(Buffer.compare(jws.signature, der()) === 0 ? { ...jws, signature: raw } : jws, key);
const lengthIgnored: Verifier = (jws) =>
  verifyJws({ ...jws, signature: Buffer.concat([jws.signature, raw.subarray(jws.signature.length)]) }, key);
const payloadIgnored: Verifier = (jws) => verifyJws({ ...jws, signingInput: Buffer.from(`${good.protected}.${good.payload}`) }, key);

const withoutCrit = (header: string) => base64url(Buffer.from(header, "base64url").toString().replace('"crit"', '"critical"'));

describe("a fault planted in the gate is found by the same properties", () => {
  test.for<{ name: string; gate: Gate }>([
    { name: "padding is allowed", gate: lenient(/=+(?=")/g, "") },
    { name: "blanks are allowed", gate: lenient(/(?<=[\w-]) | (?=[\w-])/g, "") },
    { name: "the other alphabet is allowed", gate: lenient(/\+/g, "-") },
    { name: "the last of two members wins", gate: (bytes) => parseJws(utf8(JSON.stringify(JSON.parse(text(bytes))))) },
    { name: "an unprotected header is ignored", gate: lenient(/"header":\{\}/g, '"unprotected":{}') },
    {
      name: "last bits are ignored",
      gate: (bytes) =>
        parseJws(utf8(text(bytes).replaceAll(/(?<=:")[\w-]+(?=")/g, (value) => Buffer.from(value, "base64url").toString("base64url")))),
    },
    {
      name: "crit is ignored",
      gate: (bytes) => parseJws(utf8(text(bytes).replaceAll(/(?<="protected":")[\w-]+(?=")/g, withoutCrit))),
    },
  ])("$name", ({ gate }) => {
    // Found by what the property expects, not by an error that the planted gate throws.
    expect(String(fc.check(formProperty(gate), { numRuns: 9000 }).errorInstance)).toContain("AssertionError");
  });

  test.for<{ name: string; verifier: Verifier }>([
    { name: "DER is taken for r ‖ s", verifier: derTaken },
    { name: "a short signature is filled up", verifier: lengthIgnored },
    { name: "the payload is not signed", verifier: payloadIgnored },
    { name: "nothing is verified", verifier: async () => undefined },
  ])("$name", async ({ verifier }) => {
    expect(String((await fc.check(signatureProperty(verifier), { numRuns: 2000 })).errorInstance)).toContain("AssertionError");
  });
});
