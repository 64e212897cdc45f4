import { isWithin } from "../access/namespace-store.ts";
import type { Tx } from "../database/connect.ts";
import type { Sql } from "../database/connection.ts";

/** A credential of external account binding as it stands. Its MAC key is read by `readMacKey` alone. */
export type ExternalAccountKeyRecord = {
  readonly id: string;
  readonly namespace: string;
  readonly directory: string;
  /** How many accounts may be made with it; undefined where any number is. */
  readonly usesAllowed?: number;
  readonly uses: number;
  /**
   * What its accounts may ask for, as `IdentifierPolicy` has it. Both undefined: whatever the directory allows. One of them: nothing of its
   * kind, so that a key for names gives no addresses.
   */
  readonly names?: readonly string[];
  readonly ipRanges?: readonly string[];
  readonly createdBy: string;
  readonly createdAt: Date;
  readonly expiresAt?: Date;
  readonly revokedAt?: Date;
};

type Columns = {
  readonly id: string;
  readonly namespace: string;
  readonly directory: string;
  readonly usesAllowed: number | null;
  readonly uses: number;
  readonly names: readonly string[] | null;
  readonly ipRanges: readonly string[] | null;
  readonly createdBy: string;
  readonly createdAt: Date;
  readonly expiresAt: Date | null;
  readonly revokedAt: Date | null;
};

const columns = (sql: Sql) => sql`
  k.id, k.namespace, k.directory, k.uses_allowed as "usesAllowed", k.uses, k.names, k.ip_ranges as "ipRanges", k.created_by as "createdBy",
  k.created_at as "createdAt", k.expires_at as "expiresAt", k.revoked_at as "revokedAt"`;

function record({ usesAllowed, names, ipRanges, expiresAt, revokedAt, ...row }: Columns): ExternalAccountKeyRecord {
  return {
    id: row.id,
    namespace: row.namespace,
    directory: row.directory,
    uses: row.uses,
    createdBy: row.createdBy,
    createdAt: row.createdAt,
    ...(usesAllowed !== null && { usesAllowed }),
    ...(names !== null && { names }),
    ...(ipRanges !== null && { ipRanges }),
    ...(expiresAt !== null && { expiresAt }),
    ...(revokedAt !== null && { revokedAt }),
  };
}

/** Records a new key. */
export async function recordExternalAccountKey(
  { sql }: Tx,
  key: Omit<ExternalAccountKeyRecord, "uses" | "revokedAt"> & { readonly macKey: Uint8Array },
): Promise<void> {
  await sql`
    insert into acme_external_account_key (id, namespace, directory, mac_key, uses_allowed, names, ip_ranges, created_by, created_at, expires_at)
    values (${key.id}, ${key.namespace}, ${key.directory}, ${key.macKey}, ${key.usesAllowed ?? null},
      ${key.names ? sql.array([...key.names], 25) : null}::text[], ${key.ipRanges ? sql.array([...key.ipRanges], 25) : null}::text[],
      ${key.createdBy}, ${key.createdAt.toISOString()}, ${key.expiresAt?.toISOString() ?? null})`;
}

/** The key with its MAC key, 32 octets or more, whether it may still be used or not. */
export async function readMacKey(sql: Sql, id: string): Promise<(ExternalAccountKeyRecord & { readonly macKey: Uint8Array }) | undefined> {
  const [row] = await sql<(Columns & { macKey: Uint8Array })[]>`
    select ${columns(sql)}, k.mac_key as "macKey" from acme_external_account_key k where k.id = ${id}`;
  return row && { ...record(row), macKey: row.macKey };
}

/** Counts one use. @returns false when the key is used up, over or revoked. */
export async function useExternalAccountKey({ sql }: Tx, id: string, now: Date): Promise<boolean> {
  const result = await sql`
    update acme_external_account_key set uses = uses + 1
    where id = ${id} and revoked_at is null and (expires_at is null or expires_at > ${now.toISOString()})
      and (uses_allowed is null or uses < uses_allowed)`;
  return result.count === 1;
}

/**
 * Revokes a key of the namespace `within` or inside it: no account is made with it any more.
 * @returns undefined when there is none, else its namespace, and whether this call ended it.
 */
export async function recordExternalAccountKeyRevocation(
  { sql }: Tx,
  { id, within, revokedAt }: { readonly id: string; readonly within: string; readonly revokedAt: Date },
): Promise<{ readonly namespace: string; readonly ended: boolean } | undefined> {
  const [row] = await sql<{ namespace: string; ended: boolean }[]>`
    with k as (select id, namespace, revoked_at from acme_external_account_key where id = ${id} and ${isWithin(sql, sql`namespace`, within)} for update),
      ended as (update acme_external_account_key e set revoked_at = ${revokedAt.toISOString()} from k where e.id = k.id and k.revoked_at is null)
    select namespace, revoked_at is null as ended from k`;
  return row;
}

/** Keys of a namespace and those within it, newest first. */
export async function listExternalAccountKeyRows(
  sql: Sql,
  {
    namespace,
    limit,
    after,
  }: {
    readonly namespace: string;
    readonly limit: number;
    readonly after?: Pick<ExternalAccountKeyRecord, "id" | "createdAt"> | undefined;
  },
): Promise<ExternalAccountKeyRecord[]> {
  const rows = await sql<Columns[]>`
    select ${columns(sql)} from acme_external_account_key k
    where ${isWithin(sql, sql`k.namespace`, namespace)} ${after ? sql`and (k.created_at, k.id) < (${after.createdAt.toISOString()}::timestamptz, ${after.id})` : sql``}
    order by k.created_at desc, k.id desc limit ${limit}`;
  return rows.map(record);
}

/** What an account made with this key may ask for beside its directory's policy. */
export async function readAccountPolicy(sql: Sql, id: string): Promise<Pick<ExternalAccountKeyRecord, "names" | "ipRanges"> | undefined> {
  const [row] = await sql<Columns[]>`select ${columns(sql)} from acme_external_account_key k where k.id = ${id}`;
  if (!row) return undefined;
  const { names, ipRanges } = row;
  return names === null && ipRanges === null ? {} : { names: names ?? [], ipRanges: ipRanges ?? [] };
}
