import { fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Ca } from "../../src/ca/ca.ts";
import { publishCrl } from "../../src/ca/publish-crl.ts";
import { publishDueCrls, sweepCrls } from "../../src/ca/publish-due-crls.ts";
import { type CrlGround, crlGround, issueLeaf, opensslCrl, revokeLeaf, standing } from "../support/crl-world.ts";
import { holdBeforeFaults } from "../support/emitted-status.ts";
import { crlPoints, failpoints } from "../support/failpoints.ts";

let crls: CrlGround;
let root: string;
beforeAll(async () => {
  crls = await crlGround();
  root = join(crls.ground.directory, "chain.pem");
});
afterAll(() => crls[Symbol.asyncDispose]());

/** The old CRL stands, or the new one; whichever it is, whole. */
const oneStands = async (before: Awaited<ReturnType<typeof standing>>): Promise<"old" | "new"> => {
  const after = await standing(crls.ca);
  expect(after.whole).toBe(true);
  expect((await opensslCrl(after.der, root)).verified).toBe(true);
  if (after.publication === before.publication) expect(after).toEqual(before);
  else expect(after.number).toBeGreaterThan(before.number);
  return after.publication === before.publication ? "old" : "new";
};

/** The lease of whoever is gone has ended. */
const leaseEnds = (): Promise<unknown> =>
  crls.ca.database.read(
    (sql) => sql`update crl_slot set lease_until = clock_timestamp() - interval '1 second' where lease_until is not null`,
  );

/** What was left behind is swept, and the next turn publishes what is due. */
const goesOn = async (serial: string): Promise<void> => {
  await leaseEnds();
  await sweepCrls(crls.ca);
  crls.clock.aheadSeconds += 1;
  await publishDueCrls(crls.ca);
  expect((await opensslCrl((await standing(crls.ca)).der)).serials).toContain(serial);
  const [left] = await crls.ca.database.read(
    (sql) =>
      sql<
        { count: number }[]
      >`select count(distinct publication)::integer as count from crl_part where publication in (select id from crl_publication where path = 'issuing-1')`,
  );
  expect(left?.count).toBeLessThanOrEqual(3);
};

const revoked = async (): Promise<string> => {
  const leaf = await issueLeaf(crls.ca);
  await revokeLeaf(crls.ca, leaf);
  crls.clock.aheadSeconds += 1;
  return leaf.serial;
};

describe("a publication that fails at any point it reaches leaves the old CRL or the new one, whole (XC-20)", () => {
  test("whichever write or signature fails, before it has its effect or after", async () => {
    const outcomes = new Set<string>();
    const reached = new Set<string>();
    for (let failing = 1; ; failing++) {
      const serial = await revoked();
      const before = await standing(crls.ca);
      let count = 0;
      const points = failpoints((point) => {
        count += 1;
        reached.add(point);
        if (count === failing) throw new Error(`failed at ${point}`);
      });
      const ca: Ca = { ...crls.ca, database: points.database(crls.ca.database), hsm: points.hsm(crls.ca.hsm) };
      const published = await publishCrl(ca, "issuing-1").catch(() => "failed");
      outcomes.add(await oneStands(before));
      await goesOn(serial);
      if (count < failing) {
        expect(published).not.toBe("failed");
        break;
      }
    }
    expect([...outcomes].toSorted()).toEqual(["new", "old"]);
    expect([...reached].toSorted()).toEqual([...crlPoints].toSorted());
  });

  test("kill -9 of the publisher at each point, T-CRASH", { timeout: 240_000 }, async () => {
    for (const point of crlPoints) {
      const serial = await revoked();
      const before = await standing(crls.ca);
      const child = fork(join(import.meta.dirname, "crl-child.ts"), [point, String(crls.clock.aheadSeconds)], {
        env: { ...process.env, ...crls.ground.env },
        execArgv: [],
      });
      const [, signal] = (await once(child, "exit")) as [number, string];
      expect(signal).toBe("SIGKILL");
      expect(await oneStands(before)).toBe(point === "publish:after" ? "new" : "old");
      await goesOn(serial);
    }
  });

  test("a check that would not see it fails: with the parts of the new CRL under the old one's row it is not whole", async () => {
    await holdBeforeFaults(crls.ground);
    const { publication } = await standing(crls.ca);
    const parts = await crls.ca.database.read(
      (sql) => sql`update crl_part set bytes = bytes || '\\x00' where publication = ${publication} and position = 0 returning position`,
    );
    expect(parts).toHaveLength(1);
    expect((await standing(crls.ca)).whole).toBe(false);
  });
});
