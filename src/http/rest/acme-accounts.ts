import { z } from "zod";
import type { Account } from "../../acme/account.ts";
import { Fault } from "../../fault.ts";
import { page } from "./page.ts";
import { route } from "./route.ts";
import { rfc3339 } from "./time.ts";

/** GET /v1/acme/accounts: those of the caller's namespace and within it, newest first. */
export const listAcmeAccountsRoute = route({
  method: "GET",
  path: "/v1/acme/accounts",
  action: "acme-account:read",
  query: z.strictObject(page),
  handle: async (doors, { principal, query }) => {
    const { accounts, nextCursor } = await doors.listAcmeAccounts(principal.namespace, query);
    return { json: { accounts: accounts.map(shown), ...(nextCursor !== undefined && { nextCursor }) } };
  },
});

/** GET /v1/acme/accounts/{id} */
export const readAcmeAccountRoute = route({
  method: "GET",
  path: "/v1/acme/accounts/:id",
  action: "acme-account:read",
  handle: async (doors, { principal, parts }) => {
    const { id = "" } = parts;
    const account = await doors.readAcmeAccount(principal.namespace, id);
    if (!account) throw new Fault("notFound", `there is no ACME account ${JSON.stringify(id.slice(0, 64))}`);
    return { json: shown(account) };
  },
});

/** POST /v1/acme/accounts/{id}/revoke: the account as it is then; its certificates live on. */
export const revokeAcmeAccountRoute = route({
  method: "POST",
  path: "/v1/acme/accounts/:id/revoke",
  action: "acme-account:revoke",
  body: z.strictObject({ reason: z.string().trim().min(1).max(255) }),
  handle: async (doors, { principal, parts, body, requestId }) => {
    const { id = "" } = parts;
    return { json: shown(await doors.revokeAcmeAccount(principal, { id, reason: body.reason, requestId })) };
  },
});

/** The key itself is the account's own affair: its thumbprint tells it from others (RFC 7638). */
function shown({ id, directory, namespace, status, contact, key, termsAgreed, externalAccountKey, createdAt }: Account) {
  return {
    id,
    directory,
    namespace,
    status,
    contact,
    thumbprint: key.thumbprint,
    ...(termsAgreed !== undefined && { termsAgreed }),
    ...(externalAccountKey !== undefined && { externalAccountKey }),
    createdAt: rfc3339(createdAt),
  };
}
