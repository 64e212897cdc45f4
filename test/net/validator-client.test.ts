import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import type { Socket } from "node:net";
import { fileURLToPath } from "node:url";

import { describe, expect, test } from "vitest";

import { openValidator } from "../../src/net/validator-client.ts";
import { until } from "../hsm/signing-token.ts";
import { recordedEvents } from "../support/events.ts";
import { startDnsServer, zone } from "../support/dns-server.ts";
import { answerOf, failureOf, listen, listenHttp, openWorld, policyOf, validatorPids } from "./validator-world.ts";

const loopback = ["127.0.0.0/8", "::1/128"];
const asked = { tenant: "t", host: "localhost", path: "/" };
const unavailable = { code: "validatorUnavailable" };
const silent = (_socket: Socket) => {};

describe("texts of a name (AV-3)", () => {
  test("come joined, a text a record, with the resolver as evidence", async () => {
    await using dns = await startDnsServer(
      zone({ "_acme-challenge.example.org": { CNAME: ["token.example.net"] }, "token.example.net": { TXT: ["one", "two"] } }),
    );
    await using world = await openWorld({ dnsServers: [dns.text] });
    expect(await world.validator.txt({ tenant: "t", name: "_acme-challenge.example.org" })).toEqual({
      answer: { records: ["one", "two"], resolver: "127.0.0.1" },
      evidence: { resolver: "127.0.0.1", addresses: [], urls: [] },
    });
  });

  test("what the resolver says is told apart: no such name for good, no text as an empty list, a failure as one that may pass (AV-7)", async () => {
    const rcodes: Readonly<Record<string, number>> = { "nx.test": 3, "servfail.test": 2, "refused.test": 5 };
    await using dns = await startDnsServer(({ name }) => ({ answers: [], rcode: rcodes[name] ?? 0 }));
    await using world = await openWorld({ dnsServers: [dns.text] });
    const ask = (name: string) => world.validator.txt({ tenant: "t", name });
    expect(answerOf(await ask("empty.test"))).toEqual({ records: [], resolver: "127.0.0.1" });
    const said = "the DNS resolver 127.0.0.1";
    expect(failureOf(await ask("nx.test"))).toEqual({
      kind: "dns",
      detail: `${said} says that nx.test does not exist (NXDOMAIN)`,
      final: true,
    });
    expect(failureOf(await ask("servfail.test"))).toEqual({
      kind: "dns",
      detail: `${said} could not look up servfail.test (SERVFAIL)`,
      final: false,
    });
    expect(failureOf(await ask("refused.test"))).toEqual({
      kind: "dns",
      detail: `${said} could not look up refused.test (REFUSED)`,
      final: false,
    });
    const noAddress = failureOf(await world.validator.http({ ...asked, host: "empty.test" }));
    expect(noAddress).toEqual({ kind: "dns", detail: `${said} says that empty.test has neither an AAAA nor an A record`, final: true });
  });
});

describe("of addresses that are not contacted an applicant is told", () => {
  const inside = zone({
    "db.test": { A: ["10.0.0.7", "10.0.0.8"], AAAA: ["fd00::7"] },
    "cloud.test": { A: ["169.254.169.254"] },
    "listed.test": { A: ["10.9.0.7"] },
    "own.test": { A: ["127.0.0.1"] },
  });

  test.for([
    { name: "db.test", said: "private", evidence: ["fd00::7", "10.0.0.7", "10.0.0.8"] },
    { name: "cloud.test", said: "metadata", evidence: ["169.254.169.254"] },
    { name: "own.test", said: "127.0.0.1 (loopback)", evidence: ["127.0.0.1"] },
    { name: "listed.test", said: "10.9.0.7 (own)", evidence: ["10.9.0.7"] },
  ])("of $name: $said; the evidence and the log have the addresses", async ({ name, said, evidence }) => {
    await using dns = await startDnsServer(inside);
    const own = [{ address: "10.9.0.7", port: 9 }];
    await using world = await openWorld({ dnsServers: [dns.text], allow: ["10.9.0.0/16"], own });
    const outcome = await world.validator.http({ tenant: "t", host: name, path: "/" });
    expect(failureOf(outcome).detail).toBe(`${name} leads to no address that is contacted: ${said}`);
    expect(outcome.evidence.addresses).toEqual(evidence);
    const logged = world.events.told.filter(({ event }) => event === "validator.refused").map(({ fields }) => fields?.["address"]);
    expect(logged).toEqual(evidence);
  });

  test("behind a redirect no more", async () => {
    await using dns = await startDnsServer(inside);
    await using web = await listenHttp((_, response) => void response.writeHead(302, { location: "http://db.test/" }).end());
    await using world = await openWorld({ dnsServers: [dns.text], allow: loopback, http01Port: web.port });
    const outcome = await world.validator.http(asked);
    expect(failureOf(outcome).detail).toBe("the host of redirect 1 leads to no address that is contacted: private");
  });
});

test("what is our own is told again and again: from then on it is not contacted, by no later child either, until it is ours no more", async () => {
  await using web = await listenHttp((_, response) => void response.end("there"));
  await using world = await openWorld({ allow: loopback, http01Port: web.port });
  const { validator } = world;
  const ask = async () => await validator.http({ ...asked, host: "127.0.0.1" });
  expect(answerOf(await ask()).status).toBe(200);
  validator.keepFrom([{ address: "0.0.0.0", port: web.port }]);
  const denied = "127.0.0.1 leads to no address that is contacted: 127.0.0.1 (own)";
  expect(failureOf(await ask()).detail).toBe(denied);
  const [first] = await validatorPids();
  process.kill(first ?? 0, "SIGKILL");
  await until(() => world.events.told.filter(({ event }) => event === "validator.started").length === 2);
  expect(failureOf(await ask()).detail).toBe(denied);
  expect(web.connections()).toBe(1);
  validator.keepFrom([{ address: "127.0.0.1", port: web.port + 1 }]);
  expect(answerOf(await ask()).status).toBe(200);
});

describe("nothing is found out, and the same may be asked again", () => {
  test("while no resolver answers (AV-6)", async () => {
    await using dns = await startDnsServer(() => undefined);
    await using world = await openWorld({ dnsServers: [dns.text], times: { dnsTriesMs: [1000, 50, 50] } });
    await expect(world.validator.txt({ tenant: "t", name: "a.test" })).rejects.toMatchObject({
      ...unavailable,
      detail: "the DNS resolver does not answer: 127.0.0.1",
    });
    dns.script = zone({ "a.test": { TXT: ["there"] } });
    expect(answerOf(await world.validator.txt({ tenant: "t", name: "a.test" })).records).toEqual(["there"]);
  });

  test("when a child is killed: its questions fail, those that wait are answered by the next one", async () => {
    await using web = await listen(silent);
    await using world = await openWorld({ allow: loopback, http01Port: web.port, limits: { running: 2 } });
    const [first, second] = [world.validator.http(asked), world.validator.http(asked)].map((question) =>
      question.catch((error: unknown) => error),
    );
    const waiting = world.validator.txt({ tenant: "u", name: "localhost" });
    await until(() => web.connections() === 2);
    for (const pid of await validatorPids()) process.kill(pid, "SIGKILL");
    expect([await first, await second]).toMatchObject([unavailable, unavailable]);
    expect(answerOf(await waiting)).toEqual({ records: [] });
    expect(world.events.told.map(({ event }) => event)).toEqual(["validator.started", "validator.ended", "validator.started"]);
    expect(world.validator.health().ready).toBe(true);
  });

  test("when a child hangs: it is killed and replaced", async () => {
    await using web = await listenHttp((_, response) => void response.end("there"));
    await using world = await openWorld({ allow: loopback, http01Port: web.port, times: { totalMs: 1000, graceMs: 1000 } });
    const [hung] = await validatorPids();
    process.kill(hung ?? 0, "SIGSTOP");
    await expect(world.validator.http(asked)).rejects.toMatchObject(unavailable);
    expect(world.validator.health()).toMatchObject({ ready: false });
    await until(() => world.validator.health().ready);
    expect(answerOf(await world.validator.http(asked)).status).toBe(200);
    expect(await validatorPids()).not.toContain(hung);
    expect(world.events.told.map(({ event }) => event)).toEqual(["validator.started", "validator.ended", "validator.started"]);
  });

  test("when more wait than may, or a turn does not come in time", async () => {
    await using web = await listen(silent);
    await using world = await openWorld({
      allow: loopback,
      http01Port: web.port,
      limits: { running: 1, waiting: 1 },
      times: { queueMs: 300 },
    });
    const running = world.validator.http(asked).catch((error: unknown) => error);
    const waiting = world.validator.http(asked);
    await expect(world.validator.http(asked)).rejects.toMatchObject({ ...unavailable, detail: expect.stringContaining("as many as may") });
    await expect(waiting).rejects.toMatchObject({ ...unavailable, detail: "no turn came within 300 ms" });
    await world[Symbol.asyncDispose]();
    expect(await running).toMatchObject(unavailable);
  });

  test("when four questions are at an address already, or two of the same tenant (AV-5)", async () => {
    await using web = await listen(silent);
    await using world = await openWorld({ allow: loopback, http01Port: web.port, times: { connectMs: 1000 } });
    const ask = (tenant: string) => world.validator.http({ ...asked, tenant });
    const busy = { ...unavailable, detail: "other questions to 127.0.0.1 are under way" };
    const four = ["t", "t"].map((tenant) => ask(tenant).catch((error: unknown) => error));
    await until(() => web.connections() === 2);
    // Two of one tenant are as many as may, whatever else is free.
    await expect(ask("t")).rejects.toMatchObject(busy);
    four.push(...["u", "u"].map((tenant) => ask(tenant).catch((error: unknown) => error)));
    await until(() => web.connections() === 4);
    await expect(ask("v")).rejects.toMatchObject(busy);
    expect(web.connections()).toBe(4);
    await world[Symbol.asyncDispose]();
    await Promise.all(four);
  });

  test("when the service is stopping; and no process is left", async () => {
    await using web = await listen(silent);
    const world = await openWorld({ allow: loopback, http01Port: web.port });
    const running = world.validator.http(asked).catch((error: unknown) => error);
    await until(() => web.connections() === 1);
    await world[Symbol.asyncDispose]();
    expect(await running).toMatchObject({ ...unavailable, detail: "the service is stopping" });
    await expect(world.validator.http(asked)).rejects.toMatchObject(unavailable);
    expect(await validatorPids()).toEqual([]);
    expect(world.events.told.map(({ event }) => event)).toEqual(["validator.started"]);
  });
});

test("500 servers that drip leave the questions of others answered (S-05)", async () => {
  let dripping = 0;
  const timers = new Set<NodeJS.Timeout>();
  // On every address of 127.0.0.0/8: each dripping server has one of its own, so that the cap of an address does not help.
  await using web = await listenHttp(
    ({ headers, socket }, response) => {
      if (headers.host?.startsWith("honest")) return void response.end("there");
      dripping += 1;
      response.writeHead(200).write("x");
      const timer = setInterval(() => response.write("x"), 100);
      timers.add(timer);
      socket.on("close", () => {
        clearInterval(timer);
        dripping -= 1;
      });
    },
    { host: "0.0.0.0" },
  );
  await using dns = await startDnsServer(({ name, type }) => {
    const index = Number(/^drip(\d+)\.test$/.exec(name)?.[1] ?? 999);
    return { answers: type === "A" ? [{ type: "A", name, data: `127.1.${index >> 8}.${index & 255}` }] : [] };
  });
  await using world = await openWorld({
    allow: loopback,
    http01Port: web.port,
    dnsServers: [dns.text],
    times: { totalMs: 4000, dnsTriesMs: [500, 1000, 2000] },
  });
  const drips = Array.from({ length: 500 }, (_, index) =>
    world.validator.http({ tenant: `slow${index % 40}`, host: `drip${index}.test`, path: "/" }).catch((error: unknown) => error),
  );
  await until(() => dripping >= 200);
  const honest = Array.from({ length: 20 }, () => world.validator.http({ tenant: "honest", host: "honest.test", path: "/" }));
  for (const outcome of await Promise.all(honest)) expect(answerOf(outcome).status).toBe(200);
  // The second half of the slow ones is still at it.
  expect(dripping).toBeGreaterThan(0);
  for (const outcome of await Promise.all(drips)) {
    expect(outcome).toMatchObject({ failure: { final: false } });
  }
});

describe("the child", () => {
  test("gets nothing of our environment, and nothing of the disk but the code", async () => {
    process.env["HTTP_PROXY"] = "http://127.0.0.1:1";
    process.env["NODE_OPTIONS"] = "--no-warnings";
    try {
      await using world = await openWorld({ allow: loopback });
      const [pid] = await validatorPids();
      const environment = (await readFile(`/proc/${pid}/environ`, "utf8")).split("\0").map((line) => line.split("=")[0]);
      expect(
        environment.filter((name) => !["PATH", "LANG", "NODE_CHANNEL_FD", "NODE_CHANNEL_SERIALIZATION_MODE", ""].includes(name ?? "")),
      ).toEqual([]);
      expect(await readFile(`/proc/${pid}/cmdline`, "utf8")).toMatch(/\0--permission\0/);
      expect(world.validator.health().ready).toBe(true);
    } finally {
      delete process.env["HTTP_PROXY"];
      delete process.env["NODE_OPTIONS"];
    }
  });

  test("does not end by the signals that reach a whole process group", async () => {
    await using dns = await startDnsServer(zone({ "a.test": { TXT: ["there"] } }));
    await using world = await openWorld({ dnsServers: [dns.text] });
    for (const pid of await validatorPids()) for (const signal of ["SIGINT", "SIGTERM"] as const) process.kill(pid, signal);
    expect(answerOf(await world.validator.txt({ tenant: "t", name: "a.test" })).records).toEqual(["there"]);
    expect(world.events.told.map(({ event }) => event)).toEqual(["validator.started"]);
  });
});

test("no child outlives a parent that was killed", async () => {
  const program = fileURLToPath(new URL("validator-child.ts", import.meta.url));
  const parent = spawn(process.execPath, [program], { stdio: ["ignore", "pipe", "inherit"] });
  const printed = await new Promise<string>((resolve) => parent.stdout.once("data", (data: Buffer) => resolve(data.toString())));
  const child = Number(printed);
  expect(child).toBeGreaterThan(0);
  parent.kill("SIGKILL");
  await until(() => {
    try {
      process.kill(child, 0);
      return false;
    } catch {
      return true;
    }
  });
});

test("readiness says what the operator opened beyond public addresses (S-02)", async () => {
  await using world = await openWorld({ allow: loopback });
  expect(world.validator.health().detail).toContain("the operator lists 127.0.0.0/8, ::1/128");
  await using closed = await openWorld({});
  expect(closed.validator.health().detail).not.toContain("lists");
});

test.for(["resolver.example.org", "192.0.2.53:99999", ""])("a resolver that is none refuses the start by its option: %j", async (text) => {
  const options = { http01Port: 80, tlsAlpn01Port: 443, dnsServers: [text], policy: policyOf([]) };
  await expect(openValidator(options, { events: recordedEvents() })).rejects.toMatchObject({
    code: "refusedToStart",
    detail: expect.stringContaining("CHANCERY_DNS_SERVERS"),
  });
});
