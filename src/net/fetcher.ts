import { isIP } from "node:net";
import type { Duplex } from "node:stream";

import type { HttpAnswer } from "../ports/validator.ts";
import { final } from "./attempt.ts";
import type { Attempt, Probe } from "./attempt.ts";
import { handshake } from "./handshake.ts";
import { get, isRedirect } from "./http-get.ts";
import type { Reply } from "./http-get.ts";
import { reach } from "./reach.ts";
import type { Outside } from "./reach.ts";
import { authorityOf, redirectTarget, urlOf } from "./redirect.ts";
import type { Target } from "./redirect.ts";

/** What is fetched first, and whether the operator lists an address, so that a redirect may name it. */
export type Fetch = {
  readonly host: string;
  readonly port: number;
  readonly path: string;
  readonly isListed: (address: string) => boolean;
};

/**
 * The final answer to the GET of http-01, redirects followed. Every hop is looked up and judged anew.
 * @see RFC 8555 §8.3
 */
export async function fetchChallenge(outside: Outside, { host, port, path, isListed }: Fetch, probe: Probe): Promise<Attempt<HttpAnswer>> {
  const rules = { ports: new Set([80, 443, port]), mayNameAddress: (address: string) => isIP(host) !== 0 || isListed(address) };
  const seen = new Set<string>();
  let target: Target = { scheme: "http", host, port, path };
  for (let redirects = 0; ; redirects++) {
    const url = urlOf(target);
    if (seen.has(url)) return final("connection", `redirect ${redirects} leads back to a URL that was asked before`);
    seen.add(url);
    probe.trail.urls.push(url);
    const reply = await ask(outside, target, redirects, probe);
    if ("failure" in reply) return reply;
    const { status, location, body, truncated } = reply.answer;
    if (!isRedirect(status)) return { answer: { status, body, truncated } };
    if (redirects === maxRedirects) return final("connection", `there are more than ${maxRedirects} redirects`);
    const next = redirectTarget(target, location, rules);
    if (typeof next === "string") return final("connection", `redirect ${redirects + 1}, by ${probe.trail.address}, ${next}`);
    target = next;
  }
}

const maxRedirects = 10;

/** One hop. Its connection ends with it. */
async function ask(outside: Outside, target: Target, redirects: number, probe: Probe): Promise<Attempt<Reply>> {
  const { scheme, host, port, path } = target;
  const called = redirects === 0 ? host : `the host of redirect ${redirects}`;
  const deniedAs = redirects === 0 && !isIP(host) ? "dns" : "connection";
  const reached = await reach(outside, { host, port, called, deniedAs }, probe);
  if ("failure" in reached) return reached;
  using connection = reached.answer;
  const { socket, address } = connection;
  let stream: Duplex = socket;
  if (scheme === "https") {
    const servername = isIP(host) ? undefined : host;
    // Whoever answers for the name may still have a bad certificate: getting a good one is what this is for (RFC 8555 §8.3).
    const shaken = await handshake({ socket, address, servername, protocols: ["http/1.1"] }, probe.signal);
    if ("failure" in shaken) return shaken;
    stream = shaken.answer;
  }
  return await get({ stream, address, authority: authorityOf(target), path }, probe.signal);
}
