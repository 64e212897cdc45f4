import type { PendingQuery, Row } from "postgres";
import { isWithin } from "../access/namespace-store.ts";
import { newestAttempt } from "../ca/attempt-store.ts";
import type { Sql } from "../database/connection.ts";
import type { Order, OrderStatus } from "./order.ts";
import type { Identifier, Problem } from "./problem.ts";

/** An order to be recorded, with what it needs where nothing stands yet. */
export type OrderRow = Pick<
  Order,
  "id" | "accountId" | "requestId" | "identifiers" | "profile" | "notBefore" | "notAfter" | "replaces" | "createdAt" | "expiresAt"
> & {
  /** SHA-256 of all that makes two orders equal. */
  readonly digest: Uint8Array;
  /** The certificate that it replaces, if that is one of ours. */
  readonly replacement: { readonly authority: string; readonly serial: Uint8Array; readonly notAfter: Date } | undefined;
  /** For each identifier in turn the authorization that is made where none is valid. */
  readonly authorizations: readonly AuthorizationRow[];
  readonly authorizationsExpireAt: Date;
  /** A valid authorization is used again when it was shown by one of these challenges. */
  readonly challengeTypes: readonly string[];
  /** What stands is used again when it lasts beyond this time: an equal order that is open, and valid authorizations. */
  readonly reusableBeyond: Date;
};

/** An authorization to be recorded; `value` is without `*.`. */
export type AuthorizationRow = {
  readonly id: string;
  readonly type: Identifier["type"];
  readonly value: string;
  readonly wildcard: boolean;
  readonly challenges: readonly { readonly id: string; readonly type: string; readonly token: string }[];
};

/**
 * The order that stands under the digest: the one given, which `order` then is, or an equal one that is open. `replacedBy`: the order that
 * replaces the certificate.
 */
export type RecordedOrder = { readonly id: string; readonly order: Order | undefined; readonly replacedBy: string | undefined };

/** A condition that the order whose id the fragment gives can never issue any more: it is not visible yet, or it can, where this is false. */
const isInvalid = (sql: Sql, orderId: PendingQuery<Row[]>, now: string) => sql`
  exists (
    select from acme_order x join acme_account xa on xa.id = x.account_id
    left join lateral (${newestAttempt(sql, sql`x.request_id`)}) n on true
    where x.id = ${orderId} and (n.outcome = 'closed' or n.outcome is null and (
      x.error is not null or x.expires_at <= ${now}::timestamptz or xa.status <> 'valid' or exists (
        select from acme_order_authorization xo join acme_authorization z on z.id = xo.authorization_id
        where xo.order_id = x.id and (z.status not in ('pending', 'valid') or z.expires_at <= ${now}::timestamptz)))))`;

const isIssued = (sql: Sql, orderId: PendingQuery<Row[]>) => sql`
  exists (select from acme_order x join issuance i on i.request_id = x.request_id
    join certificate c using (authority, serial) where x.id = ${orderId} and c.certificate is not null)`;

/**
 * Records an order with its authorizations and challenges in one statement, unless an equal one is open: of concurrent equal orders one is
 * recorded. Where it replaces a certificate it is to run in a transaction, which is undone when another order replaces it already.
 */
export async function recordOrder(sql: Sql, order: OrderRow): Promise<RecordedOrder> {
  const now = order.createdAt.toISOString();
  const usefulBeyond = order.reusableBeyond.toISOString();
  const challenges = order.authorizations.flatMap(({ id, challenges: each }) =>
    each.map((challenge, position) => ({ ...challenge, authorization: id, position })),
  );
  const texts = (values: readonly string[]) => sql.array([...values], 25);
  const { authorizations, replacement } = order;
  const [row] = await sql<{ id: string; replacedBy: string | null; expiresAt: Date | null; reused: string }[]>`
    with slot as (
      insert into acme_open_order as s (digest, order_id) values (${order.digest}, ${order.id})
      on conflict (digest) do update set order_id = case
        when ${isInvalid(sql, sql`s.order_id`, usefulBeyond)} or ${isIssued(sql, sql`s.order_id`)} then excluded.order_id else s.order_id end
      returning order_id
    ), mine as (
      select order_id from slot where order_id = ${order.id}
    ), asked as (
      select * from unnest(${sql.array(
        authorizations.map((_, position) => position),
        21,
      )}::smallint[], ${texts(authorizations.map(({ id }) => id))}::text[],
        ${texts(authorizations.map(({ type }) => type))}::text[], ${texts(authorizations.map(({ value }) => value))}::text[],
        ${sql.array(
          authorizations.map(({ wildcard }) => wildcard),
          16,
        )}::boolean[]) as q (position, id, type, value, wildcard)
    ), reused as (
      -- Name by name, each by the index of names: an account may have thousands.
      select q.position, a.id, a.expires_at
      from asked q cross join lateral (
        select z.id, z.expires_at from acme_authorization z
        where z.account_id = ${order.accountId} and z.type = q.type and z.value = q.value and z.wildcard = q.wildcard and z.status = 'valid'
          and z.expires_at > ${usefulBeyond}::timestamptz
          and exists (select from acme_challenge c where c.authorization_id = z.id and c.status = 'valid'
            and c.type = any(${texts(order.challengeTypes)}::text[]))
        order by expires_at desc limit 1) a
    ), made as (
      insert into acme_authorization (id, account_id, type, value, wildcard, status, created_at, expires_at)
      select q.id, ${order.accountId}, q.type, q.value, q.wildcard, 'pending', ${now}::timestamptz, ${order.authorizationsExpireAt.toISOString()}::timestamptz
      from asked q cross join mine where not exists (select from reused r where r.position = q.position)
      returning id
    ), challenged as (
      insert into acme_challenge (id, authorization_id, position, type, token, status)
      select c.id, c.authorization_id, c.position, c.type, c.token, 'pending'
      from unnest(${texts(challenges.map(({ id }) => id))}::text[], ${texts(challenges.map(({ authorization }) => authorization))}::text[],
        ${sql.array(
          challenges.map(({ position }) => position),
          21,
        )}::smallint[], ${texts(challenges.map(({ type }) => type))}::text[],
        ${texts(challenges.map(({ token }) => token))}::text[]) as c (id, authorization_id, position, type, token)
      join made on made.id = c.authorization_id
    ), ordered as (
      insert into acme_order (id, account_id, request_id, identifiers, profile, not_before, not_after, replaces, created_at, expires_at)
      select ${order.id}, ${order.accountId}, ${order.requestId}, ${JSON.stringify(order.identifiers)}::text::jsonb, ${order.profile},
        ${order.notBefore?.toISOString() ?? null}::timestamptz, ${order.notAfter?.toISOString() ?? null}::timestamptz, ${order.replaces ?? null},
        ${now}::timestamptz, least(${order.expiresAt.toISOString()}::timestamptz, (select min(expires_at) from reused))
      from mine
      returning expires_at
    ), linked as (
      insert into acme_order_authorization (order_id, position, authorization_id)
      select mine.order_id, q.position, coalesce(r.id, q.id) from asked q cross join mine left join reused r using (position)
    ), replaced as (
      insert into acme_replacement as p (authority, serial, order_id, expires_at)
      select ${replacement?.authority ?? null}::text, ${replacement?.serial ?? null}::bytea, mine.order_id,
        ${replacement?.notAfter.toISOString() ?? null}::timestamptz
      from mine where ${replacement !== undefined}::boolean
      on conflict (authority, serial) do update set order_id = case
        when ${isInvalid(sql, sql`p.order_id`, usefulBeyond)} then excluded.order_id else p.order_id end
      returning order_id
    )
    select slot.order_id as id, (select order_id from replaced) as "replacedBy", (select expires_at from ordered) as "expiresAt",
      coalesce((select jsonb_object_agg(position, id) from reused), '{}')::text as reused
    from slot`;
  if (!row) throw new Error("recording an order gave no row");
  return {
    id: row.id,
    order: row.expiresAt ? recordedOrder(order, row.expiresAt, JSON.parse(row.reused) as Reused) : undefined, // the query built it
    replacedBy: row.replacedBy ?? undefined,
  };
}

/** Ids of authorizations that were used again, by position. */
type Reused = Readonly<Record<string, string>>;

function recordedOrder(row: OrderRow, expiresAt: Date, reused: Reused): Order {
  const { id, accountId, requestId, identifiers, profile, createdAt, notBefore, notAfter, replaces } = row;
  const authorizations = row.authorizations.map((authorization, position) => reused[position] ?? authorization.id);
  return {
    id,
    accountId,
    requestId,
    status: row.authorizations.every((_, position) => reused[position] !== undefined) ? "ready" : "pending",
    identifiers,
    profile,
    authorizations,
    createdAt,
    expiresAt,
    ...(notBefore && { notBefore }),
    ...(notAfter && { notAfter }),
    ...(replaces !== undefined && { replaces }),
  };
}

/** Whether an order replaces the certificate, or did and failed. */
export async function hasReplacement(
  sql: Sql,
  { authority, serial }: { readonly authority: string; readonly serial: Uint8Array },
): Promise<boolean> {
  const rows = await sql`select from acme_replacement where authority = ${authority} and serial = ${serial}`;
  return rows.length > 0;
}

type OrderColumns = {
  readonly id: string;
  readonly accountId: string;
  readonly requestId: Uint8Array;
  readonly identifiers: string;
  readonly profile: string;
  readonly notBefore: Date | null;
  readonly notAfter: Date | null;
  readonly replaces: string | null;
  readonly error: string | null;
  readonly createdAt: Date;
  readonly expiresAt: Date;
  readonly accountStatus: string;
  readonly authorizations: readonly string[];
  readonly states: readonly string[];
  readonly outcome: "open" | "closed" | "issued" | null;
  readonly authority: string | null;
  readonly serial: string | null;
};

const orderColumns = (sql: Sql, now: string) => sql`
  o.id, o.account_id as "accountId", o.request_id as "requestId", o.identifiers::text as identifiers, o.profile, o.not_before as "notBefore",
  o.not_after as "notAfter", o.replaces, o.created_at as "createdAt", o.expires_at as "expiresAt", acc.status as "accountStatus",
  coalesce(o.error, (
    select c.error from acme_order_authorization oa join acme_challenge c using (authorization_id)
    where oa.order_id = o.id and c.status = 'invalid' order by oa.position limit 1))::text as error,
  array(select oa.authorization_id from acme_order_authorization oa where oa.order_id = o.id order by oa.position) as authorizations,
  array(
    select distinct case when a.status in ('pending', 'valid') and a.expires_at <= ${now}::timestamptz then 'expired' else a.status end
    from acme_order_authorization oa join acme_authorization a on a.id = oa.authorization_id where oa.order_id = o.id) as states,
  n.outcome, n.authority, encode(n.serial, 'hex') as serial
  from acme_order o join acme_account acc on acc.id = o.account_id
  left join lateral (${newestAttempt(sql, sql`o.request_id`)}) n on true`;

/** The order of this id. */
export async function readOrderRow(sql: Sql, id: string, now: Date): Promise<Order | undefined> {
  const [order] = await readOrderRows(sql, [id], now);
  return order;
}

/** The order of each of these ids, in their order. */
export async function readOrderRows(sql: Sql, ids: readonly string[], now: Date): Promise<(Order | undefined)[]> {
  const rows = await sql<OrderColumns[]>`
    select ${orderColumns(sql, now.toISOString())} where o.id = any(${sql.array([...ids], 25)}::text[])`;
  const orders = new Map(rows.map((row) => [row.id, orderOf(row, now)]));
  return ids.map((id) => orders.get(id));
}

/** Where a page of orders begins: behind this one. */
export type OrderPosition = Pick<Order, "id" | "createdAt">;

/** Which orders a list holds: those of an account, or of accounts in a namespace and within it. */
export type OrderScope = { readonly account: string } | { readonly namespace: string };

/** Orders, the newest first. */
export async function listOrderRows(
  sql: Sql,
  scope: OrderScope,
  { limit, after, now }: { readonly limit: number; readonly after?: OrderPosition | undefined; readonly now: Date },
): Promise<Order[]> {
  const whose = "account" in scope ? sql`o.account_id = ${scope.account}` : isWithin(sql, sql`acc.namespace`, scope.namespace);
  const rows = await sql<OrderColumns[]>`
    select ${orderColumns(sql, now.toISOString())}
    where ${whose} ${after ? sql`and (o.created_at, o.id) < (${after.createdAt.toISOString()}::timestamptz, ${after.id})` : sql``}
    order by o.created_at desc, o.id desc limit ${limit}`;
  return rows.map((row) => orderOf(row, now));
}

function orderOf(row: OrderColumns, now: Date): Order {
  const status = statusOf(row, now);
  const error: Problem | undefined = row.error === null ? invalidReason(row, now) : (JSON.parse(row.error) as Problem); // we wrote it
  return {
    id: row.id,
    accountId: row.accountId,
    requestId: row.requestId,
    status,
    identifiers: JSON.parse(row.identifiers) as readonly Identifier[], // we wrote them
    profile: row.profile,
    authorizations: row.authorizations,
    createdAt: row.createdAt,
    expiresAt: row.expiresAt,
    ...(row.notBefore && { notBefore: row.notBefore }),
    ...(row.notAfter && { notAfter: row.notAfter }),
    ...(row.replaces !== null && { replaces: row.replaces }),
    ...(status === "invalid" && error && { error }),
    ...(status === "valid" &&
      row.authority !== null &&
      row.serial !== null && { certificate: { authority: row.authority, serial: row.serial } }),
  };
}

/** @see RFC 8555 §7.1.6: derived, so that it cannot disagree with what it is derived from */
function statusOf({ outcome, error, accountStatus, states, expiresAt }: OrderColumns, now: Date): OrderStatus {
  if (outcome === "issued") return "valid";
  if (outcome === "open") return "processing";
  const lost = states.some((state) => state !== "pending" && state !== "valid");
  if (outcome === "closed" || error !== null || accountStatus !== "valid" || lost || expiresAt <= now) return "invalid";
  return states.includes("pending") ? "pending" : "ready";
}

/** Why an order is invalid that nobody wrote an error into. */
function invalidReason({ outcome, accountStatus, states, expiresAt }: OrderColumns, now: Date): Problem {
  if (outcome === "closed") return problem("serverInternal", "the certificate could not be issued in time; order again", 500);
  if (accountStatus !== "valid") return problem("unauthorized", `the account is ${accountStatus}`, 403);
  if (expiresAt <= now) return problem("malformed", "the order expired", 400);
  const state = states.find((each) => each !== "pending" && each !== "valid");
  return problem("unauthorized", `an authorization of the order is ${state ?? "of no use"}`, 403);
}

function problem(type: "unauthorized" | "malformed" | "serverInternal", detail: string, status: number): Problem {
  return { type: `urn:ietf:params:acme:error:${type}`, detail, status };
}
