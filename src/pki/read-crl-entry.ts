import { crlReasons, maximumEntryOctets, reasonExtension, type CrlEntries } from "./crl-entry.ts";
import { tag } from "./der.ts";

/** Where entries are read. */
export type EntryCursor = {
  readonly source: Uint8Array;
  at: number;
  /** Past the last octet of `source` that may belong to an entry. */
  readonly limit: number;
};

/**
 * Reads entries as long as they stand whole in the source and have the form that our writer gives them, and moves the cursor behind them.
 * What stands there then is the end, an entry of another form, or one that has not come whole.
 * @param kept whether the entries are wanted; otherwise they are only checked.
 * @returns undefined when there are none, or they are not wanted.
 * @see RFC 5280 §5.1.2.6
 */
export function readRegularEntries(cursor: EntryCursor, kept: boolean): CrlEntries | undefined {
  const { source, limit } = cursor;
  const columns = kept ? entryColumns(source) : undefined;
  for (let at = cursor.at; ; cursor.at = at) {
    at = regularEntryEnd(source, at, limit);
    if (at === 0) break;
    if (columns) addEntry(columns, cursor.at);
  }
  return columns && columns.count > 0 ? columns : undefined;
}

type EntryColumns = { -readonly [Column in keyof CrlEntries]: CrlEntries[Column] };

function entryColumns(source: Uint8Array): EntryColumns {
  return { count: 0, source, ...emptyColumns(firstCapacity) };
}

const firstCapacity = 64;

function emptyColumns(capacity: number): Omit<CrlEntries, "count" | "source"> {
  return {
    serialStarts: new Uint32Array(capacity),
    serialEnds: new Uint32Array(capacity),
    revokedAt: new Float64Array(capacity),
    reasons: new Uint8Array(capacity),
  };
}

/** Twice the room, so that as many entries as the source can hold cost no more than a few copies. */
function grow(columns: EntryColumns): void {
  const { serialStarts, serialEnds, revokedAt, reasons } = columns;
  Object.assign(columns, emptyColumns(columns.count * 2));
  columns.serialStarts.set(serialStarts);
  columns.serialEnds.set(serialEnds);
  columns.revokedAt.set(revokedAt);
  columns.reasons.set(reasons);
}

/** Offset past the entry at `at`, when it is whole and regular; else 0. This runs once for each of a million entries. */
function regularEntryEnd(source: Uint8Array, at: number, limit: number): number {
  if (at + 2 > limit || source[at] !== tag.sequence) return 0;
  const length = source[at + 1] ?? 0;
  const end = at + 2 + length;
  if (length > maximumEntryOctets - 2 || end > limit) return 0;
  const date = serialEnd(source, at + 2, end);
  const extensions = date === 0 ? 0 : dateEnd(source, date, end);
  if (extensions === 0 || extensions === end) return extensions;
  if (end - extensions !== reasonExtension.length + 1) return 0;
  for (let index = 0; index < reasonExtension.length; index++) if (source[extensions + index] !== reasonExtension[index]) return 0;
  const reason = source[end - 1] ?? 0;
  return reason !== 0 && crlReasons.has(reason) ? end : 0;
}

/** Past a positive INTEGER of at most 20 octets of magnitude, in its fewest octets; else 0. */
function serialEnd(source: Uint8Array, at: number, limit: number): number {
  const length = source[at + 1] ?? 0;
  const [first, second] = [source[at + 2] ?? 0, source[at + 3] ?? 0];
  if (source[at] !== tag.integer || length === 0 || at + 2 + length >= limit) return 0;
  if (first >= 0x80 || length > (first === 0 ? 21 : 20)) return 0;
  if (first === 0 && (length === 1 || second < 0x80)) return 0;
  return at + 2 + length;
}

/** Past a Time that the calendar has, in its one form; else 0. */
function dateEnd(source: Uint8Array, at: number, limit: number): number {
  const octets = source[at] === tag.utcTime ? 13 : source[at] === tag.generalizedTime ? 15 : 0;
  const end = at + 2 + octets;
  if (octets === 0 || source[at + 1] !== octets || end > limit || source[end - 1] !== 0x5a) return 0;
  for (let index = at + 2; index < end - 1; index++) {
    const octet = source[index] ?? 0;
    if (octet < 0x30 || octet > 0x39) return 0;
  }
  const year = yearAt(source, at);
  const month = two(source, end - 11);
  const day = two(source, end - 9);
  if (octets === 15 && year < 2050) return 0;
  if (month < 1 || month > 12 || day < 1 || day > daysOf(month, year)) return 0;
  return two(source, end - 7) < 24 && two(source, end - 5) < 60 && two(source, end - 3) < 60 ? end : 0;
}

/** Adds the entry at `at`, which is whole and regular. */
function addEntry(columns: EntryColumns, at: number): void {
  if (columns.count === columns.reasons.length) grow(columns);
  const { source, count } = columns;
  const start = at + 4;
  const date = start + (source[at + 3] ?? 0);
  const extensions = date + 2 + (source[date + 1] ?? 0);
  columns.serialStarts[count] = source[start] === 0 ? start + 1 : start;
  columns.serialEnds[count] = date;
  columns.revokedAt[count] = secondsAt(source, date, extensions);
  columns.reasons[count] = extensions === at + 2 + (source[at + 1] ?? 0) ? 0 : (source[extensions + reasonExtension.length] ?? 0);
  columns.count = count + 1;
}

/** The Time from `at` to `end` in seconds since 1970. */
function secondsAt(source: Uint8Array, at: number, end: number): number {
  const month = two(source, end - 11);
  // The proleptic Gregorian calendar, each year beginning in March, so that leap days come last.
  const year = yearAt(source, at) - (month <= 2 ? 1 : 0);
  const dayOfYear = Math.floor((153 * (month > 2 ? month - 3 : month + 9) + 2) / 5) + two(source, end - 9) - 1;
  const leapDays = Math.floor(year / 4) - Math.floor(year / 100) + Math.floor(year / 400);
  const days = year * 365 + leapDays + dayOfYear - 719_468;
  return days * 86_400 + two(source, end - 7) * 3600 + two(source, end - 5) * 60 + two(source, end - 3);
}

function yearAt(source: Uint8Array, at: number): number {
  const first = two(source, at + 2);
  if (source[at] === tag.generalizedTime) return first * 100 + two(source, at + 4);
  // RFC 5280 §4.1.2.5.1
  return first < 50 ? 2000 + first : 1900 + first;
}

function two(source: Uint8Array, at: number): number {
  return (source[at] ?? 0) * 10 + (source[at + 1] ?? 0) - 0x30 * 11;
}

function daysOf(month: number, year: number): number {
  if (month === 2) return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28;
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31;
}
