import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { newOrder } from "../../src/acme/new-order.ts";
import type { Account } from "../../src/acme/account.ts";
import type { Directory } from "../../src/acme/directory.ts";
import type { Order } from "../../src/acme/order.ts";
import { readAuthorization } from "../../src/acme/read-authorization.ts";
import type { JsonObject } from "../../src/jose/json.ts";
import { parseCertificate } from "../../src/pki/certificate.ts";
import { type AcmeGround, acmeGround, asking, finalized, meet, readyOrder, standing } from "../support/acme-world.ts";
import { certificateOfOrder } from "../../src/acme/certificate.ts";

let ground: AcmeGround;
let account: Account;
beforeAll(async () => {
  ground = await acmeGround();
  account = await ground.newAccount();
});
afterAll(() => ground[Symbol.asyncDispose]());

const order = (payload: JsonObject, { by = account, at = ground.acme, directory = ground.directory } = {}) =>
  newOrder(at, directory, by, payload);

const dated = (seconds: number) => `${new Date(ground.clock.now().getTime() + seconds * 1000).toISOString().slice(0, 19)}Z`;
const dayAhead = 86_400;

test.for([
  { name: "one identifier", names: ["one.example.org"] },
  { name: "100 identifiers", names: Array.from({ length: 100 }, (_, index) => `n${String(index).padStart(3, "0")}.example.org`) },
  { name: "a name with its wildcard (AO-9)", names: ["*.both.example.org", "both.example.org"] },
  { name: "addresses", names: ["192.0.2.1", "2001:db8::1"] },
])("$name make an order with an authorization for each (AO-1, AO-41)", async ({ names }) => {
  const { order: made, created } = await order(asking(...names));
  expect(created).toBe(true);
  expect(made).toMatchObject({ status: "pending", profile: "server", accountId: account.id });
  expect(made.identifiers.map(({ value }) => value).toSorted()).toEqual([...names].toSorted());
  expect(made.expiresAt.getTime() - made.createdAt.getTime()).toBe(7 * 86_400_000);
  expect(await standing(ground.other, account, made)).toEqual(made);
  const authorizations = await Promise.all(made.authorizations.map((id) => readAuthorization(ground.other, account, id)));
  expect(authorizations.map((each) => `${each?.wildcard ? "*." : ""}${each?.identifier.value ?? ""}`)).toEqual(
    made.identifiers.map(({ value }) => value),
  );
  for (const each of authorizations) {
    const kinds = each?.challenges.map(({ type }) => type);
    const wanted = each?.wildcard
      ? ["dns-01"]
      : each?.identifier.type === "ip"
        ? ["http-01", "tls-alpn-01"]
        : ["http-01", "dns-01", "tls-alpn-01"];
    expect([each?.status, kinds]).toEqual(["pending", wanted]);
    for (const { token } of each?.challenges ?? []) expect(token).toMatch(/^[A-Za-z0-9_-]{43}$/);
  }
  const tokens = authorizations.flatMap((each) => each?.challenges.map(({ token }) => token) ?? []);
  expect(new Set(tokens).size).toBe(tokens.length);
});

/** 64 equal requests at once over two instances. */
const race = async (name: string) => {
  const both = Array.from({ length: 64 }, (_, index) => order(asking(name), { at: index % 2 === 0 ? ground.acme : ground.other }));
  const ended = await Promise.all(both);
  return { ids: new Set(ended.map((each) => each.order.id)).size, created: ended.filter((each) => each.created).length };
};

const run = (sql: string) => ground.acme.database.read((template) => template.unsafe(sql));

describe("an equal order that is open (AO-13)", () => {
  test("is found again; another account, name or date makes another", async () => {
    const first = await order(asking("equal.example.org"));
    const again = await order({ identifiers: [{ type: "dns", value: "EQUAL.example.org" }] }, { at: ground.other });
    expect([again.created, again.order.id]).toEqual([false, first.order.id]);
    const others = [
      await order(asking("equal.example.org"), { by: await ground.newAccount() }),
      await order(asking("equal.example.org", "more.example.org")),
      await order({ ...asking("equal.example.org"), notAfter: dated(dayAhead) }),
      await order({ ...asking("equal.example.org"), notAfter: dated(dayAhead + 1) }),
    ];
    expect(new Set([first, ...others].map((each) => each.order.id)).size).toBe(5);
  });

  test("is made anew once the first is issued, or has expired", async () => {
    const issued = await finalized(ground.acme, account, await readyOrder(ground, account, "anew.example.org"));
    const second = await order(asking("anew.example.org"));
    expect(second.created).toBe(true);
    expect(second.order.id).not.toBe(issued.id);
    ground.clock.aheadSeconds += 8 * 86_400;
    const third = await order(asking("anew.example.org"));
    expect(third.created).toBe(true);
    expect((await standing(ground.acme, account, second.order)).status).toBe("invalid");
  });

  test("64 at once over two instances make one order; without the row of open orders they make several (AK-8)", async () => {
    for (let round = 0; round < 5; round += 1) expect(await race(`race-${round}.example.org`)).toEqual({ ids: 1, created: 1 });
    await run(`create function forget_open_order() returns trigger language plpgsql as
      $$ begin new.digest = sha256(new.order_id::bytea); return new; end $$`);
    await run("create trigger forget before insert on acme_open_order for each row execute function forget_open_order()");
    expect((await race("control.example.org")).ids).toBeGreaterThan(1);
    await run("drop trigger forget on acme_open_order");
  });
});

describe("an authorization that is valid (AO-14)", () => {
  test("is used again by the account's next order, which is ready at once, and not by another account's", async () => {
    const first = await readyOrder(ground, account, "reuse.example.org");
    const second = await order(asking("reuse.example.org", "fresh.example.org"));
    expect(second.order.status).toBe("pending");
    expect(second.order.authorizations).toContain(first.authorizations[0]);
    const longer = await order({ ...asking("reuse.example.org"), notAfter: dated(dayAhead) });
    expect([longer.created, longer.order.status, longer.order.authorizations]).toEqual([true, "ready", first.authorizations]);
    expect(await standing(ground.other, account, longer.order)).toEqual(longer.order);
    const stranger = await order(asking("reuse.example.org"), { by: await ground.newAccount() });
    expect(stranger.order.authorizations).not.toEqual(first.authorizations);
    // Neither does a wildcard use that of the name below it.
    expect((await order(asking("*.reuse.example.org"))).order.status).toBe("pending");
  });

  test("is not used again in its last hour, and an order lasts no longer than what it rests on", async () => {
    const first = await readyOrder(ground, account, "last.example.org");
    const until = (await readAuthorization(ground.acme, account, first.authorizations[0] ?? ""))?.expiresAt.getTime() ?? 0;
    ground.clock.aheadSeconds += (until - ground.clock.now().getTime()) / 1000 - 3_700;
    const late = await order(asking("last.example.org"));
    expect([late.order.status, late.order.expiresAt.getTime()]).toEqual(["ready", until]);
    ground.clock.aheadSeconds += 200;
    expect((await order({ ...asking("last.example.org"), notAfter: dated(dayAhead) })).order.status).toBe("pending");
  });
});

describe("notBefore and notAfter", () => {
  test.for([
    { name: "no time", notAfter: () => "tomorrow" },
    { name: "a day without its time", notAfter: () => "2030-01-31" },
    { name: "the 31st of April", notAfter: () => "2030-04-31T00:00:00Z" },
    { name: "a number", notAfter: () => 1_900_000_000 },
    { name: "notAfter in the past", notAfter: () => dated(-10) },
    { name: "notBefore in the past, beyond the tolerance", notBefore: () => dated(-310) },
    { name: "reversed", notBefore: () => dated(3_000), notAfter: () => dated(2_000) },
    { name: "a second beyond the profile", notBefore: () => dated(0), notAfter: () => dated(90 * dayAhead) },
    { name: "beyond the profile and the tolerance", notAfter: () => dated(90 * dayAhead + 310) },
    { name: "notBefore more than an hour ahead (S-24)", notBefore: () => dated(3_601) },
  ])("that are $name are malformed (AO-11)", async ({ notBefore, notAfter }) => {
    const dates = { ...(notBefore && { notBefore: notBefore() }), ...(notAfter && { notAfter: notAfter() }) };
    await expect(order({ ...asking("dates.example.org"), ...dates })).rejects.toMatchObject({ code: "malformed" });
  });

  test.for([
    { name: "both", notBefore: 0, notAfter: 90 * dayAhead - 1 },
    { name: "both, the first ahead", notBefore: 3_600, notAfter: 5 * dayAhead },
    { name: "notAfter alone", notAfter: 10 * dayAhead },
    { name: "notAfter alone, by a clock that is ahead of ours", notAfter: 90 * dayAhead + 290 },
    { name: "notBefore alone, by a clock that is behind ours", notBefore: -290 },
  ])(
    "that are acceptable stand exactly in the certificate, also when it is finalized later: $name (AO-12)",
    async ({ name, notBefore, notAfter }) => {
      const host = `exact-${name.replaceAll(/[^a-z]+/g, "-")}.example.org`;
      const asked = {
        ...(notBefore !== undefined && { notBefore: dated(notBefore) }),
        ...(notAfter !== undefined && { notAfter: dated(notAfter) }),
      };
      const { order: made } = await order({ ...asking(host), ...asked });
      await meet(ground, account, made);
      ground.clock.aheadSeconds += 2_700;
      const ended = await finalized(ground.acme, account, made);
      expect(ended.status).toBe("valid");
      const found = await certificateOfOrder(ground.other, account, made.id);
      const certificate = parseCertificate(found?.certificate ?? new Uint8Array());
      if (asked.notBefore !== undefined) expect(certificate.notBefore).toEqual(new Date(asked.notBefore));
      if (asked.notAfter !== undefined) expect(certificate.notAfter).toEqual(new Date(asked.notAfter));
    },
  );
});

test.for([
  { name: "a notBefore that lies more than an hour back", dates: () => ({ notBefore: dated(0) }) },
  { name: "a notAfter that is over", dates: () => ({ notAfter: dated(3_600) }) },
])("$name by the time of finalize is refused with badCSR (S-24)", async ({ dates }) => {
  const host = `late${ground.clock.aheadSeconds}.example.org`;
  const { order: made } = await order({ ...asking(host), ...dates() });
  await meet(ground, account, made);
  ground.clock.aheadSeconds += 3_700;
  await expect(finalized(ground.acme, account, made)).rejects.toMatchObject({ code: "badCSR" });
});

test("an equal order with an hour left is given again, one with less makes room for a new one", async () => {
  const { order: made } = await order(asking("nearly-over.example.org"));
  ground.clock.aheadSeconds += 7 * dayAhead - 3_660;
  expect((await order(asking("nearly-over.example.org"))).order.id).toBe(made.id);
  ground.clock.aheadSeconds += 120;
  expect((await order(asking("nearly-over.example.org"))).created).toBe(true);
});

test("an authorization shown by a challenge that the directory offers no more is not used again", async () => {
  await readyOrder(ground, account, "by-http.example.org");
  const directory: Directory = { ...ground.directory, challengeTypes: ["dns-01"] };
  const asked = { ...asking("by-http.example.org"), notAfter: dated(5 * dayAhead) };
  expect((await order(asked, { directory })).order.status).toBe("pending");
  expect((await order(asked)).order.status).toBe("ready");
});

test("a renewal that is due is ordered beyond the limit once; what is ordered for it later counts (RFC 9773 §5)", async () => {
  const by = await ground.newAccount();
  const ended = await finalized(ground.acme, by, await readyOrder(ground, by, "renewed.example.org"));
  const replaces = await certificateId(ended, by);
  ground.clock.aheadSeconds += 80 * dayAhead;
  const directory: Directory = { ...ground.directory, limits: { newOrdersPerAccount: { count: 1, seconds: 30 * dayAhead } } };
  const renewal = () => order({ ...asking("renewed.example.org"), replaces }, { by, directory });
  expect((await renewal()).created).toBe(true);
  expect((await renewal()).created).toBe(false);
  await expect(renewal()).rejects.toMatchObject({ code: "rateLimited" });
});

describe("what could not end well is refused at once", () => {
  test.for([
    { name: "a wildcard where dns-01 is not offered", types: ["http-01"] as const, names: ["*.w.example.org"] },
    { name: "an address where dns-01 alone is offered", types: ["dns-01"] as const, names: ["192.0.2.9"] },
  ])("$name: rejectedIdentifier (AO-7)", async ({ types, names }) => {
    const directory = { ...ground.directory, challengeTypes: types };
    await expect(order(asking(...names), { directory })).rejects.toMatchObject({ code: "rejectedIdentifier" });
  });

  test("the service's own host, and a wildcard over it: rejectedIdentifier (AO-7)", async () => {
    const at = { ...ground.acme, ca: { ...ground.acme.ca, ownHost: "ca.example.net" } };
    for (const name of ["ca.example.net", "*.example.net"]) {
      await expect(order(asking(name), { at })).rejects.toMatchObject({ code: "rejectedIdentifier" });
    }
    expect((await order(asking("other.example.net"), { at })).created).toBe(true);
  });

  test("a profile that is not the directory's: invalidProfile (AP-1)", async () => {
    await expect(order({ ...asking("p.example.org"), profile: "mtls" })).rejects.toMatchObject({ code: "invalidProfile" });
    expect((await order({ ...asking("p.example.org"), profile: "server" })).order.profile).toBe("server");
  });
});

const certificateId = async (issued: Order, by = account): Promise<string> => {
  const found = await certificateOfOrder(ground.acme, by, issued.id);
  const { authorityKeyIdentifier = new Uint8Array(), serial } = parseCertificate(found?.certificate ?? new Uint8Array());
  return [authorityKeyIdentifier, Buffer.from(serial, "hex")].map((octets) => Buffer.from(octets).toString("base64url")).join(".");
};
const issuedFor = async (name: string, by = account) => finalized(ground.acme, by, await readyOrder(ground, by, name));

describe("replaces (RFC 9773 §5)", () => {
  test("stands in the order at every read; a second order that replaces the same certificate is alreadyReplaced (AI-4)", async () => {
    const replaces = await certificateId(await issuedFor("r1.example.org"));
    const { order: made } = await order({ ...asking("r1.example.org"), replaces });
    expect([made.replaces, (await standing(ground.other, account, made)).replaces]).toEqual([replaces, replaces]);
    expect((await order({ ...asking("r1.example.org"), replaces })).order.id).toBe(made.id);
    await expect(order({ ...asking("r1.example.org", "r2.example.org"), replaces })).rejects.toMatchObject({ code: "alreadyReplaced" });
    const ended = await finalized(ground.acme, account, made);
    expect([ended.status, ended.replaces]).toEqual(["valid", replaces]);
    await expect(order({ ...asking("r1.example.org", "r3.example.org"), replaces })).rejects.toMatchObject({ code: "alreadyReplaced" });
  });

  test("a replacement that failed frees the certificate (AI-4)", async () => {
    const replaces = await certificateId(await issuedFor("freed.example.org"));
    const { order: first } = await order({ ...asking("freed.example.org", "no.example.org"), replaces });
    await expect(order({ ...asking("freed.example.org"), replaces })).rejects.toMatchObject({ code: "alreadyReplaced" });
    ground.clock.aheadSeconds += 8 * 86_400;
    expect((await standing(ground.acme, account, first)).status).toBe("invalid");
    expect((await order({ ...asking("freed.example.org"), replaces })).created).toBe(true);
  });

  test("of 32 different orders at once over two instances that replace one certificate one is taken (AK-8)", async () => {
    for (let round = 0; round < 3; round += 1) {
      const replaces = await certificateId(await issuedFor(`race-${round}.r.example.org`));
      const outcomes = await Promise.allSettled(
        Array.from({ length: 32 }, (_, index) =>
          order(
            { ...asking(`race-${round}.r.example.org`, `n${index}.example.org`), replaces },
            { at: index % 2 ? ground.acme : ground.other },
          ),
        ),
      );
      const codes = outcomes.map((outcome) => (outcome.status === "fulfilled" ? "taken" : (outcome.reason as { code: string }).code));
      expect(codes.toSorted()).toEqual([...Array<string>(31).fill("alreadyReplaced"), "taken"]);
    }
  });

  test("a certificate of another service has no effect, and is reflected (AI-5)", async () => {
    const replaces = "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE";
    for (const name of ["f1.example.org", "f2.example.org"]) {
      expect((await order({ ...asking(name), replaces })).order.replaces).toBe(replaces);
    }
  });

  test.for([
    { name: "another account's", asked: "mine.example.org", stranger: true },
    { name: "one that shares no name", asked: "quite-other.example.org", stranger: false },
  ])("a certificate that is $name is malformed, and the detail says replaces (AI-5, AT-13)", async ({ asked, stranger }) => {
    const by = await ground.newAccount();
    const replaces = await certificateId(await issuedFor("mine.example.org", by), by);
    const attempt = order({ ...asking(asked), replaces }, { by: stranger ? account : by });
    await expect(attempt).rejects.toMatchObject({ code: "malformed", detail: expect.stringContaining("replaces") });
  });

  test.for(["", "a", "a.b.c", "*.AIdlQyE", 7, null])("%j is malformed, and the detail says replaces (AT-13)", async (replaces) => {
    const attempt = order({ ...asking("id.example.org"), replaces });
    await expect(attempt).rejects.toMatchObject({ code: "malformed", detail: expect.stringContaining("replaces") });
  });
});
