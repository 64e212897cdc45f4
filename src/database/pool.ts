import { Fault } from "../fault.ts";
import type { Connection } from "./connection.ts";

/** Connections lent one user at a time. */
export type Pool = {
  /**
   * Runs `act` with a connection of its own and takes it back. Waits for a free one no longer than the deadline.
   * @throws Fault `databaseUnavailable` when none became free in time or the pool is closed.
   */
  use<T>(act: (connection: Connection) => Promise<T>): Promise<T>;
  /** To be told of a connection whose socket is gone, lent or not. */
  forget(connection: Connection): void;
  /** Lends no more, waits for what is lent no longer than the deadline, and closes every connection. */
  close(): Promise<void>;
};

/** A pool of at most `size` connections, opened when they are wanted. */
export function openPool({ size, deadlineMs, open }: { size: number; deadlineMs: number; open: () => Connection }): Pool {
  const idle: Connection[] = [];
  const lent = new Set<Connection>();
  const waiting: PromiseWithResolvers<Connection>[] = [];
  let closed = false;
  let drained: PromiseWithResolvers<void> | undefined;

  const take = (): Connection | undefined => {
    const connection = idle.pop() ?? (lent.size < size ? open() : undefined);
    if (connection) lent.add(connection);
    connection?.watch();
    return connection;
  };
  const serve = (): void => {
    while (waiting.length > 0) {
      const connection = take();
      if (!connection) return;
      waiting.shift()?.resolve(connection);
    }
  };
  const acquire = async (): Promise<Connection> => {
    if (closed) throw new Fault("databaseUnavailable", "the connection to the database is closed");
    const connection = take();
    if (connection) return connection;
    const turn = Promise.withResolvers<Connection>();
    waiting.push(turn);
    const timer = setTimeout(() => {
      waiting.splice(waiting.indexOf(turn), 1);
      turn.reject(new Fault("databaseUnavailable", "no connection to the database became free in time"));
    }, deadlineMs);
    return turn.promise.finally(() => clearTimeout(timer));
  };
  const giveBack = (connection: Connection): void => {
    lent.delete(connection);
    if (!connection.lost) {
      connection.rest();
      idle.push(connection);
    }
    if (lent.size === 0) drained?.resolve();
    serve();
  };

  return {
    async use(act) {
      const connection = await acquire();
      try {
        return await act(connection);
      } finally {
        giveBack(connection);
      }
    },
    forget(connection) {
      const index = idle.indexOf(connection);
      if (index >= 0) idle.splice(index, 1);
    },
    async close() {
      closed = true;
      for (const turn of waiting.splice(0)) turn.reject(new Fault("databaseUnavailable", "the connection to the database is closed"));
      if (lent.size > 0) {
        drained = Promise.withResolvers();
        const timer = setTimeout(drained.resolve, deadlineMs);
        await drained.promise.finally(() => clearTimeout(timer));
      }
      await Promise.all([...idle.splice(0), ...lent].map((connection) => connection.close()));
    },
  };
}
