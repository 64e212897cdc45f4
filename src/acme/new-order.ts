import { createHash } from "node:crypto";
import { coversOwnHost, requestIdentity } from "../ca/issue.ts";
import { wholeSeconds } from "../database/whole-seconds.ts";
import { Fault } from "../fault.ts";
import { encodeBase64url } from "../jose/base64url.ts";
import type { Json, JsonObject } from "../jose/json.ts";
import { type Account, principalOf } from "./account.ts";
import { type Acme, drawId } from "./acme.ts";
import type { ChallengeType, Directory } from "./directory.ts";
import { readAccountPolicy } from "./external-account-store.ts";
import { type IdentifierProblem, parseIdentifiers } from "./identifier.ts";
import { type Judge, judge } from "./identifier-policy.ts";
import type { Order } from "./order.ts";
import { type AuthorizationRow, hasReplacement, type OrderRow, readOrderRow, type RecordedOrder, recordOrder } from "./order-store.ts";
import type { Identifier } from "./problem.ts";
import { type Limited, requireOne, takeOne } from "./rate.ts";
import { judgeReplacement } from "./replacement.ts";

const dayMs = 86_400_000;
const orderLifeMs = 7 * dayMs;
/** An open order and a valid authorization that last less are not used again. */
const reuseMarginMs = 3_600_000;
/** How far a client's clock may be off. */
const toleranceSeconds = 300;
/** How far ahead a notBefore may lie: as far as an order's way to its certificate and a client's clock may be. */
const furthestAheadMs = 3_600_000;

/**
 * The order for what was asked, durable on return: a new one, or an equal one that is open (RFC 8555 §7.4). Names that the account has a
 * valid authorization for need no new one.
 * @throws Fault `malformed`, `unsupportedIdentifier`, `rejectedIdentifier`, `compound`, `invalidProfile`, `userActionRequired`,
 *   `rateLimited`, `alreadyReplaced`
 */
export async function newOrder(
  acme: Acme,
  directory: Directory,
  account: Account,
  payload: JsonObject,
): Promise<{ readonly order: Order; readonly created: boolean }> {
  requireConsent(directory, account);
  requireProfile(directory, payload["profile"]);
  const identifiers = parseIdentifiers(payload, {
    policy: directory.identifiers,
    judges: await judgesOf(acme, directory, account),
  });
  refuseUnservable(acme, directory, identifiers);
  await requireOne(acme, identifiers.map(validationOf(account)), directory.limits.failedValidations);
  const now = wholeSeconds(acme.clock.now());
  const dates = readDates(acme, directory, payload, now);
  const replaces = readReplaces(payload["replaces"]);
  // A renewal that is due comes in whatever the limit says, once: what else is ordered for it later counts.
  const replacement = replaces === undefined ? undefined : await judgeReplacement(acme, account, identifiers, replaces);
  if (!replacement?.inWindow || (await acme.database.read((sql) => hasReplacement(sql, replacement.certificate)))) {
    await takeOne(acme, { what: "newOrder", account: account.id }, directory.limits.newOrdersPerAccount);
  }
  const id = drawId(acme);
  const asked = { identifiers, profile: directory.profile, ...dates, ...(replaces !== undefined && { replaces }) };
  const row: OrderRow = {
    ...asked,
    id,
    accountId: account.id,
    requestId: requestIdentity({ door: "acme", principal: principalOf(account), key: id }),
    digest: createHash("sha256")
      .update(JSON.stringify([account.id, asked, directory.challengeTypes]))
      .digest(),
    replacement: replacement?.certificate,
    authorizations: identifiers.map((identifier) => authorizationFor(acme, directory, identifier)),
    createdAt: now,
    expiresAt: new Date(now.getTime() + orderLifeMs),
    authorizationsExpireAt: new Date(now.getTime() + orderLifeMs),
    challengeTypes: directory.challengeTypes,
    reusableBeyond: new Date(now.getTime() + reuseMarginMs),
  };
  const recorded = await record(acme, row);
  const order = recorded.order ?? (await acme.database.read((sql) => readOrderRow(sql, recorded.id, now)));
  if (!order) throw new Fault("internal", "an order that was recorded is not there");
  return { order, created: recorded.order !== undefined };
}

/** What the failed validations of an identifier are counted under. */
function validationOf({ id }: Account): (identifier: Identifier) => Limited {
  return ({ value }) => ({ what: "failedValidation", account: id, name: value.replace(/^\*\./, "") });
}

async function record(acme: Acme, row: OrderRow): Promise<RecordedOrder> {
  if (!row.replacement) return await acme.database.read((sql) => recordOrder(sql, row));
  return await acme.database.transact(async ({ sql }) => {
    const recorded = await recordOrder(sql, row);
    if (recorded.replacedBy !== undefined && recorded.replacedBy !== recorded.id) {
      throw new Fault("alreadyReplaced", "another order replaces the certificate that replaces names");
    }
    return recorded;
  });
}

/**
 * What no order could end well for: names that issuance refuses, and identifiers that no challenge of the directory can show.
 * @throws Fault `rejectedIdentifier`
 */
function refuseUnservable({ ca }: Acme, { challengeTypes }: Directory, identifiers: readonly Identifier[]): void {
  const subproblems = identifiers.flatMap((identifier): IdentifierProblem[] => {
    const { type, value } = identifier;
    const rejected = (detail: string): IdentifierProblem => ({ code: "rejectedIdentifier", detail: `${value}: ${detail}`, identifier });
    if (coversOwnHost(ca, identifier)) return [rejected("this is the host of this service itself")];
    const possible = challengeTypes.some((challenge) => isPossible(challenge, { type, wildcard: value.startsWith("*.") }));
    return possible ? [] : [rejected("no challenge of this directory can show it")];
  });
  const [first] = subproblems;
  if (first) throw new Fault("rejectedIdentifier", first.detail, { members: { subproblems } });
}

/** @see RFC 8555 §7.3.3 */
function requireConsent({ termsOfService, renewedConsent }: Directory, { termsAgreed }: Account): void {
  if (termsOfService === undefined || !renewedConsent || termsAgreed === termsOfService) return;
  throw new Fault("userActionRequired", `the terms have changed: agree to them at ${termsOfService}`, {
    members: { instance: termsOfService },
  });
}

/** A directory has one profile; a client may name it. */
function requireProfile({ profile }: Directory, asked: Json | undefined): void {
  if (asked === undefined || asked === profile) return;
  throw new Fault("invalidProfile", `the profile of this directory is ${profile}`);
}

/** The rules that the identifiers of an account's orders are held against: those of its directory, and those of its external account key. */
export async function judgesOf({ database }: Acme, directory: Directory, { externalAccountKey }: Account): Promise<readonly Judge[]> {
  if (externalAccountKey === undefined) return [judge(directory.identifiers)];
  const own = await database.read((sql) => readAccountPolicy(sql, externalAccountKey));
  // Without its rules the account would be free to ask for anything.
  if (!own) throw new Fault("internal", "the external account key of an account is not there");
  return [judge(directory.identifiers), judge(own)];
}

function authorizationFor(acme: Acme, { challengeTypes }: Directory, { type, value }: Identifier): AuthorizationRow {
  const wildcard = value.startsWith("*.");
  return {
    id: drawId(acme),
    type,
    value: wildcard ? value.slice(2) : value,
    wildcard,
    challenges: challengeTypes
      .filter((challenge) => isPossible(challenge, { type, wildcard }))
      .map((challenge) => ({ id: drawId(acme), type: challenge, token: encodeBase64url(acme.random.bytes(32)) })),
  };
}

/** DNS alone can show a wildcard, and nothing of an address (RFC 8555 §8.4, RFC 8737 §3, RFC 8738 §4). */
function isPossible(
  challenge: ChallengeType,
  { type, wildcard }: { readonly type: Identifier["type"]; readonly wildcard: boolean },
): boolean {
  if (wildcard) return challenge === "dns-01";
  return type === "dns" || challenge !== "dns-01";
}

/** The dates that were asked for. @throws Fault `malformed` for dates that are none, past, reversed or beyond the profile. */
function readDates(acme: Acme, directory: Directory, payload: JsonObject, now: Date): Pick<OrderRow, "notBefore" | "notAfter"> {
  const notBefore = readDate(payload["notBefore"], "notBefore");
  const notAfter = readDate(payload["notAfter"], "notAfter");
  const earliest = now.getTime() - toleranceSeconds * 1000;
  if (notBefore && notBefore.getTime() < earliest) throw new Fault("malformed", "notBefore is in the past");
  if (notBefore && notBefore.getTime() - now.getTime() > furthestAheadMs) {
    throw new Fault("malformed", `notBefore is more than an hour ahead of ${now.toISOString()}: certificates begin when they are issued`);
  }
  if (notAfter && notAfter <= (notBefore ?? now)) throw new Fault("malformed", "notAfter is not later than notBefore and now");
  const last = earliestEnd(acme);
  if (last && (notAfter ?? notBefore ?? now) > last) {
    throw new Fault("malformed", `the authority's own certificate ends at ${last.toISOString()}, before the dates that are asked for`);
  }
  const profile = acme.ca.profiles.get(directory.profile)?.profile;
  if (!profile) throw new Fault("internal", `there is no profile ${directory.profile}`);
  const { minimum, maximum } = profile.lifetimeSeconds;
  // Its own two dates are the client's; of one alone the other is our time, which its clock may differ from.
  const seconds = notAfter && (notAfter.getTime() - (notBefore ?? now).getTime()) / 1000 + 1;
  const tolerance = notBefore ? 0 : toleranceSeconds;
  if (seconds !== undefined && (seconds > maximum + tolerance || seconds < minimum - tolerance)) {
    throw new Fault("malformed", `the dates span ${seconds} s; the profile ${profile.name} allows ${minimum} to ${maximum}`);
  }
  return { ...(notBefore && { notBefore }), ...(notAfter && { notAfter }) };
}

/** When the first of the authorities ends that an order may be issued by. */
function earliestEnd({ ca }: Acme): Date | undefined {
  const ends = [...ca.authorities.values()].filter(({ kind }) => kind === "issuing").map(({ issuer }) => issuer.notAfter);
  return ends.toSorted((left, right) => left.getTime() - right.getTime())[0];
}

/** @see RFC 3339 §5.6 */
const dateTime =
  /^\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/i;

function readDate(value: Json | undefined, name: string): Date | undefined {
  if (value === undefined || value === null) return undefined;
  const time = typeof value === "string" && dateTime.test(value) ? new Date(value) : undefined;
  // Date takes the 31st of a month that has 30 days for the 1st of the next.
  if (!time || Number.isNaN(time.getTime()) || typeof value !== "string" || !sameDay(time, value)) {
    throw new Fault("malformed", `${name} is no time as RFC 3339 writes it, like 2030-01-31T12:00:00Z`);
  }
  return wholeSeconds(time);
}

function sameDay(time: Date, text: string): boolean {
  const days = new Date(`${text.slice(0, 10)}T00:00:00Z`);
  return (
    !Number.isNaN(days.getTime()) &&
    days.toISOString().slice(0, 10) === text.slice(0, 10) &&
    Math.abs(time.getTime() - days.getTime()) < 2 * dayMs
  );
}

function readReplaces(value: Json | undefined): string | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== "string" || value.length > 256) throw new Fault("malformed", "replaces is no certID (RFC 9773 §4.1)");
  return value;
}
