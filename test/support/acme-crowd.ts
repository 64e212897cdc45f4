import { setTimeout as pause } from "node:timers/promises";
import type { ChallengeHost } from "./challenge-host.ts";
import { type Door, type Ended, politeClient, type PoliteClient, type Seen } from "./polite-client.ts";

/** A crowd of clients at work. Disposed of, it begins nothing more. */
export type Crowd = Disposable & {
  /** Resolves when so many more issuances have come to their end. */
  readonly issued: (count: number) => Promise<void>;
  /** Lets every client finish what it has begun; what each issuance ended with, and everything they saw. Rejects with the first that failed. */
  readonly finish: () => Promise<{ readonly ended: readonly Ended[]; readonly seen: readonly Seen[] }>;
};

/** Between two orders of one client. */
const restMs = 100;

/** Has `clients` clients of an account each issue one certificate after the other, each `orders` at least, until told to finish. */
export function startCrowd(
  doors: () => readonly Door[],
  {
    host,
    clients,
    orders,
    name,
  }: { readonly host: ChallengeHost; readonly clients: number; readonly orders: number; readonly name: string },
): Crowd {
  const ended: Ended[] = [];
  const crowd: PoliteClient[] = [];
  const waiting: { count: number; resolve: () => void }[] = [];
  const state = { finishing: false };
  const work = async (number: number): Promise<void> => {
    const client = politeClient(doors, { host });
    crowd.push(client);
    await client.register();
    for (let order = 1; order <= orders || !state.finishing; order += 1) {
      ended.push(await client.issue([`o${order}.c${number}.${name}.localhost`]));
      for (const each of waiting) if (ended.length >= each.count) each.resolve();
      await pause(restMs);
    }
  };
  const all = Promise.all(Array.from({ length: clients }, (_, index) => work(index + 1)));
  // Whoever waits for issuances hears of the failure too; nobody else need be there when it happens.
  all.catch(() => {});
  return {
    issued: async (count) => {
      const target = ended.length + count;
      await Promise.race([new Promise<void>((resolve) => waiting.push({ count: target, resolve })), all]);
    },
    finish: async () => {
      state.finishing = true;
      await all;
      return { ended, seen: crowd.flatMap(({ seen }) => seen) };
    },
    [Symbol.dispose]: () => void (state.finishing = true),
  };
}

/**
 * What clients must not have seen: a 4xx, which ends an order for many of them, or a 5xx that does not say that it passes. Of the first kind
 * stands for a repeated finalize whose answer was lost `orderNotReady`, after which clients read the order.
 */
export function harmful(seen: readonly Seen[]): Seen[] {
  return seen.filter(({ resource, status, problem, repeated }) => {
    if (status < 400 || status === 503 || problem === "badNonce") return false;
    return !(problem === "orderNotReady" && repeated && resource.endsWith("/finalize"));
  });
}
