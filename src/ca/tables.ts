import { customType, pgTable, text, timestamp, uuid } from "drizzle-orm/pg-core";

const bytea = customType<{ data: Uint8Array; driverData: Uint8Array }>({ dataType: () => "bytea" });
const time = (name: string) => timestamp(name, { withTimezone: true, mode: "date" });

/** A certification authority: one key, one name, one slug. `issuer` is its own slug for a root. */
export const authorityTable = pgTable("authority", {
  slug: text("slug").primaryKey(),
  namespace: text("namespace").notNull(),
  kind: text("kind", { enum: ["root", "issuing"] }).notNull(),
  issuer: text("issuer").notNull(),
  keyPairId: uuid("key_pair_id").notNull(),
  certificate: bytea("certificate").notNull(),
  createdAt: time("created_at").notNull(),
});

/** Frozen profiles by the SHA-256 of their canonical JSON. */
export const profileVersionTable = pgTable("profile_version", {
  sha256: bytea("sha256").primaryKey(),
  name: text("name").notNull(),
  document: text("document").notNull(),
  createdAt: time("created_at").notNull(),
});
