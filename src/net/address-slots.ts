/** Takes a place at an address for a tenant; gives what returns it, or undefined when none was free within the wait, or before `signal`. */
export type AddressSlots = (
  claim: { readonly address: string; readonly tenant: string },
  waitMs: number,
  signal: AbortSignal,
) => Promise<(() => void) | undefined>;

/** Who is at an address, by tenant, and who waits there, the first come first. */
type Place = { readonly taken: Map<string, number>; readonly waiting: Set<Waiter> };
type Waiter = { readonly tenant: string; readonly take: () => void };

/**
 * At most `limit` connections to an address at a time, and half of them of one tenant: whoever leads many names to an address that answers
 * slowly leaves room for others whose names lead there too. Of those that may, whoever waits longest is next.
 */
export function addressSlots(limit: number): AddressSlots {
  const places = new Map<string, Place>();
  const ofTenant = Math.ceil(limit / 2);
  const hasRoom = ({ taken }: Place, tenant: string) =>
    (taken.get(tenant) ?? 0) < ofTenant && [...taken.values()].reduce((sum, count) => sum + count, 0) < limit;

  return ({ address, tenant }, waitMs, signal) => {
    const place: Place = places.get(address) ?? { taken: new Map(), waiting: new Set() };
    places.set(address, place);
    const take = () => {
      place.taken.set(tenant, (place.taken.get(tenant) ?? 0) + 1);
      return once(() => leave(tenant));
    };
    const leave = (leaving: string) => {
      const left = (place.taken.get(leaving) ?? 1) - 1;
      if (left > 0) place.taken.set(leaving, left);
      else place.taken.delete(leaving);
      // The place goes on at once: nobody can take it in between.
      const next = [...place.waiting].find((waiter) => hasRoom(place, waiter.tenant));
      if (next) next.take();
      else if (place.taken.size === 0) places.delete(address);
    };
    if (hasRoom(place, tenant)) return Promise.resolve(take());
    return new Promise((resolve) => {
      const end = (taken?: () => void) => {
        clearTimeout(timer);
        signal.removeEventListener("abort", late);
        place.waiting.delete(waiter);
        resolve(taken);
      };
      const waiter: Waiter = { tenant, take: () => end(take()) };
      const late = () => end();
      const timer = setTimeout(late, waitMs);
      if (signal.aborted) return late();
      signal.addEventListener("abort", late, { once: true });
      place.waiting.add(waiter);
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
