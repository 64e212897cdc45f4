import { X509Certificate } from "node:crypto";
import type { Sql } from "../../src/database/connection.ts";
import { brokenInvariants } from "./invariants.ts";

/**
 * What must hold of ACME's tables whatever happened, once nothing is under way, with what must hold of issuance: at most one certificate for
 * an order, for its names and key holder's account alone; no order whose attempt ended without a certificate or did not end; every
 * valid authorization has one valid challenge, and no challenge is valid without its authorization.
 */
export async function brokenAcmeInvariants(sql: Sql): Promise<string[]> {
  const broken = await brokenInvariants(sql);
  const orders = await sql<
    {
      id: string;
      identifiers: string;
      principal: string;
      attempts: readonly (Uint8Array | null)[];
      owner: string;
      open: number;
      unmet: number;
    }[]
  >`
    select o.id, o.identifiers::text as identifiers, 'acme:' || o.account_id as owner, min(i.principal) as principal,
      (count(i.serial) filter (where c.serial is null))::integer as open, array_remove(array_agg(c.certificate), null) as attempts,
      (select count(*)::integer from acme_order_authorization oa join acme_authorization a on a.id = oa.authorization_id
        where oa.order_id = o.id and a.status in ('pending', 'invalid')) as unmet
    from acme_order o join issuance i on i.request_id = o.request_id left join certificate c using (authority, serial) group by o.id`;
  for (const { id, identifiers, principal, attempts, owner, open, unmet } of orders) {
    if (open > 0) broken.push(`the order ${id} is still processing`);
    if (open === 0 && attempts.length !== 1) broken.push(`the order ${id} was finalized and has ${attempts.length} certificates`);
    if (principal !== owner) broken.push(`the order ${id} of ${owner} was issued for ${principal}`);
    if (unmet > 0) broken.push(`the order ${id} was issued with ${unmet} authorizations that were not met`);
    const named = (JSON.parse(identifiers) as { value: string }[]).map(({ value }) => `DNS:${value}`).join(", ");
    for (const der of attempts)
      if (der && new X509Certificate(der).subjectAltName !== named) broken.push(`the order ${id} has a certificate for other names`);
  }
  const strays = await sql`
    select from issuance i where i.principal like 'acme:%' and not exists (select from acme_order o where o.request_id = i.request_id)`;
  if (strays.length > 0) broken.push(`${strays.length} issuances by ACME have no order`);
  const authorizations = await sql<{ id: string; status: string; met: number }[]>`
    select a.id, a.status, (count(*) filter (where c.status = 'valid' and c.validated_at is not null))::integer as met
    from acme_authorization a join acme_challenge c on c.authorization_id = a.id group by a.id
    having (a.status = 'valid') <> (count(*) filter (where c.status = 'valid' and c.validated_at is not null) = 1) and a.status not in ('deactivated', 'revoked')`;
  for (const { id, status, met } of authorizations) broken.push(`the authorization ${id} is ${status} with ${met} valid challenges`);
  return broken;
}
