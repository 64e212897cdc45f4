import type { Clock } from "../../src/ports/clock.ts";

/** A clock that stands until it is moved. */
export type FixedClock = Clock & {
  /** Moves it forward, or back. */
  advance(seconds: number): void;
  set(time: string): void;
};

/** @param time RFC 3339 text. */
export function fixedClock(time: string): FixedClock {
  let now = new Date(time).getTime();
  return {
    now: () => new Date(now),
    elapsedMs: () => now,
    advance(seconds) {
      now += seconds * 1000;
    },
    set(next) {
      now = new Date(next).getTime();
    },
  };
}

/** A clock that reads `now`; as much time passes as it moves. */
export function clockOf(now: () => Date): Clock {
  return { now, elapsedMs: () => now().getTime() };
}

/** The system's clock, moved: that time has passed. */
export type MovedClock = Clock & {
  aheadSeconds: number;
  /** Seconds that it was set forward by, without their passing. */
  setSeconds: number;
};

export function movedClock(aheadSeconds = 0): MovedClock {
  const moved: MovedClock = {
    aheadSeconds,
    setSeconds: 0,
    now: () => new Date(Date.now() + (moved.aheadSeconds + moved.setSeconds) * 1000),
    elapsedMs: () => performance.now() + moved.aheadSeconds * 1000,
  };
  return moved;
}
