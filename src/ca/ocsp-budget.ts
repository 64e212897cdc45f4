import type { Clock } from "../ports/clock.ts";

/** How many answers may be made. */
export type Budget = {
  /** Answers that one client may have made in a second, on average and, ten times as many, at once. */
  readonly perSecond: number;
  /** Answers that are being made at most, whoever asks; an eighth of them, at least one, for one client: none takes the places of all. */
  readonly atOnce: number;
};

/** `alone`: answers for one request, which cannot be given to anybody else; `shared`: those that are kept for everybody. */
export type Budgets = { readonly alone: Budget; readonly shared: Budget };

/** What the configuration gives. Who may have many of its own, or asks for many clients, needs more that are kept. */
export function budgetsOf(noncesPerSecond: number): Budgets {
  return {
    alone: { perSecond: noncesPerSecond, atOnce: 256 },
    shared: { perSecond: Math.max(500, 5 * noncesPerSecond), atOnce: 256 },
  };
}

/** Takes one answer from the budget of a client: disposed of when it is made; undefined when the budget is spent. */
export type TakeSignature = (client: string) => Disposable | undefined;

/** Clients that are told apart; whoever has not asked for longest is taken for a new one. */
const mostClients = 10_000;
const burstSeconds = 10;

/** A bucket for each client, refilled evenly. */
export function openBudget({ perSecond, atOnce }: Budget, clock: Clock): TakeSignature {
  const full = perSecond * burstSeconds;
  const atOnceForOne = Math.max(1, Math.floor(atOnce / 8));
  const buckets = new Map<string, { readonly left: number; readonly at: number }>();
  /** Of those who have any, apart from the buckets: whoever is taken for a new client there has not got new places. */
  const underWayOf = new Map<string, number>();
  let underWay = 0;
  return (client) => {
    const at = clock.now().getTime();
    const bucket = buckets.get(client) ?? { left: full, at };
    // A clock that went back refills nothing.
    const refilled = Math.min(full, bucket.left + (Math.max(0, at - bucket.at) / 1000) * perSecond);
    const own = underWayOf.get(client) ?? 0;
    const granted = refilled >= 1 && underWay < atOnce && own < atOnceForOne;
    buckets.delete(client);
    buckets.set(client, { left: granted ? refilled - 1 : refilled, at });
    for (const [longestUnasked] of buckets) {
      if (buckets.size <= mostClients) break;
      buckets.delete(longestUnasked);
    }
    if (!granted) return undefined;
    underWay += 1;
    underWayOf.set(client, own + 1);
    return {
      [Symbol.dispose]: () => {
        underWay -= 1;
        const left = (underWayOf.get(client) ?? 1) - 1;
        if (left === 0) underWayOf.delete(client);
        else underWayOf.set(client, left);
      },
    };
  };
}
