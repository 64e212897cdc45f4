import type { Database } from "../../src/database/connect.ts";
import type { Sql } from "../../src/database/connection.ts";

/** A gate before a statement: shut, the statement is composed and waits to be sent. */
export type Gate = {
  shut(): void;
  open(): void;
  /** How many statements wait at it. */
  readonly waiting: () => number;
};

/** A gate that stands open, and the override of `build` that puts it before the statements of reads that match. */
export function gateBefore(statement: RegExp): Gate & { readonly database: (database: Database) => Database } {
  let gate: PromiseWithResolvers<void> | undefined;
  let waiting = 0;
  const passage = async (): Promise<void> => {
    waiting += 1;
    await gate?.promise;
    waiting -= 1;
  };
  const gated = (sql: Sql): Sql =>
    new Proxy(sql, {
      apply(target, self, args: unknown[]) {
        const query: unknown = Reflect.apply(target, self, args);
        const text = Array.isArray(args[0]) ? args[0].join("?") : "";
        if (!statement.test(text) || typeof query !== "object" || query === null) return query;
        // A query is sent when it is first waited for, through its `then`.
        return {
          // oxlint-disable-next-line unicorn/no-thenable
          then: (...handlers: [never, never]) =>
            passage()
              .then(() => query)
              .then(...handlers),
        };
      },
    });
  return {
    shut: () => void (gate = Promise.withResolvers()),
    open: () => {
      gate?.resolve();
      gate = undefined;
    },
    waiting: () => waiting,
    database: (database) => ({
      ...database,
      read: (query) => database.read((sql) => query(gated(sql))),
      [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
    }),
  };
}
