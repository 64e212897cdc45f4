/** Where a validation comes from: a response to its challenge that just arrived, or the job that begins what is due. */
export type Origin = "response" | "due";

/**
 * How many validations an instance is at. Each origin has places of its own, of which an account takes a part: so neither do the responses
 * of the moment keep everyone's later attempts waiting, nor the many names of one account those of others.
 */
export type Places = {
  /** Whether the account may have one more. */
  readonly hasRoom: (origin: Origin, account: string) => boolean;
  /** Takes a place until what it returns is called. */
  readonly enter: (origin: Origin, account: string) => () => void;
  /** How many there are to take, whoever takes them. */
  readonly free: (origin: Origin) => number;
  /** How many each account has, of those that have any. */
  readonly taken: (origin: Origin) => ReadonlyMap<string, number>;
};

/** Of one account, of each origin: 16 together. */
export const maxOfAccount = 8;
/** Of all accounts, of each origin. */
const maxOfOrigin = 256;

/** Places of which none is taken. */
export function openPlaces(): Places {
  const places: Readonly<Record<Origin, Map<string, number>>> = { response: new Map(), due: new Map() };
  const of = (origin: Origin, account: string) => places[origin].get(account) ?? 0;
  const free = (origin: Origin) => maxOfOrigin - [...places[origin].values()].reduce((sum, count) => sum + count, 0);
  return {
    free,
    hasRoom: (origin, account) => of(origin, account) < maxOfAccount && free(origin) > 0,
    taken: (origin) => places[origin],
    enter: (origin, account) => {
      places[origin].set(account, of(origin, account) + 1);
      return () => {
        const left = of(origin, account) - 1;
        if (left > 0) places[origin].set(account, left);
        else places[origin].delete(account);
      };
    },
  };
}
