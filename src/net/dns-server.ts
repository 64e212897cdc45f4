import { isIPv6 } from "node:net";
import { ipOctets } from "../pki/ip-address.ts";

/** A resolver to ask. */
export type DnsServer = { readonly address: string; readonly port: number };

/** A resolver from `ADDRESS`, `IPV4:PORT` or `[IPV6]:PORT`, port 53 unless said; undefined for every other text. */
export function parseDnsServer(text: string): DnsServer | undefined {
  const [, bracketed, plain, port] = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+))(?::([1-9]\d{0,4}))?$/.exec(text) ?? [];
  const address = bracketed ?? plain ?? text;
  const number = port === undefined ? 53 : Number(port);
  if (!ipOctets(address) || number > 65_535 || (bracketed !== undefined && !isIPv6(bracketed))) return undefined;
  return { address, port: number };
}
