/**
 * Whether an `xn--` label is the one encoding of the label it stands for: it decodes, to lower-case text in NFC with at least one
 * character outside ASCII, and that encodes to the same label.
 * @param label lower case.
 * @see RFC 5891 §4.4, §5.4; RFC 3492 §6
 */
export function isAlabel(label: string): boolean {
  const points = label.startsWith("xn--") ? decode(label.slice(4)) : undefined;
  if (points === undefined || points.every((point) => point < 0x80)) return false;
  const text = String.fromCodePoint(...points);
  // RFC 5892 §2: no controls, separators, private or unassigned characters.
  if (/[\p{Cc}\p{Cn}\p{Co}\p{Cs}\p{Z}]/u.test(text)) return false;
  return text.normalize("NFC") === text && text.toLowerCase() === text && `xn--${encode(points)}` === label;
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

function encode(points: readonly number[]): string {
  const basic = points.filter((point) => point < 0x80);
  let output = String.fromCodePoint(...basic) + (basic.length > 0 ? "-" : "");
  let [n, delta, bias, handled] = [initialN, 0, initialBias, basic.length];
  while (handled < points.length) {
    const floor = n;
    const next = Math.min(...points.filter((point) => point >= floor));
    delta += (next - n) * (handled + 1);
    n = next;
    for (const point of points) {
      if (point < n) delta += 1;
      if (point !== n) continue;
      output += variableLength(delta, bias);
      bias = adapt(delta, handled + 1, handled === basic.length);
      delta = 0;
      handled += 1;
    }
    delta += 1;
    n += 1;
  }
  return output;
}

function variableLength(delta: number, bias: number): string {
  let output = "";
  let rest = delta;
  for (let k = base; ; k += base) {
    const t = threshold(k, bias);
    if (rest < t) return output + (digits[rest] ?? "");
    output += digits[t + ((rest - t) % (base - t))] ?? "";
    rest = Math.floor((rest - t) / (base - t));
  }
}
