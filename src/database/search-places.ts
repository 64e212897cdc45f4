import { Fault } from "../fault.ts";

/** So many searches wait for their turn, each so long: callers that ask for little at once are served, others are told to come again. */
const mostWaiting = 16;
const waitMs = 2_000;

/**
 * Runs acts in `places` places: those that find none free take turns in the order in which they came.
 * Each throws Fault `busy` where too many wait, or it has waited for two seconds.
 */
export function searchPlaces(places: number): <T>(act: () => Promise<T>) => Promise<T> {
  const waiting: PromiseWithResolvers<void>[] = [];
  let free = places;

  const take = async (): Promise<void> => {
    if (free > 0) return void (free -= 1);
    const turn = Promise.withResolvers<void>();
    if (waiting.length >= mostWaiting) throw busy();
    waiting.push(turn);
    const timer = setTimeout(() => {
      waiting.splice(waiting.indexOf(turn), 1);
      turn.reject(busy());
    }, waitMs);
    await turn.promise.finally(() => clearTimeout(timer));
  };
  const leave = (): void => {
    const next = waiting.shift();
    if (next) next.resolve();
    else free += 1;
  };

  return async (act) => {
    await take();
    try {
      return await act();
    } finally {
      leave();
    }
  };
}

function busy(): Fault {
  return new Fault("busy", "too many searches run at once: ask again, or for less");
}
