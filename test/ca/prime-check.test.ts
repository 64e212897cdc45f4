import { expect, test } from "vitest";
import { openPrimeCheck } from "../../src/ca/prime-check.ts";

/** A judge whose judgements are given by hand. */
function heldJudge() {
  const held: PromiseWithResolvers<boolean>[] = [];
  const judge = () => {
    const one = Promise.withResolvers<boolean>();
    held.push(one);
    return one.promise;
  };
  return { held, judge };
}

const key = Uint8Array.of(1);
const settled = () => new Promise((resolve) => setImmediate(resolve));

test("two keys are judged at a time, and the next when one of them is, failed or not (AJ-18)", async () => {
  const { held, judge } = heldJudge();
  const check = openPrimeCheck(judge);
  const checks = Array.from({ length: 5 }, () => check(key));
  const outcomes = Promise.allSettled(checks);
  await settled();
  expect(held).toHaveLength(2);
  held[0]?.resolve(true);
  await settled();
  expect(held).toHaveLength(3);
  held[1]?.reject(new Error("lost"));
  await settled();
  expect(held).toHaveLength(4);
  held[2]?.resolve(false);
  held[3]?.resolve(false);
  await settled();
  expect(held).toHaveLength(5);
  held[4]?.resolve(true);
  expect((await outcomes).map((outcome) => (outcome.status === "fulfilled" ? outcome.value : "failed"))).toEqual([
    true,
    "failed",
    false,
    false,
    true,
  ]);
  // All places are free again.
  void check(key);
  void check(key);
  await settled();
  expect(held).toHaveLength(7);
});

test("when 64 keys wait, another one is busy, and taken when one of them has had its turn (AN-4)", async () => {
  const { held, judge } = heldJudge();
  const check = openPrimeCheck(judge);
  for (let keys = 0; keys < 66; keys++) void check(key);
  await expect(check(key)).rejects.toMatchObject({ code: "busy" });
  held[0]?.resolve(false);
  await settled();
  void check(key);
  await expect(check(key)).rejects.toMatchObject({ code: "busy" });
});
