import { setTimeout as wait } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { gather } from "../../src/database/gather.ts";

describe("questions that share a statement", () => {
  test("are each answered their own, in batches of the maximum, one under way at a time", async () => {
    const batches: (readonly number[])[] = [];
    let underWay = 0;
    const ask = gather<number, string>({
      maximum: 8,
      ask: async (questions) => {
        expect((underWay += 1)).toBe(1);
        batches.push(questions);
        await wait(1);
        underWay -= 1;
        return questions.map((question) => `answer ${question}`);
      },
    });
    const questions = Array.from({ length: 30 }, (_, index) => index);
    expect(await Promise.all(questions.map(ask))).toEqual(questions.map((question) => `answer ${question}`));
    expect(batches.map((batch) => batch.length)).toEqual([8, 8, 8, 6]);
    expect(batches.flat()).toEqual(questions);
    expect(await ask(99)).toBe("answer 99");
  });

  test("fail together when the statement does, and the next are asked all the same", async () => {
    let times = 0;
    const ask = gather<number, number>({
      maximum: 2,
      ask: (questions) => ((times += 1) === 1 ? Promise.reject(new Error("away")) : Promise.resolve(questions)),
    });
    const outcomes = await Promise.allSettled([1, 2, 3].map(ask));
    expect(outcomes.map(({ status }) => status)).toEqual(["rejected", "rejected", "fulfilled"]);
  });

  test("fail with those that waited through it when the statement took longer than a second to fail (AN-5)", async () => {
    let times = 0;
    const ask = gather<number, number>({
      maximum: 2,
      ask: async (questions) => {
        if ((times += 1) > 1) return questions;
        await wait(1_050);
        throw new Error("away");
      },
    });
    const outcomes = await Promise.allSettled([1, 2, 3, 4, 5].map(ask));
    expect(outcomes.map(({ status }) => status)).toEqual(Array.from({ length: 5 }, () => "rejected"));
    expect([times, await ask(6)]).toEqual([1, 6]);
  });

  test("are refused with busy where too many wait for a statement, until it has begun", async () => {
    const held = Promise.withResolvers<void>();
    const asked = Promise.withResolvers<void>();
    const ask = gather<number, number>({
      maximum: 2,
      mostWaiting: 3,
      ask: async (questions) => {
        asked.resolve();
        await held.promise;
        return questions;
      },
    });
    const first = [ask(1), ask(2)];
    await asked.promise;
    const waiting = [ask(3), ask(4), ask(5)];
    try {
      await expect(ask(6)).rejects.toMatchObject({ code: "busy" });
    } finally {
      held.resolve();
    }
    expect(await Promise.all([...first, ...waiting])).toEqual([1, 2, 3, 4, 5]);
    expect(await ask(7)).toBe(7);
  });

  test("that an answer is missing for are told so, the others have theirs", async () => {
    const ask = gather<number, number>({ ask: (questions) => Promise.resolve(questions.slice(1)) });
    const outcomes = await Promise.allSettled([1, 2].map(ask));
    expect(outcomes.map(({ status }) => status)).toEqual(["fulfilled", "rejected"]);
  });
});
