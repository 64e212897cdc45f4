import { isDeepStrictEqual } from "node:util";
import type { SaidCrl, SaidStatus } from "./status-bytes.ts";
import type { Row, Slot, Tables } from "./status-tables.ts";

export const hourMs = 3_600_000;
/** Two instances' clocks, and what passes between a reading and its judgement. */
export const toleranceMs = 30_000;

/** A CRL is held against the tables: as one that is served `now`, when nothing is due, or, without that, as one that was published some time. */
export type CrlView = { readonly tables: Tables; readonly now?: Date };

/** What of a CRL that stands in a slot does not hold, in sentences. */
export function* brokenCrl({ tables, now }: CrlView, slot: Slot, crl: SaidCrl): Generator<string> {
  yield* crl.faults;
  const { thisUpdate, nextUpdate } = crl;
  const root = tables.kinds.get(slot.authority) === "root";
  const life = nextUpdate.getTime() - thisUpdate.getTime();
  if (life !== (root ? 180 * 24 : 24) * hourMs) yield `it lasts ${life / hourMs} hours (XC-17)`;
  const age = now && now.getTime() - thisUpdate.getTime();
  if (age !== undefined && age < -toleranceMs) yield "its thisUpdate lies ahead (XC-18)";
  if (age !== undefined && !root && age > 6 * hourMs + toleranceMs) yield `it is ${age / hourMs} hours old (XC-17)`;
  if (thisUpdate.getMilliseconds() + nextUpdate.getMilliseconds() !== 0) yield "its times have fractions of a second";
  if (crl.number < BigInt(thisUpdate.getTime()) || crl.number >= 1n << 159n) yield `its number is ${crl.number} (XC-14)`;
  if (crl.number !== slot.number) yield `its number is ${crl.number}, and ${slot.number} is published`;
  if (crl.distributionPoint !== slot.url) yield `its scope is ${crl.distributionPoint ?? "everything"}, not ${slot.url ?? "that"} (XC-10)`;

  const rows = tables.rows.get(slot.authority) ?? [];
  const standing = new Map(rows.map((row) => [row.serial, row]));
  for (const [serial, said] of crl.entries) {
    const row = standing.get(serial);
    if (slot.shard !== undefined && row?.shard !== slot.shard) yield `the entry ${serial} is of shard ${row?.shard} (XC-11)`;
    const changedSince = now === undefined && row !== undefined && !row.shownIn.includes(slot.path) && becameKnown(said, row);
    if (!changedSince && !isDeepStrictEqual(told(row?.said, thisUpdate), said))
      yield `the entry ${serial} says ${shown(said)}, the table ${shown(row?.said)} (XC-6)`;
  }
  const since = slot.before ?? new Date(0);
  // A root's CRL waits for a person.
  const everything = now !== undefined && !root;
  for (const { serial, said, shard, notAfter, shownIn } of rows) {
    if (said?.status !== "revoked" || notAfter < since || crl.entries.has(serial)) continue;
    if (slot.shard !== undefined && shard !== slot.shard) continue;
    if (everything || shownIn.includes(slot.path)) yield `${serial} is revoked and not on it (XC-6, XC-18)`;
  }
}

/** Whether what was said became the row by the one change that a revocation allows: that the key was compromised, maybe for longer. */
export function becameKnown(said: SaidStatus | undefined, { said: row }: Pick<Row, "said">): boolean {
  return (
    said?.status === "revoked" && row?.status === "revoked" && row.reason === 1 && said.reason !== 1 && row.revokedAt <= said.revokedAt
  );
}

/** What is said of a recorded status at `thisUpdate`: no time of the future (RFC 5280 §5.1.2.6). */
export function told(recorded: SaidStatus | undefined, thisUpdate: Date): SaidStatus | undefined {
  return recorded?.status === "revoked" && recorded.revokedAt > thisUpdate ? { ...recorded, revokedAt: thisUpdate } : recorded;
}

/** A status in words. */
export const shown = (said: SaidStatus | undefined): string =>
  said?.status === "revoked" ? `revoked at ${said.revokedAt.toISOString()} for ${said.reason}` : (said?.status ?? "nothing");
