import * as fc from "fast-check";
import { expect, test } from "vitest";

import { Breaker } from "../../src/hsm/breaker.ts";
import { PriorityQueue } from "../../src/hsm/queue.ts";

test("of a few revocation status waits for nobody, issuing for status alone, background for both (PK-28)", () => {
  const queue = new PriorityQueue<string>(20_000);
  for (let index = 0; index < 10_000; index += 1) queue.add(`background ${index}`, "background");
  queue.add("issue 1", "issue");
  queue.add("status 1", "status");
  queue.add("issue 2", "issue");
  expect([queue.next(), queue.next(), queue.next(), queue.next(), queue.next()]).toEqual([
    "status 1",
    "issue 1",
    "issue 2",
    "background 0",
    "background 1",
  ]);
});

const classes = ["crl", "status", "issue", "background"] as const;

test("a class that is full takes nothing more, but takes back what was served in vain; the others have room (PK-28)", () => {
  const queue = new PriorityQueue<string>(2);
  expect(["a", "b", "c"].map((item) => queue.add(item, "status"))).toEqual([true, true, false]);
  queue.addFirst("again", "status");
  expect([queue.add("d", "issue"), queue.add("e", "crl"), queue.add("f", "background")]).toEqual([true, true, true]);
  expect(queue.length).toBe(6);
  expect(queue.drain()).toEqual(["e", "again", "a", "b", "d", "f"]);
  expect([queue.length, queue.next()]).toEqual([0, undefined]);
});

test("what was removed while it waited is never served (PK-28)", () => {
  fc.assert(
    fc.property(fc.array(fc.record({ priority: fc.constantFrom(...classes), removed: fc.boolean() }), { maxLength: 40 }), (entries) => {
      const queue = new PriorityQueue<number>(100);
      entries.forEach(({ priority }, index) => queue.add(index, priority));
      entries.forEach(({ removed }, index) => removed && queue.remove(index));
      const served: number[] = [];
      for (let item = queue.next(); item !== undefined; item = queue.next()) served.push(item);
      // Each class in the order of its coming, whole.
      for (const wanted of classes) {
        const expected = entries.flatMap(({ priority, removed }, index) => (priority === wanted && !removed ? [index] : []));
        expect(served.filter((index) => entries[index]?.priority === wanted)).toEqual(expected);
      }
      expect(served.length).toBe(entries.filter(({ removed }) => !removed).length);
    }),
  );
});

/** Of each class the most that were served of others, in a row, while one of it waited. */
const longestWait = { crl: 3, status: 6, issue: 6, background: 33 };

test("whatever floods the queue, no class waits for more than a few of the others (PK-28)", () => {
  const arrivals = fc.array(
    fc.record({ priority: fc.constantFrom(...classes), count: fc.integer({ min: 0, max: 60 }), served: fc.integer({ min: 0, max: 60 }) }),
    { maxLength: 30 },
  );
  fc.assert(
    fc.property(arrivals, (steps) => {
      const queue = new PriorityQueue<{ readonly priority: (typeof classes)[number] }>(100_000);
      const left = { crl: 0, status: 0, issue: 0, background: 0 };
      const waited = { crl: 0, status: 0, issue: 0, background: 0 };
      const serve = () => {
        const item = queue.next();
        if (item === undefined) return false;
        left[item.priority] -= 1;
        for (const each of classes) {
          waited[each] = each === item.priority || left[each] === 0 ? 0 : waited[each] + 1;
          expect(waited[each]).toBeLessThanOrEqual(longestWait[each]);
        }
        return true;
      };
      for (const { priority, count, served } of steps) {
        for (let index = 0; index < count; index += 1) queue.add({ priority }, priority);
        left[priority] += count;
        for (let index = 0; index < served; index += 1) serve();
      }
      while (serve());
    }),
  );
});

test("under a flood of OCSP every fifth signature is one of issuing, and every CRL is first (PK-28)", () => {
  const queue = new PriorityQueue<{ readonly priority: string }>(1_000);
  for (let index = 0; index < 1_000; index += 1) queue.add({ priority: "status" }, "status");
  for (let index = 0; index < 3; index += 1) queue.add({ priority: "issue" }, "issue");
  const next = () => queue.next()?.priority;
  const served = Array.from({ length: 15 }, next);
  expect(served.map((priority, index) => (priority === "issue" ? index : -1)).filter((index) => index >= 0)).toEqual([4, 9, 14]);
  queue.add({ priority: "crl" }, "crl");
  expect(next()).toBe("crl");
});

test("the breaker opens after three failures in a row, lets one probe through a second, and closes on a success (PK-42)", () => {
  const states: string[] = [];
  const breaker = new Breaker((state) => states.push(state));
  breaker.failed(0);
  breaker.failed(1);
  breaker.succeeded();
  breaker.failed(2);
  breaker.failed(3);
  expect([breaker.open, breaker.admits(4)]).toEqual([false, true]);
  breaker.failed(5);
  expect([breaker.open, breaker.admits(6), breaker.admits(1004), breaker.admits(1005), breaker.admits(1006), breaker.admits(2005)]).toEqual(
    [true, false, false, true, false, true],
  );
  breaker.failed(2006);
  breaker.succeeded();
  expect([breaker.open, breaker.admits(2007), states]).toEqual([false, true, ["opened", "closed"]]);
});
