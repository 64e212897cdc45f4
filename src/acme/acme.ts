import type { Ca } from "../ca/ca.ts";
import type { Database } from "../database/connect.ts";
import { gather } from "../database/gather.ts";
import type { Clock } from "../ports/clock.ts";
import type { Events } from "../ports/events.ts";
import type { Random } from "../ports/random.ts";
import type { Validator } from "../ports/validator.ts";
import { type Presented, recognise, type Recognised, rememberKeys } from "./account-store.ts";
import type { Authorization } from "./authorization.ts";
import { readAuthorizationRows } from "./authorization-store.ts";
import type { Directory } from "./directory.ts";
import { type Nonces, openNonces } from "./nonce.ts";
import type { Order } from "./order.ts";
import { readOrderRows } from "./order-store.ts";
import { openPlaces, type Places } from "./validation-places.ts";

/** ACME and its world: the first argument of every use case here. */
export type Acme = {
  readonly database: Database;
  readonly clock: Clock;
  readonly random: Random;
  readonly events: Events;
  /** Which instance acts: stands in audit records and leases. */
  readonly node: string;
  readonly ca: Ca;
  readonly validator: Validator;
  readonly directories: ReadonlyMap<string, Directory>;
  /** What every URL begins with, account URLs among them, which are identities. No trailing slash. */
  readonly baseUrl: string;
  readonly nonces: Nonces;
  /** Spends a nonce and reads the account of a request; shares its statement with other requests of the moment. */
  readonly recognise: (presented: Presented) => Promise<Recognised>;
  /** The order of this id as it is now, whoever asks; shares its statement as `recognise` does. */
  readonly findOrder: (id: string) => Promise<Order | undefined>;
  /** The authorization of this id, likewise. */
  readonly findAuthorization: (id: string) => Promise<Authorization | undefined>;
  /** Validations that this instance is at. */
  readonly validating: Set<Promise<void>>;
  /** How many of them there are, and of whom. */
  readonly places: Places;
  /** For test suites of others: every challenge is found valid, nobody is asked. */
  readonly alwaysValid: boolean;
};

/** What `openAcme` needs to know of the world. */
export type AcmeWorld = Omit<Acme, "nonces" | "recognise" | "findOrder" | "findAuthorization" | "validating" | "places">;

/** Opens the nonces and binds the hot statements to the database. */
export async function openAcme(world: AcmeWorld): Promise<Acme> {
  const { database, clock } = world;
  const keyIn = rememberKeys();
  return {
    ...world,
    nonces: await openNonces(world),
    validating: new Set(),
    places: openPlaces(),
    recognise: gather({ ask: (presented: readonly Presented[]) => database.read((sql) => recognise(sql, presented, keyIn)) }),
    findOrder: gather({ ask: (ids: readonly string[]) => database.read((sql) => readOrderRows(sql, ids, clock.now())) }),
    findAuthorization: gather({ ask: (ids: readonly string[]) => database.read((sql) => readAuthorizationRows(sql, ids, clock.now())) }),
  };
}

/** Whether `text` has the form of an id that `drawId` draws; another text is the id of nothing. */
export function isId(text: string): boolean {
  return /^[A-Za-z0-9_-]{22}$/.test(text);
}

/** 128 random bits in base64url: an id that nobody guesses (RFC 8555 §10.5). */
export function drawId({ random }: Pick<Acme, "random">): string {
  return Buffer.from(random.bytes(16)).toString("base64url");
}
