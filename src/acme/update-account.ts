import { appendAudit } from "../audit/append.ts";
import { Fault } from "../fault.ts";
import type { JsonObject } from "../jose/json.ts";
import { type Account, accountAudit } from "./account.ts";
import { recordAgreement, recordContacts, recordDeactivation } from "./account-store.ts";
import type { Acme } from "./acme.ts";
import { parseContacts } from "./contact.ts";

/**
 * Updates an account as its owner asks: other contacts, agreement to the directory's present terms, or its end, after which its open orders
 * and authorizations are of no use and its certificates live on (RFC 8555 §7.3.2, §7.3.3, §7.3.6). Members that cannot be updated are
 * ignored. Durable with its audit record on return.
 * @throws Fault `malformed`, `invalidContact`, `unsupportedContact`; `accountInactive` when the account ended meanwhile.
 */
export async function updateAccount(acme: Acme, account: Account, payload: JsonObject, requestId: string): Promise<Account> {
  if (payload["status"] === "deactivated") return await deactivate(acme, account, requestId);
  const contact = payload["contact"] === undefined ? account.contact : parseContacts(payload["contact"]);
  const terms = acme.directories.get(account.directory)?.termsOfService;
  const agreed = payload["termsOfServiceAgreed"] === true && terms !== undefined ? terms : account.termsAgreed;
  if (contact === account.contact && agreed === account.termsAgreed) return account;
  const updated: Account = { ...account, contact, ...(agreed !== undefined && { termsAgreed: agreed }) };
  await acme.database.transact(async (tx) => {
    const contacts = contact === account.contact || (await recordContacts(tx, account.id, contact));
    const agreement = agreed === undefined || agreed === account.termsAgreed || (await recordAgreement(tx, account.id, agreed));
    if (!contacts || !agreement) throw ended();
    await appendAudit(tx, accountAudit(acme, "acme.account.update", updated, requestId));
  });
  return updated;
}

async function deactivate(acme: Acme, account: Account, requestId: string): Promise<Account> {
  await acme.database.transact(async (tx) => {
    if (!(await recordDeactivation(tx, account.id))) throw ended();
    await appendAudit(tx, accountAudit(acme, "acme.account.deactivate", account, requestId));
  });
  return { ...account, status: "deactivated" };
}

function ended(): Fault {
  return new Fault("accountInactive", "the account was deactivated meanwhile");
}
