import { appendAudit } from "../audit/append.ts";
import { type AuditEntry, auditRow, type AuditWorld } from "../audit/entry.ts";
import type { Database, Tx } from "../database/connect.ts";
import { Fault } from "../fault.ts";
import { parseCertificate } from "../pki/certificate.ts";
import type { CrlEntries } from "../pki/crl-entry.ts";
import { crlShardOf, type Profile } from "../pki/profile.ts";
import { readCrl } from "../pki/read-crl.ts";
import type { Ca } from "./ca.ts";
import { readAuthorityCertificate } from "./crl-entry-store.ts";
import {
  type CrlHold,
  listCrlHolds,
  type ListedRevocation,
  recordCrlHold,
  recordCrlTakenOver,
  recordListedRevocations,
  releaseCrlHolds,
  type TakenOver,
} from "./crl-hold-store.ts";
import type { CrlSlot } from "./crl-slot.ts";
import type { ServedCrl } from "./served-crl.ts";

/** What taking over stands on. */
export type RestoredWorld = Pick<Ca, "database" | "events" | "clock" | "random" | "node" | "authorities" | "profiles">;

/** Revocations that one transaction records. */
const batch = 200;

/** Serial numbers that the event names; all of them are in the audit log. */
const mostNamed = 20;

/**
 * Nothing is published in the slot from here on, whose directory has this newer CRL; durable on return. To be repeated does no harm.
 * @returns whether its revocations are yet to be taken over.
 */
export async function holdCrl({ database }: Pick<RestoredWorld, "database">, { path }: CrlSlot, crl: ServedCrl): Promise<boolean> {
  return await database.transact((tx) => recordCrlHold(tx, path, crl));
}

/**
 * A directory has a CRL of the slot, signed by its authority, that is newer than what the database has published: it was restored from a backup.
 * Nothing is published in the slot from here on, and what the CRL lists and the database lacks is revoked again, for no verifier may be told that
 * it is good: durable with its audit records on return. To be repeated does no harm.
 * @see docs/decisions/0013-a-restored-database-publishes-no-crl.md
 */
export async function takeOverCrl(world: RestoredWorld, slot: CrlSlot, crl: ServedCrl): Promise<void> {
  const { database, events } = world;
  const { path, authority, shard, published } = slot;
  if (!(await holdCrl(world, slot, crl))) return;
  const certificate = await database.read((sql) => readAuthorityCertificate(sql, authority));
  if (!certificate) throw new Fault("internal", `the authority of the CRL ${path} is not there`);
  const likely = shardsOf(world, authority);
  const scope = {
    authority,
    notAfter: parseCertificate(certificate).notAfter,
    shardOf: ({ serial }: ListedRevocation) => shard ?? (likely && crlShardOf(likely, Buffer.from(serial).toString("hex"))),
  };
  const taken: TakenOver[] = [];
  for await (const revocations of batchesOf(crl.body)) {
    const lacked = await database.transact(async (tx) => {
      const rows = await recordListedRevocations(tx, scope, revocations);
      for (const { serial, namespace, revokedAt, reason } of rows) {
        const object = { authority, serial, reason, revokedAt: revokedAt.toISOString(), crl: path };
        await record(world, tx, { operation: "certificate.revoke", namespace, principal: "system", outcome: "success", object });
      }
      return rows;
    });
    taken.push(...lacked);
  }
  const number = String(crl.number);
  const recorded = await database.transact(async (tx) => {
    if (!(await recordCrlTakenOver(tx, path, { number: crl.number, count: taken.length }))) return false;
    const object = { crl: path, number, sha256: crl.sha256, revocations: taken.length };
    await record(world, tx, { operation: "crl.hold", namespace: "/", principal: "system", outcome: "success", object });
    return true;
  });
  if (!recorded) return;
  const serials = taken.slice(0, mostNamed).map(({ serial }) => serial);
  events.tell("error", "crl.held", {
    crl: path,
    number,
    published: String(published?.number ?? "none"),
    revocations: taken.length,
    serials: serials.join(" "),
    remedy: releaseRemedy(authority),
  });
}

/** What an operator is told to do, once it is clear why the database is older. */
export function releaseRemedy(authority: string): string {
  return `npx chancery ca crl ${authority} --after-restore --reason TEXT: docs/OPERATIONS.md, After a restore`;
}

/** The slots in which nothing is published until somebody agrees. */
export async function readCrlHolds({ database }: { readonly database: Pick<Database, "read"> }): Promise<CrlHold[]> {
  return await database.read(listCrlHolds);
}

/**
 * Who agrees that an authority's CRLs go on from a restored database, and why. `withoutTakeOver`: also those whose revocations are not taken
 * over, since the file that lists them is lost.
 */
export type Release = {
  readonly authority: string;
  readonly principal: string;
  readonly reason: string;
  readonly withoutTakeOver?: boolean;
};

/**
 * Lets an authority's CRLs be published again; durable with its audit record on return.
 * @returns the slots that were held.
 * @throws Fault `notFound` when none is; `busy` while revocations are still being taken over, unless that is given up
 */
export async function releaseCrls(
  world: AuditWorld & { readonly database: Database },
  { authority, principal, reason, withoutTakeOver = false }: Release,
): Promise<readonly CrlHold[]> {
  const held = (await readCrlHolds(world)).filter((hold) => hold.authority === authority);
  const open = held.find(({ takenOver }) => takenOver === undefined);
  if (open && !withoutTakeOver) {
    throw new Fault(
      "busy",
      `the revocations that ${open.path} lists are being taken over by the instance that has the file: try again in a moment; where the file is lost for good, --without-take-over gives them up: docs/OPERATIONS.md, After a restore`,
    );
  }
  if (held.length === 0) {
    throw new Fault(
      "notFound",
      `no CRL of ${authority} is held: none that a running service has in its directory is newer than the database's`,
    );
  }
  await world.database.transact(async (tx) => {
    for (const { path: crl, givenUp } of await releaseCrlHolds(tx, authority, withoutTakeOver)) {
      const object = { crl, reason, ...(givenUp && { withoutTakeOver: true }) };
      await record(world, tx, { operation: "crl.release", namespace: "/", principal, outcome: "success", object });
    }
  });
  return held;
}

/** @throws Fault `refusedToStart` with what is to be done when nothing may be published in the slot */
export async function requireCrlNotHeld(world: { readonly database: Pick<Database, "read"> }, path: string): Promise<void> {
  const hold = (await readCrlHolds(world)).find((one) => one.path === path);
  if (!hold) return;
  const { authority, number } = hold;
  throw new Fault(
    "refusedToStart",
    `${path} was published as number ${number}, which the database does not know: it was restored from a backup. See to it, then: ${releaseRemedy(authority)}`,
  );
}

/**
 * A profile that tells in which shard a certificate is that the full CRL lists and the database does not know: where profiles are divided, all
 * into as many. One that is in none, or was when there were others, is in a shard beside the full CRL, where it does no harm.
 */
function shardsOf({ authorities, profiles }: RestoredWorld, authority: string): Profile | undefined {
  if (authorities.get(authority)?.kind !== "issuing") return undefined;
  const divided = [...profiles.values()].flatMap(({ profile }) => (profile.crlShards === undefined ? [] : [profile]));
  const [first] = divided;
  return divided.every(({ crlShards }) => crlShards === first?.crlShards) ? first : undefined;
}

async function record(world: AuditWorld, tx: Tx, entry: AuditEntry): Promise<void> {
  await appendAudit(tx, auditRow(entry, world));
}

/** What a CRL lists, so many at a time. */
async function* batchesOf(body: ServedCrl["body"]): AsyncGenerator<readonly ListedRevocation[], undefined> {
  for await (const piece of readCrl(body instanceof Uint8Array ? [body] : body())) {
    if (piece.piece !== "entries") continue;
    const revocations = listed(piece.entries);
    for (let start = 0; start < revocations.length; start += batch) yield revocations.slice(start, start + batch);
  }
}

function listed({ count, source, serialStarts, serialEnds, revokedAt, reasons }: CrlEntries): ListedRevocation[] {
  return Array.from({ length: count }, (_, index) => ({
    serial: source.slice(serialStarts[index], serialEnds[index]),
    revokedAt: new Date((revokedAt[index] ?? 0) * 1000),
    reason: reasons[index] ?? 0,
  }));
}
