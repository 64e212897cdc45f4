import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { randomInt } from "node:crypto";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { bindKeyPair } from "../../src/custody/binding.ts";
import { checkToken } from "../../src/custody/check.ts";
import { generateKeyPair } from "../../src/custody/generate.ts";
import type { KeyPairRequest } from "../../src/custody/generate.ts";
import { listIntents, listKeyPairs, readKeyPair } from "../../src/custody/store.ts";
import { spkiSha256 } from "../../src/pki/algorithm.ts";
import { freshDatabase } from "../support/database.ts";
import type { FreshDatabase } from "../support/database.ts";
import { shimAvailable, shimmed } from "../support/shim.ts";
import { freshToken } from "../support/token.ts";
import type { FreshToken } from "../support/token.ts";
import { childProcesses, until } from "../hsm/signing-token.ts";
import { openCustody, placeOf } from "./custody-world.ts";
import type { CustodyWorld, Place } from "./custody-world.ts";

let database: FreshDatabase;
let token: FreshToken;
let world: CustodyWorld;
beforeAll(async () => {
  [database, token] = await Promise.all([freshDatabase(), freshToken()]);
  world = await openCustody(placeOf(database, token));
});
afterAll(async () => {
  await world?.[Symbol.asyncDispose]();
  await Promise.all([database?.[Symbol.asyncDispose](), token?.[Symbol.asyncDispose]()]);
});

function request(name: string, changes: Partial<KeyPairRequest> = {}): KeyPairRequest {
  return { name, algorithm: "P-256", purposes: ["certificate", "crl", "binding"], namespace: "/", principal: "system", ...changes };
}

/** After the check of a start, every intent has its pair, and the token holds these pairs and nothing else. */
async function expectWhole({ custody }: CustodyWorld): Promise<void> {
  expect(await checkToken(custody)).toEqual({ unusable: [], unknown: [], pending: [] });
  const [open] = await custody.database.read((sql) => sql`select count(*)::integer as intents from key_pair where spki is null`);
  expect(open).toEqual({ intents: 0 });
  const pairs = await custody.database.transact((tx) => listKeyPairs(tx, custody.hsm.token));
  expect(pairs.length).toBeGreaterThan(0);
  expect((await custody.hsm.list()).toSorted()).toEqual(pairs.map(({ reference }) => reference.ckaId).toSorted());
  for (const { reference } of pairs) expect(await custody.hsm.find(reference.ckaId)).toEqual({ privateKeys: 1, publicKeys: 1 });
}

/** Somewhere in the time that a generation takes. */
function randomInstant(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, randomInt(0, 100)));
}

/** Process ids of the hosts that this process started. */
async function hostPids(): Promise<number[]> {
  return (await childProcesses()).filter(({ command }) => command.includes("host.ts")).map(({ pid }) => pid);
}

type Process = {
  readonly child: ChildProcess;
  readonly ready: Promise<void>;
  readonly line: Promise<string | undefined>;
  readonly ended: Promise<void>;
};

/** Another process that generates a key. */
function inProcess(place: Place, wanted: KeyPairRequest): Process {
  const program = fileURLToPath(new URL("generate-child.ts", import.meta.url));
  const child = spawn(process.execPath, [program, JSON.stringify({ place, request: wanted })], { stdio: ["ignore", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout });
  const ready = Promise.withResolvers<void>();
  const line = Promise.withResolvers<string | undefined>();
  lines.on("line", (text) => (text === "ready" ? ready.resolve() : line.resolve(text)));
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  lines.on("close", () => (ready.resolve(), line.resolve(undefined)));
  return { child, ready: ready.promise, line: line.promise, ended };
}

test("a key is recorded with its SPKI, its evidence, its reservation and one audit record (PK-30)", async () => {
  const keyPair = await generateKeyPair(world.custody, request("issuing-1", { principal: "token:7" }));
  const { ckaId } = keyPair.reference;
  expect(await world.custody.hsm.find(ckaId)).toEqual({ privateKeys: 1, publicKeys: 1 });
  expect(keyPair.reference.spkiSha256).toBe(spkiSha256(keyPair.spki));
  expect(keyPair.evidence).toMatchObject({
    "private.CKA_LABEL": "issuing-1 [certificate,crl,binding]",
    "private.CKA_EXTRACTABLE": "false",
  });
  const rows = await world.custody.database.read(
    (sql) =>
      sql`select a.bytes from audit_record a, reserved_key r where encode(r.spki_sha256, 'hex') = ${keyPair.reference.spkiSha256} and r.kind = 'authority'`,
  );
  const records = rows
    .map(({ bytes }) => JSON.parse(Buffer.from(bytes).toString("utf8")))
    .filter((record) => record.object?.ckaId === ckaId);
  expect(records).toEqual([
    expect.objectContaining({ operation: "key.generate", outcome: "success", principal: "token:7", namespace: "/", node: "test" }),
  ]);
});

test("a name stands for one key for ever: asked again, it is the same; asked otherwise, it is refused (PK-30)", async () => {
  const first = await generateKeyPair(world.custody, request("twice"));
  expect(await generateKeyPair(world.custody, request("twice"))).toEqual(first);
  const others: Partial<KeyPairRequest>[] = [{ algorithm: "P-384" }, { purposes: ["subordinate", "binding"] }, { namespace: "/other" }];
  for (const changes of others) {
    await expect(generateKeyPair(world.custody, request("twice", changes))).rejects.toMatchObject({ code: "refusedToStart" });
  }
  expect(await world.custody.database.transact((tx) => readKeyPair(tx, "twice"))).toEqual(first);
});

test.for(["P-384", "RSA-2048"] as const)("a %s key is generated and bound (PK-31)", async (algorithm) => {
  const keyPair = await generateKeyPair(world.custody, request(`of-${algorithm.toLowerCase()}`, { algorithm }));
  expect(await bindKeyPair(world.custody, keyPair)).toBeUndefined();
});

test("four processes that ask for one key at once get the same one, and the token holds one pair (PK-30)", async () => {
  const before = await world.custody.hsm.list();
  const processes = Array.from({ length: 4 }, () => inProcess(placeOf(database, token), request("shared")));
  const answers = await Promise.all(processes.map(({ line }) => line));
  await Promise.all(processes.map(({ ended }) => ended));
  const standing = await world.custody.database.transact((tx) => readKeyPair(tx, "shared"));
  expect(answers.map((answer) => JSON.parse(answer ?? "null"))).toEqual(Array(4).fill(standing?.reference));
  const added = (await world.custody.hsm.list()).filter((ckaId) => !before.includes(ckaId));
  expect(added).toEqual([standing?.reference.ckaId]);
}, 60_000);

test("a recorded key that the token no longer holds as it was is unusable, and told by name; strangers are told and left alone (PK-31)", async () => {
  const [kept, gone, exchanged] = await Promise.all(
    ["kept", "gone", "exchanged"].map((name) => generateKeyPair(world.custody, request(name))),
  );
  if (!kept || !gone || !exchanged) throw new Error("a key is missing");
  const { hsm, database: records } = world.custody;
  await hsm.destroy(gone.reference.ckaId);
  await hsm.destroy(exchanged.reference.ckaId);
  await hsm.generate({
    ckaId: exchanged.reference.ckaId,
    name: "exchanged",
    algorithm: "P-256",
    purposes: ["certificate", "crl", "binding"],
  });
  const stranger = "5a".repeat(16);
  await hsm.generate({ ckaId: stranger, name: "stranger", algorithm: "P-256", purposes: ["binding"] });

  expect(await checkToken(world.custody)).toEqual({
    unusable: [
      expect.objectContaining({ name: "exchanged", kind: "different" }),
      expect.objectContaining({ name: "gone", kind: "absent" }),
    ],
    unknown: [stranger],
    pending: [],
  });
  expect(world.events.told).toEqual(
    expect.arrayContaining([
      expect.objectContaining({
        event: "key.unusable",
        fields: expect.objectContaining({ name: "gone", detail: expect.stringContaining("no pair") }),
      }),
      expect.objectContaining({
        event: "key.unusable",
        fields: expect.objectContaining({ name: "exchanged", detail: expect.stringContaining("not the recorded one") }),
      }),
      expect.objectContaining({ event: "key.unknown", fields: expect.objectContaining({ ckaId: stranger }) }),
    ]),
  );
  expect(await hsm.find(stranger)).toEqual({ privateKeys: 1, publicKeys: 1 });
  expect(await bindKeyPair(world.custody, kept)).toBeUndefined();
  expect((await records.transact((tx) => listKeyPairs(tx, hsm.token))).map(({ name }) => name)).toContain("kept");
  await hsm.destroy(stranger);
  await hsm.destroy(exchanged.reference.ckaId);
});

describe.runIf(shimAvailable)("a generation that is interrupted", () => {
  test("ten hosts and three whole processes killed at random instants leave nothing half-made after the next start (PK-32)", async () => {
    await using records = await freshDatabase();
    await using keys = await freshToken();
    const shim = shimmed(keys);
    shim.fault({ function: "C_GenerateKeyPair", fault: "latency", argument: 20 });
    const processes = [1, 2, 3].map((each) => inProcess(placeOf(records, keys, shim.module), request(`process-${each}`)));
    await Promise.all(
      processes.map(async ({ child, ready, ended }) => {
        await ready;
        await randomInstant();
        child.kill("SIGKILL");
        await ended;
      }),
    );
    {
      const others = await hostPids();
      await using broken = await openCustody(placeOf(records, keys, shim.module));
      for (let kill = 0; kill < 10; kill += 1) {
        await until(async () => (await hostPids()).length > others.length);
        const generated = generateKeyPair(broken.custody, request(`host-${kill}`)).catch((error: unknown) => error);
        await randomInstant();
        for (const pid of await hostPids()) if (!others.includes(pid)) process.kill(pid, "SIGKILL");
        await generated;
      }
    }
    shim.fault();
    await using next = await openCustody(placeOf(records, keys));
    // The kills bite: generations stand open.
    expect((await next.custody.database.transact((tx) => listIntents(tx, keys.label))).length).toBeGreaterThan(0);
    await expectWhole(next);
  }, 120_000);

  test("half a pair is destroyed and made anew; a pair that nobody learned of is taken up; without administration both are told and left (PK-32, PT-21)", async () => {
    await using records = await freshDatabase();
    await using keys = await freshToken();
    const shim = shimmed(keys);
    for (const fault of ["half", "die"] as const) {
      shim.fault({ function: "C_GenerateKeyPair", fault, times: 1 });
      await using broken = await openCustody(placeOf(records, keys, shim.module));
      await expect(generateKeyPair(broken.custody, request(`of-${fault}`))).rejects.toMatchObject({ code: "hsmUnavailable" });
    }
    shim.fault();
    {
      await using signing = await openCustody(placeOf(records, keys), false);
      const { pending, ...rest } = await checkToken(signing.custody);
      expect([pending.toSorted(), rest]).toEqual([["of-die", "of-half"], { unusable: [], unknown: [] }]);
      expect(signing.events.told).toContainEqual(
        expect.objectContaining({ level: "warn", event: "key.pending", fields: { token: keys.label, name: "of-half" } }),
      );
    }
    await using next = await openCustody(placeOf(records, keys));
    const [half, whole] = await next.custody.database.transact((tx) => listIntents(tx, keys.label));
    if (!half || !whole) throw new Error("an intent is missing");
    expect(await next.custody.hsm.find(half.ckaId)).toEqual({ privateKeys: 0, publicKeys: 1 });
    expect(await next.custody.hsm.find(whole.ckaId)).toEqual({ privateKeys: 1, publicKeys: 1 });

    await expectWhole(next);
    const taken = await next.custody.database.transact((tx) => readKeyPair(tx, "of-die"));
    const anew = await next.custody.database.transact((tx) => readKeyPair(tx, "of-half"));
    expect([taken?.reference.ckaId === whole.ckaId, anew?.reference.ckaId === half.ckaId]).toEqual([true, false]);
  }, 60_000);
});
