import type { Account } from "../../acme/account.ts";
import type { Authorization, Challenge } from "../../acme/authorization.ts";
import type { Directory } from "../../acme/directory.ts";
import type { Order } from "../../acme/order.ts";
import { rfc3339 } from "../rest/time.ts";
import type { Answer } from "./route.ts";
import type { Urls } from "./urls.ts";

/** How soon a client is to look again at what is under way. In seconds: a date is more than some clients can reckon with. */
const retryAfterSeconds = 1;

/** The directory object. Only what is served stands in it. @see RFC 8555 §7.1.1, RFC 9773 §4.1, draft-ietf-acme-profiles §3 */
export function directoryAnswer(directory: Directory, urls: Urls): Answer {
  const { newNonce, newAccount, newOrder, revokeCert, keyChange, renewalInfo } = urls;
  const { termsOfService, website, externalAccountRequired, profile } = directory;
  const meta = {
    ...(termsOfService !== undefined && { termsOfService }),
    ...(website !== undefined && { website }),
    externalAccountRequired,
    profiles: { [profile]: `certificates of the profile ${profile}` },
  };
  return { json: { newNonce, newAccount, newOrder, revokeCert, keyChange, renewalInfo, meta } };
}

/** The account object. @see RFC 8555 §7.1.2 */
export function accountAnswer({ id, status, contact, termsAgreed, externalAccountBinding }: Account, urls: Urls): Answer {
  return {
    json: {
      status,
      contact,
      ...(termsAgreed !== undefined && { termsOfServiceAgreed: true }),
      ...(externalAccountBinding && { externalAccountBinding }),
      orders: urls.orders(id),
    },
  };
}

/** The order object. Clients read its URL from Location, after finalize too. @see RFC 8555 §7.1.3, §7.4 */
export function orderAnswer(order: Order, urls: Urls): Answer {
  const { id, status, identifiers, profile, notBefore, notAfter, replaces, error, authorizations, expiresAt, certificate } = order;
  return {
    location: urls.order(id),
    ...(status === "processing" && { retryAfterSeconds }),
    json: {
      status,
      expires: rfc3339(expiresAt),
      identifiers,
      profile,
      ...(notBefore && { notBefore: rfc3339(notBefore) }),
      ...(notAfter && { notAfter: rfc3339(notAfter) }),
      ...(replaces !== undefined && { replaces }),
      ...(error && { error }),
      authorizations: authorizations.map(urls.authorization),
      finalize: urls.finalize(id),
      ...(certificate && { certificate: urls.certificate(id) }),
    },
  };
}

/** The authorization object: every challenge while it is pending, the one that decided it afterwards. @see RFC 8555 §7.1.4 */
export function authorizationAnswer(authorization: Authorization, urls: Urls): Answer {
  const { identifier, status, expiresAt, wildcard, challenges } = authorization;
  const decided = challenges.filter((challenge) => challenge.status === "valid" || challenge.status === "invalid");
  const shown = status === "pending" || decided.length === 0 ? challenges : decided;
  return {
    ...(challenges.some((challenge) => challenge.status === "processing") && { retryAfterSeconds }),
    json: {
      identifier,
      status,
      expires: rfc3339(expiresAt),
      ...(wildcard && { wildcard }),
      challenges: shown.map((challenge) => challengeObject(challenge, urls)),
    },
  };
}

/** The challenge object, with a link to its authorization. @see RFC 8555 §7.1.5, §7.5.1 */
export function challengeAnswer(challenge: Challenge, authorization: Authorization, urls: Urls): Answer {
  return {
    links: [`<${urls.authorization(authorization.id)}>;rel="up"`],
    ...(challenge.status === "processing" && { retryAfterSeconds }),
    json: challengeObject(challenge, urls),
  };
}

function challengeObject({ id, type, token, status, error, validatedAt }: Challenge, urls: Urls) {
  return {
    type,
    url: urls.challenge(id),
    status,
    token,
    ...(validatedAt && { validated: rfc3339(validatedAt) }),
    ...(error && { error }),
  };
}
