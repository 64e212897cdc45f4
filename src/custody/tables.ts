import { bigint, customType, jsonb, pgTable, text, timestamp, uuid } from "drizzle-orm/pg-core";

const bytea = customType<{ data: Uint8Array; driverData: Uint8Array }>({ dataType: () => "bytea" });
const time = (name: string) => timestamp(name, { withTimezone: true, mode: "date" });

/** Key pairs: first the intent with its CKA_ID, then, once the pair stands in the token, its public key and evidence. */
export const keyPairTable = pgTable("key_pair", {
  id: uuid("id").primaryKey(),
  namespace: text("namespace").notNull(),
  name: text("name").notNull(),
  token: text("token").notNull(),
  ckaId: bytea("cka_id").notNull(),
  algorithm: text("algorithm").notNull(),
  purposes: text("purposes").array().notNull(),
  spki: bytea("spki"),
  spkiSha256: bytea("spki_sha256"),
  evidence: jsonb("evidence"),
  createdAt: time("created_at").notNull(),
  generatedAt: time("generated_at"),
  leaseOwner: uuid("lease_owner"),
  leaseUntil: time("lease_until"),
  fence: bigint("fence", { mode: "number" }).notNull(),
});

/** Keys that no certificate may be issued for. */
export const reservedKeyTable = pgTable("reserved_key", {
  spkiSha256: bytea("spki_sha256").primaryKey(),
  kind: text("kind", { enum: ["authority"] }).notNull(),
  reservedAt: time("reserved_at").notNull(),
});
