import type { PendingQuery, Row } from "postgres";
import type { Sql } from "../database/connection.ts";

/**
 * For other parts' queries: a condition that the namespace which the fragment `column` gives is `outer` or lies within it, as `contains` says.
 * An index that begins with the column serves it.
 */
export const isWithin = (sql: Sql, column: PendingQuery<Row[]>, outer: string): PendingQuery<Row[]> =>
  outer === "/" ? sql`true` : sql`(${column} = ${outer} or starts_with(${column}, ${`${outer}/`}))`;
