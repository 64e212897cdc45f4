import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";

import { signatureAlgorithm, verifySignature } from "../../src/pki/algorithm.ts";
import { freshToken } from "../support/token.ts";
import type { FreshToken } from "../support/token.ts";
import { bindingText, newKey, openToken } from "./signing-token.ts";
import type { OpenHsm } from "./signing-token.ts";

let token: FreshToken;
let open: OpenHsm;
beforeAll(async () => {
  token = await freshToken();
  open = await openToken(token);
});
afterAll(async () => {
  await open[Symbol.asyncDispose]();
  await token[Symbol.asyncDispose]();
});

/** What the sheet of attributes requires of every signing key, in the words of PKCS#11. */
const required = {
  "private.CKA_TOKEN": "true",
  "private.CKA_PRIVATE": "true",
  "private.CKA_SENSITIVE": "true",
  "private.CKA_EXTRACTABLE": "false",
  "private.CKA_ALWAYS_SENSITIVE": "true",
  "private.CKA_NEVER_EXTRACTABLE": "true",
  "private.CKA_LOCAL": "true",
  "private.CKA_SIGN": "true",
  "private.CKA_DECRYPT": "false",
  "private.CKA_UNWRAP": "false",
  "private.CKA_DERIVE": "false",
  "private.CKA_SIGN_RECOVER": "false",
  "private.CKA_MODIFIABLE": "false",
  "public.CKA_TOKEN": "true",
  "public.CKA_PRIVATE": "false",
  "public.CKA_VERIFY": "true",
  "public.CKA_ENCRYPT": "false",
  "public.CKA_WRAP": "false",
  "public.CKA_DERIVE": "false",
  "public.CKA_VERIFY_RECOVER": "false",
  "public.CKA_MODIFIABLE": "false",
  "tried.C_GetAttributeValue": "CKR_ATTRIBUTE_SENSITIVE",
  "tried.C_WrapKey": "CKR_KEY_UNEXTRACTABLE",
};

test.for([
  { algorithm: "P-256", mechanism: "0x1040", allowed: "0x1041" },
  { algorithm: "P-384", mechanism: "0x1040", allowed: "0x1041" },
  { algorithm: "RSA-2048", mechanism: "0x0000", allowed: "0x0001" },
  { algorithm: "RSA-3072", mechanism: "0x0000", allowed: "0x0001" },
] as const)(
  "a $algorithm pair reads back as generated, and signs what verifies under its SPKI (PK-10)",
  async ({ algorithm, mechanism, allowed }) => {
    const key = await newKey(open.hsm, { name: "issuing-1", algorithm, purposes: ["binding", "certificate"] });
    const read = await open.hsm.read(key.reference.ckaId);
    expect(read?.evidence).toMatchObject({
      ...required,
      "private.CKA_ID": key.reference.ckaId,
      "public.CKA_ID": key.reference.ckaId,
      "private.CKA_LABEL": "issuing-1 [certificate,binding]",
      "private.CKA_KEY_GEN_MECHANISM": mechanism,
      "private.CKA_ALLOWED_MECHANISMS": allowed,
    });
    expect(read?.spki).toEqual(key.spki);
    const text = bindingText(algorithm);
    const signature = await open.hsm.sign(key.reference, "binding", text);
    expect(await verifySignature(key.verification, signatureAlgorithm(algorithm), text, signature)).toBe(true);
  },
);

/** Runs a program that uses the token through the native binding alone, and gives what it printed as JSON. */
async function runProgram(file: string, settings: Record<string, unknown>): Promise<Record<string, unknown>> {
  const program = fileURLToPath(new URL(file, import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, [program, JSON.stringify(settings)], {
    env: { ...process.env, SOFTHSM2_CONF: token.softHsmConf },
  });
  const answer: unknown = JSON.parse(stdout);
  if (typeof answer !== "object" || answer === null) throw new Error(`the program printed ${stdout}`);
  return Object.fromEntries(Object.entries(answer));
}

test("nobody can make a signing key extractable, readable, or a copy of it (PK-11)", async () => {
  const key = await newKey(open.hsm, { name: "fixed" });
  const answers = await runProgram("change-key.ts", {
    module: token.module,
    pin: token.pin,
    label: token.label,
    ckaId: key.reference.ckaId,
  });
  const refusal = /^CKR_(?:ATTRIBUTE_READ_ONLY|ACTION_PROHIBITED|TEMPLATE_INCONSISTENT)$/;
  expect(answers).toEqual({
    "set EXTRACTABLE": expect.stringMatching(refusal),
    "unset SENSITIVE": expect.stringMatching(refusal),
    "copy with EXTRACTABLE": expect.stringMatching(refusal),
    "copy without": expect.anything(),
    rename: expect.stringMatching(refusal),
  });
});

test("a key that another tool made with wide attributes is not taken for a signing key (PK-10)", async () => {
  const ckaId = "0f".repeat(16);
  const answers = await runProgram("change-key.ts", { module: token.module, pin: token.pin, label: token.label, wide: ckaId });
  expect(answers).toEqual({ generated: "CKR_OK" });
  await expect(open.hsm.read(ckaId)).rejects.toMatchObject({ code: "internal" });
  expect(open.events.told.at(-1)).toMatchObject({
    event: "hsm.call.failed",
    fields: { detail: expect.stringMatching(/CKA_(?:SENSITIVE|DECRYPT) .*is (?:false|true)/) },
  });
});

test("a CKA_ID is never given to a second pair: some modules would replace the first (PT-20)", async () => {
  const key = await newKey(open.hsm, { name: "first" });
  const again = open.hsm.generate({ ckaId: key.reference.ckaId, name: "second", algorithm: "P-256", purposes: ["binding"] });
  await expect(again).rejects.toMatchObject({ code: "internal", detail: expect.stringContaining("already") });
  expect(await open.hsm.find(key.reference.ckaId)).toEqual({ privateKeys: 1, publicKeys: 1 });
});

test("destroying a pair leaves neither half, and a signature with it says that the key is missing (PK-33)", async () => {
  const key = await newKey(open.hsm, { name: "gone" });
  const { ckaId } = key.reference;
  await open.hsm.sign(key.reference, "binding", bindingText(1));
  expect(await open.hsm.list()).toContain(ckaId);
  await open.hsm.destroy(ckaId);
  expect(await open.hsm.find(ckaId)).toEqual({ privateKeys: 0, publicKeys: 0 });
  expect(await open.hsm.list()).not.toContain(ckaId);
  expect(await open.hsm.read(ckaId)).toBeUndefined();
  await expect(open.hsm.sign(key.reference, "binding", bindingText(2))).rejects.toMatchObject({
    code: "hsmUnavailable",
    detail: expect.stringContaining(ckaId),
  });
  await open.hsm.destroy(ckaId);
});

test("a pair destroyed by another process is missed at the next signature (PF-8)", async () => {
  await using other = await openToken(token);
  const key = await newKey(open.hsm, { name: "shared" });
  await open.hsm.sign(key.reference, "binding", bindingText(1));
  await other.hsm.destroy(key.reference.ckaId);
  await expect(open.hsm.sign(key.reference, "binding", bindingText(2))).rejects.toMatchObject({ code: "hsmUnavailable" });
});
