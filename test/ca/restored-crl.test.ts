import { expect, test } from "vitest";
import { recordCrlHold } from "../../src/ca/crl-hold-store.ts";
import { listCrlSlots } from "../../src/ca/crl-store.ts";
import { publishCrl } from "../../src/ca/publish-crl.ts";
import { readCrlHolds, releaseCrls, takeOverCrl } from "../../src/ca/restored-crl.ts";
import { crlGround, standing } from "../support/crl-world.ts";

test("a CRL whose file is lost before it was taken over is released by who gives up what it lists, which is in the audit log (XR-11)", async () => {
  await using crls = await crlGround();
  const { ca } = crls;
  const { number, thisUpdate } = await standing(ca);
  const lost = { number: number + 1n, thisUpdate, sha256: "00".repeat(32) };
  expect(await ca.database.transact((tx) => recordCrlHold(tx, "issuing-1", lost))).toBe(true);
  const release = { authority: "issuing-1", principal: "host:test", reason: "its disk is gone" };
  await expect(releaseCrls(ca, release)).rejects.toMatchObject({ code: "busy", detail: expect.stringContaining("--without-take-over") });
  expect(await readCrlHolds(ca)).toHaveLength(1);

  expect(await releaseCrls(ca, { ...release, withoutTakeOver: true })).toMatchObject([{ path: "issuing-1", takenOver: undefined }]);
  expect(await readCrlHolds(ca)).toEqual([]);
  const rows = await ca.database.read((sql) => sql<{ bytes: Uint8Array }[]>`select bytes from audit_record`);
  const entries = rows.map(({ bytes }) => JSON.parse(Buffer.from(bytes).toString("utf8")) as Record<string, unknown>);
  expect(entries.filter(({ operation }) => operation === "crl.release")).toMatchObject([
    { principal: "host:test", object: { crl: "issuing-1", reason: "its disk is gone", withoutTakeOver: true } },
  ]);
  crls.clock.aheadSeconds += 5;
  expect((await publishCrl(ca, "issuing-1"))?.number).toBeGreaterThan(lost.number);
});

test.for([
  {
    name: "into the shard of its serial number where all divided profiles have as many",
    crlShards: { mtls: 4 },
    path: "issuing-1",
    shard: 2,
  },
  { name: "into none where they differ", crlShards: { mtls: 4, server: 3 }, path: "issuing-1", shard: null },
  { name: "into that of the shard's CRL", crlShards: { mtls: 4, server: 3 }, path: "issuing-1/1", shard: 1 },
])("a certificate that the database does not know comes from a CRL $name (XR-11)", async ({ crlShards, path, shard }) => {
  await using crls = await crlGround(crlShards);
  const { ca, clock } = crls;
  const serial = Buffer.from("4a000000000000000000000000000006", "hex");
  const scope = path === "issuing-1" ? null : 1;
  await ca.database.read(
    (sql) => sql`
      insert into revocation (authority, serial, revoked_at, reason, not_after, shard)
      values ('issuing-1', ${serial}, '2026-01-01T00:00:00Z', 4, '2090-01-01T00:00:00Z', ${scope})`,
  );
  clock.aheadSeconds += 2;
  await publishCrl(ca, path);
  const { der, ...published } = await standing(ca, path);
  expect(published.entries).toBe(1);
  await ca.database.read((sql) => sql`alter table revocation disable trigger user`);
  await ca.database.read((sql) => sql`delete from revocation`);
  await ca.database.read((sql) => sql`alter table revocation enable trigger user`);

  const slot = (await ca.database.read(listCrlSlots)).find((one) => one.path === path);
  if (!slot) throw new Error("there is no such slot");
  await takeOverCrl(ca, slot, { ...published, number: published.number + 1n, body: der });
  const rows = await ca.database.read((sql) => sql`select serial, shard from revocation`);
  expect(rows.map((row) => ({ ...row }))).toEqual([{ serial, shard }]);
});
