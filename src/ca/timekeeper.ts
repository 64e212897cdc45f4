import { wholeSeconds } from "../database/whole-seconds.ts";
import { Fault } from "../fault.ts";
import type { Clock } from "../ports/clock.ts";

/** How far the service's clock may be from the database's before it signs nothing. */
const maximumSkewSeconds = 5;

/**
 * Times for what is signed. A clock that stands behind what was signed before, or away from the database's, gives none: a certificate's
 * times, and later those of CRLs and OCSP responses, never go back. One that was set since it was compared is known by the time that has
 * passed meanwhile: what is signed with a time ahead could not be taken back, and nothing could be signed until then.
 */
export type Timekeeper = {
  /**
   * The time to sign with, in whole seconds.
   * @throws Fault `busy` when the clock is not to be trusted; nothing may be signed then.
   */
  signingTime(): Date;
  /**
   * The time to record what must be recorded whatever the clock says, in whole seconds: that of the database's clock where the service's is away
   * from it. A revocation that lies in the future would keep CRLs from being published.
   */
  recordingTime(): Date;
  /** Takes note of the difference to the database's clock; positive when the service's is ahead. */
  compared(skewSeconds: number): void;
  /** Why nothing is signed at the moment; undefined when all is well. */
  problem(): string | undefined;
};

/** A timekeeper that knows when something was last signed, if ever. */
export function timekeeper(clock: Clock, lastSignedAt: Date | undefined): Timekeeper {
  let latest = lastSignedAt?.getTime() ?? 0;
  let comparison: { readonly skewSeconds: number; readonly now: number; readonly elapsedMs: number } | undefined;
  /** How far the clock was set since the comparison. A machine that slept is taken for one whose clock was set, until the next. */
  const setSeconds = (now: number): number => (comparison ? (now - comparison.now - (clock.elapsedMs() - comparison.elapsedMs)) / 1000 : 0);
  const skewAt = (now: number): number => (comparison?.skewSeconds ?? 0) + setSeconds(now);
  const problem = (now: number): string | undefined => {
    // A second of tolerance: instances on several machines share one history.
    if (now + 1000 < latest) return `the clock stands behind ${new Date(latest).toISOString()}, when something was last signed`;
    const skew = skewAt(now);
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
      return wholeSeconds(new Date(now));
    },
    recordingTime() {
      const now = clock.now().getTime();
      const skew = skewAt(now);
      // Less than a second is the error of comparing.
      return wholeSeconds(new Date(now - (Math.abs(skew) > 1 ? skew * 1000 : 0)));
    },
    compared(skewSeconds) {
      comparison = { skewSeconds, now: clock.now().getTime(), elapsedMs: clock.elapsedMs() };
    },
    problem: () => problem(clock.now().getTime()),
  };
}
