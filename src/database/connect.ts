import { DrizzleQueryError } from "drizzle-orm";
import { drizzle, type PostgresJsDatabase } from "drizzle-orm/postgres-js";
import { Fault } from "../fault.ts";
import type { Events } from "../ports/events.ts";
import { parseDatabaseUrl } from "./address.ts";
import { openConnection, type Connection, type ConnectionLimits, type Sql } from "./connection.ts";
import { openPool, type Pool } from "./pool.ts";
import { searchPlaces } from "./search-places.ts";
import { checkServer } from "./server-settings.ts";
import { databaseFault, endsConnection, isRerunnable } from "./sqlstate.ts";

/**
 * One transaction: templates of postgres.js and drizzle over its one connection; dates are `Date` in both. Statements may be sent at once, they run in order.
 * Valid until the function that was given it returns.
 */
export type Tx = { readonly sql: Sql; readonly orm: PostgresJsDatabase };

/** The database of the service, through a pool of connections. May be called concurrently. */
export type Database = AsyncDisposable & {
  /**
   * Runs `act` in one transaction (READ COMMITTED); what it returned is durable on return. Undone when `act` throws. Run again, at most three times,
   * when the server undid it for the sake of another (40001, 40P01): `act` has no effect but through its Tx.
   * @throws Fault `databaseUnavailable` when the database is away or does not answer in time. Then the transaction may have been committed:
   *   who must know reads again.
   */
  transact<T>(act: (tx: Tx) => Promise<T>): Promise<T>;
  /**
   * One statement, or several independent ones, outside of a transaction: each is durable on return. Run again as `transact` does.
   * @throws Fault `databaseUnavailable` as `transact`.
   */
  read<T>(query: (sql: Sql) => PromiseLike<T>): Promise<T>;
  /** `transact` on a connection of its own with time limits of its own, for migrations. Is not run again. */
  transactAlone<T>(deadlineMs: number, act: (tx: Tx) => Promise<T>): Promise<T>;
  /**
   * Runs `act`, which may take a connection for as long as a statement lasts, in one of the few places that such acts have: they never take half
   * of the connections, unless there are two at most.
   * @throws Fault `busy` when none becomes free in time.
   */
  inSearchPlace<T>(act: () => Promise<T>): Promise<T>;
  /** Whether the database answered lately. Never waits. */
  health(): DatabaseHealth;
  /** How far the clock of this machine is ahead of the server's, in seconds; negative when it is behind. Half the round trip is its error. */
  clockSkewSeconds(): Promise<number>;
  /** Answers of the server since the start: what `bench/` divides by its certificates. */
  roundTrips(): number;
};

export type DatabaseHealth = {
  readonly ready: boolean;
  /** A sentence for the operator when not ready. */
  readonly detail: string;
};

/** Times in milliseconds. */
export type DatabaseOptions = {
  /** libpq's connection URI. */
  readonly url: string;
  /** Whether the URL of another machine must have an sslmode: see `parseDatabaseUrl`. */
  readonly production?: boolean;
  /** Connections; 8 by default: with grouped acts more give nothing. */
  readonly poolSize?: number;
  /** Longest silence of the server within a statement, and longest wait for a free connection: 5000. */
  readonly deadlineMs?: number;
  /** The server ends a statement after it; 4000: before the deadline, so that its outcome is known. */
  readonly statementTimeoutMs?: number;
  readonly lockTimeoutMs?: number;
  readonly connectTimeoutMs?: number;
  /** How often the database is asked when nothing else asks it: 1000. */
  readonly probeMs?: number;
};

/**
 * Connects and checks the server.
 * @throws Fault `refusedToStart` when the URL is wrong or in production says no sslmode, the server refuses the user, is older than PostgreSQL 15, has fsync off, or has too few connections.
 * @throws Fault `databaseUnavailable` when it cannot be reached.
 */
export async function openDatabase(options: DatabaseOptions, { events }: { events: Events }): Promise<Database> {
  const address = parseDatabaseUrl(options.url, { writtenSslmode: options.production ?? false });
  const poolSize = options.poolSize ?? 8;
  const limits: ConnectionLimits = {
    deadlineMs: options.deadlineMs ?? 5000,
    statementTimeoutMs: options.statementTimeoutMs ?? 4000,
    lockTimeoutMs: options.lockTimeoutMs ?? 2000,
    connectTimeoutMs: options.connectTimeoutMs ?? 3000,
  };
  let roundTrips = 0;
  const observer = { roundTrip: () => (roundTrips += 1), lost: (connection: Connection) => pool.forget(connection) };
  const pool = openPool({ size: poolSize, deadlineMs: limits.deadlineMs, open: () => openConnection(address, limits, observer) });
  const contact = observed(pool, events);

  try {
    await contact.use("read", ({ sql }) => checkServer(sql, poolSize, events));
  } catch (error) {
    await pool.close();
    if (error instanceof Fault) throw error;
    throw new Fault("refusedToStart", `the database refused the connection: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
  const probe = setInterval(() => void contact.probe(), options.probeMs ?? 1000).unref();

  return {
    transact: (act) => rerun(() => contact.use("transaction", (connection) => transaction(connection, act))),
    read: (query) => rerun(() => contact.use("read", async ({ sql }) => query(sql))),
    async transactAlone(deadlineMs, act) {
      const alone = openConnection(
        address,
        { ...limits, deadlineMs, statementTimeoutMs: deadlineMs },
        { roundTrip: observer.roundTrip, lost: () => {} },
      );
      try {
        return await alone.run(() => transaction(alone, act));
      } catch (error) {
        throw databaseFault(error);
      } finally {
        await alone.close();
      }
    },
    inSearchPlace: searchPlaces(Math.max(1, Math.ceil(poolSize / 2) - 1)),
    health: contact.health,
    async clockSkewSeconds() {
      return contact.use("read", async ({ sql }) => {
        await sql`select 1`;
        const before = Date.now();
        const [row] = await sql<{ seconds: string }[]>`select extract(epoch from clock_timestamp()) as seconds`;
        return (before + Date.now()) / 2000 - Number(row?.seconds);
      });
    },
    roundTrips: () => roundTrips,
    async [Symbol.asyncDispose]() {
      clearInterval(probe);
      await pool.close();
    },
  };
}

/** BEGIN, `act`, COMMIT. After the loss of the connection nothing more is sent: the server undoes what was not committed. */
async function transaction<T>(connection: Connection, act: (tx: Tx) => Promise<T>): Promise<T> {
  const { sql } = connection;
  await sql.unsafe("begin");
  let result: T;
  try {
    let orm: PostgresJsDatabase | undefined;
    result = await act({
      sql,
      get orm() {
        return (orm ??= overlay(sql));
      },
    });
  } catch (error) {
    if (!connection.lost) await sql.unsafe("rollback").catch(connection.destroy);
    // drizzle's own error hides SQLSTATE from those who map it, and shows the statement's parameters to those who log it.
    throw error instanceof DrizzleQueryError ? (error.cause ?? error) : error;
  }
  const { command } = await sql.unsafe("commit");
  // PostgreSQL answers COMMIT with ROLLBACK, and no error, where a statement failed before: `act` swallowed its error.
  if (command !== "COMMIT") throw new Fault("internal", "a statement of the transaction failed, so it was undone");
  return result;
}

/** drizzle() overwrites the date parsers of the client it is given (drizzle-orm #5789): this one has none of its own to lose. */
function overlay(sql: Sql): PostgresJsDatabase {
  return drizzle({ client: Object.create(sql, { options: { value: { parsers: {}, serializers: {} } } }) });
}

async function rerun<T>(attempt: () => Promise<T>): Promise<T> {
  for (let reruns = 0; ; reruns += 1) {
    try {
      return await attempt();
    } catch (error) {
      if (reruns === 3 || !isRerunnable(error)) throw error;
    }
  }
}

/** Uses of the pool, with their errors mapped, counted and remembered as evidence of health. */
function observed(pool: Pool, events: Events) {
  let answeredAt = performance.now();
  let failure: Fault | undefined;

  const use = async <T>(kind: "read" | "transaction", act: (connection: Connection) => Promise<T>): Promise<T> => {
    const startedAt = performance.now();
    try {
      const result = await pool.use(async (connection) => {
        try {
          return await connection.run(() => act(connection));
        } catch (error) {
          if (endsConnection(error)) connection.destroy();
          throw error;
        }
      });
      if (failure) events.tell("info", "database.connected");
      failure = undefined;
      answeredAt = performance.now();
      events.measure("chancery_database_seconds", (answeredAt - startedAt) / 1000, { kind });
      return result;
    } catch (error) {
      const fault = databaseFault(error);
      if (fault instanceof Fault && fault.code === "databaseUnavailable") {
        failure = fault;
        events.tell("warn", "database.failed", {
          kind,
          detail: fault.detail,
          seconds: (performance.now() - startedAt) / 1000,
          cause: fault.cause,
        });
      }
      throw fault;
    }
  };
  return {
    use,
    health: (): DatabaseHealth => (failure ? { ready: false, detail: failure.detail } : { ready: true, detail: "the database answers" }),
    /** One question where nothing else was answered since the last: an idle service learns of a loss and of its end. */
    async probe(): Promise<void> {
      if (!failure && performance.now() - answeredAt < 1000) return;
      await use("read", async ({ sql }) => sql`select 1`).catch(() => {});
    },
  };
}
