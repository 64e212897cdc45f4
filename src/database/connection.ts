import type { Socket } from "node:net";
import postgres from "postgres";
import type { DatabaseAddress } from "./address.ts";
import { arrayTypeOf, arrayTypes } from "./array.ts";
import { dial, failed } from "./socket.ts";

/**
 * Templates of postgres.js: parameters are bound, never pasted. `sql.array(values, oid of the element)` gives an array for `unnest`.
 * Transactions are opened by `Database.transact` alone, never by `begin` or `reserve`.
 */
export type Sql = postgres.Sql;

/**
 * One session of the server, from its first statement to the end of its socket, never another after it: a statement of a transaction
 * whose connection was lost fails instead of running outside of it.
 */
export type Connection = {
  readonly sql: Sql;
  /** True once the socket is gone. */
  readonly lost: boolean;
  /** Gives what `act` gives, or fails as soon as the connection is lost: `act` may then wait for ever on a statement that has no connection. */
  run<T>(act: () => Promise<T>): Promise<T>;
  /** From now on silence of the server for the deadline ends the connection. */
  watch(): void;
  /** From now on the connection may be silent. */
  rest(): void;
  /** Ends it at once, whatever runs on it. */
  destroy(): void;
  /** Says goodbye to the server. */
  close(): Promise<void>;
};

/** Times in milliseconds. */
export type ConnectionLimits = {
  /** Silence of the server, while something is asked of it, after which the connection is given up. */
  readonly deadlineMs: number;
  readonly connectTimeoutMs: number;
  readonly statementTimeoutMs: number;
  readonly lockTimeoutMs: number;
};

/** What the owner of connections wants to know of them. */
export type ConnectionObserver = { roundTrip(): void; lost(connection: Connection): void };

/**
 * A connection that opens with its first statement.
 *
 * The pool and the transactions of postgres.js are not used: in 3.4.9 a statement in a transaction whose connection has ended writes to no
 * socket, which throws where nobody can catch it, and no query of it has a deadline. Here each client has one connection and one socket.
 */
export function openConnection(address: DatabaseAddress, limits: ConnectionLimits, observer: ConnectionObserver): Connection {
  let socket: Socket | undefined;
  let lost = false;
  let watching = true;
  const end = Promise.withResolvers<never>();
  end.promise.catch(() => {});
  const lose = (reason: Error): void => {
    if (lost) return;
    lost = true;
    end.reject(reason);
    observer.lost(connection);
  };

  const open = async (): Promise<Socket> => {
    if (lost || socket) return failed(closed("the connection has ended"));
    const dialled = await dial(address);
    socket = dialled;
    let answered = 0;
    dialled.on("data", () => {
      if (dialled.bytesWritten === answered) return;
      answered = dialled.bytesWritten;
      observer.roundTrip();
    });
    // A server that hangs up without an error would leave postgres.js reconnecting in a loop without pause.
    dialled.on("end", () => dialled.destroy(closed("the server closed the connection")));
    dialled.on("error", lose);
    dialled.on("close", () => lose(closed("the connection was closed")));
    dialled.on("timeout", () => destroy(closed(`the server was silent for ${limits.deadlineMs} ms`)));
    if (watching) dialled.setTimeout(limits.deadlineMs);
    return dialled;
  };

  const destroy = (reason: Error): void => {
    lose(reason);
    // A reset, which TLS does not have, drops what the kernel still holds: a statement must not reach the server after its caller was told that it failed.
    if (socket && !address.host.startsWith("/") && address.sslmode === "disable") socket.resetAndDestroy();
    else socket?.destroy();
  };

  const options: postgres.Options<Record<never, never>> = settings(address, limits, open);
  const sql = postgres(options);
  const array = sql.array;
  sql.array = (values, element = textType) => array(values, arrayTypeOf(element) ?? element);
  const connection: Connection = {
    sql,
    get lost() {
      return lost;
    },
    watch() {
      watching = true;
      socket?.setTimeout(limits.deadlineMs);
    },
    rest() {
      watching = false;
      socket?.setTimeout(0);
    },
    run: (act) => Promise.race([act(), end.promise]),
    destroy: () => destroy(closed("the connection was given up")),
    async close() {
      await sql.end({ timeout: 1 });
      destroy(closed("the connection was closed"));
    },
  };
  return connection;
}

/** Object identifier of the type. */
const textType = 25;

function closed(message: string): Error {
  return Object.assign(new Error(message), { code: "CONNECTION_CLOSED" });
}

function settings(address: DatabaseAddress, limits: ConnectionLimits, open: () => Promise<Socket>) {
  return {
    socket: open,
    host: address.host.startsWith("/") ? "localhost" : address.host,
    port: address.port,
    user: address.user,
    password: address.password,
    database: address.database,
    ssl: false,
    max: 1,
    // Seconds, here only.
    connect_timeout: limits.connectTimeoutMs / 1000,
    idle_timeout: 0,
    max_lifetime: null,
    backoff: () => 0,
    onnotice: () => {},
    fetch_types: false,
    types: { json, ...arrayTypes },
    // The time-outs stand on the server too, which ends what outlives its client. postgres.js leaves out falsy values, so none may be 0.
    connection: {
      application_name: "chancery",
      synchronous_commit: "on",
      TimeZone: "UTC",
      statement_timeout: limits.statementTimeoutMs,
      lock_timeout: limits.lockTimeoutMs,
      idle_in_transaction_session_timeout: limits.deadlineMs,
      ...plans,
    },
  };
}

/**
 * A server would keep the plan that was best while a table was empty, and read it from end to end as it grows: statements here are answered
 * by an index, and one plan each is enough.
 * @see docs/decisions/0012-one-plan-by-index.md
 */
const plans = { plan_cache_mode: "force_generic_plan", enable_seqscan: "off", jit: "off" };

/** drizzle gives jsonb as text already, templates give the value: both are stored once encoded. */
const json = {
  to: 3802,
  from: [114, 3802],
  serialize: (value: unknown) => (typeof value === "string" ? value : JSON.stringify(value)),
  parse: (text: string): unknown => JSON.parse(text),
};
