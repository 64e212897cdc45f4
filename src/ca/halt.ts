import { may } from "../access/policy.ts";
import type { Principal } from "../access/principal.ts";
import { stands } from "../access/store.ts";
import { appendAudit } from "../audit/append.ts";
import { auditRow } from "../audit/entry.ts";
import { transactCertainly } from "../database/certain.ts";
import type { Database, Tx } from "../database/connect.ts";
import type { Sql } from "../database/connection.ts";
import { wholeSeconds } from "../database/whole-seconds.ts";
import { Fault } from "../fault.ts";
import { hex } from "../pki/hex.ts";
import type { Ca } from "./ca.ts";
import { type Halt, readHalt, recordHalt, recordResumption } from "./halt-store.ts";
import { readStops, type Stops } from "./stop-store.ts";

/** Whether issuance is halted, and which authorities are revoked, as this instance knows it. */
export type HaltState = {
  /** The halt that stands, read at most a second ago. @throws Fault `databaseUnavailable` when nobody can say. */
  current(): Promise<Halt | undefined>;
  /** As it was last read, however long ago. */
  known(): Halt | undefined;
  /** Slugs of the authorities that are revoked, or below one that is, as it was last read. */
  revoked(): readonly string[];
  /** Reads it now. */
  refresh(): Promise<void>;
};

/** How old what is known may be before a signature. */
const freshMs = 1_000;

/** A view on what the database says. */
export function watchHalt(database: Pick<Database, "read">): HaltState {
  let known: Stops = { halt: undefined, revoked: [] };
  // When the last reading began: what was committed before that is in it.
  let readAt = Number.NEGATIVE_INFINITY;
  const refresh = async (): Promise<void> => {
    const startedAt = performance.now();
    const stops = await database.read(readStops);
    if (startedAt < readAt) return;
    known = stops;
    readAt = startedAt;
  };
  return {
    refresh,
    known: () => known.halt,
    revoked: () => known.revoked,
    async current() {
      if (performance.now() - readAt > freshMs) await refresh();
      return known.halt;
    },
  };
}

/** Whose signature is asked for, and of which authority. */
type Asked = { readonly principal: string; readonly authority: string };

/**
 * Refuses to sign for anybody but the service itself while issuance is halted, and where the authority is revoked (XR-10). The service goes on
 * to need its responders' certificates and its own: what was issued before is asked about, and revoked by REST.
 * @throws Fault `issuanceHalted`, `issuerRevoked`; `databaseUnavailable` when nobody can say
 */
export async function refuseStopped({ halt }: Pick<Ca, "halt">, asked: Asked): Promise<void> {
  if (asked.principal !== "system") throwStopped({ halt: await halt.current(), revoked: halt.revoked() }, asked);
}

/** `refuseStopped` by what the database says now. */
export async function refuseStoppedNow(sql: Sql, asked: Asked): Promise<void> {
  if (asked.principal !== "system") throwStopped(await readStops(sql), asked);
}

function throwStopped({ halt, revoked }: Stops, { authority }: Asked): void {
  if (halt) throw issuanceHalted(halt);
  if (revoked.includes(authority)) {
    throw new Fault(
      "issuerRevoked",
      `${authority} issues nothing any more: its own certificate, or that of an authority above it, is revoked`,
    );
  }
}

/** What is told to those who ask for certificates meanwhile. */
export function issuanceHalted({ reason }: Halt): Fault {
  return new Fault("issuanceHalted", "issuance is halted by an administrator", { members: { reason } });
}

/** Who halts issuance or lets it go on, and why: one line. */
export type HaltRequest = { readonly principal: Principal; readonly reason: string; readonly requestId: string };

/**
 * Halts all issuance but the service's own, on every instance within two seconds; durable with its audit record on return. Where it is halted
 * already, that halt stands as it is.
 * @returns the halt that stands.
 * @throws Fault `policyDenied` for all but administrators of "/"
 */
export async function haltIssuance(ca: Ca, { principal, reason, requestId }: HaltRequest): Promise<Halt> {
  const halt: Halt = { id: hex(ca.random.bytes(16)), haltedAt: wholeSeconds(ca.clock.now()), haltedBy: principal.id, reason };
  const { standing, begun } = await transactCertainly(ca.database, async (tx) => {
    await requireRight(ca, tx, principal);
    const recorded = await recordHalt(tx, halt);
    if (recorded) await audit(ca, tx, { operation: "issuance.halt", principal, requestId, object: { halt: halt.id, reason } });
    return { standing: recorded ? halt : ((await readHalt(tx.sql)) ?? halt), begun: recorded };
  });
  if (begun) ca.events.tell("warn", "issuance.halted", { by: principal.id, reason });
  await ca.halt.refresh();
  return standing;
}

/**
 * Lets issuance go on; durable with its audit record on return. Where it is not halted nothing changes.
 * @throws Fault `policyDenied` for all but administrators of "/"
 */
export async function resumeIssuance(ca: Ca, { principal, reason, requestId }: HaltRequest): Promise<void> {
  const ended = await transactCertainly(ca.database, async (tx) => {
    await requireRight(ca, tx, principal);
    const halt = await recordResumption(tx, { resumedAt: wholeSeconds(ca.clock.now()), resumedBy: principal.id, reason });
    if (halt) await audit(ca, tx, { operation: "issuance.resume", principal, requestId, object: { halt: halt.id, reason } });
    return halt;
  });
  if (ended) ca.events.tell("warn", "issuance.resumed", { by: principal.id, reason });
  await ca.halt.refresh();
}

/** The halt that stands, from the database itself. @throws Fault `policyDenied` for all but administrators of "/" */
export async function showHalt(ca: Ca, principal: Principal): Promise<Halt | undefined> {
  requireEverywhere(principal);
  return await ca.database.read(readHalt);
}

async function requireRight(ca: Ca, tx: Tx, principal: Principal): Promise<void> {
  requireEverywhere(principal);
  if (!(await stands(tx.sql, principal.id, ca.clock.now()))) throw new Fault("unauthenticated", "the bearer token is not valid");
}

function requireEverywhere(principal: Principal): void {
  if (!may(principal, "issuance:halt", { namespace: "/" })) {
    throw new Fault("policyDenied", "issuance is halted and resumed by administrators of the namespace / alone");
  }
}

async function audit(
  ca: Ca,
  tx: Tx,
  {
    operation,
    principal,
    requestId,
    object,
  }: { operation: string; principal: Principal; requestId: string; object: Readonly<Record<string, string>> },
): Promise<void> {
  await appendAudit(tx, auditRow({ operation, namespace: "/", principal: principal.id, outcome: "success", requestId, object }, ca));
}
