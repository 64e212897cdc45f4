import { afterAll, beforeAll, expect, test } from "vitest";
import type { Ca } from "../../src/ca/ca.ts";
import { publishCrl } from "../../src/ca/publish-crl.ts";
import { type CrlGround, crlGround, standing } from "../support/crl-world.ts";
import { holdBeforeFaults } from "../support/emitted-status.ts";
import { rewritten } from "../support/rewritten-statement.ts";

let crls: CrlGround;
beforeAll(async () => {
  crls = await crlGround();
});
afterAll(() => crls[Symbol.asyncDispose]());

/** Numbers of a slot's publications in the order in which they came to stand. */
const numbers = async (): Promise<bigint[]> => {
  const rows = await crls.ca.database.read(
    (sql) => sql<{ number: string }[]>`
      select convert_from(bytes, 'UTF8')::jsonb -> 'object' ->> 'number' as number from audit_record
      where convert_from(bytes, 'UTF8')::jsonb ->> 'operation' = 'crl.publish'
        and convert_from(bytes, 'UTF8')::jsonb -> 'object' ->> 'crl' = 'issuing-1' order by transaction_id`,
  );
  return rows.map(({ number }) => BigInt(number));
};

const rounds = 20;

/** Both publish at once, again and again; says which numbers came to stand. */
const race = async (one: Ca, other: Ca): Promise<bigint[]> => {
  const before = (await numbers()).length;
  for (let round = 0; round < rounds; round++) {
    crls.clock.aheadSeconds += 1;
    await Promise.allSettled([publishCrl(one, "issuing-1"), publishCrl(other, "issuing-1")]);
  }
  return (await numbers()).slice(before);
};

const strictlyGrowing = (values: readonly bigint[]): boolean =>
  values.every((value, index) => index === 0 || value > (values[index - 1] ?? value));

test("of two instances that publish at once one does, and numbers strictly grow; with lease and compare-and-set taken away the same check finds the fault (XC-14, XC-20)", async () => {
  const guarded = await race(crls.ca, crls.other);
  expect(guarded.length).toBeGreaterThanOrEqual(rounds);
  expect(strictlyGrowing(guarded)).toBe(true);
  expect((await standing(crls.ca)).whole).toBe(true);

  await holdBeforeFaults(crls.ground);
  const unguarded = [
    { find: "and (lease_until is null or lease_until < clock_timestamp())", put: "" },
    { find: "and lease_owner = ?::uuid and fence = ?::bigint", put: "and (true or lease_owner = ?::uuid and fence = ?::bigint)" },
    { find: "and publication is not distinct from ?::uuid", put: "and (true or publication is not distinct from ?::uuid)" },
  ];
  const without = (ca: Ca): Ca => ({ ...ca, database: rewritten(ca.database, unguarded) });
  await crls.ca.database.read((sql) => sql`alter table crl_slot disable trigger crl_slot_order`);
  const wild = await race(without(crls.ca), without(crls.other));
  await crls.ca.database.read((sql) => sql`alter table crl_slot enable trigger crl_slot_order`);
  expect(strictlyGrowing(wild)).toBe(false);
});

test("one that lost its lease publishes nothing, though it has signed", async () => {
  const signed = Promise.withResolvers<void>();
  const goOn = Promise.withResolvers<void>();
  const hsm: Ca["hsm"] = new Proxy(crls.ca.hsm, {
    get(target, property) {
      const value: unknown = Reflect.get(target, property, target);
      if (property !== "signParts") return typeof value === "function" ? value.bind(target) : value;
      return async (...args: Parameters<Ca["hsm"]["signParts"]>) => {
        const signature = await target.signParts(...args);
        signed.resolve();
        await goOn.promise;
        return signature;
      };
    },
  });
  crls.clock.aheadSeconds += 1;
  const late = publishCrl({ ...crls.ca, hsm }, "issuing-1").catch((error: unknown) => error);
  try {
    await signed.promise;
    await crls.ca.database.read(
      (sql) => sql`update crl_slot set lease_until = clock_timestamp() - interval '1 second' where path = 'issuing-1'`,
    );
    crls.clock.aheadSeconds += 1;
    expect(await publishCrl(crls.other, "issuing-1")).toBeDefined();
  } finally {
    goOn.resolve();
  }
  const stands = await standing(crls.ca);
  expect(await late).toMatchObject({ code: "busy" });
  expect(await standing(crls.ca)).toEqual(stands);
});
