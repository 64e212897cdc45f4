import { newestAttempt } from "../ca/attempt-store.ts";
import type { Sql } from "../database/connection.ts";

/** Takes away orders that expired before `before`, but for those whose issuance is under way. @returns how many, `limit` at most. */
export async function forgetOrders(sql: Sql, before: Date, limit: number): Promise<number> {
  const [row] = await sql<{ count: number }[]>`
    with old as (
      select o.id, n.outcome from acme_order o left join lateral (${newestAttempt(sql, sql`o.request_id`)}) n on true
      where o.expires_at < ${before.toISOString()} and n.outcome is distinct from 'open' limit ${limit}
    ), freed as (
      delete from acme_replacement r using old where r.order_id = old.id and old.outcome is distinct from 'issued'
    ), gone as (
      delete from acme_order o using old where o.id = old.id returning o.id
    )
    select count(*)::integer as count from gone`;
  return row?.count ?? 0;
}

/** Takes away authorizations that expired before `before` and that no order refers to, with their challenges. @returns as `forgetOrders`. */
export async function forgetAuthorizations(sql: Sql, before: Date, limit: number): Promise<number> {
  const result = await sql`
    delete from acme_authorization where id in (
      select a.id from acme_authorization a
      where a.expires_at < ${before.toISOString()} and not exists (select from acme_order_authorization oa where oa.authorization_id = a.id)
      limit ${limit})`;
  return result.count;
}

/** Takes away replacements of certificates that are over. */
export async function forgetReplacements(sql: Sql, now: Date): Promise<void> {
  await sql`delete from acme_replacement where expires_at < ${now.toISOString()}`;
}
