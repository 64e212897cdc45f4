import { peerOf } from "./remote-address.ts";

/** A body that is not in memory as a whole, and whose length is known. */
export type LongBody = { readonly octets: number; /** The octets from the first on. */ readonly parts: () => AsyncIterable<Uint8Array> };

/** Bounds of the long bodies under way: each holds a part, and its file open, for as long as its client takes. */
export type LongBodyLimits = {
  readonly maxBodies: number;
  /** Of one address, or of one /64 of IPv6. */
  readonly maxBodiesPerAddress: number;
};

/** The bounds of a listener of the service. */
export const longBodyLimits: LongBodyLimits = { maxBodies: 256, maxBodiesPerAddress: 8 };

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
