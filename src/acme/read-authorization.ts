import { appendAudit } from "../audit/append.ts";
import { auditRow } from "../audit/entry.ts";
import { type Account, principalOf } from "./account.ts";
import type { Acme } from "./acme.ts";
import type { Authorization, Challenge } from "./authorization.ts";
import { readAuthorizationOfChallenge, recordAuthorizationEnd } from "./authorization-store.ts";

/** The account's authorization of this id; undefined for another account's, as for none (RFC 8555 §10.5). */
export async function readAuthorization({ findAuthorization }: Acme, account: Account, id: string): Promise<Authorization | undefined> {
  const authorization = await findAuthorization(id);
  return authorization?.accountId === account.id ? authorization : undefined;
}

/** A challenge with the authorization it is of. */
export type ChallengeOf = { readonly challenge: Challenge; readonly authorization: Authorization };

/** The account's challenge of this id; undefined as `readAuthorization`. */
export async function readChallenge({ database, clock }: Acme, account: Account, id: string): Promise<ChallengeOf | undefined> {
  const authorization = await database.read((sql) => readAuthorizationOfChallenge(sql, id, clock.now()));
  return authorization?.accountId === account.id ? challengeOf(authorization, id) : undefined;
}

/** The challenge of this id among those of an authorization. */
export function challengeOf(authorization: Authorization, id: string): ChallengeOf | undefined {
  const challenge = authorization.challenges.find((one) => one.id === id);
  return challenge && { challenge, authorization };
}

/**
 * Ends an authorization: it serves no order any more, and orders that need it are invalid (RFC 8555 §7.5.2). Durable with its audit record
 * on return; one that has ended already stays as it is.
 */
export async function deactivateAuthorization(
  acme: Acme,
  account: Account,
  id: string,
  requestId: string,
): Promise<Authorization | undefined> {
  const principal = principalOf(account);
  await acme.database.transact(async (tx) => {
    if (!(await recordAuthorizationEnd(tx, account.id, id, acme.clock.now()))) return;
    const object = { authorization: id, account: account.id };
    const entry = { operation: "acme.authorization.deactivate", namespace: principal.namespace, principal: principal.id } as const;
    await appendAudit(tx, auditRow({ ...entry, outcome: "success", requestId, object }, acme));
  });
  return await readAuthorization(acme, account, id);
}
