import { setImmediate } from "node:timers/promises";
import { Fault } from "../fault.ts";

/**
 * Lets concurrent callers share one statement: what is asked while one is in flight goes with the next. `ask` gives an answer for each
 * question, in their order. When it throws, each of its callers is rejected with that, and where it took long to throw, so is whoever
 * waited through it: of a database that does not answer nobody waits longer than one deadline.
 * Each throws Fault `busy` at once where `mostWaiting` wait for their statement: what their callers, who may have gone, still ask.
 */
export function gather<Question, Answer>({
  maximum = 64,
  mostWaiting = 4_096,
  ask,
}: {
  readonly maximum?: number;
  readonly mostWaiting?: number;
  readonly ask: (questions: readonly Question[]) => Promise<readonly Answer[]>;
}): (question: Question) => Promise<Answer> {
  const queue: { question: Question; resolve: (answer: Answer) => void; reject: (cause: unknown) => void }[] = [];
  let running = false;

  const run = async (): Promise<void> => {
    while (queue.length > 0) {
      // Whoever runs in this turn of the loop still comes along.
      await setImmediate();
      const batch = queue.splice(0, maximum);
      const startedAt = performance.now();
      try {
        const answers = await ask(batch.map(({ question }) => question));
        for (const [index, answer] of answers.entries()) batch[index]?.resolve(answer);
        for (const { reject } of batch.slice(answers.length)) reject(new Error("a question of a batch was not answered"));
      } catch (cause) {
        const waited = performance.now() - startedAt > longFailureMs ? queue.splice(0) : [];
        for (const { reject } of [...batch, ...waited]) reject(cause);
      }
    }
    running = false;
  };

  return (question) =>
    new Promise((resolve, reject) => {
      if (queue.length >= mostWaiting) return reject(new Fault("busy", "too much is asked of the database at once"));
      queue.push({ question, resolve, reject });
      if (running) return;
      running = true;
      void run();
    });
}

const longFailureMs = 1000;
