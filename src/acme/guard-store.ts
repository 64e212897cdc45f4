import type { Guard } from "../ca/attempt-store.ts";

/**
 * What must hold when the intent of an ACME order is recorded: the account is valid and its key is still the one that signed the request,
 * and the order has neither ended nor expired, nor any of its authorizations. In the statement that records the intent, so that none begins after any of it ended.
 */
export const acmeGuard: Guard = (sql) => sql`
  (u.principal not like 'acme:%' or exists (
    select from acme_order o join acme_account a on a.id = o.account_id
    where o.request_id = u.request_id and u.principal = 'acme:' || a.id and a.status = 'valid' and a.thumbprint = coalesce(u.credential, a.thumbprint) and o.error is null
      and o.expires_at > u.created_at and not exists (
        select from acme_order_authorization oa join acme_authorization z on z.id = oa.authorization_id
        where oa.order_id = o.id and (z.status <> 'valid' or z.expires_at <= u.created_at))))`;
