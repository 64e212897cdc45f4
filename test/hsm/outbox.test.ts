import { setImmediate } from "node:timers/promises";
import { expect, test } from "vitest";
import { outbox } from "../../src/hsm/outbox.ts";

test("frames of one turn of the loop go in one message, in order, and those of a later turn in another", async () => {
  const messages: (readonly number[])[] = [];
  const post = outbox<number>((frames) => messages.push(frames));
  post(1);
  await Promise.resolve();
  post(2);
  process.nextTick(post, 3);
  expect(messages).toEqual([]);
  await setImmediate();
  post(4);
  await setImmediate();
  expect(messages).toEqual([[1, 2, 3], [4]]);
});
