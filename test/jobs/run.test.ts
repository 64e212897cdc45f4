import { expect, test } from "vitest";
import { runJobs } from "../../src/jobs/run.ts";
import { recordedEvents } from "../support/events.ts";

test("failures in a row are told once, not at every turn; the next after a success again", async () => {
  const events = recordedEvents();
  const turns: ("fails" | "succeeds")[] = [...Array<"fails">(20).fill("fails"), "succeeds", "fails", "fails"];
  const over = Promise.withResolvers<void>();
  {
    await using stack = new AsyncDisposableStack();
    stack.use(
      runJobs(
        [
          {
            name: "poll",
            everySeconds: 0,
            act: async () => {
              const turn = turns.shift();
              if (turn === undefined) over.resolve();
              if (turn === "fails") throw new Error("the database is away");
            },
          },
        ],
        events,
      ),
    );
    await over.promise;
  }
  expect(events.told.filter(({ event }) => event === "job.failed").map(({ fields }) => fields)).toEqual([
    { job: "poll", failures: 1, cause: expect.any(Error) },
    { job: "poll", failures: 1, cause: expect.any(Error) },
  ]);
});
