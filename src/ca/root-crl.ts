import { Fault } from "../fault.ts";
import { lastIntentAt } from "./attempt-store.ts";
import { type Authority, crlPath } from "./authority.ts";
import type { PublishedCrl } from "./crl-slot.ts";
import { listCrlSlots, openCrlSlots } from "./crl-store.ts";
import { type CrlWorld, publishCrl } from "./publish-crl.ts";
import { publishFirstCrls } from "./publish-due-crls.ts";
import { requireCrlNotHeld } from "./restored-crl.ts";
import { timekeeper, type Timekeeper } from "./timekeeper.ts";

/** `hsm` is the root's token, opened for this act. */
export type RootCrlWorld = Omit<CrlWorld, "timekeeper">;

/** The roots that have no CRL yet, which every root has before its first certificate is used (XC-16). */
export async function listRootsWithoutCrl({ database, authorities }: Pick<RootCrlWorld, "database" | "authorities">): Promise<string[]> {
  const slots = await database.read(listCrlSlots);
  const published = new Set(slots.flatMap(({ path, published: crl }) => (crl ? [path] : [])));
  return [...authorities.values()]
    .filter(({ slug, kind }) => kind === "root" && !published.has(crlPath(slug, undefined)))
    .map(({ slug }) => slug);
}

/**
 * Makes the first CRL of each root that has none; may be done by several at once.
 * @throws Fault `refusedToStart` when another is at it and does not finish; `hsmUnavailable`
 */
export async function publishFirstRootCrls(world: RootCrlWorld): Promise<void> {
  for (const slug of await listRootsWithoutCrl(world)) await openSlot(world, slug);
  await publishFirstCrls({ ...world, timekeeper: await keeperOf(world) }, "root");
}

/**
 * Makes the next CRL of a root and publishes it; durable with its audit record on return.
 * @throws Fault `notFound` when there is no such root; `refusedToStart` when the database is older than the last one; `busy` when somebody else is at it, or the clock is not to be trusted; `hsmUnavailable`
 */
export async function publishRootCrl(world: RootCrlWorld, slug: string): Promise<PublishedCrl> {
  const path = await openSlot(world, rootOf(world, slug).slug);
  await requireCrlNotHeld(world, path);
  const published = await publishCrl({ ...world, timekeeper: await keeperOf(world) }, path);
  if (!published)
    throw new Fault("busy", `the CRL of ${slug} is being made by somebody else, or was a moment ago: try again in half a minute`);
  return published;
}

async function openSlot({ database }: Pick<RootCrlWorld, "database">, slug: string): Promise<string> {
  const path = crlPath(slug, undefined);
  await database.read((sql) => openCrlSlots(sql, [{ path, authority: slug, shard: undefined, url: undefined }]));
  return path;
}

/** A timekeeper for one act. */
async function keeperOf({ clock, database }: Pick<RootCrlWorld, "clock" | "database">): Promise<Timekeeper> {
  const keeper = timekeeper(clock, await database.read(lastIntentAt));
  keeper.compared(await database.clockSkewSeconds());
  return keeper;
}

function rootOf({ authorities }: Pick<RootCrlWorld, "authorities">, slug: string): Authority {
  const authority = authorities.get(slug);
  if (authority?.kind === "root") return authority;
  const roots = [...authorities.values()].filter(({ kind }) => kind === "root").map((root) => root.slug);
  throw new Fault(
    "notFound",
    authority ? `${slug} is no root: its CRLs are renewed by the service` : `there is no authority ${slug}; roots are ${roots.join(", ")}`,
  );
}
