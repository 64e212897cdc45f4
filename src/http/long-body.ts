import { peerOf } from "./remote-address.ts";

/** A body that is not in memory as a whole, and whose length is known. */
export type LongBody = { readonly octets: number; /** The octets from the first on. */ readonly parts: () => AsyncIterable<Uint8Array> };

/** Bounds of the long bodies under way: each holds a part, and its file open, for as long as its client takes. */
export type LongBodyLimits = {
  readonly maxBodies: number;
  /** Of one address, or of one /64 of IPv6. */
  readonly maxBodiesPerAddress: number;
  /** A client that takes less is given up, and its place is another's. */
  readonly leastOctetsPerSecond: number;
  /** How far a client may fall behind that rate at any time. What it takes faster is not counted in its favour. */
  readonly patienceMs: number;
};

/** The bounds of a listener of the service. */
export const longBodyLimits: LongBodyLimits = {
  maxBodies: 256,
  maxBodiesPerAddress: 8,
  leastOctetsPerSecond: 16 * 1024,
  patienceMs: 60_000,
};

/** Who may send a long body. */
export type LongBodyPlaces = {
  /** Takes a place for a client's address, and gives what frees it, to be called once; undefined where none is free. */
  readonly take: (address: string) => (() => void) | undefined;
};

/** As many places as the bounds say, all free. */
export function longBodyPlaces({ maxBodies, maxBodiesPerAddress }: LongBodyLimits): LongBodyPlaces {
  const taken = new Map<string, number>();
  let all = 0;
  return {
    take(address) {
      const peer = peerOf(address);
      const count = taken.get(peer) ?? 0;
      if (all >= maxBodies || count >= maxBodiesPerAddress) return undefined;
      all += 1;
      taken.set(peer, count + 1);
      return () => {
        all -= 1;
        const left = (taken.get(peer) ?? 1) - 1;
        if (left === 0) taken.delete(peer);
        else taken.set(peer, left);
      };
    },
  };
}

/** A client's pace: how long it is waited for. Times are milliseconds of one clock. */
export type Pace = Pick<LongBodyLimits, "leastOctetsPerSecond" | "patienceMs">;

/**
 * When a client is given up that took `octets` until `now`, and was to be given up at `deadline` before that. A body of n octets is thereby over
 * within `patienceMs` and n / `leastOctetsPerSecond`, and one whose client goes slow within `patienceMs` of it.
 */
export function deadlineAfter(deadline: number, { octets, now }: { readonly octets: number; readonly now: number }, pace: Pace): number {
  return Math.min(deadline + (octets / pace.leastOctetsPerSecond) * 1000, now + pace.patienceMs);
}

/** Waits for a client that takes a body, and aborts `signal` when it is given up. To be disposed of when the body is over. */
export type PacedBody = Disposable & { readonly parts: AsyncIterable<Uint8Array>; readonly signal: AbortSignal };

/** The same parts; what one of them took its client is seen when it asks for the next. */
export function pacedBody(parts: AsyncIterable<Uint8Array>, pace: Pace): PacedBody {
  const over = new AbortController();
  let deadline = performance.now() + pace.patienceMs;
  const waitOn = (): NodeJS.Timeout =>
    setTimeout(
      () => {
        if (performance.now() >= deadline) over.abort();
        else timer = waitOn();
      },
      Math.max(1, deadline - performance.now()),
    );
  let timer = waitOn();
  const watched = async function* (): AsyncGenerator<Uint8Array, undefined> {
    for await (const part of parts) {
      yield part;
      deadline = deadlineAfter(deadline, { octets: part.length, now: performance.now() }, pace);
    }
  };
  return { parts: watched(), signal: over.signal, [Symbol.dispose]: () => clearTimeout(timer) };
}
