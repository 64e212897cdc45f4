import { contains } from "../access/namespace.ts";
import { pageOf, parseCursor } from "../database/cursor.ts";
import { search } from "../database/search.ts";
import { encodeBase64url } from "../jose/base64url.ts";
import type { Account } from "./account.ts";
import { readAccount } from "./account-store.ts";
import type { Acme } from "./acme.ts";
import type { Order } from "./order.ts";
import { listOrderRows, type OrderPosition, readOrderRow } from "./order-store.ts";

/** The account's order of this id; undefined for another account's, as for none (RFC 8555 §10.5). */
export async function readOrder({ findOrder }: Acme, account: Account, id: string): Promise<Order | undefined> {
  const order = await findOrder(id);
  return order?.accountId === account.id ? order : undefined;
}

/**
 * A page of the account's orders that are not invalid, newest first, with the id that the next page begins behind (RFC 8555 §7.1.2.1);
 * undefined for an id that is no order of the account's.
 */
export async function pageOfOrders(
  { database, clock }: Acme,
  account: Account,
  { limit, after }: { readonly limit: number; readonly after?: string | undefined },
): Promise<{ readonly orders: readonly Order[]; readonly next?: string } | undefined> {
  const now = clock.now();
  const from = after === undefined ? undefined : await database.read((sql) => readOrderRow(sql, after, now));
  if (after !== undefined && from?.accountId !== account.id) return undefined;
  const found = await database.read((sql) => listOrderRows(sql, { account: account.id }, { limit: limit + 1, after: from, now }));
  const page = found.slice(0, limit);
  const last = found.length > limit ? page.at(-1) : undefined;
  return { orders: page.filter(({ status }) => status !== "invalid"), ...(last && { next: last.id }) };
}

/**
 * Orders of `namespace` and within it, newest first, for administrators.
 * @throws Fault `malformed` for a cursor that is not ours.
 */
export async function listOrders(
  { database, clock }: Acme,
  namespace: string,
  { limit, cursor, account }: { readonly limit: number; readonly cursor?: string | undefined; readonly account?: string | undefined },
): Promise<{ readonly orders: readonly Order[]; readonly nextCursor?: string }> {
  const position = cursor === undefined ? undefined : parseCursor(cursor);
  const after: OrderPosition | undefined = position && { createdAt: position.time, id: encodeBase64url(position.id) };
  if (account !== undefined && !(await mayRead(database, namespace, account))) return { orders: [] };
  const scope = account === undefined ? { namespace } : { account };
  const found = await search(database, (sql) => listOrderRows(sql, scope, { limit: limit + 1, after, now: clock.now() }));
  const { rows: orders, next } = pageOf(found, limit, ({ createdAt, id }) => ({ time: createdAt, id: Buffer.from(id, "base64url") }));
  return { orders, ...next };
}

/** The order of this id, if its account lies in `namespace` or within it. */
export async function showOrder({ database, clock }: Acme, namespace: string, id: string): Promise<Order | undefined> {
  const order = await database.read((sql) => readOrderRow(sql, id, clock.now()));
  return order && (await mayRead(database, namespace, order.accountId)) ? order : undefined;
}

async function mayRead(database: Acme["database"], namespace: string, account: string): Promise<boolean> {
  const owner = await database.read((sql) => readAccount(sql, account));
  return owner !== undefined && contains(namespace, owner.namespace);
}
