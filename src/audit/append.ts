import type { Tx } from "../database/connect.ts";
import type { AuditRow } from "./entry.ts";
import { auditRecordTable } from "./tables.ts";

/** Writes an act's record in the act's own transaction: both are committed, or neither. Hot acts join their records to their own statement instead. */
export async function appendAudit({ orm }: Tx, row: AuditRow): Promise<void> {
  await orm.insert(auditRecordTable).values(row);
}
