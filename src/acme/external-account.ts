import { appendAudit } from "../audit/append.ts";
import { auditRow } from "../audit/entry.ts";
import { contains, parseNamespace } from "../access/namespace.ts";
import type { Principal } from "../access/principal.ts";
import { pageOf, parseCursor } from "../database/cursor.ts";
import { wholeSeconds } from "../database/whole-seconds.ts";
import { Fault } from "../fault.ts";
import { encodeBase64url } from "../jose/base64url.ts";
import { isJsonObject, type JsonObject, readJson } from "../jose/json.ts";
import { type AccountKey, parseJwk } from "../jose/jwk.ts";
import { type Jws, jwsFromJson } from "../jose/jws.ts";
import { requireMacAlgorithm, verifyMac } from "../jose/mac.ts";
import { type Acme, drawId, isId } from "./acme.ts";
import type { Directory } from "./directory.ts";
import {
  type ExternalAccountKeyRecord,
  listExternalAccountKeyRows,
  readMacKey,
  recordExternalAccountKey,
  recordExternalAccountKeyRevocation,
} from "./external-account-store.ts";
import { parseNamePattern, parseRange } from "./identifier-policy.ts";

/** A binding that holds: whose accounts it makes, and the JWS, its three members as they were sent. */
export type ExternalAccount = { readonly id: string; readonly namespace: string; readonly binding: JsonObject };

/** One sentence for a key that is unknown, over, used up or revoked, and for a wrong MAC. */
export const refusedBinding = "the external account binding is not accepted";

/**
 * The external account that a newAccount request is bound to (RFC 8555 §7.3.4); undefined where there is none and none is needed. Whether
 * its key has uses left is decided when the account is recorded.
 * @throws Fault `externalAccountRequired`; `malformed` for a JWS of another form; `badPublicKey` when it binds another key; `unauthorized`.
 */
export async function bindingOf(
  acme: Acme,
  directory: Directory,
  { key, payload, url }: { readonly key: AccountKey; readonly payload: JsonObject; readonly url: string },
): Promise<ExternalAccount | undefined> {
  const binding = payload["externalAccountBinding"];
  if (binding === undefined) {
    if (!directory.externalAccountRequired) return undefined;
    throw new Fault("externalAccountRequired", "newAccount needs an externalAccountBinding: an administrator makes its key");
  }
  if (!isJsonObject(binding)) throw new Fault("malformed", "externalAccountBinding is not a JSON object");
  const jws = bindingJws(binding, url);
  refuseOtherKey(jws, key);
  const record = isId(jws.kid) ? await acme.database.read((sql) => readMacKey(sql, jws.kid)) : undefined;
  // A key that is not there is checked against as well, so that both refusals take the same time.
  const verified = verifyMac(jws, record?.macKey ?? unknownKey);
  if (!record || !verified || record.directory !== directory.name || !isUsable(record, acme.clock.now())) {
    throw new Fault("unauthorized", refusedBinding);
  }
  return { id: record.id, namespace: record.namespace, binding: signedMembers(binding) };
}

/** What else the client put beside them is not kept, and not shown. */
function signedMembers({ protected: header, payload, signature }: JsonObject): JsonObject {
  return { protected: header ?? "", payload: payload ?? "", signature: signature ?? "" };
}

const unknownKey = new Uint8Array(64);

function bindingJws(binding: JsonObject, url: string): Jws & { readonly kid: string } {
  const jws = jwsFromJson(binding);
  const { alg, kid, nonce, url: bound } = jws.protected;
  requireMacAlgorithm(alg);
  if (nonce !== undefined) throw new Fault("malformed", "the external account binding has a nonce");
  if (kid === undefined) throw new Fault("malformed", "the external account binding has no kid");
  if (bound !== url) throw new Fault("malformed", "the url of the external account binding is not that of the request");
  return { ...jws, kid };
}

function refuseOtherKey(jws: Jws, key: AccountKey): void {
  const bound = parseJwk(readJson(jws.payload));
  if (bound.thumbprint !== key.thumbprint) throw new Fault("badPublicKey", "the external account binding is for another key");
}

function isUsable({ revokedAt, expiresAt }: ExternalAccountKeyRecord, now: Date): boolean {
  return revokedAt === undefined && (expiresAt === undefined || now < expiresAt);
}

/** What is asked of a new external account key. `usesAllowed` absent: one account; null for any number. */
export type ExternalAccountKeyRequest = {
  readonly namespace: string;
  readonly directory: string;
  readonly usesAllowed?: number | null | undefined;
  /** As `IdentifierPolicy` has them; both absent: whatever the directory allows; one absent: nothing of its kind. */
  readonly names?: readonly string[] | undefined;
  readonly ipRanges?: readonly string[] | undefined;
  readonly expiresAt?: Date | undefined;
};

/**
 * Makes a key for external account binding. The MAC key, 64 octets in base64url, is in the answer and is not shown again; durable with its
 * audit record on return.
 * @throws Fault `malformed` for a directory, pattern, range, expiry or number of uses that is none; `policyDenied` outside of the namespaces of
 *   the principal and of the directory.
 */
export async function createExternalAccountKey(
  acme: Acme,
  principal: Principal,
  request: ExternalAccountKeyRequest,
  requestId: string,
): Promise<ExternalAccountKeyRecord & { readonly macKey: string }> {
  const namespace = parseNamespace(request.namespace);
  if (!contains(principal.namespace, namespace)) {
    throw new Fault("policyDenied", `${namespace} does not lie in the namespace ${principal.namespace} of the token`);
  }
  const directory = acme.directories.get(request.directory);
  if (!directory) throw new Fault("malformed", `there is no ACME directory ${JSON.stringify(request.directory)}`);
  if (!contains(directory.namespace, namespace)) {
    throw new Fault("policyDenied", `${namespace} does not lie in the namespace ${directory.namespace} of the directory ${directory.name}`);
  }
  const createdAt = wholeSeconds(acme.clock.now());
  const expiresAt = request.expiresAt && wholeSeconds(request.expiresAt);
  if (expiresAt && !(expiresAt > createdAt && expiresAt < endOfYear9999)) {
    throw new Fault("malformed", "the expiry must be in the future, and before the year 10000");
  }
  for (const name of request.names ?? []) parseNamePattern(name);
  for (const range of request.ipRanges ?? []) parseRange(range);
  const macKey = acme.random.bytes(64);
  const usesAllowed = readUses(request.usesAllowed);
  const record: Omit<ExternalAccountKeyRecord, "uses" | "revokedAt"> = {
    id: drawId(acme),
    namespace,
    directory: directory.name,
    createdBy: principal.id,
    createdAt,
    ...(usesAllowed !== null && { usesAllowed }),
    ...(request.names && { names: request.names }),
    ...(request.ipRanges && { ipRanges: request.ipRanges }),
    ...(expiresAt && { expiresAt }),
  };
  await acme.database.transact(async (tx) => {
    await recordExternalAccountKey(tx, { ...record, macKey });
    await appendAudit(tx, keyAudit(acme, "acme.external-account-key.create", { principal, namespace, id: record.id, requestId }));
  });
  return { ...record, uses: 0, macKey: encodeBase64url(macKey) };
}

const endOfYear9999 = new Date("9999-12-31T23:59:59Z");
const maximumUses = 1_000_000;

function readUses(uses: number | null | undefined): number | null {
  if (uses === undefined) return 1;
  if (uses === null || (Number.isSafeInteger(uses) && uses >= 1 && uses <= maximumUses)) return uses;
  throw new Fault("malformed", `the number of uses must be from 1 to ${maximumUses}, or absent`);
}

/**
 * Ends a key: no account is made with it any more; those that were live on. Durable with its audit record on return. Again, it changes nothing.
 * @throws Fault `notFound` when there is none that the principal may see.
 */
export async function revokeExternalAccountKey(acme: Acme, principal: Principal, id: string, requestId: string): Promise<void> {
  const revokedAt = wholeSeconds(acme.clock.now());
  await acme.database.transact(async (tx) => {
    const found = isId(id) ? await recordExternalAccountKeyRevocation(tx, { id, within: principal.namespace, revokedAt }) : undefined;
    if (!found) throw new Fault("notFound", "there is no such external account key");
    const { namespace, ended } = found;
    if (ended) await appendAudit(tx, keyAudit(acme, "acme.external-account-key.revoke", { principal, namespace, id, requestId }));
  });
}

/**
 * Keys of the principal's namespace and within it, newest first, without their MAC keys.
 * @throws Fault `malformed` for a cursor that is not ours.
 */
export async function listExternalAccountKeys(
  acme: Acme,
  { namespace }: Principal,
  { limit, cursor }: { readonly limit: number; readonly cursor?: string | undefined },
): Promise<{ readonly keys: readonly ExternalAccountKeyRecord[]; readonly nextCursor?: string }> {
  const position = cursor === undefined ? undefined : parseCursor(cursor);
  const after = position && { createdAt: position.time, id: encodeBase64url(position.id) };
  const found = await acme.database.read((sql) => listExternalAccountKeyRows(sql, { namespace, limit: limit + 1, after }));
  const { rows: keys, next } = pageOf(found, limit, ({ createdAt, id }) => ({ time: createdAt, id: Buffer.from(id, "base64url") }));
  return { keys, ...next };
}

function keyAudit(
  acme: Acme,
  operation: string,
  {
    principal,
    namespace,
    id,
    requestId,
  }: { readonly principal: Principal; readonly namespace: string; readonly id: string; readonly requestId: string },
) {
  return auditRow(
    { operation, namespace, principal: principal.id, outcome: "success", requestId, object: { externalAccountKey: id } },
    acme,
  );
}
