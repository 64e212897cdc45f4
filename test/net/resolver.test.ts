import { createSocket } from "node:dgram";
import { once } from "node:events";

import { describe, expect, test } from "vitest";

import { openProbe } from "../../src/net/attempt.ts";
import { parseDnsServer } from "../../src/net/dns-server.ts";
import type { DnsServer } from "../../src/net/dns-server.ts";
import { lookUpAddresses, lookUpTexts } from "../../src/net/resolver.ts";
import type { Resolver } from "../../src/net/resolver.ts";
import { responseTo, startDnsServer, zone } from "../support/dns-server.ts";
import type { AskedQuestion, DnsReply, DnsScript } from "../support/dns-server.ts";

/** Waits long: for servers that answer. */
function resolverOf(...servers: { readonly text: string }[]): Resolver {
  return { servers: servers.map(({ text }) => serverOf(text)), triesMs: [10_000, 10_000, 10_000] };
}

/** Waits as long as it is told: for servers that leave queries unanswered. */
function hastyResolver(triesMs: readonly number[], ...servers: { readonly text: string }[]): Resolver {
  return { ...resolverOf(...servers), triesMs };
}

function serverOf(text: string): DnsServer {
  const server = parseDnsServer(text);
  if (!server) throw new Error(`${text} is no DNS server`);
  return server;
}

function probe() {
  return openProbe("t", new AbortController().signal);
}

/** A port of loopback where nothing listens. */
async function closedPort(): Promise<{ text: string }> {
  const socket = createSocket("udp4").bind(0, "127.0.0.1");
  await once(socket, "listening");
  const { port } = socket.address();
  await new Promise((resolve) => socket.close(() => resolve(undefined)));
  return { text: `127.0.0.1:${port}` };
}

const a = (name: string, ...addresses: string[]) => addresses.map((data) => ({ type: "A" as const, name, data }));
const chain = (length: number) => Array.from({ length }, (_, index) => cname(`n${index}.test`, `n${index + 1}.test`));
const changed = (message: Buffer, at: number, octet: number) => message.with(at, octet);
const cname = (name: string, data: string) => ({ type: "CNAME" as const, name, data });

describe("addresses of a name", () => {
  test("A and AAAA are each asked for, in mixed case, from another port each time (S-06)", async () => {
    await using server = await startDnsServer(
      zone({ "a-long-name.example.org": { A: ["192.0.2.1", "192.0.2.2"], AAAA: ["2001:db8::1"] } }),
    );
    const one = probe();
    expect(await lookUpAddresses(resolverOf(server), "a-long-name.example.org", "A", one)).toEqual({ records: ["192.0.2.1", "192.0.2.2"] });
    expect(await lookUpAddresses(resolverOf(server), "a-long-name.example.org", "AAAA", one)).toEqual({ records: ["2001:db8::1"] });
    expect(one.trail.resolver).toBe("127.0.0.1");
    const sent = new Set<string>();
    for (let index = 0; index < 10; index++) {
      await lookUpAddresses(resolverOf(server), "a-long-name.example.org", "A", probe());
      sent.add(server.asked.at(-1)?.sentName ?? "");
    }
    expect(sent.size).toBeGreaterThan(1);
    expect(new Set(server.asked.map(({ query }) => query.readUInt16BE(0))).size).toBeGreaterThan(1);
  });

  test.for(["localhost", "printer.localhost"])("%s is loopback, and nobody is asked (RFC 6761 §6.3)", async (name) => {
    await using server = await startDnsServer(() => ({ answers: [...a(name, "192.0.2.1")] }));
    expect(await lookUpAddresses(resolverOf(server), name, "A", probe())).toEqual({ records: ["127.0.0.1"] });
    expect(await lookUpAddresses(resolverOf(server), name, "AAAA", probe())).toEqual({ records: ["::1"] });
    expect(await lookUpTexts(resolverOf(server), `_acme-challenge.${name}`, probe())).toEqual({ records: [] });
    expect(server.asked).toEqual([]);
  });

  test("a name is followed through 8 CNAMEs and no further, whether in one answer or in many (S-06)", async () => {
    await using atOnce = await startDnsServer(() => ({ answers: [...chain(8), ...a("n8.test", "192.0.2.1")] }));
    expect(await lookUpAddresses(resolverOf(atOnce), "n0.test", "A", probe())).toEqual({ records: ["192.0.2.1"] });
    expect(atOnce.asked.length).toBe(1);
    await using tooMany = await startDnsServer(() => ({ answers: [...chain(9), ...a("n9.test", "192.0.2.1")] }));
    expect(await lookUpAddresses(resolverOf(tooMany), "n0.test", "A", probe())).toEqual({ failure: "too many" });
    await using oneByOne = await startDnsServer(({ name }) => ({
      answers: name === "n8.test" ? a(name, "192.0.2.1") : chain(9).filter((each) => each.name === name),
    }));
    expect(await lookUpAddresses(resolverOf(oneByOne), "n0.test", "A", probe())).toEqual({ records: ["192.0.2.1"] });
    expect(oneByOne.asked.length).toBe(9);
    await using circle = await startDnsServer(({ name }) => ({ answers: [cname(name, name === "a.test" ? "b.test" : "a.test")] }));
    expect(await lookUpAddresses(resolverOf(circle), "a.test", "A", probe())).toEqual({ failure: "too many" });
  });

  test("records of other owners are not taken", async () => {
    await using server = await startDnsServer(() => ({ answers: a("other.test", "192.0.2.66") }));
    expect(await lookUpAddresses(resolverOf(server), "mine.test", "A", probe())).toEqual({ records: [] });
  });

  test("one question costs at most 20 queries", async () => {
    await using server = await startDnsServer(() => undefined);
    const one = { ...probe(), queriesLeft: 2 };
    expect(await lookUpAddresses(hastyResolver([50, 50, 50], server), "a.test", "A", one)).toEqual({ failure: "too many" });
    expect(server.asked.length).toBe(2);
    expect(probe().queriesLeft).toBe(20);
  });
});

describe("texts of a name", () => {
  test("come whole over TCP when they do not fit, up to 64 KiB (RFC 7766)", async () => {
    const long = Array.from({ length: 220 }, (_, index) => `${index}`.padEnd(250, "x"));
    const all = zone({ "_acme-challenge.test": { TXT: long } });
    await using server = await startDnsServer((asked) => (asked.over === "udp" ? { answers: [], truncated: true } : all(asked)));
    expect(await lookUpTexts(resolverOf(server), "_acme-challenge.test", probe())).toEqual({ records: long });
    expect(server.asked.map(({ over }) => over)).toEqual(["udp", "tcp"]);
  });

  test("an answer that is cut over TCP too is malformed", async () => {
    await using server = await startDnsServer(() => ({ answers: [], truncated: true }));
    expect(await lookUpTexts(resolverOf(server), "a.test", probe())).toEqual({ failure: "malformed" });
  });

  test("a name of 254 characters is not asked for (RFC 1035 §2.3.4)", async () => {
    await using server = await startDnsServer(zone({}));
    const name = `${"a".repeat(63)}.`.repeat(4).slice(0, 254);
    expect(await lookUpTexts(resolverOf(server), name, probe())).toEqual({ failure: "too long" });
    expect(server.asked).toEqual([]);
  });
});

describe("what a resolver says", () => {
  test.for<{ name: string; rcode: number; failure: string }>([
    { name: "NXDOMAIN", rcode: 3, failure: "NXDOMAIN" },
    { name: "SERVFAIL", rcode: 2, failure: "SERVFAIL" },
    { name: "REFUSED", rcode: 5, failure: "REFUSED" },
    { name: "NOTIMP", rcode: 4, failure: "another error" },
  ])("$name is told apart", async ({ rcode, failure }) => {
    await using server = await startDnsServer(() => ({ answers: [], rcode }));
    expect(await lookUpAddresses(resolverOf(server), "a.test", "A", probe())).toEqual({ failure });
    expect(server.asked.length).toBe(1);
  });

  test("what one resolver cannot find out, the next one is asked for", async () => {
    await using failing = await startDnsServer(() => ({ answers: [], rcode: 2 }));
    await using working = await startDnsServer(zone({ "a.test": { A: ["192.0.2.1"] } }));
    expect(await lookUpAddresses(resolverOf(failing, working), "a.test", "A", probe())).toEqual({ records: ["192.0.2.1"] });
  });

  test("a resolver whose port is closed costs no wait: the next one is asked", async () => {
    await using working = await startDnsServer(zone({ "a.test": { A: ["192.0.2.1"] } }));
    const resolver = resolverOf(await closedPort(), working);
    expect(await lookUpAddresses(resolver, "a.test", "A", probe())).toEqual({ records: ["192.0.2.1"] });
  });

  test("a query that is lost is sent again, at most three times", async () => {
    const answered = zone({ "a.test": { A: ["192.0.2.1"] } });
    await using server = await startDnsServer((asked) => (asked.index < 2 ? undefined : answered(asked)));
    expect(await lookUpAddresses(hastyResolver([50, 50, 10_000], server), "a.test", "A", probe())).toEqual({ records: ["192.0.2.1"] });
    expect(server.asked.length).toBe(3);
  });

  test("a resolver that is silent for a name and answers for the root is there: the name has the trouble", async () => {
    await using server = await startDnsServer(({ name }) => (name === "." ? { answers: [], rcode: 5 } : undefined));
    expect(await lookUpAddresses(hastyResolver([1000, 50, 50], server), "slow.test", "A", probe())).toEqual({ failure: "no answer" });
    expect(server.asked.map(({ name, type }) => `${name} ${type}`)).toEqual([...Array<string>(3).fill("slow.test A"), ". NS"]);
  });

  test("one that answers nothing is away: nothing is found out of the name (AV-6)", async () => {
    await using silent = await startDnsServer(() => undefined);
    for (const resolver of [hastyResolver([50, 50], silent), resolverOf(await closedPort()), resolverOf()]) {
      await expect(lookUpAddresses(resolver, "a.test", "A", probe())).rejects.toMatchObject({ code: "validatorUnavailable" });
    }
  });

  test("the end of a question's time ends its look-up", async () => {
    await using silent = await startDnsServer(() => undefined);
    const stop = new AbortController();
    const looking = lookUpAddresses(resolverOf(silent), "a.test", "A", openProbe("t", stop.signal));
    stop.abort();
    expect(await looking).toEqual({ failure: "no answer" });
  });
});

describe("what is not the answer to our query is passed over, and the right one still taken (RFC 5452 §9.1)", () => {
  const right = { answers: a("a.test", "192.0.2.1") };
  const forged = { answers: a("a.test", "192.0.2.66") };

  test.for<{ name: string; forgery: (asked: AskedQuestion) => Uint8Array }>([
    { name: "another id", forgery: (asked) => changed(responseTo(asked, forged), 0, ((asked.query[0] ?? 0) + 1) & 0xff) },
    { name: "a query", forgery: (asked) => changed(responseTo(asked, forged), 2, 1) },
    { name: "another name", forgery: (asked) => responseTo({ ...asked, sentName: "b.test" }, forged) },
    { name: "the name in one case", forgery: (asked) => responseTo({ ...asked, sentName: swapped(asked.sentName) }, forged) },
    { name: "another type", forgery: (asked) => responseTo({ ...asked, type: "AAAA" }, forged) },
    { name: "garbage", forgery: () => Buffer.from("garbage that no resolver sends") },
    { name: "nothing", forgery: () => Buffer.alloc(0) },
    { name: "more than 4,096 octets", forgery: (asked) => Buffer.concat([responseTo(asked, forged), Buffer.alloc(4096)]) },
  ])("$name", async ({ forgery }) => {
    const script: DnsScript = (asked): DnsReply => ({ messages: [forgery(asked), responseTo(asked, right)] });
    await using server = await startDnsServer(script);
    expect(await lookUpAddresses(resolverOf(server), "a.test", "A", probe())).toEqual({ records: ["192.0.2.1"] });
    expect(server.asked.length).toBe(1);
  });

  test("a resolver that changes the case of names is told for what it does", async () => {
    await using server = await startDnsServer((asked) => ({
      messages:
        asked.name === "." ? [responseTo(asked, { answers: [] })] : [responseTo({ ...asked, sentName: swapped(asked.sentName) }, forged)],
    }));
    expect(await lookUpAddresses(hastyResolver([50], server), "a.test", "A", probe())).toEqual({ failure: "recased" });
  });

  test("an answer to our query that is not well formed is malformed", async () => {
    await using server = await startDnsServer((asked) => ({ messages: [responseTo(asked, right).subarray(0, -1)] }));
    expect(await lookUpAddresses(resolverOf(server), "a.test", "A", probe())).toEqual({ failure: "malformed" });
  });
});

describe("resolvers as the operator names them", () => {
  test.for([
    { text: "192.0.2.53", server: { address: "192.0.2.53", port: 53 } },
    { text: "192.0.2.53:5353", server: { address: "192.0.2.53", port: 5353 } },
    { text: "2001:db8::53", server: { address: "2001:db8::53", port: 53 } },
    { text: "[2001:db8::53]:5353", server: { address: "2001:db8::53", port: 5353 } },
    { text: "[::1]", server: { address: "::1", port: 53 } },
  ])("$text", ({ text, server }) => expect(parseDnsServer(text)).toEqual(server));

  test.for([
    "",
    "localhost",
    "192.0.2.53:0",
    "192.0.2.53:65536",
    "192.0.2:53",
    "[192.0.2.53]:53",
    "fe80::1%eth0",
    "[::1]:",
    "[::1",
    "192.0.2.53:053",
  ])("%j is none", (text) => expect(parseDnsServer(text)).toBeUndefined());
});

function swapped(name: string): string {
  return [...name].map((letter) => (letter === letter.toLowerCase() ? letter.toUpperCase() : letter.toLowerCase())).join("");
}
