import type { Ca } from "./ca/ca.ts";
import { type Ocsp, responderProblem } from "./ca/ocsp.ts";
import type { Verdict } from "./http/doors.ts";

/** Whether this machine's clock may be signed by. */
export function clockVerdict({ timekeeper }: Ca): Verdict {
  const problem = timekeeper.problem();
  return { ready: problem === undefined, detail: problem ?? "the clock agrees with the database's" };
}

/**
 * Whether OCSP can be answered. Caught up with revocations it was before anything listened; while the database is away what is kept is still good to be given.
 */
export function respondersVerdict(ocsp: Ocsp): Verdict {
  const problem = responderProblem(ocsp);
  return { ready: problem === undefined, detail: problem ?? `revocations were read ${ocsp.feed.ageSeconds().toFixed(1)} s ago` };
}

/** Whether nobody has halted issuance. */
export async function haltVerdict({ halt }: Ca): Promise<Verdict> {
  const standing = await halt.current();
  if (!standing) return { ready: true, detail: "issuance is not halted" };
  return { ready: false, detail: `issuance is halted since ${standing.haltedAt.toISOString()}: ${standing.reason}` };
}

/** Whether an authority is left that issues: one whose own certificate is not revoked (XR-10). */
export async function issuersVerdict({ authorities, halt }: Ca): Promise<Verdict> {
  await halt.current();
  const revoked = halt.revoked();
  const issuing = [...authorities.values()].filter(({ kind }) => kind === "issuing").map(({ slug }) => slug);
  const left = issuing.filter((slug) => !revoked.includes(slug));
  const detail =
    revoked.length === 0 ? "no authority is revoked" : `issues nothing any more, as its certificate is revoked: ${revoked.join(", ")}`;
  return { ready: left.length > 0, detail };
}
