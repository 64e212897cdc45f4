import { describe, expect, test } from "vitest";

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

describe("connections to an address (AV-5)", () => {
  const { signal } = new AbortController();
  /** Takes places at one address under names, and tells in which order they were had. */
  function crowd(limit: number) {
    const slots = addressSlots(limit);
    const order: string[] = [];
    const enter = async (tenant: string, name: string) => {
      const leave = await slots({ address: "192.0.2.1", tenant }, 60_000, signal);
      order.push(name);
      return leave;
    };
    return { slots, order, enter };
  }

  test("are four at a time, the fifth when one leaves, whoever waits longest first", async () => {
    const { slots, order, enter } = crowd(4);
    const four = await Promise.all(["a", "b", "a", "b"].map((tenant) => enter(tenant, "four")));
    const [fifth, sixth] = [enter("c", "fifth"), enter("d", "sixth")];
    expect(await slots({ address: "192.0.2.2", tenant: "a" }, 60_000, signal)).toBeTypeOf("function");
    expect(await slots({ address: "192.0.2.1", tenant: "c" }, 0, signal)).toBeUndefined();
    const stop = new AbortController();
    const stopped = slots({ address: "192.0.2.1", tenant: "c" }, 60_000, stop.signal);
    stop.abort();
    expect(await stopped).toBeUndefined();
    expect(order).toHaveLength(4);
    four[0]?.();
    // To leave twice gives no second place.
    four[0]?.();
    (await fifth)?.();
    (await sixth)?.();
    expect(order.slice(4)).toEqual(["fifth", "sixth"]);
  });

  test("are two of one tenant, however many it asks for: others are not kept waiting by it", async () => {
    const { slots, order, enter } = crowd(4);
    const [first] = await Promise.all([enter("a", "a1"), enter("a", "a2")]);
    const [third, fourth] = [enter("a", "a3"), enter("a", "a4")];
    // A tenant that comes later finds room, up to its own half.
    const [other] = await Promise.all([enter("b", "b1"), enter("b", "b2")]);
    expect(order).toEqual(["a1", "a2", "b1", "b2"]);
    expect(await slots({ address: "192.0.2.1", tenant: "b" }, 0, signal)).toBeUndefined();
    // A place of the other tenant is of no use to those that have their half.
    other?.();
    await enter("c", "c1");
    expect(order).toEqual(["a1", "a2", "b1", "b2", "c1"]);
    first?.();
    (await third)?.();
    await fourth;
    expect(order.slice(5)).toEqual(["a3", "a4"]);
  });
});
