import type { Clock } from "../ports/clock.ts";
import type { Events } from "../ports/events.ts";
import type { Hsm, KeyEvidence, KeyReference, Purpose } from "../ports/hsm.ts";
import type { Random } from "../ports/random.ts";
import type { Database } from "../database/connect.ts";

/** What custody works with: the database that records key pairs and the token that holds them. */
export type Custody = {
  readonly database: Database;
  readonly hsm: Hsm;
  readonly clock: Clock;
  readonly random: Random;
  readonly events: Events;
  /** Names the instance in audit records. */
  readonly node: string;
};

/** A recorded key pair: it stands in its token, and has signed under its recorded public key. */
export type KeyPair = {
  readonly id: string;
  readonly name: string;
  readonly namespace: string;
  readonly reference: KeyReference;
  readonly purposes: readonly Purpose[];
  /** DER SubjectPublicKeyInfo as it was recorded: what every signature of the pair is verified with. */
  readonly spki: Uint8Array;
  /** What the token said of the pair's attributes when it was generated. */
  readonly evidence: KeyEvidence;
};
