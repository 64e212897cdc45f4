import type { IncomingMessage } from "node:http";
import { type Account, active } from "../../acme/account.ts";
import type { AccountReference } from "../../acme/account-store.ts";
import type { MintedNonce } from "../../acme/nonce-store.ts";
import { Fault } from "../../fault.ts";
import { isJsonObject, type JsonObject, readJson } from "../../jose/json.ts";
import { type AccountKey, parseJwk, storedKey } from "../../jose/jwk.ts";
import { type Jws, parseJws, requireAlgorithm, verifyJws } from "../../jose/jws.ts";
import { readBody } from "../body.ts";
import type { AcmeDoors } from "../doors.ts";
import type { Post, Signed, Signer, Visit } from "./route.ts";

/** The largest body of any request. */
const maxBodyBytes = 64 * 1024;

/** What a POST is held against: how its resource is posted to, and where it stands. */
export type Expected = Pick<Post, "signer" | "payload"> & {
  readonly visit: Visit;
  /** The URL of the resource as we give it out. */
  readonly url: string;
};

/** A POST whose form is good and whose nonce is sealed by us. Nobody has looked at who signed it, nor whether the nonce was spent. */
export type Opened = { readonly jws: Jws; readonly nonce: MintedNonce; readonly target: string };

/**
 * Reads a POST as far as that costs no statement and no work with keys: size → JSON and JWS form → seal of the nonce. However long the body
 * takes, only its connection waits.
 * @throws Fault `tooLarge`, `malformed`, `badNonce`
 * @see RFC 8555 §6
 */
export async function openRequest(doors: AcmeDoors, incoming: IncomingMessage): Promise<Opened> {
  if (incoming.headers["replay-nonce"] !== undefined)
    throw new Fault("malformed", "Replay-Nonce is no header of requests (RFC 8555 §6.5.1)");
  const body = await readBody(incoming, maxBodyBytes);
  if (body.byteLength === 0) throw new Fault("malformed", "the body is missing: it must be a JWS (RFC 8555 §6.2)");
  const jws = parseJws(body);
  return { jws, nonce: openNonce(doors, jws), target: incoming.url ?? "" };
}

/**
 * Verifies who signed a POST: nonce spent → algorithm and key → account → signature → url → payload. The nonce is spent whatever follows, in
 * the statement that reads the account.
 * @throws Fault `badNonce`, `badSignatureAlgorithm`, `badPublicKey`, `malformed`, `accountDoesNotExist`, `unauthorized` for a url that is not
 *   the request's, `accountInactive`
 * @see RFC 8555 §6
 */
export async function verifyRequest(doors: AcmeDoors, { jws, nonce, target }: Opened, expected: Expected): Promise<Signed> {
  const claim = claimOf(jws, expected);
  const account = await spendNonce(doors, nonce, referenceOf(claim, expected.visit));
  if ("fault" in claim) throw claim.fault;
  const signer = signerOf(claim, account, expected);
  await verifyJws(jws, "account" in signer ? signer.account.key : signer.key);
  requireUrl(jws, `${doors.acme.baseUrl}${target}`, expected);
  // After the signature: whoever has not the key learns nothing of the account.
  if ("account" in signer) active(signer.account);
  return { signer, payload: readPayload(jws, expected.payload) };
}

/** Who a header says has signed; or what is wrong with it, which is told once the nonce is spent. */
type Claim = { readonly id: string } | { readonly key: AccountKey } | { readonly fault: unknown };

function claimOf({ protected: { alg, jwk, kid } }: Jws, { signer, visit }: Expected): Claim {
  try {
    requireAlgorithm(alg);
    if (jwk !== undefined && kid !== undefined) throw new Fault("malformed", "the protected header has both jwk and kid (RFC 8555 §6.2)");
    if (jwk !== undefined && signer === "account")
      throw new Fault("malformed", "the protected header has a jwk where the kid of an account is due");
    if (kid !== undefined && signer === "key")
      throw new Fault("malformed", "the protected header has a kid where the jwk of a new account is due");
    if (jwk !== undefined) return { key: signer === "either" ? keyOfCertificate(jwk) : parseJwk(jwk) };
    if (kid !== undefined) return { id: accountId(kid, visit) };
    throw new Fault(
      "malformed",
      `the protected header has no ${signer === "key" ? "jwk" : signer === "account" ? "kid" : "jwk and no kid"}`,
    );
  } catch (fault) {
    return { fault };
  }
}

/** A certificate can be revoked with its key whatever is wrong with the key: all the more then (RFC 8555 §7.6). */
function keyOfCertificate(jwk: JsonObject): AccountKey {
  try {
    return parseJwk(jwk);
  } catch (error) {
    if (!(error instanceof Fault) || error.code !== "badPublicKey") throw error;
    try {
      return storedKey(jwk);
    } catch {
      throw error;
    }
  }
}

/** The id in an account URL of this directory. */
function accountId(kid: string, { urls }: Visit): string {
  const prefix = urls.account("");
  const id = kid.startsWith(prefix) ? kid.slice(prefix.length) : undefined;
  if (id === undefined || /[^A-Za-z0-9_-]/.test(id)) throw new Fault("malformed", "kid is no account URL of this directory");
  return id;
}

/** What the detail must contain: a client that is a shell script knows a bad nonce by this text alone. */
const badNonce = "JWS has an invalid anti-replay nonce";

function openNonce(doors: AcmeDoors, { protected: { nonce } }: Jws): MintedNonce {
  if (nonce === undefined) throw refusedNonce(doors, "missing");
  const minted = doors.acme.nonces.open(nonce);
  if (!minted) throw refusedNonce(doors, "unknown");
  return minted;
}

/** @returns the account that the reference leads to, read in the same statement. */
async function spendNonce(doors: AcmeDoors, nonce: MintedNonce, reference: AccountReference | undefined): Promise<Account | undefined> {
  const { acme, rejectsNonce } = doors;
  const { fresh, account, epoch } = await acme.recognise({ nonce, account: reference });
  await acme.nonces.sawEpoch(epoch);
  if (!fresh) throw refusedNonce(doors, "spent");
  if (rejectsNonce(reference)) throw refusedNonce(doors, "test");
  return account;
}

/**
 * Counted for operators: clients meet one now and then, and many of them mean that instances do not honour each other's. The client is told
 * the same for every cause but the missing one; `unknown` is sealed by nobody here, or older than nonces live.
 */
function refusedNonce({ events }: AcmeDoors, cause: "missing" | "unknown" | "spent" | "test"): Fault {
  events.tell("debug", "nonce.refused", { cause });
  return new Fault("badNonce", cause === "missing" ? `${badNonce}: there is none` : badNonce);
}

function referenceOf(claim: Claim, { directory }: Visit): AccountReference | undefined {
  if ("fault" in claim) return undefined;
  return "id" in claim ? { id: claim.id } : { directory: directory.name, thumbprint: claim.key.thumbprint };
}

function signerOf(claim: Exclude<Claim, { fault: unknown }>, account: Account | undefined, { visit }: Expected): Signer {
  if ("key" in claim) return { key: claim.key, standing: account };
  if (!account || account.directory !== visit.directory.name) {
    throw new Fault("accountDoesNotExist", "no account of this directory has the URL in kid");
  }
  return { account };
}

/** That the client signed the URL it asked, letter by letter. @see RFC 8555 §6.4 */
function requireUrl({ protected: { url } }: Jws, asked: string, expected: Expected): void {
  if (url === undefined) throw new Fault("malformed", "the protected header has no url (RFC 8555 §6.4)");
  if (url === expected.url && asked === expected.url) return;
  throw new Fault("unauthorized", `url in the protected header is not ${expected.url}, where the request went (RFC 8555 §6.4)`);
}

function readPayload({ payload }: Jws, expected: Post["payload"]): JsonObject | undefined {
  if (payload.byteLength === 0) {
    if (expected === "object") throw new Fault("malformed", "the payload is empty: it must be a JSON object");
    return undefined;
  }
  if (expected === "empty")
    throw new Fault("malformed", "the payload must be empty: this can only be read, by POST-as-GET (RFC 8555 §6.3)");
  const value = readJson(payload);
  if (!isJsonObject(value)) throw new Fault("malformed", "the payload is not a JSON object");
  return value;
}
