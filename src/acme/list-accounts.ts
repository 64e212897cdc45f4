import { contains } from "../access/namespace.ts";
import { pageOf, parseCursor } from "../database/cursor.ts";
import { encodeBase64url } from "../jose/base64url.ts";
import type { Account } from "./account.ts";
import { listAccountRows, readAccount } from "./account-store.ts";
import { type Acme, isId } from "./acme.ts";

/**
 * Accounts of `namespace` and within it, newest first, for administrators.
 * @throws Fault `malformed` for a cursor that is not ours.
 */
export async function listAccounts(
  { database }: Acme,
  namespace: string,
  { limit, cursor }: { readonly limit: number; readonly cursor?: string | undefined },
): Promise<{ readonly accounts: readonly Account[]; readonly nextCursor?: string }> {
  const position = cursor === undefined ? undefined : parseCursor(cursor);
  const after = position && { createdAt: position.time, id: encodeBase64url(position.id) };
  const found = await database.read((sql) => listAccountRows(sql, { namespace, limit: limit + 1, after }));
  const { rows: accounts, next } = pageOf(found, limit, ({ createdAt, id }) => ({ time: createdAt, id: Buffer.from(id, "base64url") }));
  return { accounts, ...next };
}

/** The account of this id, if it lies in `namespace` or within it. */
export async function showAccount({ database }: Acme, namespace: string, id: string): Promise<Account | undefined> {
  const account = isId(id) ? await database.read((sql) => readAccount(sql, id)) : undefined;
  return account && contains(namespace, account.namespace) ? account : undefined;
}
