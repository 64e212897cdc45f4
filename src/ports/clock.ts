/**
 * The time of the service. Tests fix it; the service reads the system clock.
 * `now` never goes back within one process by more than the system clock does: who needs monotony compares with what it recorded.
 */
export type Clock = {
  /** The current time, with milliseconds. */
  now(): Date;
  /** Milliseconds from a moment of this process's own, which nobody can set and which never go back. They may stand while the machine sleeps. */
  elapsedMs(): number;
};
