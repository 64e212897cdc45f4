import { isIP } from "node:net";

import { canonicalDnsName } from "../pki/general-name.ts";
import { ipOctets, ipText } from "../pki/ip-address.ts";

/** Where an http-01 request goes: `host` is canonical, an IPv6 address without brackets; `path` has its query. */
export type Target = { readonly scheme: "http" | "https"; readonly host: string; readonly port: number; readonly path: string };

export type RedirectRules = {
  readonly ports: ReadonlySet<number>;
  /** Whether a redirect may name this address itself. */
  readonly mayNameAddress: (address: string) => boolean;
};

/** A target as a URL. */
export function urlOf({ scheme, host, port, path }: Target): string {
  return `${scheme}://${authorityOf({ scheme, host, port })}${path}`;
}

/** The Host field of a request: the default port of the scheme is left out. @see RFC 9110 §7.2 */
export function authorityOf({ scheme, host, port }: Omit<Target, "path">): string {
  const written = host.includes(":") ? `[${host}]` : host;
  return port === defaultPort(scheme) ? written : `${written}:${port}`;
}

/**
 * The target of a redirect, or a phrase that says why it is not followed. It repeats nothing of `location`.
 * @see RFC 9110 §10.2.2, RFC 3986 §5
 */
export function redirectTarget(from: Target, location: string | undefined, rules: RedirectRules): Target | string {
  if (location === undefined) return "names no location";
  const url = URL.parse(location, urlOf(from));
  if (!url) return "leads to what is no URL";
  const scheme = url.protocol.slice(0, -1);
  if (scheme !== "http" && scheme !== "https") return "leads to another scheme than http and https";
  if (url.username !== "" || url.password !== "") return "leads to a URL with credentials";
  const port = url.port === "" ? defaultPort(scheme) : Number(url.port);
  if (!rules.ports.has(port)) return `leads to another port than ${[...rules.ports].join(", ")}`;
  const path = url.pathname + url.search;
  if (path.length > maxPathOctets) return `leads to a path of more than ${maxPathOctets} octets`;
  const host = hostOf(url.hostname);
  if (host === undefined) return "leads to what is no host name";
  // The parser reads many texts as an address that do not look like one: "127.1", "0x7f.1", "2130706433".
  if (isIP(host) && !rules.mayNameAddress(host)) return "leads to an IP address";
  return { scheme, host, port, path };
}

const maxPathOctets = 2000;

function defaultPort(scheme: Target["scheme"]): number {
  return scheme === "http" ? 80 : 443;
}

function hostOf(hostname: string): string | undefined {
  const octets = ipOctets(hostname.replace(/^\[(.*)\]$/, "$1"));
  if (octets) return ipText(octets);
  const name = canonicalDnsName(hostname);
  return name === undefined || name.startsWith("*") ? undefined : name;
}
