import { setImmediate } from "node:timers/promises";
import { Fault } from "../fault.ts";
import type { Events } from "../ports/events.ts";

/** One kind of act whose rows share their commits. */
export type GroupOptions<Row> = {
  /** Stands in the metric's label. */
  readonly name: string;
  /** Most rows of one statement. */
  readonly maximum?: number;
  /** The row's unique key: rows go to the server in its order, so that two groups cannot deadlock. */
  readonly key: (row: Row) => string;
  /** One statement, `insert … on conflict do nothing`, durable on return; gives how many of the rows it inserted. */
  readonly flush: (rows: Row[]) => Promise<number>;
  /** Keys of those of the rows that stand in the database as they were given here. */
  readonly reread: (rows: Row[]) => Promise<ReadonlySet<string>>;
  readonly events: Events;
};

/** `recorded`: the row stands. `conflict`: another one stands in its place. */
export type Outcome = "recorded" | "conflict";

/**
 * Records rows of concurrent callers in shared statements: one commit serves up to `maximum` of them. A row is durable when its promise resolves
 * `recorded`. One statement is in flight at a time; what arrives meanwhile forms the next.
 *
 * The promise is rejected with what `flush` threw for this row alone. After a Fault `databaseUnavailable` the statement may have been committed:
 * the rows are read again, and those that are not found, or cannot be looked for, are rejected with it.
 */
export function group<Row>(options: GroupOptions<Row>): (row: Row) => Promise<Outcome> {
  const { maximum = 64, events, name } = options;
  const queue: Entry<Row>[] = [];
  let running = false;

  const run = async (): Promise<void> => {
    while (queue.length > 0) {
      // Whoever runs in this turn of the loop still comes along.
      await setImmediate();
      const batch = takeBatch(queue, maximum);
      events.measure("chancery_database_group_size", batch.length, { name });
      const startedAt = performance.now();
      const fault = await settle(options, batch);
      // Who already waited through the loss of another batch has waited long enough: nothing of theirs was sent.
      if (fault && performance.now() - startedAt > longFailureMs) for (const entry of queue.splice(0)) entry.reject(fault);
    }
    running = false;
  };

  return (row) => {
    const { promise, resolve, reject } = Promise.withResolvers<Outcome>();
    queue.push({ row, key: options.key(row), resolve, reject });
    if (!running) {
      running = true;
      void run();
    }
    return promise;
  };
}

type Entry<Row> = {
  readonly row: Row;
  readonly key: string;
  readonly resolve: (outcome: Outcome) => void;
  readonly reject: (error: unknown) => void;
};

const longFailureMs = 1000;

/** The oldest entries of distinct keys, sorted. Of equal keys the later waits: it conflicts only if the earlier comes to stand. */
function takeBatch<Row>(queue: Entry<Row>[], maximum: number): Entry<Row>[] {
  const batch = new Map<string, Entry<Row>>();
  const later: Entry<Row>[] = [];
  for (const entry of queue.splice(0)) {
    if (batch.size < maximum && !batch.has(entry.key)) batch.set(entry.key, entry);
    else later.push(entry);
  }
  queue.push(...later);
  return [...batch.values()].toSorted((a, b) => (a.key < b.key ? -1 : 1));
}

/** Tells every entry its outcome; gives the fault when the database is away. Never rejects. */
async function settle<Row>(options: GroupOptions<Row>, batch: Entry<Row>[]): Promise<Fault | undefined> {
  const rows = batch.map(({ row }) => row);
  try {
    const inserted = await options.flush(rows);
    const standing = inserted === batch.length ? undefined : await options.reread(rows);
    for (const { key, resolve } of batch) resolve(standing === undefined || standing.has(key) ? "recorded" : "conflict");
    return undefined;
  } catch (error) {
    if (error instanceof Fault && error.code === "databaseUnavailable") {
      await settleUnknown(options, batch, error);
      return error;
    }
    const [only] = batch;
    if (batch.length > 1) return settleOneByOne(options, batch);
    only?.reject(error);
    return undefined;
  }
}

/** One row spoils the whole statement: alone, it spoils only its own. */
async function settleOneByOne<Row>(options: GroupOptions<Row>, batch: Entry<Row>[]): Promise<Fault | undefined> {
  for (const [index, entry] of batch.entries()) {
    const fault = await settle(options, [entry]);
    if (!fault) continue;
    for (const unsent of batch.slice(index + 1)) unsent.reject(fault);
    return fault;
  }
  return undefined;
}

/** The connection was lost with the statement under way: what was committed is known by reading only. */
async function settleUnknown<Row>(options: GroupOptions<Row>, batch: Entry<Row>[], fault: Fault): Promise<void> {
  const standing = await options.reread(batch.map(({ row }) => row)).catch((): ReadonlySet<string> => new Set());
  for (const { key, resolve, reject } of batch) {
    if (standing.has(key)) resolve("recorded");
    else reject(fault);
  }
}
