import type { Authority } from "./ca/authority.ts";
import type { PublishedCrl } from "./ca/crl-slot.ts";
import type { CrlHold } from "./ca/crl-hold-store.ts";
import { openAuthorities, requireKeys } from "./ca/open-authorities.ts";
import { releaseCrls } from "./ca/restored-crl.ts";
import { listRootsWithoutCrl, publishFirstRootCrls, publishRootCrl, type RootCrlWorld } from "./ca/root-crl.ts";
import type { Config } from "./config.ts";
import { Fault } from "./fault.ts";
import { openToken, openWorldBeside, type Overrides, type World } from "./world.ts";

/**
 * Publishes the next CRL of a root, beside a running service or without one: the root's token is opened for this act alone. Instances
 * serve it within seconds.
 * @throws Fault `refusedToStart` with what is missing, `notFound` when there is no such root, `busy`
 */
export async function renewRootCrl(config: Config, slug: string, overrides: Overrides = {}): Promise<PublishedCrl> {
  await using stack = new AsyncDisposableStack();
  const world = { ...(await openWorldBeside(config, overrides, stack)), config };
  const authorities = await openAuthorities(world.database, config.statusUrl);
  return await withToken(world, authorities, (root) => publishRootCrl(root, slug));
}

/** What was agreed to. */
export type AgreedRestore = {
  /** The CRLs that were held, with how many revocations each has brought back. */
  readonly released: readonly CrlHold[];
  /** The next one of a root, which is made at once; those of others the service makes. */
  readonly crl?: PublishedCrl;
};

/**
 * Lets the CRLs of an authority go on from a database that was restored from a backup, beside a running service or without one.
 * @throws Fault `notFound` when none is held, `busy` while revocations are being taken over, unless that is given up; for a root as `renewRootCrl`
 */
export async function agreeToRestore(
  config: Config,
  { slug, reason, withoutTakeOver }: { readonly slug: string; readonly reason: string; readonly withoutTakeOver: boolean },
  overrides: Overrides = {},
): Promise<AgreedRestore> {
  await using stack = new AsyncDisposableStack();
  const world = { ...(await openWorldBeside(config, overrides, stack)), config };
  const authorities = await openAuthorities(world.database, config.statusUrl);
  const principal = `host:${process.geteuid?.() ?? "unknown"}`;
  const released = await releaseCrls(world, { authority: slug, principal, reason, withoutTakeOver });
  if (authorities.get(slug)?.kind !== "root") return { released };
  return { released, crl: await withToken(world, authorities, (root) => publishRootCrl(root, slug)) };
}

/**
 * Sees to it that every root has a CRL, which the ceremony of a release without CRLs did not make: an evaluation makes it now.
 * @throws Fault `refusedToStart` in production, where the root's token is opened by a person's command alone.
 */
export async function requireRootCrls(world: World, authorities: ReadonlyMap<string, Authority>): Promise<void> {
  const missing = await listRootsWithoutCrl({ database: world.database, authorities });
  const [first] = missing;
  if (first === undefined) return;
  if (world.config.env === "production") {
    throw new Fault(
      "refusedToStart",
      `${missing.join(" and ")} has no CRL: run \`chancery ca crl ${first}\` once, with the root's token at hand`,
    );
  }
  await withToken(world, authorities, publishFirstRootCrls);
}

/** Opens the root's token for one act. */
async function withToken<T>(
  world: Pick<World, "config" | "clock" | "random" | "events" | "node" | "database">,
  authorities: ReadonlyMap<string, Authority>,
  act: (world: RootCrlWorld) => Promise<T>,
): Promise<T> {
  await using hsm = await openToken(world, "root, administration");
  // The key is the recorded one before it signs anything.
  await requireKeys({ ...world, hsm }, authorities);
  return await act({ ...world, hsm, authorities });
}
