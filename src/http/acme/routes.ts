import { certificateOfOrder } from "../../acme/certificate.ts";
import { changeKey } from "../../acme/change-key.ts";
import { finalize } from "../../acme/finalize.ts";
import { newAccount } from "../../acme/new-account.ts";
import { newOrder } from "../../acme/new-order.ts";
import { deactivateAuthorization, readAuthorization, readChallenge } from "../../acme/read-authorization.ts";
import { pageOfOrders, readOrder } from "../../acme/read-order.ts";
import { renewalInfo } from "../../acme/renewal-info.ts";
import { respond } from "../../acme/respond.ts";
import { revokeCertificate } from "../../acme/revoke-certificate.ts";
import { updateAccount } from "../../acme/update-account.ts";
import { Fault } from "../../fault.ts";
import { encodePem } from "../../pki/pem.ts";
import { accept } from "../rest/accept.ts";
import { rfc3339 } from "../rest/time.ts";
import { accountAnswer, authorizationAnswer, challengeAnswer, directoryAnswer, orderAnswer } from "./resource.ts";
import { objectOf, post, postAsGet, postOrRead, type Route } from "./route.ts";

const directoryRoute: Route = {
  path: "/directory",
  sheds: "second",
  get: (_, { directory, urls }) => directoryAnswer(directory, urls),
  post: postAsGet((_, { directory, urls }) => directoryAnswer(directory, urls)),
};

/** The nonce itself is the door's, as with every POST. @see RFC 8555 §7.2 */
const newNonceRoute: Route = {
  path: "/new-nonce",
  // Without a nonce nothing that was begun comes to its end.
  sheds: "last",
  get: () => ({ empty: true }),
  post: postAsGet(() => ({ empty: true })),
};

/** @see RFC 8555 §7.3 */
const newAccountRoute: Route = {
  path: "/new-account",
  sheds: "first",
  post: {
    signer: "key",
    payload: "object",
    handle: async ({ acme }, { directory, urls, address, requestId }, signed) => {
      const { signer } = signed;
      if (!("key" in signer)) throw new Error("a request without a key reached newAccount");
      const request = { ...signer, payload: objectOf(signed), url: urls.newAccount, address, requestId };
      const { account, created } = await newAccount(acme, directory, request);
      return { ...accountAnswer(account, urls), status: created ? 201 : 200, location: urls.account(account.id) };
    },
  },
};

/** @see RFC 8555 §7.3.2, §7.3.6 */
const accountRoute: Route = {
  path: "/acct/:id",
  sheds: "second",
  post: postOrRead(async ({ acme }, { account, urls, id, payload, requestId }) => {
    if (id !== account.id) throw nothingThere();
    return accountAnswer(payload ? await updateAccount(acme, account, payload, requestId) : account, urls);
  }),
};

/** @see RFC 8555 §7.1.2.1 */
const ordersRoute: Route = {
  path: "/acct/:id/orders",
  sheds: "second",
  post: postAsGet(async ({ acme }, { account, urls, id, after }) => {
    const page = id === account.id ? await pageOfOrders(acme, account, { limit: ordersPerPage, after }) : undefined;
    if (!page) throw nothingThere();
    return {
      json: { orders: page.orders.map((order) => urls.order(order.id)) },
      ...(page.next !== undefined && { links: [`<${urls.orders(id, page.next)}>;rel="next"`] }),
    };
  }),
};

const ordersPerPage = 100;

/** @see RFC 8555 §7.3.5 */
const keyChangeRoute: Route = {
  path: "/key-change",
  sheds: "second",
  post: post(async ({ acme }, { account, urls, payload, requestId }) => {
    const request = { payload, url: urls.keyChange, accountUrl: urls.account(account.id), requestId };
    return accountAnswer(await changeKey(acme, account, request), urls);
  }),
};

/** An equal order that is open is answered as a new one: the client that lost the first answer goes on with it. @see RFC 8555 §7.4 */
const newOrderRoute: Route = {
  path: "/new-order",
  sheds: "first",
  post: post(async ({ acme }, { directory, account, urls, payload }) => {
    const { order } = await newOrder(acme, directory, account, payload);
    return { ...orderAnswer(order, urls), status: 201 };
  }),
};

/** @see RFC 8555 §7.4 */
const orderRoute: Route = {
  path: "/order/:id",
  sheds: "second",
  post: postAsGet(async ({ acme }, { account, urls, id }) => {
    const order = await readOrder(acme, account, id);
    if (!order) throw nothingThere();
    return orderAnswer(order, urls);
  }),
};

/**
 * Every order that is found has its URL in Location, one that is not ready too: clients go there to see what became of it.
 * @see RFC 8555 §7.4
 */
const finalizeRoute: Route = {
  path: "/order/:id/finalize",
  sheds: "last",
  post: post(async ({ acme }, { account, urls, id, payload, requestId }) => {
    const order = await finalize(acme, account, id, payload, requestId).catch((error: unknown) => {
      if (!(error instanceof Fault) || error.code !== "orderNotReady") throw error;
      throw new Fault(error.code, error.detail, { cause: error, members: { order: id } });
    });
    if (!order) throw nothingThere();
    return orderAnswer(order, urls);
  }),
};

/** @see RFC 8555 §7.5, §7.5.2 */
const authorizationRoute: Route = {
  path: "/authz/:id",
  sheds: "second",
  post: postOrRead(async ({ acme }, { account, urls, id, payload, requestId }) => {
    if (payload && payload["status"] !== "deactivated") {
      throw new Fault("malformed", 'all that can be done with an authorization is {"status": "deactivated"} (RFC 8555 §7.5.2)');
    }
    const found = payload ? await deactivateAuthorization(acme, account, id, requestId) : await readAuthorization(acme, account, id);
    if (!found) throw nothingThere();
    return authorizationAnswer(found, urls);
  }),
};

/** A response has no members that mean anything here; others are ignored. @see RFC 8555 §7.5.1 */
const challengeRoute: Route = {
  path: "/chall/:id",
  sheds: "last",
  post: postOrRead(async ({ acme }, { account, urls, id, payload }) => {
    const found = payload ? await respond(acme, account, id) : await readChallenge(acme, account, id);
    if (!found) throw nothingThere();
    return challengeAnswer(found.challenge, found.authorization, urls);
  }),
};

/** The chain in PEM unless DER alone is accepted, which has one certificate and a link to its issuer's. @see RFC 8555 §7.4.2, §9.1 */
const certificateRoute: Route = {
  path: "/cert/:id",
  sheds: "last",
  post: postAsGet(async ({ acme }, { account, id, accept: accepted }) => {
    const found = await certificateOfOrder(acme, account, id);
    if (!found) throw nothingThere();
    const { authority, certificate, chain } = found;
    const type = accept(accepted, ["application/pem-certificate-chain", "application/pkix-cert"]);
    if (type === "application/pkix-cert") {
      const up = acme.ca.authorities.get(authority)?.issuer.urls.caIssuers;
      return { type, bytes: certificate, ...(up !== undefined && { links: [`<${up}>;rel="up"`] }) };
    }
    const pem = [certificate, ...chain].map((der) => encodePem("CERTIFICATE", der)).join("");
    return { type: "application/pem-certificate-chain", bytes: pem };
  }),
};

/** By an account, or by the key of the certificate. @see RFC 8555 §7.6 */
const revokeCertRoute: Route = {
  path: "/revoke-cert",
  sheds: "last",
  post: {
    signer: "either",
    payload: "object",
    handle: async ({ acme }, { requestId }, signed) => {
      await revokeCertificate(acme, signed.signer, objectOf(signed), requestId);
      return { status: 200, empty: true };
    },
  },
};

/** Anybody may ask. @see RFC 9773 §4.1 */
const renewalInfoRoute: Route = {
  path: "/renewal-info/:id",
  sheds: "second",
  get: async ({ acme }, { id }) => {
    const { window, retryAfterSeconds } = await renewalInfo(acme, id);
    return { retryAfterSeconds, json: { suggestedWindow: { start: rfc3339(window.start), end: rfc3339(window.end) } } };
  },
};

/** What is another account's looks like what was never there (RFC 8555 §10.5). */
function nothingThere(): Fault {
  return new Fault("notFound", "there is no such object, or it is another account's");
}

/** Everything that this door serves. What is not here is not mounted. */
export const acmeRoutes: readonly Route[] = [
  directoryRoute,
  newNonceRoute,
  newAccountRoute,
  accountRoute,
  ordersRoute,
  keyChangeRoute,
  newOrderRoute,
  orderRoute,
  finalizeRoute,
  authorizationRoute,
  challengeRoute,
  certificateRoute,
  revokeCertRoute,
  renewalInfoRoute,
];
