import { type JsonObject, objectOf, objects, optionalText, text } from "./answer.ts";
import type { Client } from "./connect.ts";

/** A key for external account binding, without its MAC key. Times are RFC 3339 text in UTC. */
export type ExternalAccountKey = {
  readonly id: string;
  readonly namespace: string;
  readonly directory: string;
  readonly uses: number;
  /** null where any number is. */
  readonly usesAllowed: number | null;
  readonly createdAt: string;
  readonly expiresAt?: string;
  readonly revokedAt?: string;
};

/** What is asked of a new key, in the words of the interface. */
export type ExternalAccountKeyRequest = {
  readonly namespace: string;
  readonly directory: string;
  readonly usesAllowed?: number | null;
  readonly names?: readonly string[];
  readonly ipRanges?: readonly string[];
  readonly expiresAt?: string;
};

/** An ACME account. */
export type AcmeAccount = {
  readonly id: string;
  readonly directory: string;
  readonly namespace: string;
  readonly status: string;
  readonly contact: readonly string[];
  readonly thumbprint: string;
  readonly externalAccountKey?: string;
  readonly createdAt: string;
};

/** An ACME order. */
export type AcmeOrder = {
  readonly id: string;
  readonly account: string;
  readonly status: string;
  readonly identifiers: readonly Identifier[];
  readonly profile: string;
  readonly createdAt: string;
  readonly expiresAt: string;
  /** Why it is invalid, as a sentence. */
  readonly error?: string;
  /** Serial of the certificate it ended with. */
  readonly serial?: string;
};

/** A DNS name, with `*.` in an order alone, or an IP address. */
export type Identifier = { readonly type: string; readonly value: string };

/** What an account is to show of one identifier, and what came of it. */
export type AcmeAuthorization = {
  readonly identifier: Identifier;
  readonly wildcard: boolean;
  readonly status: string;
  readonly expiresAt: string;
  readonly challenges: readonly AcmeChallenge[];
};

/** One way to show it. `error` is the last attempt's, as a sentence; `evidence` what was asked and seen. */
export type AcmeChallenge = {
  readonly type: string;
  readonly status: string;
  readonly attempts: number;
  readonly validatedAt?: string;
  readonly error?: string;
  readonly evidence: JsonObject;
};

/**
 * Makes a key for external account binding. Not repeatable: a lost answer leaves a key that nobody knows, to be found in the list and revoked.
 * @throws ClientError `refused`: malformed, or policyDenied outside of the token's namespace.
 */
export async function createExternalAccountKey(
  client: Client,
  request: ExternalAccountKeyRequest,
): Promise<ExternalAccountKey & { readonly macKey: string }> {
  const object = objectOf(await client.send({ method: "POST", path: keysPath, body: request, repeatable: false }));
  return { ...externalAccountKey(object), macKey: text(object, "macKey") };
}

/** The keys of the caller's namespace, newest first: all pages. */
export async function listExternalAccountKeys(client: Client): Promise<readonly ExternalAccountKey[]> {
  const keys: ExternalAccountKey[] = [];
  for await (const page of pages(client, { path: keysPath, member: "externalAccountKeys" })) keys.push(...page.map(externalAccountKey));
  return keys;
}

/** Ends a key: no account is made with it any more. */
export async function revokeExternalAccountKey(client: Client, id: string): Promise<void> {
  await client.send({ method: "DELETE", path: `${keysPath}/${encodeURIComponent(id)}`, repeatable: true });
}

/** Accounts of the caller's namespace, newest first, in pages of 1 to 1000. */
export async function* listAcmeAccounts(client: Client, pageSize: number): AsyncGenerator<readonly AcmeAccount[]> {
  for await (const page of pages(client, { path: accountsPath, member: "accounts", query: { limit: String(pageSize) } }))
    yield page.map(acmeAccount);
}

/** @throws ClientError `refused` (notFound) when there is none, or none that the token may see. */
export async function readAcmeAccount(client: Client, id: string): Promise<AcmeAccount> {
  return acmeAccount(objectOf(await client.send({ method: "GET", path: `${accountsPath}/${encodeURIComponent(id)}`, repeatable: true })));
}

/** Ends an account; gives it as it is then. @throws ClientError `refused` (notFound) as `readAcmeAccount`. */
export async function revokeAcmeAccount(client: Client, id: string, reason: string): Promise<AcmeAccount> {
  const path = `${accountsPath}/${encodeURIComponent(id)}/revoke`;
  return acmeAccount(objectOf(await client.send({ method: "POST", path, body: { reason }, repeatable: true })));
}

/** Orders of such accounts, newest first, in pages of 1 to 1000. */
export async function* listAcmeOrders(client: Client, account: string | undefined, pageSize: number): AsyncGenerator<readonly AcmeOrder[]> {
  for await (const page of pages(client, { path: ordersPath, member: "orders", query: { account, limit: String(pageSize) } }))
    yield page.map(acmeOrder);
}

/** An order with its authorizations, and the document as it came. @throws ClientError `refused` (notFound) as `readAcmeAccount`. */
export async function readAcmeOrder(
  client: Client,
  id: string,
): Promise<AcmeOrder & { readonly authorizations: readonly AcmeAuthorization[]; readonly document: JsonObject }> {
  const document = objectOf(await client.send({ method: "GET", path: `${ordersPath}/${encodeURIComponent(id)}`, repeatable: true }));
  return { ...acmeOrder(document), authorizations: objects(document, "authorizations").map(authorization), document };
}

const keysPath = "/v1/acme/external-account-keys";
const accountsPath = "/v1/acme/accounts";
const ordersPath = "/v1/acme/orders";

async function* pages(
  client: Client,
  {
    path,
    member,
    query,
  }: { readonly path: string; readonly member: string; readonly query?: Readonly<Record<string, string | undefined>> },
): AsyncGenerator<readonly JsonObject[]> {
  let cursor: string | undefined;
  do {
    const answer = objectOf(await client.send({ method: "GET", path, query: { limit: "1000", ...query, cursor }, repeatable: true }));
    yield objects(answer, member);
    cursor = optionalText(answer, "nextCursor");
  } while (cursor !== undefined);
}

function externalAccountKey(object: JsonObject): ExternalAccountKey {
  const { usesAllowed, uses } = object;
  return {
    id: text(object, "id"),
    namespace: text(object, "namespace"),
    directory: text(object, "directory"),
    uses: typeof uses === "number" ? uses : 0,
    usesAllowed: typeof usesAllowed === "number" ? usesAllowed : null,
    createdAt: text(object, "createdAt"),
    ...optional(object, "expiresAt"),
    ...optional(object, "revokedAt"),
  };
}

function acmeAccount(object: JsonObject): AcmeAccount {
  const { contact } = object;
  return {
    id: text(object, "id"),
    directory: text(object, "directory"),
    namespace: text(object, "namespace"),
    status: text(object, "status"),
    contact: Array.isArray(contact) ? contact.map(String) : [],
    thumbprint: text(object, "thumbprint"),
    createdAt: text(object, "createdAt"),
    ...optional(object, "externalAccountKey"),
  };
}

function acmeOrder(object: JsonObject): AcmeOrder {
  const { certificate } = object;
  const serial = isObject(certificate) ? optionalText(certificate, "serial") : undefined;
  return {
    id: text(object, "id"),
    account: text(object, "account"),
    status: text(object, "status"),
    identifiers: objects(object, "identifiers").map(identifier),
    profile: text(object, "profile"),
    createdAt: text(object, "createdAt"),
    expiresAt: text(object, "expiresAt"),
    ...errorOf(object),
    ...(serial !== undefined && { serial }),
  };
}

function authorization(object: JsonObject): AcmeAuthorization {
  const named = object["identifier"];
  return {
    identifier: identifier(isObject(named) ? named : {}),
    wildcard: object["wildcard"] === true,
    status: text(object, "status"),
    expiresAt: text(object, "expiresAt"),
    challenges: objects(object, "challenges").map(challenge),
  };
}

function challenge(object: JsonObject): AcmeChallenge {
  const { attempts, evidence } = object;
  return {
    type: text(object, "type"),
    status: text(object, "status"),
    attempts: typeof attempts === "number" ? attempts : 0,
    ...optional(object, "validatedAt"),
    ...errorOf(object),
    evidence: isObject(evidence) ? evidence : {},
  };
}

function identifier(object: JsonObject): Identifier {
  return { type: text(object, "type"), value: text(object, "value") };
}

/** The detail of a problem document with the last part of its type. */
function errorOf({ error }: JsonObject): { readonly error?: string } {
  if (!isObject(error)) return {};
  const type = text(error, "type").split(":").at(-1) ?? "";
  return { error: `${text(error, "detail")} (${type})` };
}

function optional<Member extends string>(object: JsonObject, member: Member): { readonly [name in Member]?: string } {
  const value = optionalText(object, member);
  // A computed name is typed as an index signature; it is the one that was asked for.
  return value === undefined ? {} : ({ [member]: value } as { readonly [name in Member]?: string });
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
