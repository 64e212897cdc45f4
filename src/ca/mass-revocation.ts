import { contains } from "../access/namespace.ts";
import { may } from "../access/policy.ts";
import type { Principal } from "../access/principal.ts";
import { stands, wasRevoked } from "../access/store.ts";
import { appendAudit } from "../audit/append.ts";
import { auditRow } from "../audit/entry.ts";
import { transactCertainly } from "../database/certain.ts";
import type { Tx } from "../database/connect.ts";
import { search } from "../database/search.ts";
import { wholeSeconds } from "../database/whole-seconds.ts";
import { Fault } from "../fault.ts";
import { isReasonName, reasonCodes, reasonNames } from "../pki/crl-reason.ts";
import { hex } from "../pki/hex.ts";
import { mayBlockKeys, requireBlockRight } from "./block-right.ts";
import type { Ca } from "./ca.ts";
import { type IssuedCertificate, show } from "./certificates.ts";
import {
  type Campaign,
  countCertificates,
  countRunningCampaigns,
  findCertificates,
  type FoundCertificate,
  hasOpenAttempt,
  holdCampaign,
  listRunningCampaigns,
  type Progress,
  readCampaign,
  readCampaignOfRequest,
  recordCampaign,
  recordCompromises,
  recordProgress,
  recordRevocations,
  recordStop,
  type RevocationFilter,
  type RevocationScope,
} from "./mass-revocation-store.ts";
import { blockKey } from "./reserved-key-store.ts";

/** Certificates that one transaction revokes at most, and that it looks at for them. */
const batch = 1_000;
const looked = 5_000;
/** How many certificates a preview shows. */
const sampleSize = 10;
/** Passes that a campaign makes at most: the first looks at everything, each other at what was recorded since shortly before it began. */
const mostPasses = 10;
/** A certificate that was recorded longer ago than this has long been committed when it is looked for. */
const overlapMs = 3_600_000;
/**
 * Attempts are awaited that are opened until so long after the first pass: what is opened just before the end is among them, and where attempts
 * are always open the campaign ends nevertheless.
 */
const awaitedMs = 60_000;

/** Campaigns of one namespace that run at once. */
const mostRunning = 16;

const beginnerRevoked = "the token that began it was revoked";

/** What is asked of many certificates. */
export type MassRevocationAsked = {
  readonly filter: RevocationFilter;
  /** Name of a CRLReason. */
  readonly reason: string;
  /** Whether the key that the filter names is blocked, with keyCompromise. Absent: where it may be, and the filter names nothing else. */
  readonly blockKey?: boolean | undefined;
  /** The caller's own name for this request, and the hash of what it asks. */
  readonly repeatable?: { readonly requestId: Uint8Array; readonly requestHash: Uint8Array } | undefined;
  readonly requestId: string;
};

/** What a filter finds: how many, and the newest of them, ten at most. */
export type Preview = { readonly count: number; readonly sample: readonly IssuedCertificate[] };

/**
 * What a revocation would revoke now; changes nothing.
 * @throws Fault `malformed` for an empty filter, `badRevocationReason`, `policyDenied`
 */
export async function previewRevocation(ca: Ca, principal: Principal, asked: MassRevocationAsked): Promise<Preview> {
  const { filter, reason } = asked;
  keyToBlock(principal, asked);
  const scope = scopeOf(ca, { namespace: principal.namespace, reason: judge(filter, reason) });
  const { count, newest } = await search(ca.database, (sql) => countCertificates(sql, { filter, scope, sample: sampleSize }));
  return { count, sample: newest.map((row) => show(ca, row)) };
}

/**
 * Begins to revoke everything that a filter finds in the principal's namespace and within it; durable with its audit record on return. Any
 * instance goes on with it (`continueRevocation`) until it has ended, and what is issued meanwhile and fits is revoked too. With keyCompromise
 * an administrator of "/" has the key blocked that the filter names: on return it gets no certificate any more.
 * @returns `begun` false: the same request was made before under this name.
 * @throws Fault `malformed` for an empty filter, `badRevocationReason`, `policyDenied`, `idempotencyMismatch`, `unauthenticated`, `tooManyRevocations`
 */
export async function beginRevocation(
  ca: Ca,
  principal: Principal,
  asked: MassRevocationAsked,
): Promise<{ readonly campaign: Campaign; readonly begun: boolean }> {
  const { filter, reason, repeatable, requestId } = asked;
  const campaign = {
    id: hex(ca.random.bytes(16)),
    namespace: principal.namespace,
    principal: principal.id,
    doorRequestId: requestId,
    filter,
    reason: judge(filter, reason),
    createdAt: wholeSeconds(ca.clock.now()),
  };
  const key = keyToBlock(principal, asked);
  const name = repeatable ?? { requestId: ca.random.bytes(32), requestHash: new Uint8Array(32) };
  const begun = await transactCertainly(ca.database, async (tx) => {
    if (!(await stands(tx.sql, principal.id, ca.clock.now()))) throw new Fault("unauthenticated", "the bearer token is not valid");
    const running = await countRunningCampaigns(tx, campaign.namespace);
    if (await recordCampaign(tx, campaign, name)) {
      if (running >= mostRunning) {
        throw new Fault(
          "tooManyRevocations",
          `${mostRunning} revocations of this namespace are running: wait until one has ended, or stop one`,
        );
      }
      const keyBlocked = key !== undefined && (await blockKey(tx, key, ca.timekeeper.recordingTime()));
      const object = {
        revocation: campaign.id,
        reason: campaign.reason,
        filter: JSON.stringify(filter),
        ...(keyBlocked && { keyBlocked }),
      };
      await appendAudit(tx, auditRow({ ...actOf(campaign), operation: "revocation.create", namespace: campaign.namespace, object }, ca));
      return { campaign: { ...campaign, endedAt: null, revoked: 0, stoppedBy: null, stopReason: null }, begun: true };
    }
    const standing = await readCampaignOfRequest(tx, name.requestId);
    if (!standing || !Buffer.from(standing.requestHash).equals(name.requestHash)) {
      throw new Fault("idempotencyMismatch", "this Idempotency-Key stands for another revocation");
    }
    return { campaign: standing.campaign, begun: false };
  });
  if (begun.begun) ca.events.tell("warn", "revocation.begun", { revocation: campaign.id, reason: campaign.reason, by: principal.id });
  return begun;
}

/** A campaign as it stands, if it was begun in `namespace` or within it. */
export async function readRevocation(ca: Ca, namespace: string, id: string): Promise<Campaign | undefined> {
  const campaign = await ca.database.read((sql) => readCampaign(sql, id));
  return campaign && contains(namespace, campaign.namespace) ? campaign : undefined;
}

/** Who stops a campaign, and why: one line. */
export type StopRequest = { readonly principal: Principal; readonly id: string; readonly reason: string; readonly requestId: string };

/**
 * Ends a campaign that was begun in the principal's namespace or within it; what it has revoked stays revoked. Durable with its audit record
 * on return. One that has ended stays as it is.
 * @returns it as it stands; undefined where there is none.
 * @throws Fault `policyDenied`, `unauthenticated`
 */
export async function stopRevocation(ca: Ca, { principal, id, reason, requestId }: StopRequest): Promise<Campaign | undefined> {
  if (!may(principal, "revocation:stop", principal)) throw new Fault("policyDenied", "revocations are stopped by administrators");
  const stopped = await transactCertainly(ca.database, async (tx) => {
    if (!(await stands(tx.sql, principal.id, ca.clock.now()))) throw new Fault("unauthenticated", "the bearer token is not valid");
    return await stop(ca, tx, { id, by: principal.id, reason, namespace: principal.namespace, requestId });
  });
  if (stopped) ca.events.tell("warn", "revocation.stopped", { revocation: id, by: principal.id, reason });
  return stopped ?? (await readRevocation(ca, principal.namespace, id));
}

async function stop(
  ca: Ca,
  tx: Tx,
  { id, by, reason, namespace, requestId }: { id: string; by: string; reason: string; namespace: string; requestId: string },
): Promise<Campaign | undefined> {
  const campaign = await recordStop(tx, { id, endedAt: ca.timekeeper.recordingTime(), stoppedBy: by, stopReason: reason }, namespace);
  if (!campaign) return undefined;
  const object = { revocation: id, revoked: campaign.revoked, reason };
  const act = { principal: by, requestId, outcome: "success" } as const;
  await appendAudit(tx, auditRow({ ...act, operation: "revocation.stop", namespace: campaign.namespace, object }, ca));
  return campaign;
}

/**
 * Revokes the next certificates of a campaign, each with its audit record, and moves it on, in one transaction that holds its row. It ends
 * at once where the token that began it was revoked, which a thief may have had; else with a pass that revokes nothing and at whose beginning no attempt was open whose certificate may fit.
 * @returns `waiting` when it waits for such an attempt, `elsewhere` when it has ended or somebody else is at it.
 */
export async function continueRevocation(ca: Ca, id: string): Promise<"more" | "waiting" | "ended" | "elsewhere"> {
  const step = await ca.database.transact(async (tx) => {
    const campaign = await holdCampaign(tx, id);
    if (!campaign) return undefined;
    if (!(await wasRevoked(tx.sql, campaign.principal))) return await revokeNext(ca, tx, campaign);
    const { namespace, doorRequestId: requestId } = campaign;
    await stop(ca, tx, { id, by: "system", reason: beginnerRevoked, namespace, requestId });
    return "stopped";
  });
  if (!step) return "elsewhere";
  if (step === "stopped") {
    ca.events.tell("warn", "revocation.stopped", { revocation: id, by: "system", reason: beginnerRevoked });
    return "ended";
  }
  for (const { authority, serial } of step.found) {
    ca.events.tell("debug", "certificate.revoked", { authority, serial: hex(serial), revocation: id });
  }
  if (step.total !== undefined) ca.events.tell("info", "revocation.ended", { revocation: id, revoked: step.total });
  return step.total !== undefined ? "ended" : step.waits ? "waiting" : "more";
}

/** Goes on with every campaign that has not ended, one batch of each in turn: none waits for another's end. A job's; several instances share the work. */
export async function continueRevocations(ca: Ca, signal: AbortSignal): Promise<void> {
  const failures: unknown[] = [];
  const left = new Set<string>();
  for (;;) {
    // Listed anew: what was begun meanwhile has its turn.
    const ids = (await ca.database.read(listRunningCampaigns)).filter((id) => !left.has(id));
    if (ids.length === 0) break;
    for (const id of ids) {
      if (signal.aborted) break;
      try {
        if ((await continueRevocation(ca, id)) !== "more") left.add(id);
      } catch (cause) {
        // The others are not held up by it.
        failures.push(cause);
        left.add(id);
      }
    }
    if (signal.aborted) break;
  }
  if (failures.length > 0) throw failures[0];
}

async function revokeNext(
  ca: Ca,
  tx: Tx,
  campaign: Campaign & Progress,
): Promise<{ readonly found: readonly FoundCertificate[]; readonly total: number | undefined; readonly waits: boolean }> {
  const { id, filter, namespace } = campaign;
  // Asked before the pass looks for certificates: what ends between the two is found.
  const { awaitedUntil, awaits } = campaign.pass === 1 || campaign.after ? campaign : await awaited(ca, tx, campaign);
  const from = campaign.pass === 1 ? undefined : new Date(campaign.createdAt.getTime() - overlapMs);
  const stretch = { after: campaign.after, from, looked, limit: batch };
  const look = await findCertificates(tx, { filter, scope: scopeOf(ca, campaign), stretch });
  const revokedAt = ca.timekeeper.recordingTime();
  const revoked = look.found.length === 0 ? 0 : await revokeFound(ca, tx, campaign, { found: look.found, revokedAt });
  const revokedInPass = campaign.revokedInPass + revoked;
  const after = look.found.length === batch ? look.found.at(-1)?.place : look.looked === looked ? look.end : undefined;
  const isLast = after === undefined && (campaign.pass >= mostPasses || (campaign.pass > 1 && revokedInPass === 0));
  const ended = isLast && !awaits;
  const progress: Progress = after
    ? { pass: campaign.pass, revokedInPass, after, awaitedUntil, awaits }
    : { pass: campaign.pass + (isLast ? 0 : 1), revokedInPass: 0, after: undefined, awaitedUntil, awaits };
  await recordProgress(tx, { id, revoked, progress, endedAt: ended ? revokedAt : undefined });
  const total = campaign.revoked + revoked;
  if (ended) {
    const object = { revocation: id, revoked: total };
    await appendAudit(tx, auditRow({ ...actOf(campaign), operation: "revocation.end", namespace, object }, ca));
  }
  return { found: look.found, total: ended ? total : undefined, waits: isLast && awaits };
}

async function awaited(ca: Ca, tx: Tx, campaign: Campaign & Progress): Promise<Pick<Progress, "awaitedUntil" | "awaits">> {
  const awaitedUntil = campaign.awaitedUntil ?? new Date(ca.clock.now().getTime() + awaitedMs);
  const awaits = await hasOpenAttempt(tx, { filter: campaign.filter, scope: scopeOf(ca, campaign), before: awaitedUntil });
  return { awaitedUntil, awaits };
}

/** @returns how many were revoked or, where the reason is keyCompromise, have changed theirs to it. */
async function revokeFound(
  ca: Ca,
  tx: Tx,
  campaign: Campaign,
  { found, revokedAt }: { readonly found: readonly FoundCertificate[]; readonly revokedAt: Date },
): Promise<number> {
  const { namespace, reason } = campaign;
  // In the certificate's own namespace: whose it is learns of it.
  const rowsOf = (operation: string, all: readonly FoundCertificate[], more: { readonly revokedAt?: string }) =>
    all.map((certificate) => {
      const { authority, serial } = certificate;
      const object = { authority, serial: hex(serial), reason, ...more, revocation: campaign.id };
      return { authority, serial, audit: auditRow({ ...actOf(campaign), operation, namespace: certificate.namespace, object }, ca) };
    });
  const rows = rowsOf("certificate.revoke", found, { revokedAt: revokedAt.toISOString() });
  const revoked = await recordRevocations(tx, rows, { reason, revokedAt, namespace });
  const others = reason === reasonCodes.keyCompromise ? found.filter(({ serial }) => !revoked.has(hex(serial))) : [];
  if (others.length === 0) return revoked.size;
  return revoked.size + (await recordCompromises(tx, rowsOf("certificate.compromise", others, {}), namespace));
}

function actOf({ principal, doorRequestId }: Pick<Campaign, "principal" | "doorRequestId">) {
  return { principal, requestId: doorRequestId, outcome: "success" } as const;
}

/** @throws Fault `malformed` for a filter that would find everything, `badRevocationReason` for a reason that is none. */
function judge(filter: RevocationFilter, reason: string): number {
  if (Object.values(filter).every((value) => value === undefined)) {
    throw new Fault("malformed", "filter is empty: it would revoke everything; name at least one member");
  }
  if (isReasonName(reason)) return reasonCodes[reason];
  throw new Fault("badRevocationReason", `reason must be one of ${reasonNames.join(", ")}`);
}

/**
 * The key that is blocked, 32 octets. By default where the filter is this key alone: a blocked key loses all of its certificates, which is more
 * than a narrower filter asks for.
 * @throws Fault `malformed`, `policyDenied` where it is asked for and may not be.
 */
function keyToBlock(principal: Principal, { filter, reason, blockKey: asked }: MassRevocationAsked): Uint8Array | undefined {
  const { spkiSha256, ...others } = filter;
  const fits = reason === "keyCompromise" && spkiSha256 !== undefined;
  if (asked && !fits) throw new Fault("malformed", "blockKey goes with the reason keyCompromise and a filter with spkiSha256");
  if (asked) requireBlockRight(principal);
  const isAlone = Object.values(others).every((value) => value === undefined);
  const block = asked ?? (isAlone && mayBlockKeys(principal));
  return fits && block ? Buffer.from(spkiSha256, "hex") : undefined;
}

function scopeOf({ clock, profiles }: Ca, { namespace, reason }: Pick<Campaign, "namespace" | "reason">): RevocationScope {
  const own = [...profiles.values()].map(({ profile }) => profile).filter(({ kind }) => kind !== "end-entity");
  return { namespace, reason, now: clock.now(), except: own.map(({ name }) => name) };
}
