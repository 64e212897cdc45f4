import { customType, pgTable, uuid } from "drizzle-orm/pg-core";

const bytea = customType<{ data: Uint8Array; driverData: Uint8Array }>({ dataType: () => "bytea" });

/** One row an act, append-only: the bytes are the leaf of the audit tree. The transaction's own id is the database's to give. */
export const auditRecordTable = pgTable("audit_record", {
  id: uuid("id").primaryKey(),
  bytes: bytea("bytes").notNull(),
  leafHash: bytea("leaf_hash").notNull(),
});
