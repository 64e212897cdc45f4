import type { Principal } from "../access/principal.ts";
import { appendAudit } from "../audit/append.ts";
import { auditRow } from "../audit/entry.ts";
import { Fault } from "../fault.ts";
import type { Account } from "./account.ts";
import { recordAccountEnd } from "./account-store.ts";
import type { Acme } from "./acme.ts";
import { showAccount } from "./list-accounts.ts";

/**
 * Ends an account because an administrator says so: its requests are refused from then on, its authorizations are revoked, and with them end
 * its orders that have begun no certificate. Its certificates live on. One that has ended already stays as it is. Durable with its audit
 * record on return.
 * @param reason why, for the audit record
 * @throws Fault `notFound` when there is none that the principal may see.
 * @see RFC 8555 §7.1.2, §7.1.6
 */
export async function revokeAccount(
  acme: Acme,
  principal: Principal,
  { id, reason, requestId }: { readonly id: string; readonly reason: string; readonly requestId: string },
): Promise<Account> {
  const account = await showAccount(acme, principal.namespace, id);
  if (!account) throw new Fault("notFound", `there is no ACME account ${JSON.stringify(id.slice(0, 64))}`);
  const ended = await acme.database.transact(async (tx) => {
    if (!(await recordAccountEnd(tx, account.id, "revoked"))) return false;
    const { directory, namespace, key } = account;
    const object = { account: account.id, directory, thumbprint: key.thumbprint, reason };
    const entry = { operation: "acme.account.revoke", namespace, principal: principal.id, outcome: "success", requestId, object } as const;
    await appendAudit(tx, auditRow(entry, acme));
    return true;
  });
  // It may have been ended otherwise between the look and the act.
  return ended ? { ...account, status: "revoked" } : ((await showAccount(acme, principal.namespace, id)) ?? account);
}
