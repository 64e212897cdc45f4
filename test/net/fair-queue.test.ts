import { expect, test } from "vitest";

import { addressSlots } from "../../src/net/address-slots.ts";
import { FairQueue } from "../../src/net/fair-queue.ts";

const roomy = { runningPerTenant: 100, running: 100, waitingPerTenant: 100, waiting: 100 };

function drain(queue: FairQueue<string>): string[] {
  const items: string[] = [];
  for (let item = queue.next(); item !== undefined; item = queue.next()) items.push(item);
  return items;
}

test("tenants take turns: a long list delays another tenant by one item at a time", () => {
  const queue = new FairQueue<string>(roomy);
  for (const item of ["a1", "a2", "a3", "a4"]) queue.add("a", item);
  for (const item of ["b1", "b2"]) queue.add("b", item);
  queue.add("c", "c1");
  expect(drain(queue)).toEqual(["a1", "b1", "c1", "a2", "b2", "a3", "a4"]);
});

test("a tenant runs as much as it may, and all together as much as they may (AV-5)", () => {
  const queue = new FairQueue<string>({ ...roomy, runningPerTenant: 2, running: 3 });
  for (const item of ["a1", "a2", "a3"]) queue.add("a", item);
  for (const item of ["b1", "b2"]) queue.add("b", item);
  expect(drain(queue)).toEqual(["a1", "b1", "a2"]);
  expect([queue.running, queue.waiting]).toEqual([3, 2]);
  queue.finished("b");
  expect(drain(queue)).toEqual(["b2"]);
  queue.finished("b");
  expect(drain(queue)).toEqual([]);
  queue.finished("a");
  expect(drain(queue)).toEqual(["a3"]);
});

test("what waits is bounded, for a tenant and for all", () => {
  const queue = new FairQueue<string>({ ...roomy, waitingPerTenant: 2, waiting: 3 });
  expect(["a1", "a2", "a3"].map((item) => queue.add("a", item))).toEqual([true, true, false]);
  expect(["b1", "b2"].map((item) => queue.add("b", item))).toEqual([true, false]);
  expect([queue.remove("a", "a1"), queue.remove("a", "a1"), queue.remove("c", "c1")]).toEqual([true, false, false]);
  expect(queue.add("b", "b2")).toBe(true);
  expect(drain(queue)).toEqual(["a2", "b1", "b2"]);
  expect(queue.waiting).toBe(0);
});

test("four connections at an address, the fifth when one leaves, whoever waits longest first (AV-5)", async () => {
  const slots = addressSlots(4);
  const { signal } = new AbortController();
  const four = await Promise.all([1, 2, 3, 4].map(() => slots("192.0.2.1", 60_000, signal)));
  const order: string[] = [];
  const wait = async (name: string) => {
    const leave = await slots("192.0.2.1", 60_000, signal);
    order.push(name);
    return leave;
  };
  const [fifth, sixth] = [wait("fifth"), wait("sixth")];
  expect(await slots("192.0.2.2", 60_000, signal)).toBeTypeOf("function");
  expect(await slots("192.0.2.1", 0, signal)).toBeUndefined();
  const stop = new AbortController();
  const stopped = slots("192.0.2.1", 60_000, stop.signal);
  stop.abort();
  expect(await stopped).toBeUndefined();
  expect(order).toEqual([]);
  four[0]?.();
  // To leave twice gives no second place.
  four[0]?.();
  (await fifth)?.();
  (await sixth)?.();
  expect(order).toEqual(["fifth", "sixth"]);
});
