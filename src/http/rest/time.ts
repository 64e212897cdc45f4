import { z } from "zod";

/** `date` as our documents write it: UTC, whole seconds. @see RFC 3339 §5.6 */
export function rfc3339(date: Date): string {
  return date.toISOString().replace(/\.\d{3}Z$/, "Z");
}

const form = /^(\d{4}-\d{2}-\d{2})T([01]\d|2[0-3]):([0-5]\d):([0-5]\d)(Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/;

/**
 * A time in a request: RFC 3339 with whole seconds and a zone; a day that no month has is refused, as is a time that lies outside the years 1 to
 * 9999 in UTC. Leap seconds are not taken.
 */
export const time = z.string().transform((text, context): Date => {
  const day = form.exec(text)?.[1];
  const date = new Date(Date.parse(text));
  if (day !== undefined && isDay(day) && isWithinYears(date)) return date;
  context.addIssue({ code: "custom", message: "must be a time as 2026-11-01T12:00:00Z" });
  return z.NEVER;
});

/** PostgreSQL has no year 0 and refuses what JavaScript writes with six digits. */
function isWithinYears(date: Date): boolean {
  const year = date.getUTCFullYear();
  return year >= 1 && year <= 9999;
}

/** Date.parse takes the 30th of February for a day of March. */
function isDay(text: string): boolean {
  const midnight = Date.parse(`${text}T00:00:00Z`);
  return !Number.isNaN(midnight) && new Date(midnight).toISOString().startsWith(text);
}
