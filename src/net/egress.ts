import { ipOctets, ipText } from "../pki/ip-address.ts";

/** A block of addresses: the network's 4 or 16 octets and the length of its prefix in bits. */
export type Cidr = { readonly octets: Uint8Array; readonly bits: number };

/** One of our own listeners, the database or a networked HSM. The unspecified address stands for every address of this machine. */
export type OwnAddress = { readonly address: string; readonly port: number };

/** What the operator says of addresses at start. Nothing in it comes from a tenant. */
export type EgressPolicy = {
  /** Blocks beyond public space that may be contacted. Loopback is opened by blocks within loopback alone. */
  readonly allow: readonly Cidr[];
  /** Never contacted, whatever `allow` says. */
  readonly own: readonly OwnAddress[];
  /** Prefixes of this network's own NAT64, of 32, 40, 48, 56, 64 or 96 bits (RFC 6052 §2.2), beside the well-known one. */
  readonly nat64?: readonly Cidr[];
};

/** Why an address is not contacted. */
export type AddressClass =
  | "no address"
  | "own"
  | "metadata"
  | "unspecified"
  | "loopback"
  | "link-local"
  | "site-local"
  | "multicast"
  | "reserved"
  | "teredo"
  | "private"
  | "special-purpose";

export type Judgement = "allowed" | { readonly denied: AddressClass };

/**
 * Whether a connection to `address` may be opened. An IPv6 address that carries an IPv4 address is judged by that one.
 * @param address dotted quad or IPv6; every other text (zones, octal, hexadecimal and integer forms, ports) is denied.
 * @see RFC 6890, IANA special-purpose address registries
 */
export function judge(address: string, port: number, policy: EgressPolicy): Judgement {
  const given = ipOctets(address);
  if (!given) return { denied: "no address" };
  const octets = embeddedIpv4(given, policy.nat64) ?? given;
  const row = table.find(({ blocks }) => blocks.some((block) => contains(block, octets)));
  if (policy.own.some((own) => isOwn(own, octets, port, row?.class))) return { denied: "own" };
  if (row === undefined) return "allowed";
  const listed = policy.allow.some((block) => contains(block, octets) && (row.class !== "loopback" || liesInLoopback(block)));
  return row.unlessListed && listed ? "allowed" : { denied: row.class };
}

/**
 * Whether an applicant may read `address` in the text of an error: a public one, loopback, or one that the operator lists. Of others, to which
 * names of the inside lead, they are told the class alone.
 */
export function mayBeTold(address: string, policy: EgressPolicy): boolean {
  const given = ipOctets(address);
  if (!given) return false;
  const octets = embeddedIpv4(given, policy.nat64) ?? given;
  const row = table.find(({ blocks }) => blocks.some((block) => contains(block, octets)));
  return row === undefined || row.class === "loopback" || (row.unlessListed && isListed(address, policy));
}

/** Whether the operator lists `address` by a block of `allow`. */
export function isListed(address: string, { allow, nat64 }: EgressPolicy): boolean {
  const given = ipOctets(address);
  if (!given) return false;
  const octets = embeddedIpv4(given, nat64) ?? given;
  return allow.some((block) => contains(block, octets));
}

/**
 * A block from `ADDRESS/BITS`; undefined for every other text, for a network with bits set behind its prefix, and for one that would
 * never match because its addresses are judged by the IPv4 address they carry.
 * @see RFC 4632 §3.1, RFC 4291 §2.3
 */
export function parseCidr(text: string): Cidr | undefined {
  const [, network = "", length = ""] = /^([0-9a-fA-F:.]+)\/(0|[1-9]\d{0,2})$/.exec(text) ?? [];
  const octets = ipOctets(network);
  const bits = Number(length);
  if (!octets || length === "" || bits > octets.length * 8) return undefined;
  const last = octets.map((octet, index) => octet & ~maskOctet(bits, index));
  if (last.some((octet) => octet !== 0)) return undefined;
  return bits >= 16 && embeddedIpv4(octets) !== undefined ? undefined : { octets, bits };
}

/** A block as `parseCidr` takes it, its address in canonical text. */
export function cidrText({ octets, bits }: Cidr): string {
  return `${ipText(octets)}/${bits}`;
}

/** `own` with each unspecified address joined by the addresses of this machine, at the same port. */
export function ownAddresses(own: readonly OwnAddress[], machine: readonly string[]): OwnAddress[] {
  return own.flatMap((entry) =>
    isUnspecified(entry.address) ? [entry, ...machine.map((address) => ({ address, port: entry.port }))] : entry,
  );
}

/**
 * The IPv4 address that an IPv6 address carries: mapped and compatible (RFC 4291 §2.5.5), translated (RFC 6052 §2.1), 6to4 (RFC 3056 §2).
 * `::` and `::1` carry none.
 */
function embeddedIpv4(octets: Uint8Array, nat64: readonly Cidr[] = []): Uint8Array | undefined {
  if (octets.length !== 16) return undefined;
  const prefix = nat64.find((block) => contains(block, octets));
  // RFC 6052 §2.2: behind the prefix, with bits 64 to 71 left out.
  if (prefix) return octets.filter((_, index) => index * 8 >= prefix.bits && index !== 8).subarray(0, 4);
  if (contains(sixToFour, octets)) return octets.subarray(2, 6);
  if (!carriers.some((block) => contains(block, octets))) return undefined;
  const last = octets.subarray(12);
  return octets.subarray(0, 12).every((octet) => octet === 0) && /^0,0,0,[01]$/.test(last.join()) ? undefined : last;
}

function isOwn(own: OwnAddress, octets: Uint8Array, port: number, addressClass: AddressClass | undefined): boolean {
  if (own.port !== port) return false;
  // A listener on every address answers on all of 127.0.0.0/8.
  if (isUnspecified(own.address)) return addressClass === "loopback" || addressClass === "unspecified";
  const given = ipOctets(own.address);
  return given !== undefined && ipText(embeddedIpv4(given) ?? given) === ipText(octets);
}

function isUnspecified(address: string): boolean {
  return ipOctets(address)?.every((octet) => octet === 0) ?? false;
}

function liesInLoopback(block: Cidr): boolean {
  return loopback.some((outer) => outer.bits <= block.bits && contains(outer, block.octets));
}

function contains({ octets, bits }: Cidr, address: Uint8Array): boolean {
  if (octets.length !== address.length) return false;
  return octets.every((octet, index) => ((octet ^ (address[index] ?? 0)) & maskOctet(bits, index)) === 0);
}

/** The octet at `index` of the mask of a prefix. */
function maskOctet(bits: number, index: number): number {
  const within = Math.min(8, Math.max(0, bits - index * 8));
  return (0xff << (8 - within)) & 0xff;
}

function blockOf(text: string): Cidr {
  const [network = "", bits] = text.split("/");
  const octets = ipOctets(network);
  if (!octets) throw new TypeError(`${text} is no block of addresses`);
  return { octets, bits: Number(bits ?? octets.length * 8) };
}

const sixToFour = blockOf("2002::/16");
const carriers = ["::ffff:0:0/96", "::/96", "64:ff9b::/96"].map(blockOf);
const loopback = ["127.0.0.0/8", "::1/128"].map(blockOf);

type Row = { readonly class: AddressClass; readonly unlessListed: boolean; readonly blocks: readonly Cidr[] };

/** The first row that contains an address decides; an address in none is public. */
const table: readonly Row[] = [
  // What a cloud tells every process of a machine about it, credentials included. 168.63.129.16 stands in public space.
  ...always(
    "metadata",
    "169.254.169.254",
    "169.254.170.2",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "fd00:ec2::/32",
    "fd20:ce::254",
  ),
  ...always("unspecified", "0.0.0.0/8", "::"),
  { class: "loopback", unlessListed: true, blocks: loopback },
  ...always("link-local", "169.254.0.0/16", "fe80::/10"),
  ...always("site-local", "fec0::/10"),
  ...always("multicast", "224.0.0.0/4", "ff00::/8"),
  ...always("reserved", "240.0.0.0/4"),
  ...always("teredo", "2001::/32"),
  ...unlessListed("private", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"),
  ...unlessListed(
    "special-purpose",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "198.18.0.0/15",
    "192.88.99.0/24",
  ),
  ...unlessListed("special-purpose", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "3fff::/20", "5f00::/16"),
  // RFC 4291 §2.4: of the rest only 2000::/3 is given out to hosts.
  ...unlessListed("special-purpose", "::/3", "4000::/2", "8000::/1"),
];

function always(addressClass: AddressClass, ...blocks: readonly string[]): Row[] {
  return [{ class: addressClass, unlessListed: false, blocks: blocks.map(blockOf) }];
}

function unlessListed(addressClass: AddressClass, ...blocks: readonly string[]): Row[] {
  return [{ class: addressClass, unlessListed: true, blocks: blocks.map(blockOf) }];
}
