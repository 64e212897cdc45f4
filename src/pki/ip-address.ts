/** Four octets of a dotted quad or sixteen of an IPv6 address; undefined for every other text (zones, ports, short forms included). */
export function ipOctets(text: string): Uint8Array<ArrayBuffer> | undefined {
  return text.includes(":") ? ipv6Octets(text) : ipv4Octets(text);
}

/** The canonical text of an address: dotted quad for 4 octets, RFC 5952 for 16; undefined for other lengths. */
export function ipText(octets: Uint8Array): string | undefined {
  if (octets.length === 4) return octets.join(".");
  if (octets.length !== 16) return undefined;
  const groups = Array.from({ length: 8 }, (_, index) => (octets[2 * index] ?? 0) * 256 + (octets[2 * index + 1] ?? 0));
  // RFC 5952 §4.2: the longest run of two or more zero groups is shortened, the first of equals.
  const run = longestZeroRun(groups);
  const hex = groups.map((group) => group.toString(16));
  if (run.length < 2) return hex.join(":");
  return `${hex.slice(0, run.start).join(":")}::${hex.slice(run.start + run.length).join(":")}`;
}

function ipv4Octets(text: string): Uint8Array<ArrayBuffer> | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  const parts = match?.slice(1) ?? [];
  const canonical = parts.every((part) => Number(part) <= 255 && String(Number(part)) === part);
  return match !== null && canonical ? Uint8Array.from(parts, Number) : undefined;
}

// RFC 4291 §2.2: eight groups, one "::" for one or more of them, the last two as a dotted quad if wished.
function ipv6Octets(text: string): Uint8Array<ArrayBuffer> | undefined {
  if (text.length > 45) return undefined;
  const halves = text.split("::");
  const [head, tail] = [groupsOf(halves[0] ?? ""), groupsOf(halves[1] ?? "")];
  if (halves.length > 2 || head === undefined || tail === undefined) return undefined;
  const missing = 16 - head.length - tail.length;
  if (halves.length === 1 ? missing !== 0 : missing < 2) return undefined;
  return Uint8Array.from([...head, ...Array.from({ length: missing }, () => 0), ...tail]);
}

function groupsOf(text: string): number[] | undefined {
  if (text === "") return [];
  const parts = text.split(":");
  const quad = ipv4Octets(parts.at(-1) ?? "");
  if (quad !== undefined) parts.pop();
  if (!parts.every((part) => /^[0-9a-f]{1,4}$/i.test(part))) return undefined;
  return [...parts.flatMap((part) => [parseInt(part, 16) >> 8, parseInt(part, 16) & 0xff]), ...(quad ?? [])];
}

function longestZeroRun(groups: readonly number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  for (let start = 0; start < groups.length; start++) {
    let length = 0;
    while (groups[start + length] === 0) length += 1;
    if (length > best.length) best = { start, length };
  }
  return best;
}
