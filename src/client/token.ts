import { type JsonObject, objectOf, objects, optionalText, text } from "./answer.ts";
import type { Client } from "./connect.ts";

/** A bearer token without its secret. Times are RFC 3339 text in UTC. */
export type ListedToken = {
  readonly id: string;
  readonly role: string;
  readonly namespace: string;
  readonly expiresAt: string;
  readonly createdAt?: string;
  readonly revokedAt?: string;
};

/** A token just created, with the text that is shown this once. */
export type CreatedToken = ListedToken & { readonly token: string };

/**
 * Creates a token. Not repeatable: a lost answer leaves a token that nobody knows, to be found in the list and revoked.
 * @throws ClientError `refused` (policyDenied) when it would grant more than the caller's own token has.
 */
export async function createToken(
  client: Client,
  request: { readonly role: string; readonly namespace: string; readonly expiresAt: string },
): Promise<CreatedToken> {
  const answer = await client.send({ method: "POST", path: "/v1/tokens", body: request, repeatable: false });
  const object = objectOf(answer);
  return { ...request, ...listed({ ...request, ...object }), token: text(object, "token") };
}

/** The tokens of the caller's namespace, newest first: all pages. */
export async function listTokens(client: Client): Promise<readonly ListedToken[]> {
  const tokens: ListedToken[] = [];
  let cursor: string | undefined;
  do {
    const answer = objectOf(await client.send({ method: "GET", path: "/v1/tokens", query: { limit: "1000", cursor }, repeatable: true }));
    tokens.push(...objects(answer, "tokens").map(listed));
    cursor = optionalText(answer, "nextCursor");
  } while (cursor !== undefined);
  return tokens;
}

/** Revokes the token of this id; it is refused from the next request on. */
export async function revokeToken(client: Client, id: string): Promise<void> {
  await client.send({ method: "DELETE", path: `/v1/tokens/${encodeURIComponent(id)}`, repeatable: true });
}

function listed(object: JsonObject): ListedToken {
  const createdAt = optionalText(object, "createdAt");
  const revokedAt = optionalText(object, "revokedAt");
  return {
    id: text(object, "id"),
    role: text(object, "role"),
    namespace: text(object, "namespace"),
    expiresAt: text(object, "expiresAt"),
    ...(createdAt !== undefined && { createdAt }),
    ...(revokedAt !== undefined && { revokedAt }),
  };
}
