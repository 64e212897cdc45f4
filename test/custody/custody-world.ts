import { randomBytes } from "node:crypto";

import type { Custody } from "../../src/custody/key-pair.ts";
import { openDatabase } from "../../src/database/connect.ts";
import { openHsm } from "../../src/hsm/client.ts";
import type { FreshDatabase } from "../support/database.ts";
import { recordedEvents } from "../support/events.ts";
import type { RecordedEvents } from "../support/events.ts";
import type { FreshToken } from "../support/token.ts";
import { optionNames } from "../hsm/signing-token.ts";
import { clockOf } from "../support/clock.ts";

/** A database and a token together, with real randomness, since several worlds may share both. */
export type CustodyWorld = AsyncDisposable & { readonly custody: Custody; readonly events: RecordedEvents };

/** Where a world is opened: what another process can be told of it, too. */
export type Place = { readonly url: string; readonly token: Pick<FreshToken, "module" | "softHsmConf" | "label" | "pin"> };

export function placeOf(database: FreshDatabase, token: FreshToken, module = token.module): Place {
  return { url: database.url, token: { module, softHsmConf: token.softHsmConf, label: token.label, pin: token.pin } };
}

/** @param administration whether the world may generate and destroy keys. */
export async function openCustody({ url, token }: Place, administration = true): Promise<CustodyWorld> {
  await using stack = new AsyncDisposableStack();
  const events = recordedEvents();
  const database = stack.use(await openDatabase({ url, poolSize: 4 }, { events }));
  const { module, softHsmConf, label, pin } = token;
  const limits = { sessions: 2, deadlineMs: 10_000, queueLimit: 1000, production: false, administration, optionNames };
  const hsm = stack.use(await openHsm({ module, softHsmConf, token: label, pin, ...limits }, { events }));
  const custody: Custody = {
    database,
    hsm,
    events,
    clock: clockOf(() => new Date("2026-11-24T08:00:00Z")),
    random: { bytes: (length) => Uint8Array.from(randomBytes(length)) },
    node: "test",
  };
  const held = stack.move();
  return { custody, events, [Symbol.asyncDispose]: () => held.disposeAsync() };
}
