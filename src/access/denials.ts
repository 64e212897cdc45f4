import { LRUCache } from "lru-cache";
import { appendAudit } from "../audit/append.ts";
import { type AuditEntry, auditRow, type AuditWorld } from "../audit/entry.ts";
import type { Database } from "../database/connect.ts";
import type { Principal } from "./principal.ts";

/** What a principal asked for and was refused: `code` says why, `requestId` where the log tells of it. */
export type Denial = {
  readonly principal: Principal;
  /** Part and act, as the record of its success would name it. */
  readonly operation: string;
  readonly code: string;
  readonly requestId?: string | undefined;
  readonly object?: AuditEntry["object"];
};

/**
 * Leaves an audit record of outcome `denied`, durable on return. One in a second for each principal, operation and code: more tell nothing new,
 * and nobody who may do nothing can fill the log of those who may.
 */
export type RecordDenial = (denial: Denial) => Promise<void>;

/** Records denials in this database. */
export function openDenials(world: AuditWorld & { readonly database: Database }): RecordDenial {
  const lately = new LRUCache<string, number>({ max: 10_000 });
  return async ({ principal, operation, code, requestId, object }) => {
    const key = `${principal.id} ${operation} ${code}`;
    const second = Math.floor(world.clock.now().getTime() / 1000);
    if (lately.get(key) === second) return;
    lately.set(key, second);
    const entry: AuditEntry = {
      operation,
      namespace: principal.namespace,
      principal: principal.id,
      outcome: "denied",
      ...(requestId !== undefined && { requestId }),
      object: { ...object, code },
    };
    try {
      await world.database.transact((tx) => appendAudit(tx, auditRow(entry, world)));
    } catch (error) {
      lately.delete(key);
      throw error;
    }
  };
}
