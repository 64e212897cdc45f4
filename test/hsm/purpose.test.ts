import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";

import { allPurposes } from "../../src/hsm/key-label.ts";
import { purposeProblem } from "../../src/hsm/purpose.ts";
import type { Purpose } from "../../src/ports/hsm.ts";
import { shimAvailable, shimmed } from "../support/shim.ts";
import type { Shim } from "../support/shim.ts";
import { freshToken } from "../support/token.ts";
import type { FreshToken } from "../support/token.ts";
import { newKey, openToken } from "./signing-token.ts";
import type { OpenHsm, SigningKey } from "./signing-token.ts";

/** What others sign, by kind: see test/vectors/signed/SOURCE.md. */
function vector(name: string): Uint8Array {
  return Buffer.from(readFileSync(new URL(`../vectors/signed/${name}.b64`, import.meta.url), "utf8"), "base64");
}

const ofPurpose: Readonly<Partial<Record<Purpose, Uint8Array>>> = {
  certificate: vector("certificate"),
  subordinate: vector("subordinate"),
  crl: vector("crl"),
  ocsp: vector("ocsp"),
  request: vector("request"),
  checkpoint: Buffer.from("example.org/log\n42\nnND/nri/U0xuHUrYSy0HtMeal2vzD9V4k/BO79C+QeI=\n"),
  binding: Buffer.from("chancery binding\ntest\n"),
  health: Buffer.from("chancery health\ntest\n"),
};

const kinds: readonly { kind: string; bytes: Uint8Array }[] = [
  ...Object.entries(ofPurpose).map(([kind, bytes]) => ({ kind, bytes })),
  { kind: "nothing", bytes: Buffer.alloc(0) },
  { kind: "a SEQUENCE of nothing", bytes: Buffer.from("3000", "hex") },
  { kind: "a TBSCertificate with an octet behind it", bytes: Buffer.concat([vector("certificate"), Buffer.from([0])]) },
  { kind: "a TBSCertificate cut short", bytes: vector("certificate").subarray(0, -1) },
  { kind: "octets that are no text", bytes: Buffer.from("00ff00ff", "hex") },
];

test.for(kinds)("$kind is for its own purpose and for no other (PK-62)", ({ kind, bytes }) => {
  const allowed = allPurposes.filter((purpose) => purpose !== "data" && purposeProblem(purpose, bytes) === undefined);
  expect(allowed).toEqual(allPurposes.filter((purpose) => purpose === kind));
});

let token: FreshToken;
let shim: Shim;
let open: OpenHsm;

beforeAll(async () => {
  if (!shimAvailable) return;
  token = await freshToken();
  shim = shimmed(token);
  open = await openToken(token, { module: shim.module });
});
afterAll(async () => {
  await open?.[Symbol.asyncDispose]();
  await token?.[Symbol.asyncDispose]();
});

/** Asks for every purpose over every kind of bytes, and gives those that were signed. */
async function signedBy(key: SigningKey): Promise<string[]> {
  const signed: string[] = [];
  for (const purpose of allPurposes) {
    for (const { kind, bytes } of kinds) {
      const signature = await open.hsm.sign(key.reference, purpose, bytes).catch((error: unknown) => error);
      if (signature instanceof Uint8Array) signed.push(`${purpose}: ${kind}`);
      else expect(signature).toMatchObject({ code: "internal" });
    }
  }
  return signed;
}

function digests(bytes: readonly Uint8Array[]): string[] {
  return bytes.map((each) => createHash("sha256").update(each).digest("hex")).toSorted();
}

/** Inputs with which the token signed by this key. */
function reached(key: SigningKey): string[] {
  const calls = shim.calls("C_Sign").filter((call) => call.key === key.reference.ckaId);
  return calls.map((call) => call.input).toSorted();
}

test.runIf(shimAvailable)(
  "only bytes that are what the purpose says, and purposes of the key's label, reach the token (PK-62)",
  async () => {
    const all = await newKey(open.hsm, { name: "all", purposes: [...allPurposes] });
    const issuing = await newKey(open.hsm, { name: "issuing-1", purposes: ["certificate", "crl", "binding"] });
    const health = await newKey(open.hsm, { name: "health", purposes: ["health"] });

    const everything = Object.keys(ofPurpose).map((purpose) => `${purpose}: ${purpose}`);
    const data = kinds.map(({ kind }) => `data: ${kind}`);
    expect((await signedBy(all)).toSorted()).toEqual([...everything, ...data].toSorted());
    expect((await signedBy(issuing)).toSorted()).toEqual(["binding: binding", "certificate: certificate", "crl: crl"]);
    expect(await signedBy(health)).toEqual(["health: health"]);

    const { certificate, crl, binding } = ofPurpose;
    if (!certificate || !crl || !binding) throw new Error("a vector is missing");
    expect(reached(issuing)).toEqual(digests([certificate, crl, binding]));
    expect(reached(all)).toEqual(digests([...Object.values(ofPurpose), ...kinds.map(({ bytes }) => bytes)]));
    expect(open.events.told.filter(({ event }) => event === "hsm.call.refused").length).toBeGreaterThan(200);
  },
);

test.runIf(shimAvailable)("a key signs with its own algorithm alone (PK-23)", async () => {
  const key = await newKey(open.hsm, { name: "curve" });
  const before = shim.calls("C_Sign").length;
  for (const algorithm of ["P-384", "RSA-2048"] as const) {
    await expect(open.hsm.sign({ ...key.reference, algorithm }, "binding", Buffer.from("chancery binding\n"))).rejects.toThrow(
      /is P-256, not/,
    );
  }
  expect(shim.calls("C_Sign").length).toBe(before);
});

test.runIf(shimAvailable)("a key of another token is refused before anything is asked (PK-31)", async () => {
  const key = await newKey(open.hsm, { name: "elsewhere" });
  await expect(open.hsm.sign({ ...key.reference, token: "other" }, "binding", Buffer.from("chancery binding\n"))).rejects.toMatchObject({
    code: "internal",
  });
});

test.runIf(shimAvailable)("a key whose public half is not the recorded one signs nothing (PK-31)", async () => {
  const key = await newKey(open.hsm, { name: "exchanged" });
  const before = shim.calls("C_Sign").length;
  const other = { ...key.reference, spkiSha256: "00".repeat(32) };
  await expect(open.hsm.sign(other, "binding", Buffer.from("chancery binding\n"))).rejects.toThrow(/public half/);
  expect(shim.calls("C_Sign").length).toBe(before);
});
