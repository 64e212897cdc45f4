import type { Database } from "../database/connect.ts";
import { group } from "../database/group.ts";
import type { Clock } from "../ports/clock.ts";
import type { Events } from "../ports/events.ts";
import type { Hsm } from "../ports/hsm.ts";
import type { Random } from "../ports/random.ts";
import { type AttemptPosition, findStandingIntents, type Guard, type IntentRow, lastIntentAt, recordIntents } from "./attempt-store.ts";
import type { Authority } from "./authority.ts";
import { type CertificateRow, findStandingCertificates, recordCertificates } from "./certificate-store.ts";
import type { IssuedCertificate } from "./certificates.ts";
import { type HaltState, watchHalt } from "./halt.ts";
import { openPrimeCheck, type PrimeCheck } from "./prime-check.ts";
import { type CrlShards, freezeProfiles, type FrozenProfile, profilesWith } from "./profiles.ts";
import { timekeeper, type Timekeeper } from "./timekeeper.ts";

/** The issuing authority and its world: the first argument of every use case here. */
export type Ca = {
  readonly database: Database;
  readonly hsm: Hsm;
  readonly clock: Clock;
  readonly random: Random;
  readonly events: Events;
  /** Which instance acts: stands in audit records. */
  readonly node: string;
  readonly authorities: ReadonlyMap<string, Authority>;
  readonly profiles: ReadonlyMap<string, FrozenProfile>;
  readonly timekeeper: Timekeeper;
  /** Whether an administrator has halted issuance. */
  readonly halt: HaltState;
  /** Attempts that this instance is signing at the moment, by serial. */
  readonly finishing: Map<string, Promise<IssuedCertificate>>;
  /** Attempts of orders that this instance may have left open, by serial. */
  readonly unfinished: Map<string, Pick<IntentRow, "authority" | "serial">>;
  /** Where settling goes on: behind the last attempt that it tried, with the oldest where there is none. */
  readonly settling: { after: AttemptPosition | undefined };
  /** The host that clients reach this service by, where it has one of its own: nobody else gets a certificate for it. */
  readonly ownHost: string | undefined;
  /** Whether the modulus of an RSA key is a prime. Shared by all who judge keys: asked last, when nothing else speaks against the request. */
  readonly modulusIsPrime: PrimeCheck;
  /** What must hold of an intent's caller when it is recorded. */
  readonly guard: Guard;
  /** Durable when it resolves `recorded`; shares its commit with other intents of the moment. */
  readonly recordIntent: (row: IntentRow) => Promise<"recorded" | "conflict">;
  /** Durable when it resolves `recorded`; `conflict`: the attempt had ended before, or issuance is stopped. */
  readonly recordCertificate: (row: CertificateRow) => Promise<"recorded" | "conflict">;
};

/** What `openCa` needs to know of the world. */
export type CaWorld = Pick<Ca, "database" | "hsm" | "clock" | "random" | "events" | "node" | "guard" | "authorities" | "ownHost"> & {
  /** None is divided unless it is said. */
  readonly crlShards?: CrlShards;
};

/** Freezes the profiles and binds the hot statements to the database. */
export async function openCa({ crlShards = {}, ...world }: CaWorld): Promise<Ca> {
  const { database, clock, events, guard } = world;
  const profiles = await freezeProfiles(world, profilesWith(crlShards));
  const lastSignedAt = await database.read(lastIntentAt);
  return {
    ...world,
    profiles,
    timekeeper: timekeeper(clock, lastSignedAt),
    halt: watchHalt(database),
    finishing: new Map(),
    unfinished: new Map(),
    settling: { after: undefined },
    modulusIsPrime: openPrimeCheck(),
    recordIntent: group<IntentRow>({
      name: "intent",
      maximum: 64,
      events,
      key: hexSerial,
      flush: (rows) => database.read((sql) => recordIntents(sql, rows, guard)),
      reread: (rows) => database.read((sql) => findStandingIntents(sql, rows)),
    }),
    recordCertificate: group<CertificateRow>({
      name: "certificate",
      maximum: 64,
      events,
      key: hexSerial,
      flush: (rows) => database.read((sql) => recordCertificates(sql, rows)),
      reread: (rows) => database.read((sql) => findStandingCertificates(sql, rows)),
    }),
  };
}

function hexSerial({ serial }: { readonly serial: Uint8Array }): string {
  return Buffer.from(serial).toString("hex");
}
