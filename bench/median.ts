import { type CpuSeconds, parts } from "./processes.ts";
import type { Measurement } from "./window.ts";

/** Of each figure the median by itself. */
export function medians(all: readonly Measurement[]): Measurement {
  const of = (pick: (one: Measurement) => number | undefined): number => median(all.flatMap((one) => pick(one) ?? []));
  const optional = (key: "roundTripsEach" | "commitsEach") => all.some((one) => one[key] !== undefined) && { [key]: of((one) => one[key]) };
  const byPart: CpuSeconds = Object.fromEntries(parts.map((part) => [part, of((one) => one.cpuMsByPart[part])]));
  return {
    perSecond: of((one) => one.perSecond),
    p50Ms: of((one) => one.p50Ms),
    p99Ms: of((one) => one.p99Ms),
    longestMs: of((one) => one.longestMs),
    cpuMsEach: of((one) => one.cpuMsEach),
    cpuMsByPart: byPart,
    httpRequestsEach: of((one) => one.httpRequestsEach),
    errors: all.reduce((sum, one) => sum + one.errors, 0),
    serverErrors: all.reduce((sum, one) => sum + one.serverErrors, 0),
    ...optional("roundTripsEach"),
    ...optional("commitsEach"),
  };
}

/** The upper one of the two in the middle, where they are even in number; NaN of none. */
export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}
