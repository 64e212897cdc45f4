import { createHash } from "node:crypto";
import { setTimeout as wait } from "node:timers/promises";
import { type Issued, issue, type IssueRequest } from "../ca/issue.ts";
import { Fault, type FaultCode } from "../fault.ts";
import { decodeBase64url } from "../jose/base64url.ts";
import type { JsonObject } from "../jose/json.ts";
import { type Csr, maximumCsrOctets, parseCsr } from "../pki/csr.ts";
import { readDer } from "../pki/der.ts";
import { type Account, principalOf } from "./account.ts";
import type { Acme } from "./acme.ts";
import type { Limit } from "./directory.ts";
import { parseIdentifiers } from "./identifier.ts";
import { judgesOf } from "./new-order.ts";
import type { Order } from "./order.ts";
import { type Limited, returnOne, takeOne } from "./rate.ts";
import { readOrder } from "./read-order.ts";

/** How long the answer waits for the certificate; issuance goes on without it. */
const patienceMs = 5_000;
/** How long it looks after that for what became of the order: clients that wait ten seconds have their answer. */
const lookMs = 3_000;
/** Between looks at an order that is issued elsewhere; together as long as what is left of it. */
const looksMs = [50, 100, 200, 400, 800, 950] as const;

/**
 * Issues the certificate of an order that is ready, and gives the order as it is then: `valid`, or `processing` while the signature is not
 * there (RFC 8555 §7.4). However often it is asked, an order is issued once. A request that is refused leaves the order as it was.
 * @returns undefined for another account's order, as for none.
 * @throws Fault `orderNotReady` for an order in another state, after waiting for the end of one that is being issued; `malformed` for a csr
 *   that is none; `badCSR`, `invalidProfile`, `rejectedIdentifier`, `rateLimited`; `issuanceHalted`, `issuerRevoked`, `hsmUnavailable`, `databaseUnavailable`, `busy` when nothing was begun; `busy`
 *   too for the request that is being issued, repeated.
 */
export async function finalize(
  acme: Acme,
  account: Account,
  orderId: string,
  payload: JsonObject,
  requestId: string,
): Promise<Order | undefined> {
  const order = await readOrder(acme, account, orderId);
  if (!order) return undefined;
  if (order.status === "processing") throw await resume(acme, account, { order, payload, requestId });
  if (order.status !== "ready") throw notReady(order.status);
  await requirePolicy(acme, account, order);
  const asked = requestFor(account, order, await readCsr(payload["csr"], order), requestId);
  const limit = acme.directories.get(account.directory)?.limits.certificatesPerNames;
  const limited: Limited = { what: "certificate", account: account.id, names: order.identifiers.map(({ value }) => value).join(",") };
  await takeOne(acme, limited, limit);
  return await outcome(acme, account, order, issueCounted(acme, asked, { limited, limit }));
}

/** Nothing was begun where issuance ends with one of these. */
const refusedCodes: ReadonlySet<FaultCode> = new Set<FaultCode>([
  "badCSR",
  "lifetimeOutOfRange",
  "lintRefused",
  "policyDenied",
  "idempotencyMismatch",
  "issuanceHalted",
  "issuerRevoked",
]);

/** Issues; what was taken for a certificate that was not begun here is given back. */
async function issueCounted(
  { ca, database, clock }: Acme,
  asked: IssueRequest,
  { limited, limit }: { readonly limited: Limited; readonly limit: Limit | undefined },
): Promise<Issued> {
  const returned = () => returnOne({ database, clock }, limited, limit);
  try {
    const issued = await issue(ca, asked);
    if (issued.repeated) await returned();
    return issued;
  } catch (error) {
    if (error instanceof Fault && refusedCodes.has(error.code)) await returned();
    throw error;
  }
}

function requestFor(account: Account, order: Order, csr: Csr, requestId: string): IssueRequest {
  return {
    door: "acme",
    key: order.id,
    principal: principalOf(account),
    requestId,
    requestHash: createHash("sha256").update(csr.der).digest(),
    profile: order.profile,
    names: order.identifiers,
    publicKey: csr.publicKey,
    notBefore: order.notBefore,
    notAfter: order.notAfter,
    credential: account.key.thumbprint,
  };
}

/**
 * Whoever brings the same CSR again finishes what nobody is at any more: the instance that began it may have ended. What it is told is how
 * the order ended; while it has not, to ask again: there are clients that give up an order that is refused here and still `processing`.
 */
async function resume(
  acme: Acme,
  account: Account,
  { order, payload, requestId }: { readonly order: Order; readonly payload: JsonObject; readonly requestId: string },
): Promise<Fault> {
  const patience = new AbortController();
  let passing: Fault | undefined = new Fault("busy", "the certificate is not there yet: ask again, or look at the order");
  try {
    const asked = requestFor(account, order, await readCsr(payload["csr"], order), requestId);
    await Promise.race([issue(acme.ca, asked), wait(patienceMs / 2, undefined, patience)]);
  } catch (error) {
    // What cannot be done now is done when open attempts are settled.
    if (!(error instanceof Fault)) throw error;
    if (!passingCodes.has(error.code)) passing = undefined;
  } finally {
    patience.abort();
  }
  const status = await endOf(acme, account, order);
  return status === "processing" && passing ? passing : notReady(status);
}

/** With these a request fails that may be repeated as it is. */
const passingCodes: ReadonlySet<FaultCode> = new Set<FaultCode>([
  "busy",
  "hsmUnavailable",
  "databaseUnavailable",
  "issuanceHalted",
  "issuerRevoked",
]);

async function outcome(acme: Acme, account: Account, order: Order, issuing: Promise<Issued>): Promise<Order> {
  const patience = new AbortController();
  let issued: Issued | undefined;
  try {
    issued = await Promise.race([issuing, wait(patienceMs, undefined, patience)]);
  } catch (error) {
    return await afterFailure(acme, account, order, error);
  } finally {
    patience.abort();
  }
  if (issued === undefined) {
    issuing.catch((cause: unknown) => acme.events.tell("warn", "issuance.refused", { order: order.id, cause }));
    return await afterFailure(acme, account, order, new Fault("busy", "the certificate is not there yet; look at the order again"));
  }
  // Another request for the same order was first: this one came too late, though it waited for the end.
  if (issued.repeated) throw notReady("valid");
  const { authority, serial } = issued.certificate;
  return { ...order, status: "valid", certificate: { authority, serial } };
}

/** Refusals of what was asked: nothing was begun. Everything else may have failed behind the intent. */
const refusals: ReadonlyMap<FaultCode, FaultCode> = new Map<FaultCode, FaultCode>([
  ["badCSR", "badCSR"],
  ["lifetimeOutOfRange", "badCSR"],
  ["lintRefused", "badCSR"],
]);

/** What a failed issuance means to the client: an order that was begun is `processing`, whatever went wrong after that. */
async function afterFailure(acme: Acme, account: Account, order: Order, error: unknown): Promise<Order> {
  const refusal = error instanceof Fault ? refusals.get(error.code) : undefined;
  if (error instanceof Fault && refusal !== undefined) throw new Fault(refusal, error.detail, { cause: error });
  const now = await lookAt(acme, account, order);
  if (error instanceof Fault && (error.code === "idempotencyMismatch" || error.code === "policyDenied")) {
    // Another CSR was first, or the order, its account or an authorization ended meanwhile.
    throw now && now.status !== "ready" ? notReady(now.status) : error;
  }
  if (now?.status === "processing" || now?.status === "valid") return now;
  throw error;
}

/** The order as it is now; undefined where the database does not say so in time. */
async function lookAt(acme: Acme, account: Account, { id }: Order): Promise<Order | undefined> {
  const patience = new AbortController();
  try {
    return await Promise.race([readOrder(acme, account, id), wait(lookMs, undefined, patience)]);
  } finally {
    patience.abort();
  }
}

/** The status of an order that is not ready; of one that is being issued the one it ends with, if it does in time. */
async function endOf(acme: Acme, account: Account, order: Order): Promise<string> {
  let { status } = order;
  for (const pauseMs of looksMs) {
    if (status !== "processing") break;
    await wait(pauseMs);
    status = (await readOrder(acme, account, order.id))?.status ?? status;
  }
  return status;
}

function notReady(status: string): Fault {
  return new Fault("orderNotReady", `the order is ${status}; it is finalized while it is ready, and once`);
}

/**
 * Configuration may have changed since the order was made. With these refusals clients give the order up and make another, which is held
 * against the same rules. @see draft-ietf-acme-profiles §4
 */
async function requirePolicy(acme: Acme, account: Account, { profile, identifiers }: Order): Promise<void> {
  const directory = acme.directories.get(account.directory);
  if (directory?.profile !== profile || !acme.ca.profiles.has(profile)) {
    throw new Fault("invalidProfile", `the profile ${profile} of the order is served no more: order again`);
  }
  const standing = identifiers.map(({ type, value }) => ({ type, value }));
  parseIdentifiers({ identifiers: standing }, { policy: directory.identifiers, judges: await judgesOf(acme, directory, account) });
}

async function readCsr(value: JsonObject[string] | undefined, order: Order): Promise<Csr> {
  if (typeof value !== "string") throw new Fault("malformed", "csr must be a PKCS#10 request in base64url (RFC 8555 §7.4)");
  if (value.length > Math.ceil((maximumCsrOctets * 4) / 3)) throw new Fault("malformed", `csr has more than ${maximumCsrOctets} octets`);
  const der = decodeBase64url(value, "csr");
  // What is no DER is malformed; what is no request that we take is a bad CSR.
  readDer(der, "csr");
  const csr = await parseCsr(der, "added");
  if (csr.asksForAuthority) throw new Fault("badCSR", "basicConstraints of the CSR asks for a certificate of an authority");
  requireNames(csr, order);
  return csr;
}

/** @see RFC 8555 §7.4: the CSR asks for the exact set of identifiers of the order */
function requireNames({ names }: Csr, { identifiers }: Order): void {
  if (asText(names) !== asText(identifiers)) throw new Fault("badCSR", "the names of the CSR are not those of the order");
}

function asText(names: readonly { readonly type: string; readonly value: string }[]): string {
  return names
    .map(({ type, value }) => `${type}:${value}`)
    .toSorted()
    .join(" ");
}
