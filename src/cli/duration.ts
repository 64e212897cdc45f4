import { InvalidArgumentError } from "commander";

const secondsOf: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };

/**
 * Seconds of a duration such as `90d`, `24h`, `30m` or `45s`.
 * @throws InvalidArgumentError for anything else, zero among it.
 */
export function parseDuration(text: string): number {
  const match = /^([1-9]\d{0,8})([smhd])$/.exec(text);
  const unit = secondsOf[match?.[2] ?? ""];
  if (!match || unit === undefined) throw new InvalidArgumentError("It is a whole number and a unit: 90d, 24h, 30m or 45s.");
  return Number(match[1]) * unit;
}

/**
 * A point in time as RFC 3339 text in UTC, whole seconds: given so, as a date (its first second), or as a duration from now on.
 * @throws InvalidArgumentError for anything else.
 */
export function parseTime(text: string, now: Date): string {
  if (/^\d+[smhd]$/.test(text)) return inUtc(now.getTime() + parseDuration(text) * 1000);
  const milliseconds = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:\d\d))?$/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(milliseconds))
    throw new InvalidArgumentError("It is a duration (90d, 24h) or a time with its zone (2027-01-31T12:00:00Z).");
  return inUtc(milliseconds);
}

function inUtc(milliseconds: number): string {
  if (milliseconds > 253_402_300_799_000) throw new InvalidArgumentError("The time lies after the year 9999.");
  return new Date(milliseconds).toISOString().replace(/\.\d{3}Z$/, "Z");
}

/** The shortest form of a number of seconds that `parseDuration` reads back: 7776000 is `90d`. */
export function durationText(seconds: number): string {
  const [unit, size] = Object.entries(secondsOf).findLast(([, length]) => seconds % length === 0) ?? ["s", 1];
  return seconds === 0 ? "0s" : `${seconds / size}${unit}`;
}
