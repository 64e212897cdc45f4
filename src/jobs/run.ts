import type { Events } from "../ports/events.ts";

/** Something to be done again and again. */
export type Job = {
  readonly name: string;
  /** Seconds between the end of one run and the start of the next. */
  readonly everySeconds: number;
  /** May fail: it is told, and tried again at its next turn. The signal aborts when the service stops. */
  readonly act: (signal: AbortSignal) => Promise<void>;
};

/** Runs each job by itself, never twice at once, until disposed; disposal waits for runs under way. */
export function runJobs(jobs: readonly Job[], events: Events): AsyncDisposable {
  const stop = new AbortController();
  const running = jobs.map((job) => repeat(job, events, stop.signal));
  return {
    async [Symbol.asyncDispose]() {
      stop.abort();
      await Promise.all(running);
    },
  };
}

/** While a job fails turn after turn, its failures are told once in this time: what runs twice a second would bury everything else. */
const silenceMs = 60_000;

async function repeat(job: Job, events: Events, signal: AbortSignal): Promise<void> {
  let [failures, toldAt] = [0, 0];
  while (!signal.aborted) {
    try {
      await job.act(signal);
      failures = 0;
    } catch (cause) {
      failures += 1;
      if (!signal.aborted && (failures === 1 || performance.now() - toldAt >= silenceMs)) {
        toldAt = performance.now();
        events.tell("warn", "job.failed", { job: job.name, failures, cause });
      }
    }
    await pause(job.everySeconds * 1000, signal);
  }
}

/** Resolves after `milliseconds`, or when the signal aborts. */
function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, milliseconds);
    function done(): void {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    }
    signal.addEventListener("abort", done);
    if (signal.aborted) done();
  });
}
