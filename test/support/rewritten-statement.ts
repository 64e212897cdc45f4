import type { Database } from "../../src/database/connect.ts";
import type { Sql } from "../../src/database/connection.ts";

/** One change to the text of statements and fragments: what is found is replaced, in those alone that hold `within` where it is given. */
export type Rewriting = { readonly within?: string; readonly find: string; readonly put: string };

/** The database, asked other questions than were written: what a fault in a statement would do, or a guard of one taken away. */
export function rewritten(database: Database, rewritings: readonly Rewriting[]): Database {
  const other = (sql: Sql): Sql =>
    new Proxy(sql, {
      apply(target, self, [strings, ...values]: [unknown, ...unknown[]]) {
        return Reflect.apply(target, self, [Array.isArray(strings) ? changed(strings.map(String), rewritings) : strings, ...values]);
      },
      get(target, property) {
        const value: unknown = Reflect.get(target, property, target);
        if (property !== "unsafe") return value;
        return (text: string, ...rest: []) => target.unsafe(changed([text], rewritings)[0] ?? text, ...rest);
      },
    });
  return {
    ...database,
    read: (query) => database.read((sql) => query(other(sql))),
    transact: (act) => database.transact((tx) => act({ ...tx, sql: other(tx.sql) })),
    transactAlone: (deadlineMs, act) => database.transactAlone(deadlineMs, (tx) => act({ ...tx, sql: other(tx.sql) })),
    [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
  };
}

/** A template as it is called, its values in their places: `?` stands for each in what is found and put. */
function changed(strings: readonly string[], rewritings: readonly Rewriting[]): readonly string[] {
  let text = strings.join("\u0000");
  for (const { within, find, put } of rewritings) {
    if (within !== undefined && !text.includes(within)) continue;
    text = text.replaceAll(find.replaceAll("?", "\u0000"), () => put.replaceAll("?", "\u0000"));
  }
  const parts = text.split("\u0000");
  return parts.length === strings.length ? Object.assign(parts, { raw: parts }) : strings;
}

/** The database, in which bytes become others on their way into a part of a CRL. */
export function tampered(database: Database, change: (bytes: Buffer) => void): Database {
  const other = (sql: Sql): Sql =>
    new Proxy(sql, {
      apply(target, self, args: unknown[]) {
        const writes = Array.isArray(args[0]) && args[0].join("?").includes("insert into crl_part");
        for (const value of args)
          if (writes && value instanceof Uint8Array) change(Buffer.from(value.buffer, value.byteOffset, value.length));
        return Reflect.apply(target, self, args);
      },
    });
  return {
    ...database,
    read: (query) => database.read((sql) => query(other(sql))),
    [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
  };
}
