import type { Database } from "./connect.ts";
import type { Sql } from "./connection.ts";

/**
 * `Database.read` for a list whose filters may fit nearly all rows or nearly none: it is planned for what is asked, and by an index only where
 * that is cheaper. Costs three more answers of the server.
 * @see docs/decisions/0012-one-plan-by-index.md
 */
export async function search<T>(database: Database, query: (sql: Sql) => Promise<T>): Promise<T> {
  return await database.transact(async ({ sql }) => {
    await sql`select set_config('plan_cache_mode', 'force_custom_plan', true), set_config('enable_seqscan', 'on', true)`;
    return await query(sql);
  });
}
