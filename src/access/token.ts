import { hash, timingSafeEqual } from "node:crypto";
import { LRUCache } from "lru-cache";
import { appendAudit } from "../audit/append.ts";
import { auditRow, type AuditWorld } from "../audit/entry.ts";
import type { Database, Tx } from "../database/connect.ts";
import { pageOf, parseCursor } from "../database/cursor.ts";
import { wholeSeconds } from "../database/whole-seconds.ts";
import { Fault } from "../fault.ts";
import type { Random } from "../ports/random.ts";
import { openDenials, type RecordDenial } from "./denials.ts";
import { parseNamespace } from "./namespace.ts";
import { mayGrant } from "./policy.ts";
import type { Principal, Role } from "./principal.ts";
import {
  type Credential,
  holdToken,
  readCredential,
  readToken,
  readTokens,
  recordToken,
  recordTokenRevocation,
  type TokenRecord,
} from "./store.ts";
import { formatToken, parseToken } from "./token-text.ts";

/** Bearer tokens: made, listed, revoked, and recognised. May be called concurrently. */
export type Access = {
  /**
   * Whose token stands in an Authorization header. A verified token is remembered for at most ten seconds; a revocation by this process ends that at
   * once, one by another process counts when they are over, and at each issuance (`tokenGuard`).
   * @throws Fault `unauthenticated`, the same for a token that is unknown, wrong, expired or revoked.
   * @see RFC 6750 §2.1
   */
  authenticate(authorization: string | undefined): Promise<Principal>;
  /**
   * Creates a token; its text is in the answer and nowhere else. Durable with its audit record on return. Its id is a UUID of version 4.
   * @param requestId stands in the audit record.
   * @throws Fault `policyDenied` when it would have a higher role than the principal, leave its namespace or outlive its token; `malformed` for a
   *   namespace that is none or an expiry that is not in the future; `unauthenticated` when the principal's token is revoked or has expired.
   */
  createToken(principal: Principal, grant: Grant, requestId?: string): Promise<TokenRecord & { readonly token: string }>;
  /**
   * Tokens of the principal's namespace and within it, newest first, with the cursor of the next page where there is one.
   * @throws Fault `malformed` for a cursor that is not ours.
   */
  listTokens(principal: Principal, page: TokenPage): Promise<{ readonly tokens: readonly TokenRecord[]; readonly nextCursor?: string }>;
  /**
   * Revokes a token for good; durable with its audit record on return. Revoking it again changes nothing.
   * @throws Fault `notFound` when there is none of this id that the principal may see; `unauthenticated` as `createToken`.
   */
  revokeToken(principal: Principal, id: string, requestId?: string): Promise<void>;
  /** For whoever else refuses what a principal asks for. */
  readonly recordDenial: RecordDenial;
};

/** What a new token may do, and until when: fractions of a second are cut off. */
export type Grant = { readonly role: Role; readonly namespace: string; readonly expiresAt: Date };

/** Which part of the list: at most `limit` tokens, behind the `nextCursor` of the page before. */
export type TokenPage = { readonly limit: number; readonly cursor?: string | undefined };

/** What tokens need of the world. */
export type AccessWorld = AuditWorld & { readonly database: Database };

/** Tokens over this database. */
export function openAccess(world: AccessWorld): Access {
  // By SHA-256 of the text, which was verified when it was put in: no secret is kept, and none is taken apart twice.
  const remembered = new LRUCache<string, Remembered>({ max: maxRemembered });
  // Counts revocations, so that a credential read before one is not remembered after it.
  let revocations = 0;
  const recordDenial = openDenials(world);
  return {
    async authenticate(authorization) {
      const text = presented(authorization);
      const key = hash("sha256", text, "base64");
      const now = world.clock.now();
      let credential = fresh(remembered.get(key), now);
      if (!credential) {
        const seen = revocations;
        credential = await readValid(world, text, now);
        if (credential && seen === revocations) remembered.set(key, { credential, since: now });
      }
      if (!credential || now >= credential.expiresAt) throw new Fault("unauthenticated", "the bearer token is not valid");
      return { id: `token:${credential.id}`, namespace: credential.namespace, role: credential.role };
    },
    createToken: (principal, grant, requestId) => createToken({ ...world, recordDenial }, principal, { ...grant, requestId }),
    listTokens: (principal, page) => listTokens(world, principal, page),
    async revokeToken(principal, id, requestId) {
      await revokeToken(world, principal, { id, requestId });
      revocations += 1;
      remembered.clear();
    },
    recordDenial,
  };
}

/** The id of the token that a text is and its expiry, while it is valid; undefined for one that is unknown, wrong, expired or revoked, and for no token. */
export async function readStanding(
  { database, clock }: Pick<AccessWorld, "database" | "clock">,
  text: string,
): Promise<Pick<TokenRecord, "id" | "expiresAt"> | undefined> {
  const credential = await readValid({ database }, text, clock.now());
  return credential && { id: credential.id, expiresAt: credential.expiresAt };
}

/** The credential of a token's text, while it is valid. */
async function readValid({ database }: Pick<AccessWorld, "database">, text: string, now: Date): Promise<Credential | undefined> {
  const token = parseToken(text);
  const credential = token && (await database.read((sql) => readCredential(sql, uuid(token.id))));
  return credential && isValid(credential, secretHash(token.secret), now) ? credential : undefined;
}

type Remembered = { readonly credential: Credential; readonly since: Date };

const maxRemembered = 10_000;
const rememberedMs = 10_000;

/** What is remembered, unless it is too old or the clock went back behind it. */
function fresh(entry: Remembered | undefined, now: Date): Credential | undefined {
  const age = entry ? now.getTime() - entry.since.getTime() : -1;
  return age >= 0 && age < rememberedMs ? entry?.credential : undefined;
}

function presented(authorization: string | undefined): string {
  if (authorization === undefined) throw new Fault("unauthenticated", "the request has no bearer token");
  const text = /^Bearer +(\S+)$/i.exec(authorization)?.[1];
  if (text === undefined) throw new Fault("unauthenticated", "the bearer token is not valid");
  return text;
}

function isValid(credential: Credential, presentedHash: Uint8Array, now: Date): boolean {
  const matches = timingSafeEqual(credential.secretHash, presentedHash);
  return matches && !credential.revoked && now < credential.expiresAt;
}

async function createToken(
  world: AccessWorld & { readonly recordDenial: RecordDenial },
  principal: Principal,
  { requestId, ...grant }: Grant & { readonly requestId: string | undefined },
): Promise<TokenRecord & { readonly token: string }> {
  const { database, clock, random } = world;
  const namespace = parseNamespace(grant.namespace);
  const { role } = grant;
  const createdAt = wholeSeconds(clock.now());
  const expiresAt = wholeSeconds(grant.expiresAt);
  if (!(expiresAt > createdAt)) throw new Fault("malformed", "the expiry of a token must be in the future");
  const id = uuidV4(random);
  const secret = random.bytes(32);
  const token = { id: uuid(id), namespace, role, createdAt, expiresAt, createdBy: principal.id };
  const operation = "token.create";
  const object = { role, namespace, expiresAt: expiresAt.toISOString() };
  const refusal = await database.transact(async (tx) => {
    const latest = await ownExpiry(tx, principal, clock.now());
    const refused = refusalOf(principal, token, latest);
    if (refused !== undefined) return refused;
    await recordToken(tx, { ...token, secretHash: secretHash(secret) });
    const entry = { operation, namespace: principal.namespace, principal: principal.id, outcome: "success", ...named(requestId) } as const;
    await appendAudit(tx, auditRow({ ...entry, object: { ...object, token: token.id } }, world));
    return undefined;
  });
  if (refusal !== undefined) {
    await world.recordDenial({ principal, operation, code: "policyDenied", requestId, object });
    throw new Fault("policyDenied", refusal);
  }
  return { ...token, token: formatToken({ id, secret }) };
}

/**
 * When the principal's own token expires, which cannot be revoked before this transaction ends; undefined for whom no credential gives.
 * @throws Fault `unauthenticated` when it is revoked or has expired, though an instance may still remember it.
 */
async function ownExpiry(tx: Tx, principal: Principal, now: Date): Promise<Date | undefined> {
  if (principal.id === "system" || principal.id.startsWith("host:")) return undefined;
  const expiresAt = await holdToken(tx, principal.id.replace(/^token:/, ""));
  if (!expiresAt || expiresAt <= now) throw new Fault("unauthenticated", "the bearer token is not valid");
  return expiresAt;
}

/** Why the principal may not create this token; undefined when it may. Nobody grants more than they have, nor for longer. */
function refusalOf(principal: Principal, grant: Grant, latest: Date | undefined): string | undefined {
  const { role, namespace, expiresAt } = grant;
  if (!mayGrant(principal, grant)) {
    return `a token of role ${principal.role} in ${principal.namespace} cannot create one of role ${role} in ${namespace}`;
  }
  if (latest && expiresAt > latest) return `a token cannot outlive the one that creates it, which expires at ${seconds(latest)}`;
  return undefined;
}

async function listTokens({ database }: AccessWorld, { namespace }: Principal, { limit, cursor }: TokenPage) {
  const position = cursor === undefined ? undefined : parseCursor(cursor);
  const after = position && { createdAt: position.time, id: uuid(position.id) };
  const found = await database.transact((tx) => readTokens(tx, namespace, { limit: limit + 1, ...(after && { after }) }));
  const { rows: tokens, next } = pageOf(found, limit, ({ createdAt, id }) => ({ time: createdAt, id: octets(id) }));
  return { tokens, ...next };
}

async function revokeToken(
  world: AccessWorld,
  principal: Principal,
  { id, requestId }: { readonly id: string; readonly requestId: string | undefined },
): Promise<void> {
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(id)) throw new Fault("notFound", "there is no such token");
  await world.database.transact(async (tx) => {
    await ownExpiry(tx, principal, world.clock.now());
    const token = await readToken(tx, principal.namespace, id);
    if (!token) throw new Fault("notFound", "there is no such token");
    if (!(await recordTokenRevocation(tx, token.id, wholeSeconds(world.clock.now())))) return;
    const entry = { operation: "token.revoke", namespace: token.namespace, principal: principal.id, outcome: "success" } as const;
    await appendAudit(tx, auditRow({ ...entry, ...named(requestId), object: { token: token.id } }, world));
  });
}

function named(requestId: string | undefined): { readonly requestId?: string } {
  return requestId === undefined ? {} : { requestId };
}

function secretHash(secret: Uint8Array): Uint8Array {
  return hash("sha256", secret, "buffer");
}

/**
 * 16 octets, 122 bits of them random.
 * @see RFC 9562 §5.4
 */
function uuidV4(random: Random): Uint8Array {
  const bytes = Buffer.from(random.bytes(16));
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x40, 6);
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8);
  return bytes;
}

function uuid(bytes: Uint8Array): string {
  return Buffer.from(bytes)
    .toString("hex")
    .replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

function octets(id: string): Uint8Array {
  return Buffer.from(id.replaceAll("-", ""), "hex");
}

function seconds(time: Date): string {
  return time.toISOString().replace(/\.\d{3}Z$/, "Z");
}
