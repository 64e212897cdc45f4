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
    advance(seconds) {
      now += seconds * 1000;
    },
    set(next) {
      now = new Date(next).getTime();
    },
  };
}

/** The system's clock, moved. */
export type MovedClock = Clock & { aheadSeconds: number };

export function movedClock(aheadSeconds = 0): MovedClock {
  const moved = { aheadSeconds, now: () => new Date(Date.now() + moved.aheadSeconds * 1000) };
  return moved;
}
