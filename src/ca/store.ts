import type { Tx } from "../database/connect.ts";
import type { Sql } from "../database/connection.ts";
import { authorityTable, profileVersionTable } from "./tables.ts";

/** An authority's row joined with its key pair. */
export type AuthorityRecord = {
  readonly slug: string;
  readonly namespace: string;
  readonly kind: "root" | "issuing";
  readonly issuer: string;
  readonly certificate: Uint8Array;
  readonly keyName: string;
};

/** Every authority, the oldest first. */
export async function readAuthorities(sql: Sql): Promise<AuthorityRecord[]> {
  return await sql<AuthorityRecord[]>`
    select a.slug, a.namespace, a.kind, a.issuer, a.certificate, k.name as "keyName"
    from authority a join key_pair k on k.id = a.key_pair_id order by a.created_at, a.slug`;
}

/** Records an authority. @returns false when its slug stands already. */
export async function recordAuthority(tx: Tx, row: typeof authorityTable.$inferInsert): Promise<boolean> {
  const inserted = await tx.orm.insert(authorityTable).values(row).onConflictDoNothing().returning({ slug: authorityTable.slug });
  return inserted.length === 1;
}

/** Records frozen profiles; one that stands already stays. */
export async function recordProfileVersions(tx: Tx, rows: (typeof profileVersionTable.$inferInsert)[]): Promise<void> {
  await tx.orm.insert(profileVersionTable).values(rows).onConflictDoNothing();
}

/** The canonical JSON of a frozen profile. */
export async function readProfileVersion(sql: Sql, sha256: Uint8Array): Promise<string | undefined> {
  const rows = await sql<{ document: string }[]>`select document from profile_version where sha256 = ${sha256}`;
  return rows[0]?.document;
}
