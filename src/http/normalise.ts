import type { IncomingMessage } from "node:http";

/** What is wrong with a request whatever its path: 400, or 501 for a transfer coding that we do not have. */
export type Wrong = { readonly code: "malformed" | "notImplemented"; readonly detail: string };

/**
 * Reduces a request to what a listener looks at: the path and query of its target, in origin form or absolute form; `*` stays for OPTIONS
 * alone. Nothing is ever built from its Host (S-47): it is checked, once and well-formed, and then fixed, as are the authority of an absolute
 * target and its scheme.
 * @returns what is wrong with it, after which the connection has to end.
 * @see RFC 9112 §3.2, §6.1
 */
export function normalise(incoming: IncomingMessage): Wrong | undefined {
  const hosts = valuesOf(incoming, "host");
  if (hosts.length > 1) return malformed("the header host occurs twice");
  if (hosts.length === 0 && incoming.httpVersion !== "1.0") return malformed("the header host is missing");
  if (!hosts.every((value) => host.test(value))) return malformed("the header host is not a host with an optional port");
  const coding = incoming.headers["transfer-encoding"];
  if (coding !== undefined && !/^[\s,]*chunked\b[\s,]*$/i.test(coding)) return foreignCoding(coding);

  const target = incoming.url ?? "";
  const path = target === "*" && incoming.method === "OPTIONS" ? target : pathOf(target);
  if (path === undefined) return malformed("the request target is not a path");
  incoming.url = path;
  incoming.headers.host = "localhost";
  return undefined;
}

/** The values of a header as they came, one for each line that has it. */
export function valuesOf({ rawHeaders }: IncomingMessage, name: string): string[] {
  return rawHeaders.filter((_, index) => index % 2 === 1 && rawHeaders[index - 1]?.toLowerCase() === name);
}

/** uri-host with an optional port (RFC 9110 §7.2); empty where the target has no authority. */
const host = /^(?:\[[0-9a-f:.]+\]|(?:[a-z0-9\-._~!$&'()*+,;=]|%[0-9a-f]{2})*)(?::\d*)?$/i;

const absolute = /^https?:\/\/([^/?]+)(.*)$/i;

/** Path and query: visible ASCII without a fragment, and without a backslash, which some peers read as a slash. */
function pathOf(target: string): string | undefined {
  const [, authority, rest = ""] = absolute.exec(target) ?? [];
  if (authority !== undefined && !host.test(authority)) return undefined;
  // RFC 9112 §3.2.1: an absolute target without a path means the root.
  const path = authority === undefined ? target : rest.replace(/^(?!\/)/, "/");
  return /^\/[!"$-[\]-~]*$/.test(path) ? path : undefined;
}

function foreignCoding(coding: string): Wrong {
  const names = coding.split(",").map((name) => name.trim().toLowerCase());
  if (names.every((name) => name === "chunked")) return malformed("the transfer coding chunked is applied twice");
  return { code: "notImplemented", detail: "the only transfer coding is chunked" };
}

function malformed(detail: string): Wrong {
  return { code: "malformed", detail };
}
