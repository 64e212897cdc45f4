import { createHash } from "node:crypto";
import { setTimeout as wait } from "node:timers/promises";
import { type Issued, issue } from "../ca/issue.ts";
import { Fault, type FaultCode } from "../fault.ts";
import { decodeBase64url } from "../jose/base64url.ts";
import type { JsonObject } from "../jose/json.ts";
import { type Csr, maximumCsrOctets, parseCsr } from "../pki/csr.ts";
import { readDer } from "../pki/der.ts";
import { type Account, principalOf } from "./account.ts";
import type { Acme } from "./acme.ts";
import type { Order } from "./order.ts";
import { takeOne } from "./rate.ts";
import { readOrder } from "./read-order.ts";

/** How long the answer waits for the certificate; issuance goes on without it. */
const patienceMs = 5_000;
const pollMs = 100;

/**
 * Issues the certificate of an order that is ready, and gives the order as it is then: `valid`, or `processing` while the signature is not
 * there (RFC 8555 §7.4). However often it is asked, an order is issued once. A request that is refused leaves the order as it was.
 * @returns undefined for another account's order, as for none.
 * @throws Fault `orderNotReady` for an order in another state, after waiting for the end of one that is being issued; `malformed` for a csr
 *   that is none; `badCSR`, `rateLimited`; `hsmUnavailable`, `databaseUnavailable`, `busy` when nothing was begun.
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
  if (order.status === "processing") await awaitEnd(acme, account, order);
  if (order.status !== "ready") throw notReady(order.status);
  const csr = await readCsr(payload["csr"]);
  requireNames(csr, order);
  const limits = acme.directories.get(account.directory)?.limits;
  const names = order.identifiers.map(({ value }) => value).join(",");
  await takeOne(acme, { what: "certificate", account: account.id, names }, limits?.certificatesPerNames);
  const issuing = issue(acme.ca, {
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
  });
  return await outcome(acme, account, order, issuing);
}

async function outcome(acme: Acme, account: Account, order: Order, issuing: Promise<Issued>): Promise<Order> {
  let issued: Issued | undefined;
  try {
    issued = await Promise.race([issuing, wait(patienceMs, undefined)]);
  } catch (error) {
    return await afterFailure(acme, account, order, error);
  }
  if (issued === undefined) {
    issuing.catch((error: unknown) => acme.events.tell("warn", "issuance.refused", { order: order.id, error: String(error) }));
    const now = await readOrder(acme, account, order.id);
    return now && now.status !== "ready" ? now : { ...order, status: "processing" };
  }
  // Another request for the same order was first: this one came too late, though it waited for the end.
  if (issued.repeated) throw notReady("valid");
  const { authority, serial } = issued.certificate;
  return { ...order, status: "valid", certificate: { authority, serial } };
}

const passing: ReadonlySet<FaultCode> = new Set(["hsmUnavailable", "databaseUnavailable", "busy"]);

/** What a failed issuance means to the client: an order that was begun is `processing`, whatever went wrong after that. */
async function afterFailure(acme: Acme, account: Account, order: Order, error: unknown): Promise<Order> {
  if (!(error instanceof Fault)) throw error;
  if (error.code === "idempotencyMismatch") throw notReady("valid or processing");
  if (error.code === "lifetimeOutOfRange" || error.code === "lintRefused") throw new Fault("badCSR", error.detail, { cause: error });
  if (!passing.has(error.code) && error.code !== "policyDenied") throw error;
  const now = await readOrder(acme, account, order.id);
  if (now && passing.has(error.code) && (now.status === "processing" || now.status === "valid")) return now;
  if (error.code === "policyDenied" && now && now.status !== "ready") throw notReady(now.status);
  throw error;
}

async function awaitEnd(acme: Acme, account: Account, order: Order): Promise<void> {
  for (let waitedMs = 0; waitedMs < patienceMs; waitedMs += pollMs) {
    await wait(pollMs);
    if ((await readOrder(acme, account, order.id))?.status !== "processing") return;
  }
}

function notReady(status: string): Fault {
  return new Fault("orderNotReady", `the order is ${status}; it is finalized while it is ready, and once`);
}

async function readCsr(value: JsonObject[string] | undefined): Promise<Csr> {
  if (typeof value !== "string") throw new Fault("malformed", "csr must be a PKCS#10 request in base64url (RFC 8555 §7.4)");
  if (value.length > Math.ceil((maximumCsrOctets * 4) / 3)) throw new Fault("malformed", `csr has more than ${maximumCsrOctets} octets`);
  const der = decodeBase64url(value, "csr");
  // What is no DER is malformed; what is no request that we take is a bad CSR.
  readDer(der, "csr");
  return await parseCsr(der, "added");
}

/** @see RFC 8555 §7.4: the CSR asks for the exact set of identifiers of the order */
function requireNames({ names }: Csr, { identifiers }: Order): void {
  const text = (all: readonly { readonly type: string; readonly value: string }[]) =>
    all
      .map(({ type, value }) => `${type}:${value}`)
      .toSorted()
      .join(" ");
  if (text(names) !== text(identifiers)) throw new Fault("badCSR", "the names of the CSR are not those of the order");
}
