import { LRUCache } from "lru-cache";
import { isWithin } from "../access/namespace-store.ts";
import type { Tx } from "../database/connect.ts";
import type { Sql } from "../database/connection.ts";
import { Fault } from "../fault.ts";
import { isJsonObject, type JsonObject, readJson } from "../jose/json.ts";
import { type AccountKey, storedKey } from "../jose/jwk.ts";
import type { Account, AccountStatus } from "./account.ts";
import type { MintedNonce } from "./nonce-store.ts";

/** Which account a request is of: by its id, or by its key within a directory. */
export type AccountReference =
  | { readonly id: string }
  /** RFC 7638, SHA-256 in base64url. */
  | { readonly directory: string; readonly thumbprint: string };

/** What one request spends and wants to know: no nonce where it is not to be spent, no reference where there is no account. */
export type Presented = { readonly nonce: MintedNonce | undefined; readonly account: AccountReference | undefined };

/** What became of it. `epoch` is the one that stands; undefined after a crash of the server. */
export type Recognised = {
  /** Whether the nonce was spent by this request: of several with one nonce, by one. */
  readonly fresh: boolean;
  readonly account: Account | undefined;
  readonly epoch: Uint8Array | undefined;
};

type AccountColumns = {
  readonly id: string | null;
  readonly directory: string;
  readonly namespace: string;
  readonly jwk: string;
  readonly status: AccountStatus;
  readonly contact: readonly string[];
  readonly termsAgreed: string | null;
  readonly externalAccountKey: string | null;
  readonly externalAccountBinding: string | null;
  readonly createdAt: Date;
};

const accountColumns = (sql: Sql) => sql`
  a.id, a.directory, a.namespace, a.jwk::text as jwk, a.status, a.contact, a.terms_agreed as "termsAgreed",
  a.external_account_key as "externalAccountKey", a.external_account_binding::text as "externalAccountBinding", a.created_at as "createdAt"`;

/** Gives the key of a JWK as it is stored. */
export type KeyOf = (jwk: string) => AccountKey;

/** Keys as they are stored, those of late kept: to import one takes longer than to verify with it. A JWK is its key: none grows old. */
export function rememberKeys(): KeyOf {
  const keys = new LRUCache<string, AccountKey>({ max: 2_000 });
  return (jwk) => {
    const key = keys.get(jwk) ?? keyOf(jwk);
    keys.set(jwk, key);
    return key;
  };
}

/**
 * Spends nonces and reads accounts in one statement, for as many requests as came together; answers in their order.
 * @param keyIn where keys come from: `rememberKeys` for a caller that asks often
 */
export async function recognise(sql: Sql, presented: readonly Presented[], keyIn: KeyOf = keyOf): Promise<Recognised[]> {
  const { nonces, firsts } = distinctNonces(presented);
  const of = <T>(value: (request: Presented) => T) => presented.map(value);
  const id = ({ account }: Presented) => (account && "id" in account ? account.id : null);
  const directory = ({ account }: Presented) => (account && "directory" in account ? account.directory : null);
  const thumbprint = ({ account }: Presented) => (account && "directory" in account ? account.thumbprint : null);
  const rows = await sql<(AccountColumns & { position: number; fresh: boolean; epoch: Uint8Array | null })[]>`
    with spent as (
      insert into acme_nonce (slot, nonce)
      select n.slot, n.nonce
      from unnest(${sql.array(
        nonces.map(({ slot }) => slot),
        21,
      )}::smallint[], ${sql.array(
        nonces.map(({ epoch }) => epoch),
        17,
      )}::bytea[],
        ${sql.array(
          nonces.map(({ nonce }) => nonce),
          17,
        )}::bytea[]) as n (slot, epoch, nonce)
      join acme_nonce_epoch e on e.epoch = n.epoch
      -- In one order everywhere: a statement waits where another records the same nonce.
      order by n.slot, n.nonce
      on conflict do nothing
      returning nonce
    )
    select u.position::integer as position, s.nonce is not null as fresh, (select epoch from acme_nonce_epoch) as epoch, ${accountColumns(sql)}
    from unnest(${sql.array(firsts, 17)}::bytea[], ${sql.array(of(id), 25)}::text[], ${sql.array(of(directory), 25)}::text[],
      ${sql.array(of(thumbprint), 25)}::text[]) with ordinality as u (nonce, id, directory, thumbprint, position)
    left join spent s on s.nonce = u.nonce
    left join acme_account a
      on a.id = coalesce(u.id, (select b.id from acme_account b where b.directory = u.directory and b.thumbprint = u.thumbprint))
    order by u.position`;
  return rows.map(({ fresh, epoch, ...row }) => ({ fresh, epoch: epoch ?? undefined, account: accountOf(row, keyIn) }));
}

/** Each nonce once; and by request its nonce, where it is the first to bring it. */
function distinctNonces(presented: readonly Presented[]): { nonces: MintedNonce[]; firsts: (Uint8Array | null)[] } {
  const byText = new Map<string, MintedNonce>();
  const firsts = presented.map(({ nonce }) => {
    const text = nonce && Buffer.from(nonce.nonce).toString("hex");
    if (!nonce || text === undefined || byText.has(text)) return null;
    byText.set(text, nonce);
    return nonce.nonce;
  });
  return { nonces: [...byText.values()], firsts };
}

function accountOf(
  { id, jwk, termsAgreed, externalAccountKey, externalAccountBinding, ...row }: AccountColumns,
  keyIn: KeyOf = keyOf,
): Account | undefined {
  if (id === null) return undefined;
  return {
    id,
    directory: row.directory,
    namespace: row.namespace,
    key: keyIn(jwk),
    status: row.status,
    contact: row.contact,
    createdAt: row.createdAt,
    ...(termsAgreed !== null && { termsAgreed }),
    ...(externalAccountKey !== null && { externalAccountKey }),
    ...(externalAccountBinding !== null && { externalAccountBinding: objectOf(externalAccountBinding) }),
  };
}

function keyOf(jwk: string): AccountKey {
  return storedKey(objectOf(jwk));
}

function objectOf(text: string): JsonObject {
  const value = readJson(new TextEncoder().encode(text));
  if (!isJsonObject(value)) throw new Fault("internal", "a stored JSON object is none");
  return value;
}

/** Records an account. @returns false when its key has one in this directory already. */
export async function recordAccount({ sql }: Tx, account: Account): Promise<boolean> {
  const result = await sql`
    insert into acme_account (id, directory, namespace, jwk, thumbprint, status, contact, terms_agreed, external_account_key,
      external_account_binding, created_at)
    values (${account.id}, ${account.directory}, ${account.namespace}, ${JSON.stringify(account.key.jwk)}::text::jsonb, ${account.key.thumbprint},
      ${account.status}, ${sql.array([...account.contact], 25)}, ${account.termsAgreed ?? null}, ${account.externalAccountKey ?? null},
      ${account.externalAccountBinding ? JSON.stringify(account.externalAccountBinding) : null}::text::jsonb, ${account.createdAt.toISOString()})
    on conflict do nothing`;
  return result.count === 1;
}

/** The account of this key in a directory. */
export async function readAccountByKey(sql: Sql, directory: string, thumbprint: string): Promise<Account | undefined> {
  const [row] = await sql<AccountColumns[]>`
    select ${accountColumns(sql)} from acme_account a where a.directory = ${directory} and a.thumbprint = ${thumbprint}`;
  return row && accountOf(row);
}

/** The account of this id. */
export async function readAccount(sql: Sql, id: string): Promise<Account | undefined> {
  const [row] = await sql<AccountColumns[]>`select ${accountColumns(sql)} from acme_account a where a.id = ${id}`;
  return row && accountOf(row);
}

/** Changes the contacts of a valid account. @returns false when it is not valid. */
export async function recordContacts({ sql }: Tx, id: string, contact: readonly string[]): Promise<boolean> {
  const result = await sql`update acme_account set contact = ${sql.array([...contact], 25)} where id = ${id} and status = 'valid'`;
  return result.count === 1;
}

/** Records agreement of a valid account to the terms at `url`. @returns false when it is not valid. */
export async function recordAgreement({ sql }: Tx, id: string, url: string): Promise<boolean> {
  const result = await sql`update acme_account set terms_agreed = ${url} where id = ${id} and status = 'valid'`;
  return result.count === 1;
}

/** Ends a valid account, and with it its authorizations, as its owner or an administrator says. @returns false when it was not valid. */
export async function recordAccountEnd({ sql }: Tx, id: string, status: Exclude<AccountStatus, "valid">): Promise<boolean> {
  const [row] = await sql<{ ended: boolean }[]>`
    with ended as (
      update acme_account set status = ${status} where id = ${id} and status = 'valid' returning id
    ), authorizations as (
      update acme_authorization a set status = ${status} from ended where a.account_id = ended.id and a.status in ('pending', 'valid')
    )
    select exists (select from ended) as ended`;
  return row?.ended ?? false;
}

/**
 * Gives a valid account another key. @returns false when the account is not valid, or no longer has `from`.
 * @throws the violated constraint when another account of the directory has the key.
 */
export async function recordKeyChange(
  { sql }: Tx,
  id: string,
  { from, to }: { readonly from: AccountKey; readonly to: AccountKey },
): Promise<boolean> {
  const result = await sql`
    update acme_account set jwk = ${JSON.stringify(to.jwk)}::text::jsonb, thumbprint = ${to.thumbprint}
    where id = ${id} and status = 'valid' and thumbprint = ${from.thumbprint}`;
  return result.count === 1;
}

/** Where a page of accounts begins: behind this one. */
export type AccountPosition = Pick<Account, "id" | "createdAt">;

/** Accounts of a namespace and those within it, newest first. */
export async function listAccountRows(
  sql: Sql,
  { namespace, limit, after }: { readonly namespace: string; readonly limit: number; readonly after?: AccountPosition | undefined },
): Promise<Account[]> {
  const rows = await sql<AccountColumns[]>`
    select ${accountColumns(sql)} from acme_account a
    where ${isWithin(sql, sql`a.namespace`, namespace)}
      ${after ? sql`and (a.created_at, a.id) < (${after.createdAt.toISOString()}::timestamptz, ${after.id})` : sql``}
    order by a.created_at desc, a.id desc limit ${limit}`;
  return rows.flatMap((row) => accountOf(row) ?? []);
}
