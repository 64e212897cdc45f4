import { randomBytes, randomInt } from "node:crypto";

import { Fault } from "../fault.ts";
import type { Probe } from "./attempt.ts";
import { exchangeTcp, exchangeUdp } from "./dns-exchange.ts";
import { encodeQuestion, mixCase, readAnswer } from "./dns-message.ts";
import type { DnsError, DnsReading, DnsRecord, QuestionType } from "./dns-message.ts";
import type { DnsServer } from "./dns-server.ts";

/** Whom to ask, and how long to wait for each try, in turn. */
export type Resolver = { readonly servers: readonly DnsServer[]; readonly triesMs: readonly number[] };

/**
 * Why a look-up gave no records. `recased`: the answers that came had the name in another case than it was sent in; `no answer`: the resolver answers, but nothing came for this name; `too many`: more CNAMEs or queries than
 * we follow; `too long`: the name has more octets than DNS carries.
 */
export type LookupFailure = DnsError | "malformed" | "recased" | "no answer" | "too many" | "too long";

/** What a look-up gave: an empty list when the name is there without such records. */
export type Lookup<Value> = { readonly records: readonly Value[] } | { readonly failure: LookupFailure };

/**
 * The addresses of a name. Names under `localhost` are loopback without asking anyone (RFC 6761 §6.3).
 * @param type `AAAA` or `A`
 * @throws Fault `validatorUnavailable` when no resolver answers at all.
 */
export async function lookUpAddresses(resolver: Resolver, name: string, type: "A" | "AAAA", probe: Probe): Promise<Lookup<string>> {
  if (isLocalhost(name)) return { records: [type === "A" ? "127.0.0.1" : "::1"] };
  return lookUp(resolver, { name, type }, probe, (record) => (record.type === type ? record.address : undefined));
}

/** The texts of a name, one a TXT record. @throws Fault `validatorUnavailable` as `lookUpAddresses`. */
export async function lookUpTexts(resolver: Resolver, name: string, probe: Probe): Promise<Lookup<string>> {
  // RFC 6761 §6.3: of other types there is nothing under localhost.
  if (isLocalhost(name)) return { records: [] };
  return lookUp(resolver, { name, type: "TXT" }, probe, (record) => (record.type === "TXT" ? record.text : undefined));
}

const maxCnames = 8;

function isLocalhost(name: string): boolean {
  return name === "localhost" || name.endsWith(".localhost");
}

/** Follows CNAMEs within an answer, and by another query where the answer ends with one. */
async function lookUp(
  resolver: Resolver,
  question: { readonly name: string; readonly type: QuestionType },
  probe: Probe,
  valueOf: (record: DnsRecord) => string | undefined,
): Promise<Lookup<string>> {
  let { name } = question;
  for (let cnames = 0; ;) {
    const reading = await ask(resolver, { name, type: question.type }, probe);
    if ("failure" in reading) return reading;
    const asked = name;
    for (;;) {
      const own = reading.records.filter((record) => record.owner === name);
      const records = own.map(valueOf).filter((value) => value !== undefined);
      if (records.length > 0) return { records };
      const next = own.find((record) => record.type === "CNAME");
      if (!next) break;
      cnames += 1;
      if (cnames > maxCnames) return { failure: "too many" };
      name = next.target;
    }
    if (name === asked) return { records: [] };
  }
}

type Answered = { readonly records: readonly DnsRecord[] } | { readonly failure: LookupFailure };

/** One question, to each resolver in turn until one answers. What a resolver cannot find out, another one may. */
async function ask(resolver: Resolver, { name, type }: { name: string; type: QuestionType }, probe: Probe): Promise<Answered> {
  // RFC 1035 §2.3.4: 255 octets with the lengths of the labels, so 253 characters.
  if (name.length > 253) return { failure: "too long" };
  if (resolver.servers.length === 0) throw new Fault("validatorUnavailable", "no DNS resolver is configured");
  const failures = new Map<DnsServer, LookupFailure>();
  for (const [index, waitMs] of resolver.triesMs.entries()) {
    const waiting = resolver.servers.filter((each) => !failures.has(each));
    const server = waiting[index % waiting.length];
    if (server === undefined || probe.signal.aborted) break;
    if (probe.queriesLeft <= 0) return { failure: "too many" };
    probe.queriesLeft -= 1;
    probe.trail.resolver = server.address;
    const reading = await query(server, { name, type }, { waitMs, probe });
    if (reading?.reading === "answer") return { records: reading.records };
    if (reading?.reading === "error" && reading.rcode === "NXDOMAIN") return { failure: "NXDOMAIN" };
    if (reading !== undefined) failures.set(server, failureOf(reading));
  }
  const [failure] = failures.values();
  if (failure === undefined) await requireResolver(resolver, probe);
  return { failure: failure ?? "no answer" };
}

function failureOf(reading: Exclude<DnsReading, { reading: "answer" }>): LookupFailure {
  if (reading.reading === "error") return reading.rcode;
  return reading.reading === "recased" ? "recased" : "malformed";
}

/** One query over UDP, and over TCP when the answer did not fit; undefined when no answer came in time. */
async function query(
  server: DnsServer,
  { name, type }: { readonly name: string; readonly type: QuestionType },
  { waitMs, probe }: { readonly waitMs: number; readonly probe: Probe },
): Promise<DnsReading | undefined> {
  const question = { id: randomInt(0x10000), name: mixCase(name, randomBytes(32)), type };
  const over = new AbortController();
  const stop = () => over.abort();
  const timer = setTimeout(stop, waitMs);
  let recased: DnsReading | undefined;
  probe.signal.addEventListener("abort", stop, { once: true });
  try {
    const exchange = {
      server,
      query: encodeQuestion(question),
      accept: (message: Uint8Array) => {
        const reading = readAnswer(message, question);
        // A forger has to guess the case: the right answer may still come.
        if (reading.reading === "recased") recased = reading;
        return reading.reading === "foreign" || reading.reading === "recased" ? undefined : reading;
      },
      signal: over.signal,
    };
    const reading = await exchangeUdp(exchange);
    if (reading?.reading !== "truncated") return reading ?? recased;
    probe.queriesLeft -= 1;
    return await exchangeTcp(exchange);
  } finally {
    clearTimeout(timer);
    probe.signal.removeEventListener("abort", stop);
  }
}

/**
 * A name whose own servers are silent keeps a resolver from answering too. The root's name servers every resolver can tell at once: when
 * none answers for them, it is our own DNS that is away.
 */
async function requireResolver({ servers, triesMs }: Resolver, probe: Probe): Promise<void> {
  const { signal } = probe;
  if (signal.aborted) return;
  const waitMs = triesMs[0] ?? 1000;
  const replies = await Promise.all(servers.map((server) => query(server, { name: ".", type: "NS" }, { waitMs, probe })));
  if (signal.aborted || replies.some((reply) => reply !== undefined)) return;
  const addresses = servers.map(({ address }) => address).join(", ");
  throw new Fault("validatorUnavailable", `the DNS resolver does not answer: ${addresses}`);
}
