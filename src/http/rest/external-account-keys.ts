import { z } from "zod";
import type { ExternalAccountKeyRecord } from "../../acme/external-account-store.ts";
import { page } from "./page.ts";
import { route } from "./route.ts";
import { rfc3339, time } from "./time.ts";

const mostUses = 1_000_000;
const usesRange = `must be a whole number from 1 to ${mostUses}, or null for any number`;
const patterns = z.array(z.string().min(1).max(255)).min(1).max(100);

/** POST /v1/acme/external-account-keys: a key for external account binding. Its MAC key stands in this one answer and nowhere else. */
export const createExternalAccountKeyRoute = route({
  method: "POST",
  path: "/v1/acme/external-account-keys",
  action: "external-account-key:create",
  body: z.strictObject({
    namespace: z.string().min(1).max(255),
    directory: z.string().min(1).max(32),
    usesAllowed: z.int(usesRange).min(1, usesRange).max(mostUses, usesRange).nullable().optional(),
    names: patterns.optional(),
    ipRanges: patterns.optional(),
    expiresAt: time.optional(),
  }),
  handle: async (doors, { principal, body, requestId }) => {
    const created = await doors.createExternalAccountKey(principal, body, requestId);
    const location = `/v1/acme/external-account-keys/${created.id}`;
    return { status: 201, headers: { location }, json: { ...listed(created), macKey: created.macKey } };
  },
});

/** GET /v1/acme/external-account-keys: those of the caller's namespace and within it, newest first, without their MAC keys. */
export const listExternalAccountKeysRoute = route({
  method: "GET",
  path: "/v1/acme/external-account-keys",
  action: "external-account-key:read",
  query: z.strictObject(page),
  handle: async (doors, { principal, query }) => {
    const { keys, nextCursor } = await doors.listExternalAccountKeys(principal, query);
    return { json: { externalAccountKeys: keys.map(listed), ...(nextCursor !== undefined && { nextCursor }) } };
  },
});

/** DELETE /v1/acme/external-account-keys/{id}: no account is made with it from now on; those that were live on. */
export const revokeExternalAccountKeyRoute = route({
  method: "DELETE",
  path: "/v1/acme/external-account-keys/:id",
  action: "external-account-key:revoke",
  handle: async (doors, { principal, parts, requestId }) => {
    await doors.revokeExternalAccountKey(principal, parts["id"] ?? "", requestId);
    return { empty: true };
  },
});

function listed(key: ExternalAccountKeyRecord) {
  const { id, namespace, directory, uses, usesAllowed, names, ipRanges, createdAt, expiresAt, createdBy, revokedAt } = key;
  return {
    id,
    namespace,
    directory,
    uses,
    usesAllowed: usesAllowed ?? null,
    ...(names && { names }),
    ...(ipRanges && { ipRanges }),
    createdAt: rfc3339(createdAt),
    ...(expiresAt && { expiresAt: rfc3339(expiresAt) }),
    createdBy,
    ...(revokedAt && { revokedAt: rfc3339(revokedAt) }),
  };
}
