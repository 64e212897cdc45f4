import type { Evidence, ProbeFailure } from "../ports/validator.ts";

/** What one question came to: what was asked for, or why there is none. */
export type Attempt<Answer> = { readonly answer: Answer } | { readonly failure: ProbeFailure };

/** One question under way: the time it has, and what is seen on its way. */
export type Probe = {
  /** Whose it is. */
  readonly tenant: string;
  /** Aborted when the question's time is over. */
  readonly signal: AbortSignal;
  /** What was asked and seen so far. */
  readonly trail: Trail;
  /** DNS queries that may still be sent. */
  queriesLeft: number;
};

/** Evidence as it grows. */
export type Trail = { -readonly [Field in keyof Evidence]: Evidence[Field] } & { urls: string[] };

/** A question of a tenant that begins. */
export function openProbe(tenant: string, signal: AbortSignal): Probe {
  return { tenant, signal, trail: { addresses: [], urls: [] }, queriesLeft: maxQueries };
}

/** S-06: a name that leads through many others costs no more than this. */
const maxQueries = 20;

/** A failure that the same question may not meet again. */
export function transient(kind: ProbeFailure["kind"], detail: string): { readonly failure: ProbeFailure } {
  return { failure: { kind, detail, final: false } };
}

/** A failure that the same question meets again. */
export function final(kind: ProbeFailure["kind"], detail: string): { readonly failure: ProbeFailure } {
  return { failure: { kind, detail, final: true } };
}
