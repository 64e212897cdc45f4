import { may } from "../access/policy.ts";
import type { Principal } from "../access/principal.ts";
import { Fault } from "../fault.ts";

/** Whether a principal may have any key blocked by its word alone: a blocked key is in no namespace's certificates. */
export function mayBlockKeys(principal: Principal): boolean {
  return may(principal, "key:block", { namespace: "/" });
}

/** @throws Fault `policyDenied` for all but administrators of "/" */
export function requireBlockRight(principal: Principal): void {
  if (!mayBlockKeys(principal)) {
    throw new Fault("policyDenied", "a key is blocked without a proof by administrators of the namespace / alone");
  }
}
