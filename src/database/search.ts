import { Fault } from "../fault.ts";
import type { Database } from "./connect.ts";
import type { Sql } from "./connection.ts";
import { isTimeout } from "./sqlstate.ts";

/**
 * `Database.read` for a list whose filters may fit nearly all rows or nearly none: it is planned for what is asked, and by an index only where
 * that is cheaper. Costs three more answers of the server. So few run at once that whoever may ask for lists holds up nothing else.
 * @throws Fault `busy` when it takes longer than a statement may: that is the question, and no sign that the database is away; or when too many run.
 * @see docs/decisions/0012-one-plan-by-index.md
 */
export async function search<T>(database: Database, query: (sql: Sql) => PromiseLike<T>): Promise<T> {
  return await database.inSearchPlace(() =>
    database.transact(async ({ sql }) => {
      await sql`select set_config('plan_cache_mode', 'force_custom_plan', true), set_config('enable_seqscan', 'on', true)`;
      try {
        return await query(sql);
      } catch (cause) {
        if (isTimeout(cause)) throw new Fault("busy", "the search took too long: ask for less", { cause });
        throw cause;
      }
    }),
  );
}
