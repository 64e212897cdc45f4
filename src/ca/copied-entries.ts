import { copiedSeconds, type CopiedRows } from "../database/copy-out.ts";
import { Fault } from "../fault.ts";
import type { CrlEntries } from "../pki/crl-entry.ts";

/** Columns of a COPY that gives entries: serial (bytea), revoked_at (timestamptz), reason (smallint). */
export const entryColumns = "serial, revoked_at, reason";

/** The entries of a CRL that a COPY of `entryColumns` gives; its octets are looked at, not copied. @throws Fault `internal` for NULL. */
export function copiedEntries({ rows, columns, source, view, starts, ends }: CopiedRows): CrlEntries {
  const entries = {
    count: rows,
    source,
    serialStarts: new Uint32Array(rows),
    serialEnds: new Uint32Array(rows),
    revokedAt: new Float64Array(rows),
    reasons: new Uint8Array(rows),
  };
  for (let row = 0; row < rows; row++) {
    const place = row * columns;
    const [serial, revokedAt, reason] = [starts[place] ?? -1, starts[place + 1] ?? -1, starts[place + 2] ?? -1];
    if (serial < 0 || revokedAt < 0 || reason < 0) throw new Fault("internal", "a revocation lacks its serial number, time or reason");
    entries.serialStarts[row] = serial;
    entries.serialEnds[row] = ends[place] ?? 0;
    entries.revokedAt[row] = copiedSeconds(view, revokedAt);
    entries.reasons[row] = view.getInt16(reason);
  }
  return entries;
}
