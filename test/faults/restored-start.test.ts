import { readFile, rename, rm, symlink } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { releaseCrls } from "../../src/ca/restored-crl.ts";
import { openDatabase } from "../../src/database/connect.ts";
import { exchange } from "../http/exchange.ts";
import { opensslCrl, standing } from "../support/crl-world.ts";
import { recordedEvents } from "../support/events.ts";
import { type Ground, standingGround, startService } from "../support/service.ts";

/** A hierarchy whose database is from before anything was published in `lost`, and whose directory has what was. */
const lost = "issuing-1/0";
let ground: Ground;
let before: Buffer;
const numberOf = async (der: Uint8Array) => BigInt(/CRL Number: \s+(\d+)/.exec((await opensslCrl(der)).text)?.[1] ?? "0");
beforeAll(async () => {
  ground = await standingGround({ CHANCERY_CRL_SHARDS: "mtls=1" });
  await using first = await startService({}, ground);
  before = (await standing(first.service.ca, lost)).der;
  await first[Symbol.asyncDispose]();
  await using database = await openDatabase({ url: ground.databaseUrl, poolSize: 1 }, { events: recordedEvents() });
  await database.read(
    (sql) => sql`
      update crl_slot set publication = null, number = null, this_update = null, next_update = null, entries = null, octets = null,
        sha256 = null, snapshot = null where path = ${lost}`,
  );
}, 60_000);
afterAll(() => ground[Symbol.asyncDispose]());

test("a start is refused while a CRL cannot be read that may be newer than the database, and leaves it as it is (XR-11)", async () => {
  const file = join(ground.config.crlDir, `${lost}.crl`);
  await rename(file, `${file}.aside`);
  await symlink("0.crl", file);
  await expect(startService({}, ground)).rejects.toMatchObject({
    code: "refusedToStart",
    detail: expect.stringMatching(/0\.crl.*docs\/OPERATIONS\.md, After a restore/),
  });
  await rm(file);
  await rename(`${file}.aside`, file);
  expect(await readFile(file)).toEqual(before);
});

test("a CRL whose slot was first published in after the backup is not followed by a first one at the start, but held (XR-11)", async () => {
  const events = recordedEvents();
  await using restored = await startService({ events: () => events }, ground);
  const served = async () => (await exchange(restored.service.listeners.status, { path: `/crl/${lost}.crl` })).body;
  expect(await served()).toEqual(before);
  expect(events.told).toContainEqual(
    expect.objectContaining({ event: "crl.held", fields: expect.objectContaining({ crl: lost, published: "none" }) }),
  );
  await restored.service.jobs.find(({ name }) => name === "crl")?.act(new AbortController().signal);
  expect(await served()).toEqual(before);

  await releaseCrls(restored.service.ca, { authority: "issuing-1", principal: "host:test", reason: "test" });
  await expect.poll(async () => (await served()).equals(before), { timeout: 30_000, interval: 500 }).toBe(false);
  expect(await numberOf(await served())).toBeGreaterThan(await numberOf(before));
});
