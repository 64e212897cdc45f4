import { z } from "zod";
import type { Authorization, Challenge } from "../../acme/authorization.ts";
import type { Order } from "../../acme/order.ts";
import { Fault } from "../../fault.ts";
import { page } from "./page.ts";
import { route } from "./route.ts";
import { rfc3339 } from "./time.ts";

/** GET /v1/acme/orders: those of accounts of the caller's namespace and within it, newest first. */
export const listAcmeOrdersRoute = route({
  method: "GET",
  path: "/v1/acme/orders",
  action: "acme-order:read",
  query: z.strictObject({ account: z.string().min(1).max(64).optional(), ...page }),
  handle: async (doors, { principal, query }) => {
    const { orders, nextCursor } = await doors.listAcmeOrders(principal.namespace, query);
    return { json: { orders: orders.map(shown), ...(nextCursor !== undefined && { nextCursor }) } };
  },
});

/** GET /v1/acme/orders/{id}: with every challenge, what was asked and seen, and so why it failed. */
export const readAcmeOrderRoute = route({
  method: "GET",
  path: "/v1/acme/orders/:id",
  action: "acme-order:read",
  handle: async (doors, { principal, parts }) => {
    const { id = "" } = parts;
    const found = await doors.readAcmeOrder(principal.namespace, id);
    if (!found) throw new Fault("notFound", `there is no ACME order ${JSON.stringify(id.slice(0, 64))}`);
    return { json: { ...shown(found.order), authorizations: found.authorizations.map(authorization) } };
  },
});

function shown(order: Order) {
  const { id, accountId, status, identifiers, profile, notBefore, notAfter, replaces, error, createdAt, expiresAt, certificate } = order;
  return {
    id,
    account: accountId,
    status,
    identifiers,
    profile,
    ...(notBefore && { notBefore: rfc3339(notBefore) }),
    ...(notAfter && { notAfter: rfc3339(notAfter) }),
    ...(replaces !== undefined && { replaces }),
    ...(error && { error }),
    createdAt: rfc3339(createdAt),
    expiresAt: rfc3339(expiresAt),
    ...(certificate && { certificate }),
  };
}

function authorization({ id, identifier, wildcard, status, expiresAt, challenges }: Authorization) {
  return { id, identifier, wildcard, status, expiresAt: rfc3339(expiresAt), challenges: challenges.map(challenge) };
}

/** Without the token: whoever knows it and the account's key could answer. */
function challenge({ id, type, status, attempts, validatedAt, error, evidence }: Challenge) {
  return {
    id,
    type,
    status,
    attempts,
    ...(validatedAt && { validatedAt: rfc3339(validatedAt) }),
    ...(error && { error }),
    ...(evidence && { evidence }),
  };
}
