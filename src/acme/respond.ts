import { Fault } from "../fault.ts";
import type { Account } from "./account.ts";
import { type Acme, drawId } from "./acme.ts";
import type { Authorization } from "./authorization.ts";
import { beginValidation } from "./challenge-store.ts";
import { type ChallengeOf, challengeOf, readChallenge } from "./read-authorization.ts";
import { leased, startValidation } from "./validate.ts";

/**
 * Takes the response to a challenge (RFC 8555 §7.5.1): its validation begins, once however often it is asked for. A challenge that has
 * ended stays as it is; one that waits for its next attempt is tried again now.
 * @returns undefined for another account's challenge, as for none.
 * @throws Fault `malformed` when the authorization has ended or expired, or another challenge of it is being validated.
 */
export async function respond(acme: Acme, account: Account, id: string): Promise<ChallengeOf | undefined> {
  const response = { id, accountId: account.id, thumbprint: account.key.thumbprint, lease: drawId(acme), now: acme.clock.now() };
  const { authorization, begun } = await leased(acme, response.lease, (sql) => beginValidation(sql, response));
  if (!authorization) return undefined;
  if (begun) startValidation(acme, begun);
  const found = challengeOf(authorization, id);
  if (begun) return found && { authorization, challenge: { ...found.challenge, status: "processing" } };
  // It stood so before the statement: where nothing could begin now, another response was first.
  const waits = found?.challenge.status === "pending" && authorization.status === "pending";
  return refuseIdle(waits ? await readChallenge(acme, account, id) : found);
}

/** The challenge, unless it waits for a response that cannot be taken. */
function refuseIdle(found: ChallengeOf | undefined): ChallengeOf | undefined {
  if (!found) return undefined;
  const { challenge, authorization } = found;
  if (challenge.status === "valid" || challenge.status === "invalid") return found;
  refuseEnded(authorization);
  if (challenge.status === "processing") return found;
  throw new Fault("malformed", "another challenge of this authorization is being validated");
}

/** Clients take `malformed` at this place for an order that has to begin anew. */
function refuseEnded({ status }: Authorization): void {
  if (status === "pending") return;
  const detail = status === "expired" ? "has expired: order again" : `has expired or ended: it is ${status}`;
  throw new Fault("malformed", `the authorization ${detail}`);
}
