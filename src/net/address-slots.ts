/** Takes a place at an address; gives what returns it, or undefined when none was free within the wait, or before `signal`. */
export type AddressSlots = (address: string, waitMs: number, signal: AbortSignal) => Promise<(() => void) | undefined>;

/** At most `limit` connections to an address at a time; whoever waits longest is next. */
export function addressSlots(limit: number): AddressSlots {
  const places = new Map<string, { taken: number; readonly waiting: Set<() => void> }>();

  return (address, waitMs, signal) => {
    const place = places.get(address) ?? { taken: 0, waiting: new Set() };
    places.set(address, place);
    const give = () => {
      const [next] = place.waiting;
      // The place goes on to the next one as it is: nobody can take it in between.
      if (next) next();
      else if (--place.taken === 0) places.delete(address);
    };
    if (place.taken < limit) {
      place.taken += 1;
      return Promise.resolve(once(give));
    }
    return new Promise((resolve) => {
      const end = (leave?: () => void) => {
        clearTimeout(timer);
        signal.removeEventListener("abort", late);
        place.waiting.delete(taken);
        resolve(leave);
      };
      const taken = () => end(once(give));
      const late = () => end();
      const timer = setTimeout(late, waitMs);
      if (signal.aborted) return late();
      signal.addEventListener("abort", late, { once: true });
      place.waiting.add(taken);
    });
  };
}

function once(act: () => void): () => void {
  let done = false;
  return () => {
    if (!done) act();
    done = true;
  };
}
