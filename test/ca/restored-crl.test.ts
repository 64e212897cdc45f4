import { expect, test } from "vitest";
import { recordCrlHold } from "../../src/ca/crl-hold-store.ts";
import { publishCrl } from "../../src/ca/publish-crl.ts";
import { readCrlHolds, releaseCrls } from "../../src/ca/restored-crl.ts";
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
