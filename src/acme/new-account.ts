import { appendAudit } from "../audit/append.ts";
import { reserveAccountKey } from "../ca/reserved-key-store.ts";
import { wholeSeconds } from "../database/whole-seconds.ts";
import { Fault } from "../fault.ts";
import type { AccountKey } from "../jose/jwk.ts";
import { refusePrimeModulus } from "../jose/jwk.ts";
import type { JsonObject } from "../jose/json.ts";
import { type Acme, drawId } from "./acme.ts";
import { type Account, accountAudit, active } from "./account.ts";
import { readAccountByKey, recordAccount, recordAgreement } from "./account-store.ts";
import { parseContacts } from "./contact.ts";
import type { Directory } from "./directory.ts";
import { bindingOf, refusedBinding } from "./external-account.ts";
import { useExternalAccountKey } from "./external-account-store.ts";
import { takeOne } from "./rate.ts";

/** What a newAccount request brings, its signature verified with `key`. */
export type NewAccountRequest = {
  readonly key: AccountKey;
  /** The account that the key has in this directory already. */
  readonly standing: Account | undefined;
  readonly payload: JsonObject;
  /** URL of the request, which an external account binding repeats. */
  readonly url: string;
  /** Canonical IP address of the client. */
  readonly address: string;
  readonly requestId: string;
};

/**
 * The account of a key: the one that stands, or a new one, durable with its audit record on return (RFC 8555 §7.3). Of one that stands
 * nothing changes, but that `termsOfServiceAgreed` of this request, and of no other, agrees to terms that have changed.
 * @throws Fault `accountInactive` for the key of an account that was ended; `accountDoesNotExist` where only a standing one was asked for;
 *   `userActionRequired` without agreement to the terms; `externalAccountRequired`, `unauthorized`, `badPublicKey` and `malformed` for a
 *   binding that is missing or wrong; `invalidContact`, `unsupportedContact`; `rateLimited`, `busy`.
 */
export async function newAccount(
  acme: Acme,
  directory: Directory,
  request: NewAccountRequest,
): Promise<{ readonly account: Account; readonly created: boolean }> {
  const { key, payload, standing } = request;
  if (standing) return { account: await agreed(acme, directory, active(standing), request), created: false };
  if (payload["onlyReturnExisting"] === true) throw new Fault("accountDoesNotExist", "no account of this directory has this key");
  const contact = payload["contact"] === undefined ? [] : parseContacts(payload["contact"]);
  if (directory.termsOfService !== undefined && payload["termsOfServiceAgreed"] !== true) {
    throw new Fault("userActionRequired", `termsOfServiceAgreed must be true: the terms are at ${directory.termsOfService}`);
  }
  const external = await bindingOf(acme, directory, request);
  await takeOne(acme, { what: "newAccount", address: request.address }, directory.limits.newAccountsPerAddress);
  await refusePrimeModulus(key, acme.ca.modulusIsPrime);
  return await record(acme, request, {
    id: drawId(acme),
    directory: directory.name,
    namespace: external?.namespace ?? directory.namespace,
    key,
    status: "valid",
    contact,
    createdAt: wholeSeconds(acme.clock.now()),
    ...(directory.termsOfService !== undefined && { termsAgreed: directory.termsOfService }),
    ...(external && { externalAccountKey: external.id, externalAccountBinding: external.binding }),
  });
}

/** The account once the terms as they are now are agreed to, where the request says so. @see RFC 8555 §7.3, §7.3.3 */
async function agreed(
  acme: Acme,
  { termsOfService: terms }: Directory,
  account: Account,
  { payload, requestId }: Pick<NewAccountRequest, "payload" | "requestId">,
): Promise<Account> {
  if (payload["termsOfServiceAgreed"] !== true || payload["onlyReturnExisting"] === true) return account;
  if (terms === undefined || terms === account.termsAgreed) return account;
  const agreeing: Account = { ...account, termsAgreed: terms };
  await acme.database.transact(async (tx) => {
    if (!(await recordAgreement(tx, account.id, terms))) throw new Fault("accountInactive", "the account was ended meanwhile");
    await appendAudit(tx, accountAudit(acme, "acme.account.agree", agreeing, requestId));
  });
  return agreeing;
}

async function record(
  acme: Acme,
  { key, requestId }: NewAccountRequest,
  account: Account,
): Promise<{ readonly account: Account; readonly created: boolean }> {
  const created = await acme.database.transact(async (tx) => {
    if (!(await recordAccount(tx, account))) return false;
    const { spki, spkiSha256 } = key;
    if (!(await reserveAccountKey(tx, { spki, spkiSha256: Buffer.from(spkiSha256, "hex") }, account.createdAt))) {
      throw new Fault("badPublicKey", "the key may not be an account's: it is in a certificate, or one that this service refuses");
    }
    if (account.externalAccountKey !== undefined && !(await useExternalAccountKey(tx, account.externalAccountKey, acme.clock.now()))) {
      throw new Fault("unauthorized", refusedBinding);
    }
    await appendAudit(tx, accountAudit(acme, "acme.account.create", account, requestId));
    return true;
  });
  if (created) return { account, created };
  // Somebody else with this key was first.
  const standing = await acme.database.read((sql) => readAccountByKey(sql, account.directory, key.thumbprint));
  if (!standing) throw new Fault("internal", "an account that conflicts is not there");
  return { account: active(standing), created };
}
