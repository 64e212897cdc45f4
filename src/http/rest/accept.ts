import type { MediaType } from "./route.ts";

/**
 * The media type of `offered` that an Accept header prefers; the first where it prefers none, or is absent. Undefined when it takes none.
 * Parameters other than q are not looked at. A header that is not well-formed takes nothing.
 * @see RFC 9110 §12.5.1
 */
export function accept(header: string | undefined, offered: readonly [MediaType, ...MediaType[]]): MediaType | undefined {
  if (header === undefined) return offered[0];
  const ranges = header.split(",", 32).map(parseRange);
  let best: { readonly type: MediaType; readonly weight: number } | undefined;
  for (const type of offered) {
    const weight = weightOf(type, ranges);
    if (weight > (best?.weight ?? 0)) best = { type, weight };
  }
  return best?.type;
}

type Range = { readonly range: string; readonly weight: number };

const mediaRange = /^\s*([!#$%&'*+.^_`|~0-9a-z-]+\/[!#$%&'*+.^_`|~0-9a-z-]+)\s*(?:;(.*))?$/i;
const weightParameter = /^\s*q\s*=\s*(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\s*$/i;

function parseRange(text: string): Range {
  const match = mediaRange.exec(text);
  if (!match) return { range: "", weight: 0 };
  let weight = 1;
  for (const parameter of (match[2] ?? "").split(";")) {
    const q = weightParameter.exec(parameter)?.[1];
    if (q !== undefined) weight = Number(q);
  }
  return { range: (match[1] ?? "").toLowerCase(), weight };
}

/** The weight of the most specific range that fits. */
function weightOf(type: MediaType, ranges: readonly Range[]): number {
  for (const fitting of [type, `${type.split("/", 1)[0]}/*`, "*/*"]) {
    const weights = ranges.filter(({ range }) => range === fitting).map(({ weight }) => weight);
    if (weights.length > 0) return Math.max(...weights);
  }
  return 0;
}
