import { verify } from "node:crypto";
import { readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { tbsCrlParts, type CrlPlan } from "../../src/pki/crl.ts";
import type { CrlEntries } from "../../src/pki/crl-entry.ts";
import type { HsmOptions } from "../../src/hsm/client.ts";
import type { KeyAlgorithm } from "../../src/pki/algorithm.ts";
import { lintedParts } from "../../src/pki/lint-crl.ts";
import { freshToken } from "../support/token.ts";
import type { FreshToken } from "../support/token.ts";
import { childProcesses, newKey, openToken } from "./signing-token.ts";
import type { OpenHsm, SigningKey } from "./signing-token.ts";

let token: FreshToken;
let open: OpenHsm;

beforeAll(async () => {
  token = await freshToken();
  open = await openToken(token);
});
afterAll(async () => {
  await open?.[Symbol.asyncDispose]();
  await token?.[Symbol.asyncDispose]();
});

/** The bytes to be signed of a CRL with so many entries of 35 octets. */
async function tbsCertList(
  entryCount: number,
  { algorithm = "P-256", number = 1n }: { algorithm?: KeyAlgorithm; number?: bigint } = {},
): Promise<Buffer> {
  const issuer = { subject: Buffer.from("300c310a300806035504030c0161", "hex"), subjectKeyIdentifier: Buffer.alloc(20, 7), algorithm };
  const times = { thisUpdate: new Date("2026-01-01T00:00:00Z"), nextUpdate: new Date("2026-01-02T00:00:00Z") };
  const plan: CrlPlan = { number, ...times, distributionPoint: undefined, entryCount, entriesOctets: entryCount * 35 };
  const entries: CrlEntries = {
    count: entryCount,
    source: Buffer.alloc(16, 0x41),
    serialStarts: new Uint32Array(entryCount),
    serialEnds: new Uint32Array(entryCount).fill(16),
    revokedAt: new Float64Array(entryCount).fill(1_700_000_000),
    reasons: new Uint8Array(entryCount),
  };
  return Buffer.concat(await Array.fromAsync(tbsCrlParts(issuer, plan, inTurn([entries]))));
}

async function hosts(): Promise<number[]> {
  return (await childProcesses()).filter(({ command }) => command.includes("host.ts")).map(({ pid }) => pid);
}

/** The token opened once more, and the process that holds it for that. */
async function openWithHost(options: Partial<HsmOptions> = {}): Promise<OpenHsm & { readonly host: number }> {
  const before = new Set(await hosts());
  const own = await openToken(token, options);
  const [host] = (await hosts()).filter((pid) => !before.has(pid));
  if (host === undefined) throw new Error("the token has no host");
  return { ...own, host };
}

async function* inTurn<Each>(each: readonly Each[]): AsyncGenerator<Each, undefined> {
  yield* each;
}

function cut(bytes: Uint8Array, octets: number): Uint8Array[] {
  return Array.from({ length: Math.ceil(bytes.length / octets) }, (_, index) => bytes.subarray(index * octets, (index + 1) * octets));
}

function verifies(key: SigningKey, bytes: Uint8Array, signature: Uint8Array, hash = "sha256"): boolean {
  return verify(hash, bytes, key.verification.keyObject, signature);
}

test.for([
  { algorithm: "P-256", hash: "sha256" },
  { algorithm: "P-384", hash: "sha384" },
  { algorithm: "RSA-2048", hash: "sha256" },
] as const)("a CRL of 3.5 MB in parts of any size is signed with $algorithm over the whole (XC-30)", async ({ algorithm, hash }) => {
  const key = await newKey(open.hsm, { algorithm, purposes: ["crl"] });
  const bytes = await tbsCertList(100_000, { algorithm });
  for (const octets of [bytes.length, 65_537]) {
    const signature = await open.hsm.signParts(key.reference, "crl", inTurn(cut(bytes, octets)));
    expect(verifies(key, bytes, signature, hash)).toBe(true);
  }
});

test("two streams at once do not mix", async () => {
  const key = await newKey(open.hsm, { purposes: ["crl"] });
  const lists = await Promise.all([1n, 2n, 3n].map((number) => tbsCertList(5000, { number })));
  const signatures = await Promise.all(lists.map((bytes) => open.hsm.signParts(key.reference, "crl", inTurn(cut(bytes, 1000)))));
  expect(lists.map((bytes) => signatures.map((signature) => verifies(key, bytes, signature)))).toEqual([
    [true, false, false],
    [false, true, false],
    [false, false, true],
  ]);
});

describe("what the host has not walked whole as a TBSCertList, it does not sign (PK-62)", () => {
  test.for([
    { name: "a TBSCertificate", bytes: async () => vector("certificate") },
    { name: "a TBSCertificate with cA TRUE", bytes: async () => vector("subordinate") },
    { name: "ResponseData", bytes: async () => vector("ocsp") },
    { name: "nothing", bytes: async () => Buffer.alloc(0) },
    { name: "a text", bytes: async () => Buffer.from("chancery binding\n") },
    { name: "a TBSCertList without its last octet", bytes: async () => (await tbsCertList(1000)).subarray(0, -1) },
    { name: "a TBSCertList with an octet behind it", bytes: async () => Buffer.concat([await tbsCertList(1000), Buffer.alloc(1)]) },
    { name: "two TBSCertLists", bytes: async () => Buffer.concat([await tbsCertList(2), await tbsCertList(2)]) },
    { name: "a TBSCertList with a digit of a date changed to a letter", bytes: async () => withOctet(await tbsCertList(1000), -200, 0x41) },
  ])("$name", async ({ bytes }) => {
    const key = await newKey(open.hsm, { purposes: ["crl", "certificate", "subordinate", "ocsp", "binding"] });
    const parts = cut(await bytes(), 700);
    await expect(open.hsm.signParts(key.reference, "crl", inTurn(parts))).rejects.toMatchObject({ code: "internal", detail: /refuses/ });
  });
});

/** What others sign, by kind: see test/vectors/signed/SOURCE.md. */
function vector(name: string): Buffer {
  return Buffer.from(readFileSync(new URL(`../vectors/signed/${name}.b64`, import.meta.url), "utf8"), "base64");
}

/** The bytes with another octet in place of a digit of the last date that begins before `from`. */
function withOctet(bytes: Buffer, from: number, octet: number): Buffer {
  const date = bytes.lastIndexOf(Buffer.from("170d", "hex"), from);
  bytes[date + 4] = octet;
  return bytes;
}

test("a key whose label does not name crl signs none, nor one of another algorithm than was hashed for (PK-23, PK-62)", async () => {
  const bytes = cut(await tbsCertList(10), 100);
  const binding = await newKey(open.hsm, { purposes: ["binding"] });
  await expect(open.hsm.signParts(binding.reference, "crl", inTurn(bytes))).rejects.toMatchObject({ detail: /serves binding, not crl/ });
  const key = await newKey(open.hsm, { purposes: ["crl"] });
  await expect(open.hsm.signParts({ ...key.reference, algorithm: "P-384" }, "crl", inTurn(bytes))).rejects.toMatchObject({
    detail: /is P-256, not P-384/,
  });
  await expect(open.hsm.signParts({ ...key.reference, token: "other" }, "crl", inTurn(bytes))).rejects.toMatchObject({ code: "internal" });
});

test("a stream that breaks off fails with its own error, and the host keeps none of fifty", async () => {
  const key = await newKey(open.hsm, { purposes: ["crl"] });
  const bytes = await tbsCertList(1000);
  const broken = async function* () {
    yield* cut(bytes.subarray(0, 20_000), 3000);
    throw new Error("the database went away");
  };
  for (let round = 0; round < 5; round += 1) {
    const streams = Array.from({ length: 10 }, () => open.hsm.signParts(key.reference, "crl", broken()));
    for (const outcome of await Promise.allSettled(streams)) {
      expect(outcome).toMatchObject({ status: "rejected", reason: { message: "the database went away" } });
    }
  }
  const signature = await open.hsm.signParts(key.reference, "crl", inTurn(cut(bytes, 3000)));
  expect(verifies(key, bytes, signature)).toBe(true);
});

test("what the linter refuses on its way is not signed (XI-4)", async () => {
  const key = await newKey(open.hsm, { purposes: ["crl"] });
  const bytes = await tbsCertList(2, { algorithm: "P-384" });
  const issuer = {
    subject: Buffer.from("300c310a300806035504030c0161", "hex"),
    subjectKeyIdentifier: Buffer.alloc(20, 7),
    algorithm: "P-256",
  } as const;
  await expect(open.hsm.signParts(key.reference, "crl", lintedParts(inTurn(cut(bytes, 50)), { issuer }))).rejects.toMatchObject({
    code: "lintRefused",
    detail: expect.stringMatching(/^chancery_crl_signature_algorithm_not_issuer: .*; e_crl_unique_revoked_certificate: /),
  });
});

test("a host killed in mid-stream fails that stream with hsmUnavailable, and the next is signed (PK-12)", async () => {
  await using own = await openWithHost();
  const key = await newKey(own.hsm, { purposes: ["crl"] });
  const bytes = await tbsCertList(1000);
  const killing = async function* () {
    yield bytes.subarray(0, 20_000);
    process.kill(own.host, "SIGKILL");
    yield* cut(bytes.subarray(20_000), 1000);
  };
  await expect(own.hsm.signParts(key.reference, "crl", killing())).rejects.toMatchObject({ code: "hsmUnavailable" });
  const signature = await own.hsm.signParts(key.reference, "crl", inTurn(cut(bytes, 1000)));
  expect(verifies(key, bytes, signature)).toBe(true);
});

test("a host that takes nothing is given four parts and no more, until it goes on", async () => {
  await using own = await openWithHost({ deadlineMs: 60_000 });
  const key = await newKey(own.hsm, { purposes: ["crl"] });
  const bytes = await tbsCertList(10_000);
  let asked = 0;
  const fourth = Promise.withResolvers<void>();
  const counted = async function* () {
    for (const part of cut(bytes, 5000)) {
      asked += 1;
      if (asked === 4) fourth.resolve();
      yield part;
    }
  };
  process.kill(own.host, "SIGSTOP");
  const signed = own.hsm.signParts(key.reference, "crl", counted());
  await fourth.promise;
  for (let turn = 0; turn < 100; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  expect(asked).toBe(4);
  process.kill(own.host, "SIGCONT");
  expect(verifies(key, bytes, await signed)).toBe(true);
  expect(asked).toBe(Math.ceil(bytes.length / 5000));
});

test("the deadline counts for each part: a stream may take longer than it", async () => {
  await using own = await openWithHost({ deadlineMs: 2000 });
  const key = await newKey(own.hsm, { purposes: ["crl"] });
  const bytes = await tbsCertList(100);
  const slow = async function* () {
    for (const part of cut(bytes, Math.ceil(bytes.length / 3))) {
      await pause(900);
      yield part;
    }
  };
  expect(verifies(key, bytes, await own.hsm.signParts(key.reference, "crl", slow()))).toBe(true);
});

test("a host that hangs in mid-stream is given up at the deadline of one part", async () => {
  await using own = await openWithHost({ deadlineMs: 1000 });
  const key = await newKey(own.hsm, { purposes: ["crl"] });
  const bytes = await tbsCertList(1000);
  const stopping = async function* () {
    yield bytes.subarray(0, 10_000);
    process.kill(own.host, "SIGSTOP");
    yield bytes.subarray(10_000);
  };
  await expect(own.hsm.signParts(key.reference, "crl", stopping())).rejects.toMatchObject({ code: "hsmUnavailable" });
});
