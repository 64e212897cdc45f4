import { z } from "zod";
import type { Campaign } from "../../ca/mass-revocation-store.ts";
import { Fault } from "../../fault.ts";
import { reasonName } from "../../pki/crl-reason.ts";
import { certificateWithoutChain, generalName, profileName, serialPattern } from "./certificates.ts";
import { recordingDenial } from "./denial.ts";
import { namedRequest } from "./idempotency-key.ts";
import { line } from "./line.ts";
import { route } from "./route.ts";
import { rfc3339, time } from "./time.ts";

const mostSerials = 1_000;

const filter = z.strictObject({
  serials: z
    .array(z.string().regex(serialPattern, "must be 32 lower-case hex digits"))
    .min(1, "must name a serial")
    .max(mostSerials, `must name at most ${mostSerials} serials`)
    .optional(),
  spkiSha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/, "must be 64 lower-case hex digits")
    .optional(),
  account: z
    .string()
    .regex(/^[\w-]{1,64}$/, "must be the id of an ACME account")
    .optional(),
  authority: z
    .string()
    .regex(/^[a-z0-9-]{1,64}$/, "must be the slug of an authority")
    .optional(),
  profile: profileName.optional(),
  name: z.string().min(1).max(1024).transform(generalName).optional(),
  issuedFrom: time.transform(rfc3339).optional(),
  issuedBefore: time.transform(rfc3339).optional(),
});

/** POST /v1/revocations: everything that a filter finds is revoked, or with `dryRun` counted. */
export const createRevocationRoute = route({
  method: "POST",
  path: "/v1/revocations",
  action: "revocation:create",
  body: z.strictObject({ filter, reason: z.string().max(64), blockKey: z.boolean().optional(), dryRun: z.boolean().default(false) }),
  handle: async (doors, { principal, body, headers, requestId }) => {
    const { dryRun, ...rest } = body;
    const named = [rest.filter, rest.reason, ...(rest.blockKey === undefined ? [] : [rest.blockKey])];
    const asked = { ...rest, repeatable: namedRequest({ principal, headers }, "revocation.create", named), requestId };
    if (dryRun) {
      const { count, sample } = await doors.previewRevocation(principal, asked);
      return { json: { count, sample: sample.map(certificateWithoutChain) } };
    }
    const refusable = { principal, requestId, operation: "revocation.create" };
    const { campaign, begun } = await recordingDenial(doors, refusable, () => doors.beginRevocation(principal, asked));
    const status = campaign.endedAt === null ? 202 : begun ? 201 : 200;
    return { status, headers: { location: `/v1/revocations/${campaign.id}` }, json: shown(campaign) };
  },
});

/** GET /v1/revocations/{id}: how far it is. */
export const readRevocationRoute = route({
  method: "GET",
  path: "/v1/revocations/:id",
  action: "revocation:read",
  handle: async (doors, { principal, parts }) => {
    const { id = "" } = parts;
    const campaign = isId(id) ? await doors.readRevocation(principal.namespace, id) : undefined;
    return { json: shown(campaign ?? notFound(id)) };
  },
});

/** POST /v1/revocations/{id}/stop: it revokes nothing more. */
export const stopRevocationRoute = route({
  method: "POST",
  path: "/v1/revocations/:id/stop",
  action: "revocation:stop",
  body: z.strictObject({ reason: line }),
  handle: async (doors, { principal, parts, body: { reason }, requestId }) => {
    const { id = "" } = parts;
    const refusable = { principal, requestId, operation: "revocation.stop" };
    const stop = () => doors.stopRevocation({ principal, id, reason, requestId });
    const campaign = isId(id) ? await recordingDenial(doors, refusable, stop) : undefined;
    return { json: shown(campaign ?? notFound(id)) };
  },
});

const isId = (text: string): boolean => /^[0-9a-f]{32}$/.test(text);

function notFound(id: string): never {
  throw new Fault("notFound", `there is no revocation ${JSON.stringify(id.slice(0, 64))}`);
}

function shown({
  id,
  filter: { name, ...rest },
  namespace,
  principal,
  reason,
  createdAt,
  endedAt,
  revoked,
  stoppedBy,
  stopReason,
}: Campaign) {
  return {
    id,
    state: endedAt === null ? "running" : stoppedBy === null ? "ended" : "stopped",
    revoked,
    filter: { ...rest, ...(name && { name: name.value }) },
    reason: reasonName(reason),
    namespace,
    createdBy: principal,
    createdAt: rfc3339(createdAt),
    ...(endedAt && { endedAt: rfc3339(endedAt) }),
    ...(stoppedBy !== null && { stoppedBy, stopReason }),
  };
}
