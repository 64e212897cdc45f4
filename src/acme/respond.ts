import { Fault } from "../fault.ts";
import type { Account } from "./account.ts";
import type { Acme } from "./acme.ts";
import { beginValidation } from "./challenge-store.ts";
import { type ChallengeOf, readChallenge } from "./read-authorization.ts";
import { startValidation } from "./validate.ts";

/**
 * Takes the response to a challenge (RFC 8555 §7.5.1): its validation begins, once however often it is asked for. A challenge that has
 * ended stays as it is; one that waits for its next attempt is tried again now.
 * @returns undefined for another account's challenge, as for none.
 * @throws Fault `malformed` when the authorization has ended or expired, or another challenge of it is being validated.
 */
export async function respond(acme: Acme, account: Account, id: string): Promise<ChallengeOf | undefined> {
  const begun = await acme.database.read((sql) =>
    beginValidation(sql, { id, accountId: account.id, thumbprint: account.key.thumbprint, node: acme.node, now: acme.clock.now() }),
  );
  if (begun) startValidation(acme, begun);
  const found = await readChallenge(acme, account, id);
  if (!found || begun || found.challenge.status !== "pending") return found;
  const { authorization } = found;
  if (authorization.status === "expired") throw new Fault("malformed", "the authorization has expired: order again");
  if (authorization.status !== "pending")
    throw new Fault("malformed", `the authorization has expired or ended: it is ${authorization.status}`);
  throw new Fault("malformed", "another challenge of this authorization is being validated");
}
