import type { Route } from "./route.ts";

/** How many requests may be under way when another of its kind is taken. A finalize waits for seconds and costs next to nothing. */
const most: Readonly<Record<Route["sheds"], number>> = { first: 512, second: 1024, last: 2048 };

/**
 * Takes a request in, or refuses it when too many are under way: what begins something new before what ends it, so that orders that were
 * begun come to their end. Dispose what it gives when the request is answered.
 */
export function openAdmission(): (sheds: Route["sheds"]) => Disposable | undefined {
  let underWay = 0;
  return (sheds) => {
    if (underWay >= most[sheds]) return undefined;
    underWay += 1;
    return { [Symbol.dispose]: () => void (underWay -= 1) };
  };
}
