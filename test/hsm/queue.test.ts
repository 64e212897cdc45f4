import * as fc from "fast-check";
import { expect, test } from "vitest";

import { Breaker } from "../../src/hsm/breaker.ts";
import { PriorityQueue } from "../../src/hsm/queue.ts";

test("revocation status waits for nobody, issuing for status alone, background for both (PK-28)", () => {
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

test("a full queue takes nothing more, but takes back what was served in vain (PK-28)", () => {
  const queue = new PriorityQueue<string>(2);
  expect([queue.add("a", "issue"), queue.add("b", "background"), queue.add("c", "status")]).toEqual([true, true, false]);
  queue.addFirst("again", "issue");
  expect(queue.length).toBe(3);
  expect(queue.drain()).toEqual(["again", "a", "b"]);
  expect([queue.length, queue.next()]).toEqual([0, undefined]);
});

test("what was removed while it waited is never served (PK-28)", () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ priority: fc.constantFrom("status", "issue", "background"), removed: fc.boolean() }), { maxLength: 40 }),
      (entries) => {
        const queue = new PriorityQueue<number>(100);
        entries.forEach(({ priority }, index) => queue.add(index, priority));
        entries.forEach(({ removed }, index) => removed && queue.remove(index));
        const served: number[] = [];
        for (let item = queue.next(); item !== undefined; item = queue.next()) served.push(item);
        const expected = (["status", "issue", "background"] as const).flatMap((wanted) =>
          entries.flatMap(({ priority, removed }, index) => (priority === wanted && !removed ? [index] : [])),
        );
        expect(served).toEqual(expected);
      },
    ),
  );
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
