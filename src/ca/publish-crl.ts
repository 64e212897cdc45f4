import { appendAudit } from "../audit/append.ts";
import { auditRow } from "../audit/entry.ts";
import { randomUuid } from "../database/uuid.ts";
import { Fault } from "../fault.ts";
import { parseCertificate } from "../pki/certificate.ts";
import type { Authority } from "./authority.ts";
import type { Ca } from "./ca.ts";
import { readAuthorityCertificate } from "./crl-entry-store.ts";
import { dropCrlPublication, openCrlPublication } from "./crl-part-store.ts";
import { type CrlSlot, crlTerms, type PublishedCrl } from "./crl-slot.ts";
import { type CrlLease, endCrlLease, recordPublishedCrl, renewCrlLease, takeCrlLease } from "./crl-store.ts";
import { sealCrl, type SealedCrl } from "./seal-crl.ts";
import { type CrlTask, type SignedTbs, signTbsCertList } from "./write-crl.ts";

/** What publishing stands on. `hsm` is the token of the authorities that are published for. */
export type CrlWorld = Pick<Ca, "database" | "hsm" | "clock" | "random" | "events" | "node" | "authorities" | "timekeeper">;

/** Well before a lease ends. */
const renewalMs = 10_000;

/**
 * Makes the next CRL of a slot and publishes it; durable with its audit record on return. Whatever fails, the one before stays, whole.
 * May run in several instances at once: one of them makes it. What is refused is not tried again before the lease has ended, by anyone.
 * @returns undefined when somebody else is at it, or it would bear the same second as the one before.
 * @throws Fault `lintRefused`, `internal` when the CRL is not one that may be published, `busy` while the clock is not to be trusted, `hsmUnavailable`
 * @see docs/CONFORMANCE.md XC-20
 */
export async function publishCrl(world: CrlWorld, path: string): Promise<PublishedCrl | undefined> {
  const publication = randomUuid(world);
  const taken = await world.database.read((sql) => takeCrlLease(sql, path, publication));
  if (!taken) return undefined;
  const { lease, slot } = taken;
  const renewal = setInterval(() => {
    // A renewal that fails costs the lease, which is seen when the CRL is to be published.
    world.database.read((sql) => renewCrlLease(sql, lease)).catch(() => {});
  }, renewalMs);
  try {
    const published = await publishUnder(world, lease, slot);
    if (!published) await world.database.read((sql) => endCrlLease(sql, lease));
    return published;
  } catch (cause) {
    await abandon(world, lease, cause);
    throw cause;
  } finally {
    clearInterval(renewal);
  }
}

async function publishUnder(world: CrlWorld, lease: CrlLease, slot: CrlSlot): Promise<PublishedCrl | undefined> {
  const { database, events } = world;
  const startedAt = performance.now();
  const authority = world.authorities.get(slot.authority);
  const certificate = await database.read((sql) => readAuthorityCertificate(sql, slot.authority));
  if (!authority || !certificate) throw new Fault("internal", `the authority of the CRL ${slot.path} is not there`);
  // A clock that jumped a moment ago has not been compared since; a CRL of the future would keep every later one waiting.
  world.timekeeper.compared(await database.clockSkewSeconds());
  const thisUpdate = timeOf(world, slot);
  if (thisUpdate.getTime() === slot.latest?.thisUpdate.getTime()) return undefined;

  await database.read((sql) => openCrlPublication(sql, lease));
  const { publication } = lease;
  const terms = crlTerms[authority.kind];
  const { signed, sealed } = await sign(world, authority, {
    slot,
    publication,
    thisUpdate,
    terms,
    certificate: parseCertificate(certificate),
  });
  const { number, nextUpdate, entryCount: entries } = signed.plan;
  const crl: PublishedCrl = { publication, number, thisUpdate, nextUpdate, entries, ...sealed };

  const recorded = await database.transact(async (tx) => {
    if (!(await recordPublishedCrl(tx, lease, { before: slot.published, crl, snapshot: signed.snapshot }))) return false;
    const object = { crl: slot.path, number: String(number), thisUpdate: thisUpdate.toISOString(), entries, sha256: crl.sha256 };
    const entry = { operation: "crl.publish", namespace: authority.namespace, principal: "system", outcome: "success", object } as const;
    await appendAudit(tx, auditRow(entry, world));
    return true;
  });
  if (!recorded) throw new Fault("busy", `the CRL ${slot.path} was published by somebody else meanwhile`);
  const seconds = (performance.now() - startedAt) / 1000;
  events.measure("chancery_crl_publish_seconds", seconds);
  events.tell("info", "crl.published", { crl: slot.path, number: String(number), entries, nextUpdate: nextUpdate.toISOString(), seconds });
  return crl;
}

/** The time of the CRL to be made: never before that of the one that is published, whoever's clock made it. */
function timeOf({ events, timekeeper }: CrlWorld, { path, latest }: CrlSlot): Date {
  try {
    const thisUpdate = timekeeper.signingTime();
    if (!latest || thisUpdate >= latest.thisUpdate) return thisUpdate;
    throw new Fault("busy", `nothing is signed: the clock stands behind ${latest.thisUpdate.toISOString()}, when the CRL ${path} was made`);
  } catch (cause) {
    events.tell("error", "clock.refused", { crl: path, cause });
    throw cause;
  }
}

/**
 * The signed CRL, whole in the database. Where what lies there does not verify, it is discarded, written and signed once more.
 * @throws Fault `lintRefused`, `internal` with what speaks against the CRL.
 */
async function sign(world: CrlWorld, authority: Authority, task: CrlTask): Promise<{ signed: SignedTbs; sealed: SealedCrl }> {
  const { events, hsm } = world;
  for (let attempt = 1; attempt <= 2; attempt++) {
    const signed = await signTbsCertList(world, authority, task);
    const sealed = await sealCrl(world, signed, task.certificate);
    if (sealed) return { signed, sealed };
    events.tell("error", "signature.corrupt", { authority: authority.slug, purpose: "crl", attempt });
    hsm.replaceHost("a signature did not verify");
  }
  const detail = `the CRL ${task.slot.path} is not published: its signature does not verify under the key of ${authority.slug}`;
  throw new Fault("internal", detail, { members: { rules: ["chancery_crl_signature_invalid"] } });
}

/** Of the world outside, which another turn, or another instance, may find otherwise. */
const passingCodes: ReadonlySet<string> = new Set(["hsmUnavailable", "databaseUnavailable", "busy"]);

/**
 * Takes away what was written. Where the world outside was away, the next turn may begin at once; what was refused would be again, so its
 * lease is left to end.
 */
async function abandon({ database, events }: CrlWorld, lease: CrlLease, cause: unknown): Promise<void> {
  const passing = cause instanceof Fault && passingCodes.has(cause.code);
  const rules = cause instanceof Fault ? cause.members["rules"] : undefined;
  if (rules !== undefined) events.tell("error", "crl.refused", { crl: lease.path, rules, cause });
  else if (!passing) events.tell("error", "crl.failed", { crl: lease.path, cause });
  try {
    await database.read((sql) => dropCrlPublication(sql, lease.publication));
    if (passing) await database.read((sql) => endCrlLease(sql, lease));
  } catch {
    // The database is away: the sweep takes the parts, and the lease ends by itself.
  }
}
