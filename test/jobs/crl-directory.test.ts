import { execFile } from "node:child_process";
import { lstat, mkdir, readFile, rename, rm, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { publishCrl } from "../../src/ca/publish-crl.ts";
import { readCrlHolds, releaseCrls } from "../../src/ca/restored-crl.ts";
import type { ServedCrl } from "../../src/ca/served-crl.ts";
import { type CrlDirectory, openCrlDirectory } from "../../src/jobs/crl-directory.ts";
import { type CrlGround, crlGround, issueLeaf, opensslCrl, revokeLeaf, standing } from "../support/crl-world.ts";
import { openFiles } from "../support/open-files.ts";
import { rewritten } from "../support/rewritten-statement.ts";

let crls: CrlGround;
let path: string;
let directory: CrlDirectory;
beforeAll(async () => {
  crls = await crlGround({ mtls: 1 });
});
afterAll(() => crls[Symbol.asyncDispose]());
beforeEach(async () => {
  path = join(crls.ground.directory, `crl-${Math.round(performance.now())}`);
  directory = await openCrlDirectory(crls.ca, path);
  await directory.refresh();
  return () => directory[Symbol.asyncDispose]();
});

const publishNext = async (): Promise<void> => {
  crls.clock.aheadSeconds += 1;
  expect(await publishCrl(crls.ca, "issuing-1")).toBeDefined();
};

/** The database is as it was when this CRL of issuing-1 was the last one: as after a restore of a backup. */
const restored = async (kept: Awaited<ReturnType<typeof standing>>): Promise<void> => {
  const { database } = crls.ca;
  const { publication: newest } = await standing(crls.ca);
  if (newest === kept.publication) return;
  await database.read((sql) => sql`alter table crl_slot disable trigger crl_slot_order`);
  await database.read(
    (sql) => sql`
      update crl_slot set publication = ${kept.publication}, number = ${String(kept.number)}, this_update = ${kept.thisUpdate.toISOString()},
        next_update = ${kept.nextUpdate.toISOString()}, entries = ${kept.entries}, octets = ${kept.octets},
        sha256 = ${Buffer.from(kept.sha256, "hex")}, previous = ${newest} where path = 'issuing-1'`,
  );
  await database.read((sql) => sql`alter table crl_slot enable trigger crl_slot_order`);
};

/** A CRL that is published in a slot now: newer than what stands in every other; the root's is the one that there is. */
const nextOf = async (slot: string) => {
  crls.clock.aheadSeconds += 1;
  if (slot !== "root-1") expect(await publishCrl(crls.ca, slot)).toBeDefined();
  return await standing(crls.ca, slot);
};

const octetsOf = async (crl: ServedCrl | undefined): Promise<Buffer> => {
  if (!crl) throw new Error("nothing is served");
  return crl.body instanceof Uint8Array ? Buffer.from(crl.body) : Buffer.concat(await Array.fromAsync(crl.body()));
};

/** Revocations as they are after a year of them: enough for a CRL that is not kept in memory. */
const many = async (count: number): Promise<void> => {
  await crls.ca.database.transactAlone(
    60_000,
    ({ sql }) => sql`
      insert into revocation (authority, serial, revoked_at, reason, not_after)
      select 'issuing-1', decode('4' || substr(md5(g::text), 2), 'hex'), '2026-01-01T00:00:00Z', 4, '2090-01-01T00:00:00Z'
      from generate_series(1, ${count}) g`,
  );
};

describe("the directory of CRLs", () => {
  test("has each as a file, under the path that its URL has: what a web server serves is what the service serves", async () => {
    for (const slot of ["issuing-1", "issuing-1/0", "root-1"]) {
      const { der } = await standing(crls.ca, slot);
      expect(await readFile(join(path, `${slot}.crl`))).toEqual(der);
      expect(await octetsOf(directory.crl(slot))).toEqual(der);
      expect((await stat(join(path, `${slot}.crl`))).mode & 0o777).toBe(0o644);
    }
    expect(directory.crl("issuing-1/1")).toBeUndefined();
  });

  test("follows what is published, by whichever instance", async () => {
    await publishNext();
    const { der, number } = await standing(crls.ca);
    expect(directory.crl("issuing-1")?.number).toBeLessThan(number);
    await directory.refresh();
    expect(directory.crl("issuing-1")?.number).toBe(number);
    expect(await readFile(join(path, "issuing-1.crl"))).toEqual(der);
  });

  test("puts back a file that is gone or was cut", async () => {
    const file = join(path, "issuing-1.crl");
    const { der } = await standing(crls.ca);
    await rm(file);
    await directory.refresh();
    expect(await readFile(file)).toEqual(der);
    await writeFile(file, der.subarray(0, 100));
    await directory.refresh();
    expect(await readFile(file)).toEqual(der);
  });

  test("that cannot be written leaves what is short served from memory, and says so", async () => {
    const file = join(crls.ground.directory, "a-file");
    await writeFile(file, "");
    await using stuck = await openCrlDirectory(crls.ca, join(file, "crl"));
    await expect(stuck.refresh()).rejects.toThrow(/ENOTDIR|EEXIST/);
    expect(await octetsOf(stuck.crl("issuing-1"))).toEqual((await standing(crls.ca)).der);
    expect(stuck.crl("root-1")).toBeDefined();
  });

  test("goes not back to an older CRL where the database was restored: the file of before stays until a newer one is published, once somebody has agreed (XC-14, XR-11)", async () => {
    const kept = await standing(crls.ca);
    await publishNext();
    await directory.refresh();
    const newest = await standing(crls.ca);
    await restored(kept);
    await using started = await openCrlDirectory(crls.ca, path);
    for (const instance of [directory, started]) {
      await instance.refresh();
      expect(instance.crl("issuing-1")).toMatchObject({
        number: newest.number,
        thisUpdate: newest.thisUpdate,
        nextUpdate: newest.nextUpdate,
      });
      expect(await octetsOf(instance.crl("issuing-1"))).toEqual(newest.der);
    }
    crls.clock.aheadSeconds += 1;
    expect(await publishCrl(crls.ca, "issuing-1")).toBeUndefined();
    await releaseCrls(crls.ca, { authority: "issuing-1", principal: "host:test", reason: "test" });
    await publishNext();
    await started.refresh();
    expect(started.crl("issuing-1")?.number).toBeGreaterThan(newest.number);
  });

  test("takes no full CRL over before its shards: while a newer one's file cannot be read, both are held and nothing is recorded (XR-11)", async () => {
    const [kept, leaf] = [await standing(crls.ca), await issueLeaf(crls.ca, "mtls")];
    const at = async (slot: string) => {
      const holds = await readCrlHolds(crls.ca);
      return holds.filter((hold) => hold.path === slot).map(({ takenOver }) => takenOver);
    };
    await revokeLeaf(crls.ca, leaf);
    await publishNext();
    await directory.refresh();
    await restored(kept);
    await crls.ca.database.read((sql) => sql`alter table revocation disable trigger user`);
    await crls.ca.database.read((sql) => sql`delete from revocation where serial = ${Buffer.from(leaf.serial, "hex")}`);
    await crls.ca.database.read((sql) => sql`alter table revocation enable trigger user`);

    const file = join(path, "issuing-1/0.crl");
    await rename(file, `${file}.aside`);
    await symlink("0.crl", file);
    await using started = await openCrlDirectory(crls.ca, path);
    await expect(started.look()).rejects.toMatchObject({ code: "ELOOP" });
    expect(await at("issuing-1")).toEqual([undefined]);
    expect((await lstat(file)).isSymbolicLink()).toBe(true);
    await rename(`${file}.aside`, file);
    await started.look();
    expect(await at("issuing-1")).toEqual([1]);
    await releaseCrls(crls.ca, { authority: "issuing-1", principal: "host:test", reason: "test" });
  });

  test.for([
    { name: "bytes that are no CRL", planted: async () => Buffer.from("not a CRL") },
    { name: "a CRL of another authority", planted: async () => (await nextOf("root-1")).der },
    { name: "a newer CRL of another scope", planted: async () => (await nextOf("issuing-1/0")).der },
    {
      name: "a newer CRL whose signature is not its authority's",
      planted: async () => {
        const { der } = await nextOf("issuing-1");
        const last = der.length - 1;
        der.writeUInt8(der.readUInt8(last) ^ 1, last);
        return der;
      },
    },
  ])("takes no file for a CRL of a slot that its authority did not sign for it: $name is told, and replaced", async ({ planted }) => {
    const file = join(path, "issuing-1.crl");
    const before = await standing(crls.ca);
    await writeFile(file, await planted());
    await restored(before);
    const told = crls.events.told.length;
    await using started = await openCrlDirectory(crls.ca, path);
    await started.refresh();
    expect(await octetsOf(started.crl("issuing-1"))).toEqual(before.der);
    expect(await readFile(file)).toEqual(before.der);
    expect(crls.events.told.slice(told)).toMatchObject([{ level: "error", event: "crl.file.refused", fields: { crl: "issuing-1" } }]);
  });

  test("replaces no file that it cannot open, which may have a newer CRL: it is told, and what stands beside it goes on", async () => {
    const file = join(path, "issuing-1.crl");
    await rm(file);
    await symlink("issuing-1.crl", file);
    await using started = await openCrlDirectory(crls.ca, path);
    await expect(started.refresh()).rejects.toMatchObject({ code: "ELOOP" });
    expect((await lstat(file)).isSymbolicLink()).toBe(true);
    expect(started.crl("issuing-1")).toBeUndefined();
    expect(started.crl("root-1")).toBeDefined();
  });

  test("takes nothing but a file for one: a named pipe under its name holds up nobody, and is replaced", async () => {
    const file = join(path, "issuing-1.crl");
    await rm(file);
    await promisify(execFile)("mkfifo", [file]);
    await using started = await openCrlDirectory(crls.ca, path);
    await started.refresh();
    expect(await readFile(file)).toEqual((await standing(crls.ca)).der);
  });

  test("leaves no file open that it could not judge, since the database was away", async () => {
    const elsewhere = join(path, "elsewhere");
    await mkdir(elsewhere);
    await writeFile(join(elsewhere, "issuing-1.crl"), Buffer.alloc(1024 * 1024 + 1, "x"));
    const away = rewritten(crls.ca.database, [{ find: "select certificate from authority", put: "select nothing from authority" }]);
    await using started = await openCrlDirectory({ ...crls.ca, database: away }, elsewhere);
    await expect(started.refresh()).rejects.toThrow("nothing");
    expect(await openFiles(elsewhere)).toEqual([]);
  });

  test("puts back a file that became another of the same length", async () => {
    const file = join(path, "issuing-1.crl");
    const { der } = await standing(crls.ca);
    await writeFile(file, Buffer.alloc(der.length, "x"));
    await directory.refresh();
    expect(await readFile(file)).toEqual(der);
    const { mtimeMs } = await stat(file);
    await directory.refresh();
    expect((await stat(file)).mtimeMs).toBe(mtimeMs);
  });
});

describe("a CRL of more than a megabyte", () => {
  beforeAll(async () => {
    await many(30_000);
    await publishNext();
  });

  test("is published whole, and openssl reads every entry", async () => {
    const { der, whole, entries } = await standing(crls.ca);
    expect([whole, entries >= 30_000]).toEqual([true, true]);
    expect(der.length).toBeGreaterThan(1024 * 1024);
    const { verified, serials } = await opensslCrl(der, join(crls.ground.directory, "chain.pem"));
    expect([verified, serials.length, new Set(serials).size]).toEqual([true, entries, entries]);
  });

  test("lies in its file alone, and whoever began to read the old one reads it to its end", async () => {
    const before = await standing(crls.ca);
    const served = directory.crl("issuing-1");
    expect(served?.body).toBeInstanceOf(Function);
    const body = served?.body;
    if (typeof body !== "function") throw new Error("it is in memory");
    const reader = body()[Symbol.asyncIterator]();
    const pieces = [(await reader.next()).value ?? new Uint8Array()];
    await publishNext();
    await directory.refresh();
    for (let next = await reader.next(); !next.done; next = await reader.next()) pieces.push(next.value);
    expect(Buffer.concat(pieces)).toEqual(before.der);
    const after = await standing(crls.ca);
    expect(await octetsOf(directory.crl("issuing-1"))).toEqual(after.der);
    expect(after.sha256).not.toBe(before.sha256);
  });

  test("is taken from its file at the next start, and written again where that is gone", async () => {
    await using started = await openCrlDirectory(crls.ca, path);
    await started.refresh();
    const { der } = await standing(crls.ca);
    await rm(join(path, "issuing-1.crl"));
    await started.refresh();
    expect(await readFile(join(path, "issuing-1.crl"))).toEqual(der);
    expect(await octetsOf(started.crl("issuing-1"))).toEqual(der);
  });

  test.for([
    { name: "swept", change: "delete from crl_part where publication = $1 and position > 0" },
    {
      name: "altered in one octet",
      change: "update crl_part set bytes = set_byte(bytes, 5, 255 - get_byte(bytes, 5)) where publication = $1 and position = 1",
    },
  ])("whose parts in the database are $name is not written: the file before stays, and is served", async ({ change }) => {
    const before = await standing(crls.ca);
    await publishNext();
    const { publication } = await standing(crls.ca);
    await crls.ca.database.read((sql) => sql`create table kept as select * from crl_part where publication = ${publication}`);
    await crls.ca.database.read((sql) => sql.unsafe(change, [publication]));
    await expect(directory.refresh()).rejects.toThrow("not read as it was published");
    expect(await readFile(join(path, "issuing-1.crl"))).toEqual(before.der);
    expect(await octetsOf(directory.crl("issuing-1"))).toEqual(before.der);

    await crls.ca.database.read((sql) => sql`delete from crl_part where publication = ${publication}`);
    await crls.ca.database.read((sql) => sql`insert into crl_part select * from kept`);
    await crls.ca.database.read((sql) => sql`drop table kept`);
    await directory.refresh();
    expect(await readFile(join(path, "issuing-1.crl"))).not.toEqual(before.der);
    expect(await octetsOf(directory.crl("issuing-1"))).toEqual((await standing(crls.ca)).der);
  });
});
