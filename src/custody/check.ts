import { type BindingProblem, bindKeyPair } from "./binding.ts";
import { generateKeyPair } from "./generate.ts";
import type { Custody } from "./key-pair.ts";
import { listIntents, listKeyPairs } from "./store.ts";

/** What a token holds beside what is recorded. */
export type TokenCheck = {
  /** Recorded pairs that the token does not hold as they were recorded: they must not sign. */
  readonly unusable: readonly UnusableKey[];
  /** CKA_ID of private keys that no record names. They are reported, never deleted. */
  readonly unknown: readonly string[];
  /** Names of pairs whose generation was interrupted, or is under way elsewhere. They are no pairs yet, and nothing signs with them. */
  readonly pending: readonly string[];
};

export type UnusableKey = BindingProblem & { readonly name: string };

/**
 * Holds a token against its records, at the start: every recorded pair is bound, and keys that nobody recorded are reported. Generations
 * that were interrupted are finished where the token is open for administration, else reported: the act that began them takes them up
 * when it is repeated. Each finding is told as `key.unusable`, `key.unknown` or `key.pending`.
 * @throws Fault `hsmUnavailable`, `databaseUnavailable`
 */
export async function checkToken(custody: Custody): Promise<TokenCheck> {
  const { database, hsm, events } = custody;
  const pending: string[] = [];
  for (const intent of await database.transact((tx) => listIntents(tx, hsm.token))) {
    if (hsm.administration) await generateKeyPair(custody, { ...intent, principal: "system" });
    else pending.push(intent.name);
  }
  for (const name of pending) events.tell("warn", "key.pending", { token: hsm.token, name });
  const keyPairs = await database.transact((tx) => listKeyPairs(tx, hsm.token));
  const unusable: UnusableKey[] = [];
  for (const keyPair of keyPairs) {
    const problem = await bindKeyPair(custody, keyPair);
    if (problem) unusable.push({ name: keyPair.name, ...problem });
  }
  const unknown = await unknownKeys(custody);
  for (const ckaId of unknown) events.tell("warn", "key.unknown", { token: hsm.token, ckaId });
  return { unusable, unknown, pending };
}

/** The token is listed before the records are read: a pair that another process generates meanwhile has its record by then. */
async function unknownKeys({ database, hsm }: Custody): Promise<string[]> {
  const inToken = await hsm.list();
  const recorded = await database.transact(async (tx) => [
    ...(await listIntents(tx, hsm.token)).map(({ ckaId }) => ckaId),
    ...(await listKeyPairs(tx, hsm.token)).map(({ reference }) => reference.ckaId),
  ]);
  return inToken.filter((ckaId) => !recorded.includes(ckaId));
}
