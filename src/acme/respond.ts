import type { Sql } from "../database/connection.ts";
import { Fault } from "../fault.ts";
import type { Account } from "./account.ts";
import { type Acme, drawId } from "./acme.ts";
import type { Authorization } from "./authorization.ts";
import { beginValidation, type Responded } from "./challenge-store.ts";
import { type ChallengeOf, challengeOf, readChallenge } from "./read-authorization.ts";
import { leased, startValidation } from "./validate.ts";

/**
 * Takes the response to a challenge (RFC 8555 §7.5.1): its validation begins, once however often it is asked for, or waits for its turn
 * where this instance is at as many of the account's as it may be. A challenge that has ended stays as it is; one that waits for its next
 * attempt is tried again now.
 * @returns undefined for another account's challenge, as for none.
 * @throws Fault `malformed` when the authorization has ended or expired, or another challenge of it is being validated.
 */
export async function respond(acme: Acme, account: Account, id: string): Promise<ChallengeOf | undefined> {
  const { authorization, begun } = await begin(acme, account, id);
  if (!authorization) return undefined;
  const found = challengeOf(authorization, id);
  if (begun) return found && { authorization, challenge: { ...found.challenge, status: "processing" } };
  // It stood so before the statement: where nothing could begin now, another response was first.
  const waits = found?.challenge.status === "pending" && authorization.status === "pending";
  return refuseIdle(waits ? await readChallenge(acme, account, id) : found);
}

async function begin(acme: Acme, account: Account, id: string): Promise<Responded> {
  // Taken before the statement: of many responses at once those without a place must not take a lease.
  const leave = acme.places.hasRoom("response", account.id) ? acme.places.enter("response", account.id) : undefined;
  const lease = leave && drawId(acme);
  const response = { id, accountId: account.id, thumbprint: account.key.thumbprint, lease, now: acme.clock.now() };
  let started = false;
  try {
    const take = (sql: Sql) => beginValidation(sql, response);
    const responded = await (lease === undefined ? acme.database.read(take) : leased(acme, lease, take));
    const { begun } = responded;
    if (leave && begun && begun !== "waits") {
      startValidation(acme, begun, leave);
      started = true;
    }
    return responded;
  } finally {
    if (!started) leave?.();
  }
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
