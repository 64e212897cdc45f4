import { BlockList, isIP } from "node:net";
import { Fault } from "../fault.ts";
import { canonicalDnsName, canonicalIpAddress } from "../pki/general-name.ts";
import type { Identifier } from "./problem.ts";

/** What may be asked for, ready to judge: made once of a directory's or an account's lists. */
export type Judge = {
  /** Whether a canonical dns value is covered, with all that it stands for where it is a wildcard. */
  readonly allowsName: (name: string) => boolean;
  /** Whether a canonical address is covered. */
  readonly allowsAddress: (address: string) => boolean;
};

/**
 * A judge of names and addresses. A list that is absent allows everything.
 * @throws Fault `malformed` for a pattern or range that is none.
 */
export function judge({
  names,
  ipRanges,
}: {
  readonly names?: readonly string[] | undefined;
  readonly ipRanges?: readonly string[] | undefined;
}): Judge {
  const patterns = names?.map(parseNamePattern);
  // One list for each family: one alone finds 10.0.0.1 in ::/0, mapped into IPv6.
  const ranges = ipRanges && { ipv4: new BlockList(), ipv6: new BlockList() };
  for (const range of ipRanges ?? []) {
    const { address, prefix, family } = parseRange(range);
    ranges?.[family].addSubnet(address, prefix, family);
  }
  return {
    allowsName: (name) => patterns === undefined || patterns.some((covers) => covers(name)),
    allowsAddress: (address) => ranges === undefined || ranges[familyOf(address)].check(address, familyOf(address)),
  };
}

/** Whether the canonical identifier is covered. */
export function allows({ allowsName, allowsAddress }: Judge, { type, value }: Identifier): boolean {
  return type === "ip" ? allowsAddress(value) : allowsName(value);
}

/**
 * `example.org`: that name; `.example.org`: every name below it, and so `*.example.org`; `*`: every name.
 * @throws Fault `malformed`
 */
export function parseNamePattern(pattern: string): (name: string) => boolean {
  if (pattern === "*") return () => true;
  const below = pattern.startsWith(".");
  const name = canonicalDnsName(below ? pattern.slice(1) : pattern);
  if (name === undefined || name.startsWith("*.")) {
    throw new Fault("malformed", `${JSON.stringify(pattern)} is no pattern of names: example.org, .example.org for all below it, or *`);
  }
  return below ? (candidate) => candidate.endsWith(`.${name}`) : (candidate) => candidate === name;
}

/** A CIDR range. @throws Fault `malformed` @see RFC 4632 §3.1, RFC 4291 §2.3 */
export function parseRange(range: string): { readonly address: string; readonly prefix: number; readonly family: "ipv4" | "ipv6" } {
  const [, text = "", length = ""] = /^([0-9a-fA-F:.]+)\/(\d{1,3})$/.exec(range) ?? [];
  const address = canonicalIpAddress(text);
  const prefix = Number(length);
  if (address === undefined || prefix > (familyOf(address) === "ipv6" ? 128 : 32)) {
    throw new Fault("malformed", `${JSON.stringify(range)} is no range of addresses, as 10.0.0.0/8 or fd00::/8`);
  }
  return { address, prefix, family: familyOf(address) };
}

function familyOf(address: string): "ipv4" | "ipv6" {
  return isIP(address) === 6 ? "ipv6" : "ipv4";
}
