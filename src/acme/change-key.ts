import { appendAudit } from "../audit/append.ts";
import { reserveAccountKey } from "../ca/reserved-key-store.ts";
import { violatedConstraint } from "../database/sqlstate.ts";
import { wholeSeconds } from "../database/whole-seconds.ts";
import { Fault } from "../fault.ts";
import { isJsonObject, type Json, type JsonObject, readJson } from "../jose/json.ts";
import { type AccountKey, parseJwk, refusePrimeModulus, storedKey } from "../jose/jwk.ts";
import { type Jws, jwsFromJson, verifyJws } from "../jose/jws.ts";
import { type Account, accountAudit } from "./account.ts";
import { readAccountByKey, recordKeyChange } from "./account-store.ts";
import type { Acme } from "./acme.ts";
import { takeOne } from "./rate.ts";

/** A keyChange request, its outer signature verified with the account's key. */
export type KeyChangeRequest = {
  /** The inner JWS, as the payload of the outer one held it. */
  readonly payload: JsonObject;
  /** URL of the request, and of the account as `kid` named it. */
  readonly url: string;
  readonly accountUrl: string;
  readonly requestId: string;
};

/**
 * Gives an account another key: the old one is of no use from then on, the account and its URL stay (RFC 8555 §7.3.5). Durable with its
 * audit record on return.
 * @throws Fault `malformed` for an inner JWS that is wrong, is of another account or key, or keeps the key; `badPublicKey` for a new key that
 *   is refused; `keyInUse` with the `account` that has it; `accountInactive` when the account ended or its key changed meanwhile;
 *   `rateLimited`, `busy`.
 */
export async function changeKey(acme: Acme, account: Account, request: KeyChangeRequest): Promise<Account> {
  const jws = jwsFromJson(request.payload);
  const key = await innerKey(jws, request.url);
  requireConsent(jws, account, request.accountUrl);
  if (key.thumbprint === account.key.thumbprint) throw new Fault("malformed", "the new key is the account's key already");
  await refuseInUse(acme, account, key);
  await takeOne(acme, { what: "accountUpdate", account: account.id }, acme.directories.get(account.directory)?.limits.accountUpdates);
  await refusePrimeModulus(key, acme.ca.modulusIsPrime);
  const changed: Account = { ...account, key };
  try {
    await record(acme, account, changed, request.requestId);
  } catch (error) {
    // Somebody else took the key between the look and the act.
    if (violatedConstraint(error) !== undefined) await refuseInUse(acme, account, key);
    throw error;
  }
  return changed;
}

async function record(acme: Acme, { id, key: from }: Account, changed: Account, requestId: string): Promise<void> {
  const { key: to } = changed;
  await acme.database.transact(async (tx) => {
    // The account before the key, as where one is made: of two who want one key at once, neither waits for the other.
    if (!(await recordKeyChange(tx, id, { from, to }))) {
      throw new Fault("accountInactive", "the account was ended, or its key changed, meanwhile");
    }
    const { spki, spkiSha256 } = to;
    if (!(await reserveAccountKey(tx, { spki, spkiSha256: Buffer.from(spkiSha256, "hex") }, wholeSeconds(acme.clock.now())))) {
      throw new Fault("badPublicKey", "the key may not be an account's: it is in a certificate, or one that this service refuses");
    }
    await appendAudit(tx, accountAudit(acme, "acme.account.change-key", changed, requestId));
  });
}

/** The key that the inner JWS brings and is signed with. */
async function innerKey(jws: Jws, url: string): Promise<AccountKey> {
  const { jwk, nonce, url: inner } = jws.protected;
  if (nonce !== undefined) throw new Fault("malformed", "the inner JWS has a nonce");
  if (jwk === undefined) throw new Fault("malformed", "the inner JWS has no jwk");
  if (inner !== url) throw new Fault("malformed", "the url of the inner JWS is not that of the outer one");
  const key = parseJwk(jwk);
  await verifyJws(jws, key, { mismatch: "badPublicKey" });
  return key;
}

/** That the new key's owner agrees to this account and knows its old key. */
function requireConsent(jws: Jws, account: Account, accountUrl: string): void {
  const payload = readJson(jws.payload);
  if (!isJsonObject(payload)) throw new Fault("malformed", "the payload of the inner JWS is not a JSON object");
  if (payload["account"] !== accountUrl) throw new Fault("malformed", "account in the inner JWS is not the account of the outer one");
  const oldKey = payload["oldKey"];
  if (oldKey === undefined) throw new Fault("malformed", "the inner JWS has no oldKey");
  if (thumbprintOf(oldKey) !== account.key.thumbprint) throw new Fault("malformed", "oldKey in the inner JWS is not the account's key");
}

/** Not judged again: a key that has become weak or known is what is to be got rid of. */
function thumbprintOf(jwk: Json): string | undefined {
  try {
    return isJsonObject(jwk) ? storedKey(jwk).thumbprint : undefined;
  } catch (error) {
    if (error instanceof Fault) return undefined;
    throw error;
  }
}

/** @see RFC 8555 §7.3.5: 409, with the URL of the account that has the key */
async function refuseInUse({ database }: Acme, { directory }: Account, { thumbprint }: AccountKey): Promise<void> {
  const holder = await database.read((sql) => readAccountByKey(sql, directory, thumbprint));
  if (holder) throw new Fault("keyInUse", "another account has the new key", { members: { account: holder.id } });
}
