import { customType, pgTable, text, timestamp, uuid } from "drizzle-orm/pg-core";

const bytea = customType<{ data: Uint8Array; driverData: Uint8Array }>({ dataType: () => "bytea" });
const time = (name: string) => timestamp(name, { withTimezone: true, mode: "date" });

/** Bearer tokens. Of the secret only SHA-256 is here. */
export const apiTokenTable = pgTable("api_token", {
  id: uuid("id").primaryKey(),
  namespace: text("namespace").notNull(),
  role: text("role", { enum: ["admin", "requester", "viewer"] }).notNull(),
  secretHash: bytea("secret_hash").notNull(),
  createdAt: time("created_at").notNull(),
  expiresAt: time("expires_at").notNull(),
  createdBy: text("created_by").notNull(),
});

/** Tokens that are refused before their expiry. */
export const apiTokenRevocationTable = pgTable("api_token_revocation", {
  tokenId: uuid("token_id").primaryKey(),
  revokedAt: time("revoked_at").notNull(),
});
