import type { Acme } from "./acme.ts";
import type { Authorization } from "./authorization.ts";
import { readAuthorizationsOfOrder } from "./authorization-store.ts";
import type { Order } from "./order.ts";
import { showOrder } from "./read-order.ts";

/** An order with what its account was to show, and what came of it. */
export type ExaminedOrder = { readonly order: Order; readonly authorizations: readonly Authorization[] };

/** The order of this id with its authorizations, in the order of its identifiers, if its account lies in `namespace` or within it. */
export async function examineOrder(acme: Acme, namespace: string, id: string): Promise<ExaminedOrder | undefined> {
  const order = await showOrder(acme, namespace, id);
  if (!order) return undefined;
  const authorizations = await acme.database.read((sql) => readAuthorizationsOfOrder(sql, id, acme.clock.now()));
  return { order, authorizations };
}
