import type { Overrides } from "../../src/world.ts";
import type { Database, Tx } from "../../src/database/connect.ts";
import type { Hsm } from "../../src/ports/hsm.ts";

/** Writes of the ways of a certificate, of a CRL, and of a revocation of many certificates. */
const statements = {
  intent: /insert into issuance \(/,
  certificate: /insert into certificate \(.*from unnest/s,
  close: /with closed as/,
  lease: /update crl_slot s set lease_owner/,
  publication: /insert into crl_publication/,
  snapshot: /select pg_current_snapshot/,
  part: /insert into crl_part/,
  publish: /update crl_slot s set publication/,
  campaign: /insert into revocation_campaign/,
  batch: /insert into revocation \(.*from u join/s,
  progress: /update revocation_campaign set revoked/,
} as const;

const steps = Object.keys(statements).filter((name): name is keyof typeof statements => name in statements);

type Step = keyof typeof statements | "sign" | "signParts";

/** Just before a step has an effect, or just after it has had it and before anyone is told. */
export type Point = `${Step}:${"before" | "after"}`;

/** Every point on the way of a certificate, in the order in which it is passed. */
export const issuancePoints: readonly Point[] = [
  "intent:before",
  "intent:after",
  "sign:before",
  "sign:after",
  "certificate:before",
  "certificate:after",
];

/** Every point on the way of a CRL, in the order in which it is passed; parts are written on the way to the signature, and after it. */
export const crlPoints: readonly Point[] = [
  "lease:before",
  "lease:after",
  "publication:before",
  "publication:after",
  "snapshot:before",
  "signParts:before",
  "part:before",
  "part:after",
  "signParts:after",
  "snapshot:after",
  "publish:before",
  "publish:after",
];

/** Every point on the way of a revocation of many; a batch and the progress it makes are one transaction. */
export const revocationPoints: readonly Point[] = ["campaign:before", "campaign:after", "batch:before", "progress:before", "batch:after"];

/** Overrides of `build` that call `reach` at each point: it may throw, wait, or end the process. */
export function failpoints(reach: (point: Point) => void | Promise<void>): Required<Pick<Overrides, "hsm" | "database">> {
  return {
    hsm: (hsm) => withSign(hsm, reach),
    database: (database) => withStatements(database, reach),
  };
}

function withSign(hsm: Hsm, reach: (point: Point) => void | Promise<void>): Hsm {
  return new Proxy(hsm, {
    get(target, property) {
      const value: unknown = Reflect.get(target, property, target);
      if (property === "signParts") {
        return async (...args: Parameters<Hsm["signParts"]>) => {
          await reach("signParts:before");
          const signature = await target.signParts(...args);
          await reach("signParts:after");
          return signature;
        };
      }
      if (property !== "sign" || typeof value !== "function") return typeof value === "function" ? value.bind(target) : value;
      return async (...args: Parameters<Hsm["sign"]>) => {
        const issuing = args[1] === "certificate";
        if (issuing) await reach("sign:before");
        const signature = await target.sign(...args);
        if (issuing) await reach("sign:after");
        return signature;
      };
    },
  });
}

function withStatements(database: Database, reach: (point: Point) => void | Promise<void>): Database {
  const watched = async <T>(run: (watch: (sql: Tx["sql"]) => Tx["sql"]) => Promise<T>): Promise<T> => {
    const seen = new Set<keyof typeof statements>();
    const result = await run((sql) => watching(sql, seen));
    for (const step of seen) await reach(`${step}:after`);
    return result;
  };
  /** Notes each statement that is composed; the point before it is reached before anything is sent. */
  const watching = (sql: Tx["sql"], seen: Set<keyof typeof statements>): Tx["sql"] =>
    new Proxy(sql, {
      apply(target, self, args: unknown[]) {
        const text = Array.isArray(args[0]) ? args[0].join("?") : "";
        for (const step of steps) {
          if (!statements[step].test(text) || seen.has(step)) continue;
          seen.add(step);
          // Points before a statement are reached at once: what they throw leaves the statement unsent.
          const reached = reach(`${step}:before`);
          if (reached instanceof Promise) throw new Error("a point before a statement may throw or end the process, not wait");
        }
        return Reflect.apply(target, self, args);
      },
    });
  return {
    ...database,
    read: (query) => watched((watch) => database.read((sql) => query(watch(sql)))),
    transactAlone: (deadlineMs, act) => watched((watch) => database.transactAlone(deadlineMs, (tx) => act({ ...tx, sql: watch(tx.sql) }))),
    transact: (act) => watched((watch) => database.transact((tx) => act({ ...tx, sql: watch(tx.sql) }))),
    [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
  };
}
