import type { z } from "zod";

/** Whose value a schema judges. */
export type Place = "parameter" | "body";

/**
 * What is wrong with a value, said of it: `must be "valid" or "expired"`, `is missing`. For every check that has no words of its own.
 */
export function judgement(issue: z.core.$ZodRawIssue): string {
  switch (issue.code) {
    case "invalid_type":
      return issue.input === undefined ? "is missing" : `must be ${kinds[issue.expected] ?? "of another type"}`;
    case "invalid_value":
      return `must be ${oneOf(issue.values.map((value) => JSON.stringify(value)))}`;
    case "too_small":
      return `must ${amount(issue.origin, issue.minimum, "at least")}`;
    case "too_big":
      return `must ${amount(issue.origin, issue.maximum, "at most")}`;
    default:
      return "is not what the interface takes";
  }
}

/** An issue as a sentence: the name of the member or parameter, then the judgement. */
export function sentence(place: Place, issue: z.core.$ZodIssue): string {
  if (issue.code === "unrecognized_keys") {
    return `unknown ${place === "body" ? "member" : "parameter"} ${issue.keys.slice(0, 3).map(quoted).join(", ")}`;
  }
  const where = issue.path.map(String).join(".");
  return `${where === "" ? `the ${place}` : quoted(where)} ${issue.message}`;
}

/** A name of the client's as a detail shows it. */
export function quoted(name: string): string {
  return JSON.stringify(name.slice(0, 64));
}

const kinds: Readonly<Record<string, string>> = {
  string: "a string",
  object: "a JSON object",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  array: "a JSON array",
};

function oneOf(values: readonly string[]): string {
  return values.length < 2 ? values.join("") : `${values.slice(0, -1).join(", ")} or ${values.at(-1)}`;
}

function amount(origin: string, limit: number | bigint, bound: "at least" | "at most"): string {
  return origin === "string" ? `have ${bound} ${limit} character${Number(limit) === 1 ? "" : "s"}` : `be ${bound} ${limit}`;
}
