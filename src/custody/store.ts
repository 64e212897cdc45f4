import { and, asc, eq, isNull, or, sql } from "drizzle-orm";

import type { Tx } from "../database/connect.ts";
import { Fault } from "../fault.ts";
import type { KeyAlgorithm } from "../pki/algorithm.ts";
import type { KeyEvidence, Purpose } from "../ports/hsm.ts";
import type { KeyPair } from "./key-pair.ts";
import { keyPairTable, reservedKeyTable } from "./tables.ts";

/** An intent to generate a pair, as it is recorded before anything is asked of the token. */
export type KeyIntent = {
  readonly id: string;
  readonly namespace: string;
  readonly name: string;
  readonly token: string;
  /** 32 hex digits. */
  readonly ckaId: string;
  readonly algorithm: KeyAlgorithm;
  readonly purposes: readonly Purpose[];
  readonly createdAt: Date;
};

/** The right to work on an intent: who holds the highest fence may record. */
export type Lease = { readonly id: string; readonly owner: string; readonly fence: number };

/** The pair of this name; undefined when there is none or it is not yet generated. */
export async function readKeyPair({ orm }: Tx, name: string): Promise<KeyPair | undefined> {
  const [row] = await orm.select().from(keyPairTable).where(eq(keyPairTable.name, name));
  return row && keyPairOf(row);
}

/** Every generated pair of a token, by name. */
export async function listKeyPairs({ orm }: Tx, token: string): Promise<KeyPair[]> {
  const rows = await orm.select().from(keyPairTable).where(eq(keyPairTable.token, token)).orderBy(asc(keyPairTable.name));
  return rows.flatMap((row) => keyPairOf(row) ?? []);
}

/** Every intent of a token that has no pair yet, oldest first. */
export async function listIntents({ orm }: Tx, token: string): Promise<KeyIntent[]> {
  const open = and(eq(keyPairTable.token, token), isNull(keyPairTable.spki));
  return (await orm.select().from(keyPairTable).where(open).orderBy(asc(keyPairTable.createdAt))).map(intentOf);
}

/** The intent of this name, whether or not its pair stands. */
export async function readIntent({ orm }: Tx, name: string): Promise<KeyIntent | undefined> {
  const [row] = await orm.select().from(keyPairTable).where(eq(keyPairTable.name, name));
  return row && intentOf(row);
}

/** Records an intent; false when one of this name stands already. */
export async function openIntent({ orm }: Tx, intent: KeyIntent): Promise<boolean> {
  const row = { ...intent, ckaId: Buffer.from(intent.ckaId, "hex"), purposes: [...intent.purposes], fence: 0 };
  const written = await orm
    .insert(keyPairTable)
    .values(row)
    .onConflictDoNothing({ target: keyPairTable.name })
    .returning({ id: keyPairTable.id });
  return written.length === 1;
}

/** Open and unleased → leased, under the next fence. Undefined when another holds the lease or the pair stands. Time is the server's. */
export async function takeLease({ orm }: Tx, id: string, owner: string): Promise<Lease | undefined> {
  const free = or(isNull(keyPairTable.leaseUntil), sql`${keyPairTable.leaseUntil} < clock_timestamp()`);
  const [row] = await orm
    .update(keyPairTable)
    .set({ leaseOwner: owner, leaseUntil: leaseEnd, fence: sql`${keyPairTable.fence} + 1` })
    .where(and(eq(keyPairTable.id, id), isNull(keyPairTable.spki), free))
    .returning({ fence: keyPairTable.fence });
  return row && { id, owner, fence: row.fence };
}

/** Leased → leased for as long again. False when the lease has gone to another. */
export async function renewLease({ orm }: Tx, lease: Lease): Promise<boolean> {
  return (await orm.update(keyPairTable).set({ leaseUntil: leaseEnd }).where(held(lease)).returning({ id: keyPairTable.id })).length === 1;
}

/** Leased → unleased: the next who asks need not wait for the lease's end. */
export async function endLease({ orm }: Tx, lease: Lease): Promise<void> {
  await orm.update(keyPairTable).set({ leaseOwner: null, leaseUntil: null }).where(held(lease));
}

/** Gives a leased intent another CKA_ID; false when the lease has gone to another. */
export async function replaceCkaId({ orm }: Tx, lease: Lease, ckaId: string): Promise<boolean> {
  const changed = await orm
    .update(keyPairTable)
    .set({ ckaId: Buffer.from(ckaId, "hex") })
    .where(held(lease))
    .returning({ id: keyPairTable.id });
  return changed.length === 1;
}

export type GeneratedKey = {
  readonly spki: Uint8Array;
  readonly spkiSha256: string;
  readonly evidence: KeyEvidence;
  readonly generatedAt: Date;
};

/** Leased → generated, and reserves the key: nobody gets a certificate for it. False when the lease has gone to another. */
export async function recordKeyPair({ orm }: Tx, lease: Lease, key: GeneratedKey): Promise<boolean> {
  const spkiSha256 = Buffer.from(key.spkiSha256, "hex");
  const recorded = await orm
    .update(keyPairTable)
    .set({ ...key, spkiSha256, leaseOwner: null, leaseUntil: null })
    .where(held(lease))
    .returning({ id: keyPairTable.id });
  if (recorded.length === 0) return false;
  await orm.insert(reservedKeyTable).values({ spkiSha256, kind: "authority", reservedAt: key.generatedAt });
  return true;
}

/** Longer than a pause of the process or the database, renewed well before it ends. */
const leaseEnd = sql<Date>`clock_timestamp() + interval '5 seconds'`;

function held({ id, owner, fence }: Lease) {
  return and(eq(keyPairTable.id, id), eq(keyPairTable.leaseOwner, owner), eq(keyPairTable.fence, fence), isNull(keyPairTable.spki));
}

type KeyPairRow = typeof keyPairTable.$inferSelect;

function intentOf(row: KeyPairRow): KeyIntent {
  const { id, namespace, name, token, createdAt } = row;
  const ckaId = Buffer.from(row.ckaId).toString("hex");
  return { id, namespace, name, token, ckaId, algorithm: algorithmOf(row), purposes: row.purposes.map(purposeOf), createdAt };
}

function keyPairOf(row: KeyPairRow): KeyPair | undefined {
  if (row.spki === null || row.spkiSha256 === null) return undefined;
  const { id, name, namespace, token, ckaId, algorithm, purposes } = intentOf(row);
  const spkiSha256 = Buffer.from(row.spkiSha256).toString("hex");
  return {
    id,
    name,
    namespace,
    purposes,
    spki: row.spki,
    evidence: evidenceOf(row.evidence),
    reference: { token, ckaId, algorithm, spkiSha256 },
  };
}

function algorithmOf({ name, algorithm }: KeyPairRow): KeyAlgorithm {
  if (algorithm === "P-256" || algorithm === "P-384") return algorithm;
  if (/^RSA-[1-9][0-9]{3}$/.test(algorithm)) return `RSA-${Number(algorithm.slice(4))}`;
  throw new Fault("internal", `the record of key ${name} names an algorithm that is none: ${algorithm}`);
}

/** A record of every purpose, so that the compiler asks for a new one here. */
const purposes: Readonly<Record<Purpose, true>> = {
  certificate: true,
  subordinate: true,
  crl: true,
  ocsp: true,
  request: true,
  checkpoint: true,
  binding: true,
  health: true,
  data: true,
};

function isPurpose(text: string): text is Purpose {
  return Object.hasOwn(purposes, text);
}

function purposeOf(text: string): Purpose {
  if (!isPurpose(text)) throw new Fault("internal", `the record of a key names a purpose that is none: ${text}`);
  return text;
}

function evidenceOf(value: unknown): KeyEvidence {
  const members = typeof value === "object" && value !== null ? Object.entries(value) : [];
  return Object.fromEntries(members.map(([name, text]) => [name, String(text)]));
}
