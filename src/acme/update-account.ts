import { appendAudit } from "../audit/append.ts";
import { Fault } from "../fault.ts";
import type { JsonObject } from "../jose/json.ts";
import { type Account, accountAudit } from "./account.ts";
import { recordAccountEnd, recordContacts } from "./account-store.ts";
import type { Acme } from "./acme.ts";
import { parseContacts } from "./contact.ts";
import { takeOne } from "./rate.ts";

/**
 * Updates an account as its owner asks: other contacts, or its end, after which its open orders and authorizations are of no use and its
 * certificates live on (RFC 8555 §7.3.2, §7.3.6). All other members are ignored, agreement to terms among them: that is newAccount's.
 * Durable with its audit record on return.
 * @throws Fault `malformed`, `invalidContact`, `unsupportedContact`, `rateLimited`; `accountInactive` when the account ended meanwhile.
 */
export async function updateAccount(acme: Acme, account: Account, payload: JsonObject, requestId: string): Promise<Account> {
  if (payload["status"] === "deactivated") return await deactivate(acme, account, requestId);
  if (payload["contact"] === undefined) return account;
  const updated: Account = { ...account, contact: parseContacts(payload["contact"]) };
  await takeOne(acme, { what: "accountUpdate", account: account.id }, acme.directories.get(account.directory)?.limits.accountUpdates);
  await acme.database.transact(async (tx) => {
    if (!(await recordContacts(tx, account.id, updated.contact))) throw ended();
    await appendAudit(tx, accountAudit(acme, "acme.account.update", updated, requestId));
  });
  return updated;
}

async function deactivate(acme: Acme, account: Account, requestId: string): Promise<Account> {
  await acme.database.transact(async (tx) => {
    if (!(await recordAccountEnd(tx, account.id, "deactivated"))) throw ended();
    await appendAudit(tx, accountAudit(acme, "acme.account.deactivate", account, requestId));
  });
  return { ...account, status: "deactivated" };
}

function ended(): Fault {
  return new Fault("accountInactive", "the account was ended meanwhile");
}
