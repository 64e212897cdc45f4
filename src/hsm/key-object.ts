import pkcs11js from "pkcs11js";
import type { Attribute, Handle, PKCS11 } from "pkcs11js";

import type { KeyAlgorithm } from "../pki/algorithm.ts";
import { spkiFromEcPoint, spkiFromRsa } from "../pki/algorithm.ts";
import type { FoundKey, KeyEvidence, KeySpecification, TokenKey } from "../ports/hsm.ts";
import { asReturnError, attempt, HostFailure, ReturnError } from "./host-failure.ts";
import { attributeText, generationMechanism, keyParameters, privateAttributes, publicAttributes, template } from "./key-attribute.ts";
import type { KeyAttribute } from "./key-attribute.ts";
import { algorithmOf, findObjects, readAttribute } from "./token-object.ts";
import { mechanisms, signingMechanism } from "./mechanism.ts";
import type { OpenToken } from "./open-token.ts";
import { returnName } from "./return-value.ts";

/**
 * Generates a pair in the token and reads it back. Where anything deviates from what a signing key must be, both halves are destroyed.
 * @throws HostFailure `refused` when an object has this CKA_ID already (some modules replace the older key without a word), `fatal` for a
 *   deviation; ReturnError
 */
export async function generateKey(token: OpenToken, key: KeySpecification): Promise<TokenKey> {
  return token.sessions.administer(async (session) => {
    const found = count(token.library, session, key.ckaId);
    if (found.privateKeys + found.publicKeys > 0)
      throw new HostFailure("refused", `an object of the token has CKA_ID ${key.ckaId} already`);
    requireMechanisms(token, key.algorithm);
    const allowed = takesAllowedMechanisms(token.library, session, key);
    const supported = (name: string): boolean => name !== "CKA_ALLOWED_MECHANISMS" || allowed;
    await generatePair(token.library, session, {
      mechanism: generationMechanism(key.algorithm),
      public: [...keyParameters(key.algorithm), ...template(publicAttributes, key, supported)],
      private: template(privateAttributes, key, supported),
    });
    try {
      const pair = readPair(token.library, session, key.ckaId);
      if (!pair) throw new HostFailure("fatal", `the generated pair ${key.ckaId} is not found`);
      requireTemplate(pair.evidence, key, supported);
      return pair;
    } catch (error) {
      if (error instanceof HostFailure) remove(token.library, session, key.ckaId);
      throw error;
    }
  });
}

/**
 * The pair of a CKA_ID, undefined when either half is missing.
 * @throws HostFailure `fatal` when the pair is not what a signing key must be, or two share the CKA_ID.
 */
export async function readKey(token: OpenToken, ckaId: string): Promise<TokenKey | undefined> {
  return token.sessions.administer((session) => readPair(token.library, session, ckaId));
}

/** Which halves have this CKA_ID. */
export async function findKey(token: OpenToken, ckaId: string): Promise<FoundKey> {
  return token.sessions.administer((session) => count(token.library, session, ckaId));
}

/** CKA_ID of every private key. */
export async function listKeys(token: OpenToken): Promise<string[]> {
  return token.sessions.administer((session) =>
    findObjects(token.library, session, { class: "private" }).map((key) =>
      readAttribute(token.library, session, key, pkcs11js.CKA_ID).toString("hex"),
    ),
  );
}

/** Destroys the private half, then the public one, then finds nothing. */
export async function destroyKey(token: OpenToken, ckaId: string): Promise<undefined> {
  return token.sessions.administer((session) => {
    remove(token.library, session, ckaId);
    const left = count(token.library, session, ckaId);
    if (left.privateKeys + left.publicKeys > 0)
      throw new HostFailure("fatal", `an object with CKA_ID ${ckaId} was destroyed and is still there`);
    return undefined;
  });
}

/** What a token offers is known from its list, not from how a call fails. */
function requireMechanisms({ library, slot }: OpenToken, algorithm: KeyAlgorithm): void {
  const offered = attempt("C_GetMechanismList", () => library.C_GetMechanismList(slot)) ?? [];
  for (const mechanism of [generationMechanism(algorithm), signingMechanism(algorithm)]) {
    if (!offered.includes(mechanism))
      throw new HostFailure("refused", `the token does not offer ${algorithm}: it lacks mechanism 0x${mechanism.toString(16)}`);
  }
}

function count(library: PKCS11, session: Handle, ckaId: string): FoundKey {
  return {
    privateKeys: findObjects(library, session, { class: "private", ckaId }).length,
    publicKeys: findObjects(library, session, { class: "public", ckaId }).length,
  };
}

function remove(library: PKCS11, session: Handle, ckaId: string): void {
  for (const kind of ["private", "public"] as const) {
    for (const object of findObjects(library, session, { class: kind, ckaId }))
      attempt("C_DestroyObject", () => library.C_DestroyObject(session, object));
  }
}

type Generation = { readonly mechanism: number; readonly public: Attribute[]; readonly private: Attribute[] };

/** Off the main thread: an RSA-4096 pair takes a second, in which others sign. The binding leaks a little each time, but pairs are few. */
function generatePair(library: PKCS11, session: Handle, generation: Generation): Promise<void> {
  return new Promise((resolve, reject) => {
    library.C_GenerateKeyPair(session, { mechanism: generation.mechanism }, generation.public, generation.private, (error) => {
      if (!error) resolve();
      else
        try {
          reject(asReturnError("C_GenerateKeyPair", error));
        } catch (unexpected) {
          reject(unexpected);
        }
    });
  });
}

/** Whether the token takes CKA_ALLOWED_MECHANISMS: tried with a P-256 pair that lives in the session only (0.3 ms). */
function takesAllowedMechanisms(library: PKCS11, session: Handle, key: KeySpecification): boolean {
  const trial: KeySpecification = { ...key, algorithm: "P-256" };
  const inSession = { type: pkcs11js.CKA_TOKEN, value: false };
  const allowed = template(privateAttributes, trial, (name) => name === "CKA_ALLOWED_MECHANISMS");
  try {
    const pair = library.C_GenerateKeyPair(
      session,
      { mechanism: mechanisms.CKM_EC_KEY_PAIR_GEN },
      [inSession, ...keyParameters("P-256")],
      [inSession, ...allowed.filter(({ type }) => type === pkcs11js.CKA_ALLOWED_MECHANISMS)],
    );
    library.C_DestroyObject(session, pair.privateKey);
    library.C_DestroyObject(session, pair.publicKey);
    return true;
  } catch (error) {
    asReturnError("C_GenerateKeyPair", error);
    return false;
  }
}

/**
 * The pair of a CKA_ID as its attributes describe it; undefined when either half is missing.
 * @throws HostFailure `fatal` when an attribute is not what a signing key's must be, or two pairs share the CKA_ID; ReturnError
 */
export function readAttributes(library: PKCS11, session: Handle, ckaId: string): (TokenKey & { readonly privateKey: Handle }) | undefined {
  const privateKeys = findObjects(library, session, { class: "private", ckaId });
  const publicKeys = findObjects(library, session, { class: "public", ckaId });
  const [privateKey] = privateKeys;
  const [publicKey] = publicKeys;
  if (!privateKey || !publicKey) return undefined;
  if (privateKeys.length > 1 || publicKeys.length > 1) throw new HostFailure("fatal", `two pairs have CKA_ID ${ckaId}`);
  const reader: Reader = { library, session };
  const evidence = {
    ...readEvidence(reader, privateKey, { half: "private", rows: privateAttributes }),
    ...readEvidence(reader, publicKey, { half: "public", rows: publicAttributes }),
  };
  return { privateKey, spki: spkiOf(reader, publicKey), evidence };
}

/** The same, after the token has refused what it must refuse. */
function readPair(library: PKCS11, session: Handle, ckaId: string): TokenKey | undefined {
  const pair = readAttributes(library, session, ckaId);
  if (!pair) return undefined;
  return { spki: pair.spki, evidence: { ...pair.evidence, ...refusals({ library, session }, pair.privateKey) } };
}

type Reader = { readonly library: PKCS11; readonly session: Handle };

function readEvidence(
  reader: Reader,
  object: Handle,
  { half, rows }: { half: "private" | "public"; rows: readonly KeyAttribute[] },
): Record<string, string> {
  const evidence: Record<string, string> = {};
  for (const row of rows) {
    const text = optionalText(reader, object, row);
    const known = text !== undefined && !(row.name === "CKA_LOCAL" && evidence["private.CKA_KEY_GEN_MECHANISM"] === "unknown");
    if (!known && !row.optional) throw new HostFailure("fatal", `the token does not say ${row.name} of its ${half} key`);
    if (known && row.required !== undefined && text !== row.required)
      throw new HostFailure("fatal", `${row.name} of the ${half} key is ${text}`);
    evidence[`${half}.${row.name}`] = known ? text : "unknown";
  }
  return evidence;
}

function optionalText({ library, session }: Reader, object: Handle, row: KeyAttribute): string | undefined {
  try {
    return attributeText(row.form, readAttribute(library, session, object, row.type));
  } catch (error) {
    if (error instanceof ReturnError && error.code === attributeTypeInvalid) return undefined;
    throw error;
  }
}

const attributeTypeInvalid = 0x12;

/** What the token must refuse to do with a signing key, tried: giving its value, wrapping it, renaming it. */
function refusals({ library, session }: Reader, privateKey: Handle): Record<string, string> {
  const secret = algorithmOf(library, session, privateKey).startsWith("RSA-") ? pkcs11js.CKA_PRIVATE_EXPONENT : pkcs11js.CKA_VALUE;
  const tries = {
    "tried.C_GetAttributeValue": {
      act: () => readAttribute(library, session, privateKey, secret),
      expected: ["CKR_ATTRIBUTE_SENSITIVE"],
    },
    "tried.C_WrapKey": { act: () => wrap({ library, session }, privateKey), expected: ["CKR_KEY_UNEXTRACTABLE", "CKR_KEY_NOT_WRAPPABLE"] },
    "tried.C_SetAttributeValue": {
      act: () => library.C_SetAttributeValue(session, privateKey, [{ type: pkcs11js.CKA_LABEL, value: "renamed [certificate]" }]),
      expected: ["CKR_ATTRIBUTE_READ_ONLY", "CKR_ACTION_PROHIBITED"],
    },
  };
  return Object.fromEntries(
    Object.entries(tries).map(([name, { act, expected }]) => {
      const answer = answerOf(act);
      if (answer !== "unknown" && !expected.includes(answer))
        throw new HostFailure("fatal", `${name.slice(6)} of the private key answers ${answer}`);
      return [name, answer];
    }),
  );
}

function answerOf(act: () => unknown): string {
  try {
    return act() === undefined ? "CKR_OK" : "CKR_OK";
  } catch (error) {
    const { code } = error instanceof ReturnError ? error : asReturnError("C_WrapKey", error);
    // The trial itself was not possible on this token: no evidence either way.
    return code === mechanismInvalid ? "unknown" : returnName(code);
  }
}

const mechanismInvalid = 0x70;

function wrap({ library, session }: Reader, privateKey: Handle): void {
  const wrapping = library.C_GenerateKey(session, { mechanism: mechanisms.CKM_AES_KEY_GEN }, [
    { type: pkcs11js.CKA_TOKEN, value: false },
    { type: pkcs11js.CKA_VALUE_LEN, value: 32 },
    { type: pkcs11js.CKA_WRAP, value: true },
  ]);
  try {
    library.C_WrapKey(session, { mechanism: mechanisms.CKM_AES_KEY_WRAP_PAD }, wrapping, privateKey, Buffer.alloc(8192)).fill(0);
  } finally {
    library.C_DestroyObject(session, wrapping);
  }
}

function requireTemplate(evidence: KeyEvidence, key: KeySpecification, supported: (name: string) => boolean): void {
  for (const [half, rows] of [
    ["private", privateAttributes],
    ["public", publicAttributes],
  ] as const) {
    for (const { name, form, set } of rows) {
      if (!set || !supported(name)) continue;
      const value = set(key);
      const wanted = Buffer.isBuffer(value) ? attributeText(form, value) : String(value);
      if (evidence[`${half}.${name}`] !== wanted)
        throw new HostFailure("fatal", `${name} of the ${half} key is ${evidence[`${half}.${name}`]}, not ${wanted}`);
    }
  }
  const mechanism = evidence["private.CKA_KEY_GEN_MECHANISM"];
  if (mechanism !== "unknown" && Number(mechanism) !== generationMechanism(key.algorithm)) {
    throw new HostFailure("fatal", `CKA_KEY_GEN_MECHANISM of the private key is ${mechanism}`);
  }
}

/** SubjectPublicKeyInfo from the public object's own attributes: no module gives it ready made. */
function spkiOf({ library, session }: Reader, publicKey: Handle): Uint8Array<ArrayBuffer> {
  const algorithm = algorithmOf(library, session, publicKey);
  if (algorithm !== "P-256" && algorithm !== "P-384") {
    const modulus = readAttribute(library, session, publicKey, pkcs11js.CKA_MODULUS);
    return Uint8Array.from(spkiFromRsa(modulus, readAttribute(library, session, publicKey, pkcs11js.CKA_PUBLIC_EXPONENT)));
  }
  const value = readAttribute(library, session, publicKey, pkcs11js.CKA_EC_POINT);
  const pointLength = algorithm === "P-256" ? 65 : 97;
  // Most modules wrap the point in an OCTET STRING, some give it raw: their lengths differ, and the binding test decides.
  const wrapped = value.length === pointLength + 2 && value[0] === 0x04 && value[1] === pointLength;
  return Uint8Array.from(spkiFromEcPoint(algorithm, wrapped ? value.subarray(2) : value));
}
