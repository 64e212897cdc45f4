import { z } from "zod";
import type { TokenRecord } from "../../access/store.ts";
import { page } from "./page.ts";
import { route } from "./route.ts";
import { rfc3339, time } from "./time.ts";

/** POST /v1/tokens: a new token. Its text stands in this one answer and nowhere else. */
export const createTokenRoute = route({
  method: "POST",
  path: "/v1/tokens",
  action: "token:create",
  body: z.strictObject({ role: z.enum(["admin", "requester", "viewer"]), namespace: z.string().min(1).max(255), expiresAt: time }),
  handle: async (doors, { principal, body, requestId }) => {
    const created = await doors.createToken(principal, body, requestId);
    return { status: 201, headers: { location: `/v1/tokens/${created.id}` }, json: { ...listed(created), token: created.token } };
  },
});

/** GET /v1/tokens: the tokens of the caller's namespace and within it, newest first, without their secrets. */
export const listTokensRoute = route({
  method: "GET",
  path: "/v1/tokens",
  action: "token:read",
  query: z.strictObject(page),
  handle: async (doors, { principal, query }) => {
    const { tokens, nextCursor } = await doors.listTokens(principal, query);
    return { json: { tokens: tokens.map(listed), ...(nextCursor !== undefined && { nextCursor }) } };
  },
});

/** DELETE /v1/tokens/{id}: the token is refused from now on. */
export const revokeTokenRoute = route({
  method: "DELETE",
  path: "/v1/tokens/:id",
  action: "token:revoke",
  handle: async (doors, { principal, parts, requestId }) => {
    await doors.revokeToken(principal, parts["id"] ?? "", requestId);
    return { empty: true };
  },
});

function listed({ id, role, namespace, createdAt, expiresAt, createdBy, revokedAt }: TokenRecord) {
  return {
    id,
    role,
    namespace,
    createdAt: rfc3339(createdAt),
    expiresAt: rfc3339(expiresAt),
    createdBy,
    ...(revokedAt && { revokedAt: rfc3339(revokedAt) }),
  };
}
