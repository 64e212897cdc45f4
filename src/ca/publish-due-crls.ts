import { setTimeout as pause } from "node:timers/promises";
import { Fault } from "../fault.ts";
import { type Authority, crlPath, issuerOfShard } from "./authority.ts";
import type { Ca } from "./ca.ts";
import { sweepCrlPublications } from "./crl-part-store.ts";
import { type CrlSlot, crlTerms, type NewCrlSlot } from "./crl-slot.ts";
import { listCrlSlots, listDueCrls, openCrlSlots } from "./crl-store.ts";
import { type CrlWorld, publishCrl } from "./publish-crl.ts";
import { readCrlHolds } from "./restored-crl.ts";

/**
 * Publishes every CRL of an issuing authority that is due, one after the other. One that fails holds up no other.
 * @returns how many were published here.
 * @throws Fault of the first that failed, when all were tried.
 */
export async function publishDueCrls(world: CrlWorld): Promise<number> {
  const due = await world.database.read((sql) => listDueCrls(sql, "issuing", { ...crlTerms.issuing, now: world.clock.now() }));
  const failures: unknown[] = [];
  let count = 0;
  for (const path of due) {
    try {
      if (await publishCrl(world, path)) count += 1;
    } catch (cause) {
      failures.push(cause);
    }
  }
  if (failures.length > 0) throw failures[0];
  return count;
}

/** Roots' CRLs that are due, which wait for a person: half of their life is over, or something was revoked that they do not list. */
export async function listDueRootCrls({ database, clock }: Pick<CrlWorld, "database" | "clock">): Promise<string[]> {
  return await database.read((sql) => listDueCrls(sql, "root", { ...crlTerms.root, now: clock.now() }));
}

/** Takes away the parts of publications that are over, and of those that never came to stand. */
export async function sweepCrls({ database }: Pick<Ca, "database">): Promise<void> {
  await database.read((sql) => sweepCrlPublications(sql));
}

/** How long a start waits for the first CRLs that another instance makes. */
const patienceMs = 60_000;

/**
 * Opens the slots of every CRL that certificates of today's profiles name. Those of issuing authorities in which nothing stands are to be
 * published by `publishFirstCrls` before the first certificate.
 * @throws Fault `refusedToStart` when certificates of a shard name another URL than they would now.
 * @see docs/CONFORMANCE.md XC-16
 */
export async function openCrls(ca: CrlWorld & Pick<Ca, "profiles">): Promise<void> {
  const wanted = [...ca.authorities.values()].flatMap((authority) => slotsOf(authority, shardCount(ca)));
  await ca.database.read((sql) => openCrlSlots(sql, wanted));
  const standing = new Map((await ca.database.read(listCrlSlots)).map((slot) => [slot.path, slot]));
  for (const { path, url } of wanted) {
    const named = standing.get(path)?.url;
    if (named === url) continue;
    throw new Fault(
      "refusedToStart",
      `certificates name ${named} for a shard of their CRL, and CHANCERY_STATUS_URL says ${url}: set it back`,
    );
  }
}

/**
 * Publishes the full CRL, and every shard that is open, of authorities of one kind in whose slots nothing stands. Waits for another
 * instance that is at it. One that is held is passed over: its CRL was published, and the database does not know it.
 * @throws Fault `refusedToStart` when that does not finish.
 */
export async function publishFirstCrls(world: CrlWorld, kind: "root" | "issuing"): Promise<void> {
  for (let waitedMs = 0; waitedMs < patienceMs; waitedMs += pollMs) {
    const slots = await world.database.read(listCrlSlots);
    const held = new Set((await readCrlHolds(world)).map(({ path }) => path));
    const isMissing = ({ path, authority, published }: CrlSlot): boolean =>
      !published && !held.has(path) && world.authorities.get(authority)?.kind === kind;
    const unpublished = slots.filter(isMissing);
    if (unpublished.length === 0) return;
    let leased = true;
    for (const { path } of unpublished) if (await publishCrl(world, path)) leased = false;
    if (leased) await pause(pollMs);
  }
  throw new Fault(
    "refusedToStart",
    "the first CRL of an authority is made by another instance, which does not finish: try again in a minute",
  );
}

const pollMs = 200;

function shardCount({ profiles }: Pick<Ca, "profiles">): number {
  return Math.max(0, ...[...profiles.values()].map(({ profile }) => profile.crlShards ?? 0));
}

/** The full CRL of an authority, and of one that issues to users the shards. */
function slotsOf({ slug, kind, issuer }: Pick<Authority, "slug" | "kind" | "issuer">, shards: number): NewCrlSlot[] {
  const full = { path: crlPath(slug, undefined), authority: slug, shard: undefined, url: undefined };
  if (kind === "root") return [full];
  const numbers = Array.from({ length: shards }, (_, shard) => shard);
  return [
    full,
    ...numbers.map((shard) => ({ path: crlPath(slug, shard), authority: slug, shard, url: issuerOfShard(issuer, shard).urls.crl })),
  ];
}
