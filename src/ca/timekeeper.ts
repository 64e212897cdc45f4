import { Fault } from "../fault.ts";
import type { Clock } from "../ports/clock.ts";

/** How far the service's clock may be from the database's before it signs nothing. */
const maximumSkewSeconds = 5;

/**
 * Times for what is signed. A clock that stands behind what was signed before, or away from the database's, gives none: a certificate's
 * times, and later those of CRLs and OCSP responses, never go back.
 */
export type Timekeeper = {
  /**
   * The time to sign with, in whole seconds.
   * @throws Fault `busy` when the clock is not to be trusted; nothing may be signed then.
   */
  signingTime(): Date;
  /** Takes note of the difference to the database's clock; positive when the service's is ahead. */
  compared(skewSeconds: number): void;
  /** Why nothing is signed at the moment; undefined when all is well. */
  problem(): string | undefined;
};

/** A timekeeper that knows when something was last signed, if ever. */
export function timekeeper(clock: Clock, lastSignedAt: Date | undefined): Timekeeper {
  let latest = lastSignedAt?.getTime() ?? 0;
  let skew = 0;
  const problem = (now: number): string | undefined => {
    // A second of tolerance: instances on several machines share one history.
    if (now + 1000 < latest) return `the clock stands behind ${new Date(latest).toISOString()}, when something was last signed`;
    if (Math.abs(skew) > maximumSkewSeconds)
      return `the clock is ${skew.toFixed(1)} s away from the database's; at most ${maximumSkewSeconds} s are allowed`;
    return undefined;
  };
  return {
    signingTime() {
      const now = clock.now().getTime();
      const reason = problem(now);
      if (reason) throw new Fault("busy", `nothing is signed: ${reason}`);
      latest = Math.max(latest, now);
      return new Date(Math.floor(now / 1000) * 1000);
    },
    compared(skewSeconds) {
      skew = skewSeconds;
    },
    problem: () => problem(clock.now().getTime()),
  };
}
