/** Consecutive failures that open the breaker, and the time between two probes while it is open. */
const failuresToOpen = 3;
const probeIntervalMs = 1000;

/**
 * Stops asking a token that does not answer: after three failures in a row it admits one call a second, until one succeeds.
 * Time is given in milliseconds of a monotonic clock.
 */
export class Breaker {
  readonly #changed: (state: "opened" | "closed") => void;
  #failures = 0;
  #nextProbe = 0;

  /** @param changed told when the breaker opens and when it closes. */
  constructor(changed: (state: "opened" | "closed") => void) {
    this.#changed = changed;
  }

  get open(): boolean {
    return this.#failures >= failuresToOpen;
  }

  /** Whether a call may be made now. An open breaker says yes once a second: that call is the probe. */
  admits(now: number): boolean {
    if (!this.open) return true;
    if (now < this.#nextProbe) return false;
    this.#nextProbe = now + probeIntervalMs;
    return true;
  }

  succeeded(): void {
    const wasOpen = this.open;
    this.#failures = 0;
    if (wasOpen) this.#changed("closed");
  }

  failed(now: number): void {
    this.#failures += 1;
    if (this.#failures !== failuresToOpen) return;
    this.#nextProbe = now + probeIntervalMs;
    this.#changed("opened");
  }
}
