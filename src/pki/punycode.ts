import { isUlabel } from "./u-label.ts";

/**
 * Whether an `xn--` label is an A-label: it decodes, to a U-label with at least one character outside ASCII. No U-label has two.
 * @param label lower case.
 * @see RFC 5890 §2.3.2.1, RFC 5891 §5.4, RFC 3492 §6.2
 */
export function isAlabel(label: string): boolean {
  const points = label.startsWith("xn--") ? decode(label.slice(4)) : undefined;
  return points !== undefined && points.some((point) => point >= 0x80) && isUlabel(String.fromCodePoint(...points));
}

// RFC 3492 §5
const base = 36;
const tMin = 1;
const tMax = 26;
const skew = 38;
const damp = 700;
const initialBias = 72;
const initialN = 0x80;
const digits = "abcdefghijklmnopqrstuvwxyz0123456789";

function adapt(delta: number, points: number, first: boolean): number {
  let rest = first ? Math.floor(delta / damp) : delta >> 1;
  rest += Math.floor(rest / points);
  let k = 0;
  for (; rest > ((base - tMin) * tMax) >> 1; k += base) rest = Math.floor(rest / (base - tMin));
  return k + Math.floor(((base - tMin + 1) * rest) / (rest + skew));
}

function threshold(k: number, bias: number): number {
  return Math.min(tMax, Math.max(tMin, k - bias));
}

function decode(text: string): number[] | undefined {
  const hyphen = text.lastIndexOf("-");
  // The one spelling beside the canonical one: a delimiter after no basic code points at all.
  if (hyphen === 0) return undefined;
  const output = Array.from(text.slice(0, Math.max(0, hyphen)), (character) => character.charCodeAt(0));
  let [n, i, bias] = [initialN, 0, initialBias];
  for (let index = hyphen < 0 ? 0 : hyphen + 1; index < text.length;) {
    const before = i;
    for (let k = base, weight = 1; ; k += base) {
      const digit = digits.indexOf(text[index++] ?? " ");
      if (digit < 0) return undefined;
      i += digit * weight;
      const t = threshold(k, bias);
      if (digit < t) break;
      weight *= base - t;
      if (weight > 2 ** 40) return undefined;
    }
    bias = adapt(i - before, output.length + 1, before === 0);
    n += Math.floor(i / (output.length + 1));
    i %= output.length + 1;
    if (n > 0x10ffff || (n >= 0xd800 && n <= 0xdfff)) return undefined;
    output.splice(i++, 0, n);
  }
  return output;
}
