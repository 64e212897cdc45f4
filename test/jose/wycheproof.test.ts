import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Fault } from "../../src/fault.ts";
import { decodeBase64url } from "../../src/jose/base64url.ts";
import { parseJwk, storedKey } from "../../src/jose/jwk.ts";
import { isJsonObject, type Json, type JsonObject } from "../../src/jose/json.ts";
import { parseJws, verifyJws, type JwsAlgorithm } from "../../src/jose/jws.ts";
import { verifyMac } from "../../src/jose/mac.ts";
import { base64url, utf8 } from "./signed-jws.ts";

const directory = process.env["WYCHEPROOF_DIR"];
type Case = { readonly tcId: number; readonly result: "valid" | "invalid" | "acceptable" };
type Groups<Group, Test> = { readonly testGroups: readonly (Group & { readonly tests: readonly (Case & Test)[] })[] };

function groups<Group, Test>(file: string): Groups<Group, Test>["testGroups"] {
  return (JSON.parse(readFileSync(join(directory ?? "", file), "utf8")) as Groups<Group, Test>).testGroups; // the format of Wycheproof's schemas
}

/** Whether a JWS verifies; a Fault's code and detail say why not. Anything else that is thrown fails the test. */
async function judged(verify: () => Promise<boolean> | boolean): Promise<string> {
  try {
    return (await verify()) ? "valid" : "invalid";
  } catch (error) {
    if (error instanceof Fault) return error.code;
    throw error;
  }
}

/** Flattened when it has three parts, as it stands when it has not: that must be refused. */
function flattened(jws: unknown): Uint8Array {
  const [header, payload, signature, ...more] = typeof jws === "string" ? jws.split(".") : [];
  return signature === undefined || more.length > 0 ? utf8(jws) : utf8({ protected: header, payload, signature });
}

async function verified(bytes: Uint8Array, jwk: JsonObject): Promise<boolean> {
  const jws = parseJws(bytes);
  if (jwk["kty"] === "oct") return verifyMac(jws, decodeBase64url(String(jwk["k"]), "the key"));
  await verifyJws(jws, parseJwk(jwk));
  return true;
}

// What the vectors call valid and we refuse, by rule: algorithms that RFC 8555 §6.2 or we do not take, and a JWK that says "ES521".
const refusedByRule = (jwk: JsonObject) => /^(?:PS|RS384|RS512|ES521)/.test(String(jwk["alg"]));

test("Wycheproof's JWS and JWK are judged as they say (S-10)", async ({ annotate }) => {
  if (directory === undefined) {
    await annotate("WYCHEPROOF_DIR is not set: only the published vectors of test/vectors/jose ran");
    return;
  }
  const counts = { valid: 0, invalid: 0, byRule: 0 };
  const mismatches: string[] = [];
  for (const file of ["json_web_signature_test.json", "json_web_key_test.json"]) {
    for (const group of groups<{ readonly public?: Json; readonly private: Json }, { readonly jws: unknown }>(file)) {
      const given = group.public ?? group.private;
      const keys = isJsonObject(given) && Array.isArray(given["keys"]) ? (given["keys"] as readonly JsonObject[]) : [given as JsonObject]; // a JWK, or a set of them
      // A set is a question of choosing a key, which ACME does not have.
      const [jwk] = keys;
      if (jwk === undefined || keys.length > 1) continue;
      // An AES key is no MAC key by its label alone; a MAC key of ours has none.
      if (jwk["kty"] === "oct" && !String(jwk["alg"]).startsWith("HS")) continue;
      for (const { tcId, jws, result } of group.tests) {
        const found = await judged(() => verified(flattened(jws), jwk));
        if (result === "valid" && refusedByRule(jwk) && found.startsWith("bad")) counts.byRule += 1;
        else if ((found === "valid") !== (result === "valid")) mismatches.push(`${file} ${tcId}: ${result}, found ${found}`);
        else counts[found === "valid" ? "valid" : "invalid"] += 1;
      }
    }
  }
  await annotate(JSON.stringify(counts));
  // 367 and 370 are 357 octet for octet, which the file calls valid; 372 and 373 have a "?" in what RFC 7515 §2 gives no such character.
  const contradictory = [367, 370]
    .map((id) => `${id}: invalid, found valid`)
    .concat([372, 373].map((id) => `${id}: valid, found malformed`));
  expect(mismatches).toEqual(contradictory.map((line) => `json_web_signature_test.json ${line}`));
  expect(counts.valid).toBeGreaterThan(20);
  expect(counts.invalid).toBeGreaterThan(250);
});

type SignatureGroup = { readonly publicKeyJwk?: JsonObject };
type SignatureTest = { readonly msg: string; readonly sig: string };

const signatures: readonly { readonly file: string; readonly alg: JwsAlgorithm }[] = [
  { file: "ecdsa_secp256r1_sha256_p1363_test.json", alg: "ES256" },
  { file: "ecdsa_secp384r1_sha384_p1363_test.json", alg: "ES384" },
  { file: "ecdsa_secp521r1_sha512_p1363_test.json", alg: "ES512" },
  { file: "ed25519_test.json", alg: "Ed25519" },
];

test.for(signatures)(
  "Wycheproof's signatures of $alg are judged as they say, over whatever octets (S-10, AJ-25)",
  async ({ file, alg }, { annotate }) => {
    if (directory === undefined) {
      await annotate("WYCHEPROOF_DIR is not set: only the published vectors of test/vectors/jose ran");
      return;
    }
    const counts = { valid: 0, invalid: 0 };
    const mismatches: string[] = [];
    for (const { publicKeyJwk, tests } of groups<SignatureGroup, SignatureTest>(file)) {
      if (publicKeyJwk === undefined) continue;
      // Not judged: some of these keys are printed in standards, and this is about signatures.
      const key = storedKey(publicKeyJwk);
      const template = parseJws(utf8({ protected: base64url(`{"alg":"${alg}"}`), payload: "", signature: "AA" }));
      for (const { tcId, msg, sig, result } of tests) {
        const jws = { ...template, signingInput: Buffer.from(msg, "hex"), signature: Buffer.from(sig, "hex") };
        const found = await judged(() => verifyJws(jws, key).then(() => true));
        if (found !== (result === "valid" ? "valid" : "malformed")) mismatches.push(`${tcId}: ${result}, found ${found}`);
        else counts[result === "valid" ? "valid" : "invalid"] += 1;
      }
    }
    await annotate(JSON.stringify(counts));
    expect(mismatches).toEqual([]);
    expect(counts.valid).toBeGreaterThan(60);
    expect(counts.invalid).toBeGreaterThan(40);
  },
);
