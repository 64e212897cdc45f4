import type { Sql } from "../database/connection.ts";
import type { Limit } from "./directory.ts";

/** Takes one out of the bucket, as far as it has refilled by `now`. @returns false when it holds less than one, but for what rounding takes. */
export async function takeFromBucket(sql: Sql, key: string, { count, seconds }: Limit, now: Date): Promise<boolean> {
  const time = now.toISOString();
  const result = await sql`
    insert into acme_bucket as b (key, tokens, refilled_at) values (${key}, ${count - 1}, ${time})
    on conflict (key) do update set
      tokens = least(${count}::double precision, b.tokens
        + greatest(0, extract(epoch from ${time}::timestamptz - b.refilled_at)) * ${count / seconds}::double precision) - 1,
      refilled_at = greatest(b.refilled_at, ${time}::timestamptz)
    where b.tokens + greatest(0, extract(epoch from ${time}::timestamptz - b.refilled_at)) * ${count / seconds}::double precision >= ${1 - 1e-9}`;
  return result.count === 1;
}

/** Puts one back into the bucket, which holds no more than it did when it was full. */
export async function returnToBucket(sql: Sql, key: string, { count, seconds }: Limit, now: Date): Promise<void> {
  const time = now.toISOString();
  await sql`
    update acme_bucket set
      tokens = least(${count}::double precision, tokens
        + greatest(0, extract(epoch from ${time}::timestamptz - refilled_at)) * ${count / seconds}::double precision + 1),
      refilled_at = greatest(refilled_at, ${time}::timestamptz)
    where key = ${key}`;
}

/** Of these buckets one that holds less than one by `now`. */
export async function findEmptyBucket(
  sql: Sql,
  keys: readonly string[],
  { count, seconds }: Limit,
  now: Date,
): Promise<string | undefined> {
  const [row] = await sql<{ key: string }[]>`
    select b.key from acme_bucket b where b.key in ${sql([...keys])}
      and b.tokens + greatest(0, extract(epoch from ${now.toISOString()}::timestamptz - b.refilled_at)) * ${count / seconds}::double precision < 1
    limit 1`;
  return row?.key;
}

/** Forgets buckets that nothing was taken from since `before`: full ones, where `before` lies further back than any limit's seconds. */
export async function forgetBuckets(sql: Sql, before: Date): Promise<void> {
  await sql`delete from acme_bucket where refilled_at < ${before.toISOString()}`;
}
