import type { Sql } from "../database/connection.ts";

/** Columns of a batch as arrays for `unnest`; the numbers are PostgreSQL's object identifiers of the elements' types. */
export function columns<T>(sql: Sql, rows: readonly T[]) {
  return {
    boolean: (value: (row: T) => boolean) => sql.array(rows.map(value), 16),
    bytea: (value: (row: T) => Uint8Array) => sql.array(rows.map(value), 17),
    int4: (value: (row: T) => number | null) => sql.array(rows.map(value), 23),
    text: (value: (row: T) => string | null) => sql.array(rows.map(value), 25),
    time: (value: (row: T) => Date) =>
      sql.array(
        rows.map((row) => value(row).toISOString()),
        1184,
      ),
    uuid: (value: (row: T) => string) => sql.array(rows.map(value), 2950),
  };
}
