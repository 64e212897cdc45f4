import type { IncomingMessage } from "node:http";
import { parseHttpDate } from "../http-date.ts";
import { type PlainAnswer, text } from "../plain.ts";

/** What the preconditions of a request are held against. */
export type Validators = {
  /** A strong entity tag, with its quotes. */
  readonly entityTag: string;
  /** What dates are held against; undefined where they tell nothing of what stands here: only the entity tag makes a condition then. */
  readonly lastModified: Date | undefined;
};

/**
 * The Last-Modified of what was made at `thisUpdate`: `now`, in milliseconds of the epoch, where the clock of who made it is ahead, since it
 * is never later than Date.
 * @see RFC 9110 §8.8.2.1
 */
export function lastModifiedOf(thisUpdate: Date, now: number): Date {
  return new Date(Math.min(thisUpdate.getTime(), now));
}

/**
 * What the preconditions of a GET or HEAD make of the whole answer: that itself, 304 for who has it, or 412 for who wants another one.
 * @see RFC 9110 §13.2.2 for their order
 */
export function conditional({ headers }: Pick<IncomingMessage, "headers">, validators: Validators, whole: PlainAnswer): PlainAnswer {
  const { entityTag } = validators;
  const lastModified = validators.lastModified && Math.floor(validators.lastModified.getTime() / 1000) * 1000;
  // A date that is none makes no condition, and none does where there is no date to hold it against (§13.1.3, §13.1.4).
  const isUnmodifiedSince = (value: string | undefined): boolean | undefined => {
    if (value === undefined || lastModified === undefined) return undefined;
    const date = parseHttpDate(value, lastModified);
    return date === undefined ? undefined : lastModified <= date;
  };

  const match = headers["if-match"];
  const asExpected =
    match === undefined ? (isUnmodifiedSince(headers["if-unmodified-since"]) ?? true) : isAmong(entityTag, match, "strong");
  if (!asExpected) return text(412, "What stands here is another than the one that the request was made for.");

  const noneMatch = headers["if-none-match"];
  const known =
    noneMatch === undefined ? (isUnmodifiedSince(headers["if-modified-since"]) ?? false) : isAmong(entityTag, noneMatch, "weak");
  return known ? { ...whole, status: 304, body: "" } : whole;
}

/** Whether one of a list of tags is ours, which is strong: in the strong comparison one marked as weak is not (RFC 9110 §8.8.3.2). */
function isAmong(entityTag: string, list: string, comparison: "strong" | "weak"): boolean {
  if (list.trim() === "*") return true;
  const tags = [...list.matchAll(/(W\/)?("[!#-~\x80-\xff]*")/g)];
  return tags.some(([, weak, tag]) => tag === entityTag && (weak === undefined || comparison === "weak"));
}
