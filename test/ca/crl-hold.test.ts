import { expect, test } from "vitest";
import { recordCrlHold, recordCrlTakenOver } from "../../src/ca/crl-hold-store.ts";
import { publishCrl } from "../../src/ca/publish-crl.ts";
import { publishDueCrls } from "../../src/ca/publish-due-crls.ts";
import { releaseCrls } from "../../src/ca/restored-crl.ts";
import { crlGround, standing } from "../support/crl-world.ts";
import { failpoints } from "../support/failpoints.ts";
import { rewritten } from "../support/rewritten-statement.ts";

test.for([
  { name: "is not published", withoutLock: false },
  { name: "would be if nobody locked the slot first", withoutLock: true },
])("a CRL that was signed while its slot is being held $name (XR-11)", async ({ withoutLock }) => {
  await using crls = await crlGround();
  crls.ground.emitted.planted = withoutLock;
  const { ca, other, clock } = crls;
  clock.aheadSeconds += 1;
  await publishDueCrls(ca);
  const before = await standing(ca);
  clock.aheadSeconds += 2;

  const held = Promise.withResolvers<void>();
  const release = Promise.withResolvers<void>();
  const hold = { number: before.number + 1_000_000n, thisUpdate: before.thisUpdate, sha256: "00".repeat(32) };
  let holding: Promise<void> = Promise.resolve();
  const points = failpoints(async (point) => {
    if (point !== "signParts:after") return;
    holding = other.database.transact(async (tx) => {
      expect(await recordCrlHold(tx, "issuing-1", hold)).toBe(true);
      held.resolve();
      await release.promise;
    });
    await held.promise;
  });
  const lock = "select from crl_slot where path = ? for update";
  const database = withoutLock ? rewritten(ca.database, [{ find: lock, put: "select from crl_slot where path = ?" }]) : ca.database;
  const publishing = publishCrl({ ...ca, database, hsm: points.hsm(ca.hsm) }, "issuing-1").then(
    () => "published",
    () => "refused",
  );
  await held.promise;
  const waiting = async (): Promise<number> => {
    const rows = await other.database.read(
      (sql) =>
        sql`select from pg_stat_activity where wait_event_type = 'Lock' and query like '%crl_slot%' and datname = current_database()`,
    );
    return rows.length;
  };
  await expect.poll(waiting).toBe(1);
  release.resolve();
  await holding;
  expect(await publishing).toBe(withoutLock ? "published" : "refused");
  expect((await standing(ca)).number === before.number).toBe(!withoutLock);
});

test("once it is released the next CRL comes behind the one that was lost, in number and in time (XR-11)", async () => {
  await using crls = await crlGround();
  const { ca, clock } = crls;
  clock.aheadSeconds += 1;
  await publishDueCrls(ca);
  const before = await standing(ca);
  const hour = 3_600;
  const lost = { number: before.number + 1_000_000_000n, thisUpdate: new Date(before.thisUpdate.getTime() + hour * 1000) };
  await ca.database.transact((tx) => recordCrlHold(tx, "issuing-1", { ...lost, sha256: "00".repeat(32) }));
  await ca.database.transact((tx) => recordCrlTakenOver(tx, "issuing-1", { number: lost.number, count: 0 }));
  await releaseCrls(ca, { authority: "issuing-1", principal: "test", reason: "restored" });

  clock.aheadSeconds += 2;
  await expect(publishCrl(ca, "issuing-1")).rejects.toMatchObject({ code: "busy", detail: expect.stringContaining("clock") });
  expect((await standing(ca)).number).toBe(before.number);
  clock.aheadSeconds += hour;
  await publishCrl(ca, "issuing-1");
  const next = await standing(ca);
  expect(next.number > lost.number).toBe(true);
  expect(next.thisUpdate > lost.thisUpdate).toBe(true);
});
