import { setTimeout as wait } from "node:timers/promises";
import { Fault } from "../fault.ts";
import type { Database, Tx } from "./connect.ts";

/** Times that the outcome is looked for, and the pause between them. */
const looks = 5;
const pauseMs = 200;

/**
 * `Database.transact` for an act that cannot be told by what stands afterwards: where its outcome is unknown, the server is asked what became of
 * the transaction.
 * @throws Fault `databaseUnavailable` when it was not committed, or nobody can say: then it may still have been.
 */
export async function transactCertainly<T>(database: Database, act: (tx: Tx) => Promise<T>): Promise<T> {
  const last: { done?: { readonly id: string; readonly result: T } } = {};
  try {
    return await database.transact(async (tx) => {
      delete last.done;
      const result = await act(tx);
      const [row] = await tx.sql<{ id: string | null }[]>`select pg_current_xact_id_if_assigned()::text as id`;
      if (row?.id) last.done = { id: row.id, result };
      return result;
    });
  } catch (error) {
    const { done } = last;
    if (!done || !(error instanceof Fault) || error.code !== "databaseUnavailable") throw error;
    if (!(await isCommitted(database, done.id).catch(() => false))) throw error;
    return done.result;
  }
}

async function isCommitted(database: Database, id: string): Promise<boolean> {
  for (let look = 1; look <= looks; look++) {
    const [row] = await database.read((sql) => sql<{ status: string | null }[]>`select pg_xact_status(${id}::text::xid8) as status`);
    if (row?.status !== "in progress") return row?.status === "committed";
    await wait(pauseMs);
  }
  return false;
}
