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
