import { Fault } from "../fault.ts";

/** A row's place in a list that is ordered by a time and, where times are equal, by an id. */
type Position = {
  readonly time: Date;
  /** 16 octets. */
  readonly id: Uint8Array;
};

/** A page of a list, with the cursor of the next one where there may be one. */
export type Page<Row> = { readonly rows: readonly Row[]; readonly next: { readonly nextCursor?: string } };

/** The page that `found` begins with: one row more than is shown was asked for, and tells whether there is a next page. */
export function pageOf<Row>(found: readonly Row[], limit: number, positionOf: (row: Row) => Position): Page<Row> {
  const rows = found.slice(0, limit);
  const last = found.length > limit ? rows.at(-1) : undefined;
  return { rows, next: last ? { nextCursor: formatCursor(positionOf(last)) } : {} };
}

/** The text by which a client asks for what stands behind this row: rows that are recorded meanwhile shift nothing. */
function formatCursor({ time, id }: Position): string {
  const octets = Buffer.alloc(8 + 16);
  octets.writeBigUInt64BE(BigInt(time.getTime()));
  octets.set(id, 8);
  return octets.toString("base64url");
}

/**
 * Reads what `formatCursor` wrote.
 * @throws Fault `malformed` for anything else, and for a time that PostgreSQL could not be asked for: after the year 9999.
 */
export function parseCursor(cursor: string): Position {
  const octets = Buffer.from(cursor, "base64url");
  const milliseconds = octets.length === 24 ? octets.readBigUInt64BE() : undefined;
  if (milliseconds === undefined || milliseconds > endOfYear9999 || octets.toString("base64url") !== cursor) {
    throw new Fault("malformed", "cursor is not one that this service gave");
  }
  return { time: new Date(Number(milliseconds)), id: octets.subarray(8) };
}

const endOfYear9999 = 253_402_300_799_999n;
