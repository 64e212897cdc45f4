import { isIPv6 } from "node:net";

import { describe, expect, test } from "vitest";

import { addressSlots } from "../../src/net/address-slots.ts";
import { dialer } from "../../src/net/dial.ts";
import type { Dial } from "../../src/net/dial.ts";
import { parseDnsServer } from "../../src/net/dns-server.ts";
import { judge, mayBeTold } from "../../src/net/egress.ts";
import type { Question } from "../../src/net/frame.ts";
import { answer } from "../../src/net/question.ts";
import type { Outside, Refusal } from "../../src/net/reach.ts";
import { startDnsServer } from "../support/dns-server.ts";
import type { DnsScript } from "../support/dns-server.ts";
import { forbidden, publicAddresses } from "./addresses.ts";
import { failureOf, freePort, listenHttp, openWorld, policyOf } from "./validator-world.ts";

/** Where the redirecting server of the test is: the one block that its policy opens. */
const opened = "127.77.0.1";
const policy = policyOf(["127.77.0.0/16"]);

/**
 * The whole way of a question in this process, with a dial that writes down where it was sent and goes there only when that is the test's own
 * server: the control, which judges nothing, must not contact anyone either.
 */
function recorder(dns: string, judging: boolean) {
  const dialled: string[] = [];
  const refused: Refusal[] = [];
  const real = dialer(10_000);
  const dial: Dial = async (to, signal) => {
    dialled.push(to.address);
    return to.address === opened ? real(to, signal) : "the connection was refused";
  };
  const server = parseDnsServer(dns);
  const outside: Outside = {
    resolver: { servers: server ? [server] : [], triesMs: [10_000] },
    mayTell: (address) => mayBeTold(address, policy),
    judge: (address, port) => (judging ? judge(address, port, policy) : "allowed"),
    dial,
    slots: addressSlots(4),
    slotWaitMs: 10_000,
    refused: (refusal) => refused.push(refusal),
  };
  return { outside, dialled, refused };
}

/** Answers `direct.test` with the address, `alias.test` with a CNAME to it, `redirect.test` with the redirecting server. */
function leadingTo(address: () => string): DnsScript {
  return ({ name, type }) => {
    const record = (owner: string, data: string) =>
      (type === "AAAA") === isIPv6(data) ? [{ type: isIPv6(data) ? ("AAAA" as const) : ("A" as const), name: owner, data }] : [];
    if (name === "redirect.test") return { answers: record(name, opened) };
    if (name === "alias.test") return { answers: [{ type: "CNAME", name, data: "direct.test" }, ...record("direct.test", address())] };
    return { answers: record(name, address()) };
  };
}

const ways = ["direct", "CNAME", "redirect to a name", "redirect to the address", "tls-alpn-01", "the identifier itself"] as const;

/** One question for every way to `address`, each by its own name. */
async function ask(way: (typeof ways)[number], address: string, { outside, port }: { outside: Outside; port: number }) {
  const hosts = { direct: "direct.test", CNAME: "alias.test", "tls-alpn-01": "direct.test", "the identifier itself": address };
  const host = way === "redirect to a name" || way === "redirect to the address" ? "redirect.test" : hosts[way];
  const path = way === "redirect to the address" ? "/address" : "/name";
  const question: Question = way === "tls-alpn-01" ? { kind: "tlsAlpn", host } : { kind: "http", host, path };
  // A redirect to an address is refused for being one unless the operator lists it: here the judgement alone stands in the way.
  const listing = policyOf(way === "redirect to the address" ? ["127.0.0.0/8", "0.0.0.0/0", "::/0"] : []);
  return answer(
    { outside, opening: { policy: listing, http01Port: port, tlsAlpn01Port: port } },
    { tenant: "t", question },
    AbortSignal.timeout(10_000),
  );
}

describe("no forbidden address is dialled, whichever way leads to it (S-02, S-04)", () => {
  test.for(ways)("%s: every address of the table is refused and told, and the control without judgement dials each", async (way) => {
    let address = "";
    await using dns = await startDnsServer(leadingTo(() => address));
    const port = await freePort();
    await using web = await listenHttp(
      (request, response) => {
        const host = request.url === "/name" ? "direct.test" : isIPv6(address) ? `[${address}]` : address;
        response.writeHead(302, { location: `http://${host}:${port}/there` }).end();
      },
      { host: opened, port },
    );
    const [judged, control] = [recorder(dns.text, true), recorder(dns.text, false)];
    for (const row of forbidden) {
      ({ address } = row);
      const failure = failureOf(await ask(way, address, { ...judged, port }));
      expect(failure, address).toMatchObject({ final: true });
      expect(judged.refused.at(-1)?.class, address).toBe(row.denied);
      await ask(way, address, { ...control, port });
    }
    expect(judged.refused.length).toBe(forbidden.length);
    expect(judged.dialled.filter((each) => each !== opened)).toEqual([]);
    expect(control.dialled.filter((each) => each !== opened).length).toBe(forbidden.length);
    expect(web.connections()).toBe(way.startsWith("redirect") ? forbidden.length * 2 : 0);
  });

  test.for(publicAddresses)("%s passes: the recorded dial, which goes nowhere, is sent there", async (address) => {
    await using dns = await startDnsServer(leadingTo(() => address));
    const judged = recorder(dns.text, true);
    expect(failureOf(await ask("direct", address, { ...judged, port: 80 }))).toMatchObject({ kind: "connection", final: false });
    expect(judged.dialled.length).toBe(1);
  });
});

test("of a name with many addresses the forbidden ones are left out and the others used", async () => {
  const addresses = ["127.0.0.1", "10.0.0.1", opened, "169.254.169.254"];
  await using dns = await startDnsServer(({ name, type }) => ({
    answers: type === "A" ? addresses.map((data) => ({ type: "A" as const, name, data })) : [],
  }));
  const port = await freePort();
  await using web = await listenHttp((_, response) => void response.end("there"), { host: opened, port });
  const judged = recorder(dns.text, true);
  const outcome = await ask("direct", "", { ...judged, port });
  expect(outcome).toMatchObject({ answer: { status: 200 }, evidence: { addresses, address: opened } });
  expect([judged.dialled, web.connections()]).toEqual([[opened], 1]);
});

describe("1,000 questions under a name that changes between an open address and loopback (S-03)", () => {
  test("none of them reaches loopback", async () => {
    const connections = await rebind(["127.77.0.0/16"]);
    expect(connections.closed).toBe(0);
    expect(connections.open).toBeGreaterThan(0);
  });

  test("the control, which may contact all of loopback, reaches it", async () => {
    expect((await rebind(["127.0.0.0/8"])).closed).toBeGreaterThan(0);
  });
});

test("our own listeners are not contacted, though the operator opens loopback", async () => {
  await using own = await listenHttp((_, response) => void response.end("ours"));
  const options = { allow: ["127.0.0.0/8", "::1/128"], http01Port: own.port, tlsAlpn01Port: own.port };
  for (const address of ["127.0.0.1", "0.0.0.0", "::"]) {
    await using world = await openWorld({
      ...options,
      own: [
        { address, port: own.port },
        { address: "::1", port: own.port },
      ],
    });
    const failures = [
      failureOf(await world.validator.http({ tenant: "t", host: "localhost", path: "/" })),
      failureOf(await world.validator.tlsAlpn({ tenant: "t", host: "127.0.0.1" })),
    ];
    expect(failures.map(({ detail }) => detail)).toEqual([
      "localhost leads to no address that is contacted: ::1 (own), 127.0.0.1 (own)",
      "127.0.0.1 leads to no address that is contacted: 127.0.0.1 (own)",
    ]);
    expect(world.events.told.filter(({ event }) => event === "validator.refused").map(({ fields }) => fields)).toEqual([
      { host: "localhost", address: "::1", class: "own" },
      { host: "localhost", address: "127.0.0.1", class: "own" },
      { host: "127.0.0.1", address: "127.0.0.1", class: "own" },
    ]);
  }
  expect(own.connections()).toBe(0);
});

/** Asks 1,000 times in the child, under a name that changes; gives the connections that came to either address. */
async function rebind(allow: readonly string[]) {
  let asked = 0;
  await using dns = await startDnsServer(({ name, type }) => {
    if (type !== "A") return { answers: [] };
    asked += 1;
    return { answers: [{ type: "A", name, data: asked % 2 === 0 ? "127.0.0.1" : opened }] };
  });
  const port = await freePort();
  await using open = await listenHttp((_, response) => void response.end("open"), { host: opened, port });
  await using closed = await listenHttp((_, response) => void response.end("closed"), { host: "127.0.0.1", port });
  await using world = await openWorld({ allow, http01Port: port, dnsServers: [dns.text], limits: { waitingPerTenant: 1000 } });
  const questions = Array.from({ length: 1000 }, (_, index) =>
    world.validator.http({ tenant: `${index % 4}`, host: "rebind.test", path: "/" }).catch(() => undefined),
  );
  await Promise.all(questions);
  return { open: open.connections(), closed: closed.connections() };
}
