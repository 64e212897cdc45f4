import type { AuditEntry } from "../../audit/entry.ts";
import type { Principal } from "../../access/principal.ts";
import { Fault, type FaultCode } from "../../fault.ts";
import type { RestDoors } from "../doors.ts";

/** Whose refusal is recorded, and of what: `codes` are the refusals that leave a record (AUD-17). */
export type Refusable = {
  readonly principal: Principal;
  readonly requestId: string;
  /** As the record of its success would name it. */
  readonly operation: string;
  readonly object?: AuditEntry["object"];
  readonly codes?: ReadonlySet<FaultCode>;
};

/** Does what a principal asks for; a refusal of what was asked, rather than of how, leaves an audit record. */
export async function recordingDenial<T>(
  doors: Pick<RestDoors, "recordDenial">,
  { principal, requestId, operation, object, codes = policyAlone }: Refusable,
  act: () => Promise<T>,
): Promise<T> {
  try {
    return await act();
  } catch (error) {
    if (error instanceof Fault && codes.has(error.code)) {
      await doors.recordDenial({ principal, operation, code: error.code, requestId, object });
    }
    throw error;
  }
}

const policyAlone: ReadonlySet<FaultCode> = new Set(["policyDenied"]);
