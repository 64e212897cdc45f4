import { z } from "zod";
import type { Halt } from "../../ca/halt-store.ts";
import { recordingDenial } from "./denial.ts";
import { line } from "./line.ts";
import { type Call, route } from "./route.ts";
import { rfc3339 } from "./time.ts";

const body = z.strictObject({ reason: line });
type Asked = Call<unknown, z.infer<typeof body>>;

/** POST /v1/halt: no certificate is issued any more, on no instance, but for what the service needs itself. */
export const haltRoute = route({
  method: "POST",
  path: "/v1/halt",
  action: "issuance:halt",
  body,
  handle: async (doors, call: Asked) => {
    const halt = await recordingDenial(doors, { ...call, operation: "issuance.halt" }, () => doors.haltIssuance(asked(call)));
    return { json: shown(halt) };
  },
});

/** POST /v1/resume: certificates are issued again. */
export const resumeRoute = route({
  method: "POST",
  path: "/v1/resume",
  action: "issuance:halt",
  body,
  handle: async (doors, call: Asked) => {
    await recordingDenial(doors, { ...call, operation: "issuance.resume" }, () => doors.resumeIssuance(asked(call)));
    return { json: shown(undefined) };
  },
});

/** GET /v1/halt: whether issuance is halted. */
export const readHaltRoute = route({
  method: "GET",
  path: "/v1/halt",
  action: "issuance:halt",
  handle: async (doors, call) => {
    const halt = await recordingDenial(doors, { ...call, operation: "issuance.halt" }, () => doors.showHalt(call.principal));
    return { json: shown(halt) };
  },
});

function asked({ principal, body: { reason }, requestId }: Asked) {
  return { principal, reason, requestId };
}

function shown(halt: Halt | undefined) {
  if (!halt) return { halted: false };
  return { halted: true, haltedAt: rfc3339(halt.haltedAt), haltedBy: halt.haltedBy, reason: halt.reason };
}
