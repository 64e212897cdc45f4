// The decorators in @peculiar/x509 need it loaded before them.
// oxlint-disable-next-line import/no-unassigned-import
import "reflect-metadata";
import { createHash } from "node:crypto";
import * as x509 from "@peculiar/x509";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { Account } from "../../src/acme/account.ts";
import type { Acme } from "../../src/acme/acme.ts";
import { certificateOfOrder } from "../../src/acme/certificate.ts";
import { changeKey } from "../../src/acme/change-key.ts";
import type { Directory } from "../../src/acme/directory.ts";
import { finalize } from "../../src/acme/finalize.ts";
import { newOrder } from "../../src/acme/new-order.ts";
import type { Order } from "../../src/acme/order.ts";
import { deactivateAuthorization } from "../../src/acme/read-authorization.ts";
import { updateAccount } from "../../src/acme/update-account.ts";
import { openCa } from "../../src/ca/ca.ts";
import { settle, settleUnfinished } from "../../src/ca/settle.ts";
import { timekeeper } from "../../src/ca/timekeeper.ts";
import { Fault } from "../../src/fault.ts";
import type { JsonObject } from "../../src/jose/json.ts";
import { parseCertificate } from "../../src/pki/certificate.ts";
import { certificateKeys, certificateRequest, encoded, signed, signingKey } from "../support/acme-client.ts";
import { type AcmeGround, acmeGround, asking, csrFor, finalized, meet, readyOrder, standing } from "../support/acme-world.ts";
import { issuancePoints } from "../support/failpoints.ts";
import { brokenInvariants } from "../support/invariants.ts";

let ground: AcmeGround;
let account: Account;
beforeAll(async () => {
  ground = await acmeGround();
  account = await ground.newAccount();
});
afterEach(() => void (ground.on.reach = undefined));
afterAll(() => ground[Symbol.asyncDispose]());

let made = 0;
const name = () => `f${(made += 1)}.example.org`;
const ready = async (...names: readonly string[]) => await readyOrder(ground, account, ...(names.length > 0 ? names : [name()]));
const valueOf = ({ identifiers }: Order) => identifiers.map(({ value }) => value);

/** What stands of an order's issuance. */
async function issuanceOf({ requestId }: Order) {
  const [row] = await ground.acme.database.read(
    (sql) => sql<{ attempts: number; certificates: number; records: number }[]>`
      select count(*)::integer as attempts, count(c.certificate)::integer as certificates, (
        select count(*)::integer from audit_record, lateral (select convert_from(bytes, 'UTF8')::jsonb as e) j
        where e ->> 'operation' = 'certificate.issue' and e -> 'object' ->> 'request' = encode(${requestId}, 'hex')) as records
      from issuance i left join certificate c using (authority, serial) where i.request_id = ${requestId}`,
  );
  return row;
}
const issuedOnce = { attempts: 1, certificates: 1, records: 1 };
const untouched = { attempts: 0, certificates: 0, records: 0 };

const hsmAway = (point: string) => () => {
  throw new Fault("hsmUnavailable", `the token is away at ${point}`);
};

describe("an order that is ready", () => {
  test("is valid when its certificate is recorded, and that is read everywhere at once, the same each time (AF-1, AC-1)", async () => {
    const order = await ready("chain.example.org", "*.chain.example.org");
    const ended = await finalized(ground.acme, account, order);
    expect(ended).toMatchObject({ id: order.id, status: "valid" });
    expect(await standing(ground.other, account, order)).toEqual(ended);
    const reads = await Promise.all([ground.acme, ground.other].map((acme) => certificateOfOrder(acme, account, order.id)));
    expect(reads[0]).toEqual(reads[1]);
    const { certificate = new Uint8Array(), chain = [] } = reads[0] ?? {};
    expect(parseCertificate(certificate).names.map(({ value }) => value)).toEqual(valueOf(order));
    expect(chain).toHaveLength(1);
    expect(await issuanceOf(order)).toEqual(issuedOnce);
    const stranger = await ground.newAccount();
    expect(await certificateOfOrder(ground.acme, stranger, order.id)).toBeUndefined();
    expect(await finalize(ground.acme, stranger, order.id, await csrFor(...valueOf(order)), "test")).toBeUndefined();
  });

  test.for([
    { name: "pending", make: async () => (await newOrder(ground.acme, ground.directory, account, asking(name()))).order },
    {
      name: "valid",
      make: async () => {
        const order = await ready();
        await finalized(ground.acme, account, order);
        return order;
      },
    },
    {
      name: "invalid",
      make: async () => {
        const order = await ready();
        await deactivateAuthorization(ground.acme, account, order.authorizations[0] ?? "", "test");
        return order;
      },
    },
    {
      name: "expired",
      make: async () => {
        const order = await ready();
        ground.clock.aheadSeconds += 8 * 86_400;
        return order;
      },
    },
  ])("is what finalize wants; one that is $name is orderNotReady (AF-2)", async ({ make }) => {
    const order = await make();
    const before = await issuanceOf(order);
    await expect(finalized(ground.acme, account, order)).rejects.toMatchObject({ code: "orderNotReady" });
    expect(await issuanceOf(order)).toEqual(before);
  });
});

const basicConstraints = (ca: boolean) => new x509.BasicConstraintsExtension(ca, undefined, true);
const text = (value: string) => encoded(Buffer.from(value));
const bytes = async (names: readonly string[]) => Buffer.from(await certificateRequest(names), "base64url");
const damaged = (der: Buffer) => {
  const last = der.length - 1;
  der[last] = (der[last] ?? 0) ^ 1;
  return der;
};
const extensionsOf = (der: Uint8Array) => new x509.X509Certificate(der).extensions.map(({ type, critical }) => `${type} ${critical}`);

/** A CSR for the names, with a name of another kind beside them. */
async function besides(names: readonly string[], type: "email" | "url" | "upn", value: string): Promise<string> {
  const all = [...names.map((dns) => new x509.GeneralName("dns", dns)), new x509.GeneralName(type, value)];
  return await certificateRequest([], { extensions: [new x509.SubjectAlternativeNameExtension(all)] });
}

describe("the CSR", () => {
  const rows: { name: string; code: string; csr: (...names: string[]) => Promise<unknown> }[] = [
    { name: "missing (AF-4)", code: "malformed", csr: async () => undefined },
    { name: "a number (AF-4)", code: "malformed", csr: async () => 7 },
    { name: "PEM (AF-4)", code: "malformed", csr: async () => "-----BEGIN CERTIFICATE REQUEST-----" },
    { name: "padded base64 (AF-4)", code: "malformed", csr: async () => "MAA=" },
    { name: "no DER (AF-4)", code: "malformed", csr: async () => text("hello") },
    {
      name: "followed by an octet (AF-4)",
      code: "malformed",
      csr: async (...names) => encoded(Buffer.from(`${(await bytes(names)).toString("hex")}00`, "hex")),
    },
    { name: "longer than 16 KiB (AF-4)", code: "malformed", csr: async () => encoded(new Uint8Array(16_385)) },
    { name: "DER of something else (AF-5)", code: "badCSR", csr: async () => "MAA" },
    { name: "with a signature of another request (AF-5)", code: "badCSR", csr: async (...names) => encoded(damaged(await bytes(names))) },
    {
      name: "signed over SHA-1 (AF-5)",
      code: "badCSR",
      csr: async (...names) => await certificateRequest(names, { hash: "SHA-1" }),
    },
    { name: "without one of the names (AF-6)", code: "badCSR", csr: async (first = "") => await certificateRequest([first]) },
    {
      name: "with one more name (AF-6)",
      code: "badCSR",
      csr: async (...names) => await certificateRequest([...names, "more.example.org"]),
    },
    {
      name: "with one more name as CN (AF-6)",
      code: "badCSR",
      csr: async (...names) => await certificateRequest(names, { commonName: "more.example.org" }),
    },
    {
      name: "with an address as CN that subjectAltName lacks (AF-7)",
      code: "badCSR",
      csr: async (...names) => await certificateRequest(names, { commonName: "192.0.2.1" }),
    },
    {
      name: "with CA:TRUE (AF-7)",
      code: "badCSR",
      csr: async (...names) => await certificateRequest(names, { extensions: [basicConstraints(true)] }),
    },
    { name: "with an e-mail address (AF-7)", code: "badCSR", csr: (...names) => besides(names, "email", "a@example.org") },
    { name: "with a URI (AF-7)", code: "badCSR", csr: (...names) => besides(names, "url", "https://www.example.org/") },
    { name: "with an otherName (AF-7)", code: "badCSR", csr: (...names) => besides(names, "upn", "a@example.org") },
    {
      name: "with subjectAltName twice (AF-7)",
      code: "badCSR",
      csr: async (...names) => {
        const san = new x509.SubjectAlternativeNameExtension(names.map((value) => new x509.GeneralName("dns", value)));
        return await certificateRequest(names, { extensions: [san] });
      },
    },
  ];
  test.for(rows)("$name is refused, and the order stays ready until a good one comes (AF-20)", async ({ code, csr }) => {
    const order = await ready(name(), name());
    const sent = await csr(...valueOf(order));
    const payload = sent === undefined ? {} : { csr: sent as string };
    await expect(finalize(ground.acme, account, order.id, payload, "test")).rejects.toMatchObject({ code });
    expect((await standing(ground.acme, account, order)).status).toBe("ready");
    expect(await issuanceOf(order)).toEqual(untouched);
    expect((await finalized(ground.other, account, order)).status).toBe("valid");
  });

  test.for([
    { name: "its names in the CN alone (AT-9)", parts: { commonName: true, san: false }, extensions: [] },
    { name: "a CN that is one of its names", parts: { commonName: true, san: true }, extensions: [] },
    {
      name: "key usages, must-staple and CA:FALSE (AF-8)",
      parts: { commonName: false, san: true },
      extensions: [
        basicConstraints(false),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
        new x509.ExtendedKeyUsageExtension(["1.3.6.1.5.5.7.3.3"]),
        new x509.Extension("1.3.6.1.5.5.7.1.24", false, new Uint8Array([0x30, 3, 2, 1, 5])),
      ],
    },
  ])("may have $name, and what the profile says is issued", async ({ parts, extensions }) => {
    const order = await ready();
    const [only = ""] = valueOf(order);
    const csr = await certificateRequest(parts.san ? [only] : [], { extensions, ...(parts.commonName && { commonName: only }) });
    expect((await finalize(ground.acme, account, order.id, { csr }, "test"))?.status).toBe("valid");
    const { certificate = new Uint8Array() } = (await certificateOfOrder(ground.acme, account, order.id)) ?? {};
    const plain = await ready();
    await finalized(ground.acme, account, plain);
    const other = await certificateOfOrder(ground.acme, account, plain.id);
    expect(extensionsOf(certificate)).toEqual(extensionsOf(other?.certificate ?? new Uint8Array()));
    expect(parseCertificate(certificate).names.map(({ value }) => value)).toEqual([only]);
  });

  test("with the key of an account, its own or another's, is a badCSR (AF-9)", async () => {
    const keys = await certificateKeys();
    const spki = new Uint8Array(await crypto.subtle.exportKey("spki", keys.publicKey));
    const order = await ready();
    await ground.acme.database.read(
      (sql) =>
        sql`insert into reserved_key (spki_sha256, kind, reserved_at) values (${createHash("sha256").update(spki).digest()}, 'account', now())`,
    );
    const csr = await certificateRequest(valueOf(order), { keys });
    await expect(finalize(ground.acme, account, order.id, { csr }, "test")).rejects.toMatchObject({ code: "badCSR" });
    expect((await standing(ground.acme, account, order)).status).toBe("ready");
    expect((await finalized(ground.acme, account, order)).status).toBe("valid");
  });
});

test("100 finalizes of one order over two instances: one signature, one certificate, one record; the rest read the same valid order (AK-2)", async () => {
  for (let round = 0; round < 3; round += 1) {
    const order = await ready();
    const payloads = await Promise.all([csrFor(...valueOf(order)), csrFor(...valueOf(order))]);
    const before = ground.signatures();
    const outcomes = await Promise.allSettled(
      Array.from({ length: 100 }, (_, index) => {
        const at = index % 2 === 0 ? ground.acme : ground.other;
        // In the last round half of them bring another key.
        return finalize(at, account, order.id, payloads[round === 2 ? (index % 4) >> 1 : 0] ?? {}, `request-${index}`);
      }),
    );
    const codes = outcomes.map((each) => (each.status === "fulfilled" ? each.value?.status : (each.reason as { code: string }).code));
    expect(codes.toSorted()).toEqual([...Array<string>(99).fill("orderNotReady"), "valid"]);
    expect(ground.signatures() - before).toBe(1);
    expect(await issuanceOf(order)).toEqual(issuedOnce);
    const valid = outcomes.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []))[0];
    expect(await standing(ground.other, account, order)).toEqual(valid);
  }
});

/** Gives the account another key (RFC 8555 §7.3.5). */
async function withNewKey(by: Account): Promise<Account> {
  const key = signingKey();
  const [url, accountUrl] = ["https://ca.example.org/key-change", `https://ca.example.org/acct/${by.id}`];
  const payload = signed(key, { alg: key.alg, jwk: key.jwk, url }, { account: accountUrl, oldKey: by.key.jwk }) as JsonObject;
  return await changeKey(ground.other, by, { payload, url, accountUrl, requestId: "test" });
}

/** Finalizes, with `act` done when all has been judged and just before the intent is recorded. */
const race = async (acme: Acme, order: Order, by: Account, act: () => Promise<unknown>) => {
  const recordIntent: Acme["ca"]["recordIntent"] = async (row) => {
    await act();
    return await acme.ca.recordIntent(row);
  };
  return await finalized({ ...acme, ca: { ...acme.ca, recordIntent } }, by, order);
};

describe("the guard stands in the statement that records the intent (AK-11)", () => {
  const ends: { name: string; act: (order: Order, by: Account) => Promise<unknown> }[] = [
    { name: "the account is deactivated", act: (_, by) => updateAccount(ground.other, by, { status: "deactivated" }, "test") },
    { name: "its key is changed", act: (_, by) => withNewKey(by) },
    {
      name: "an authorization is deactivated",
      act: ({ authorizations }, by) => deactivateAuthorization(ground.other, by, authorizations[0] ?? "", "test"),
    },
  ];

  test.for(ends)("$name: no certificate begins after that; with the guard off it does", async ({ act }) => {
    const by = await ground.newAccount();
    const order = await readyOrder(ground, by, name());
    await expect(race(ground.acme, order, by, () => act(order, by))).rejects.toMatchObject({
      code: expect.stringMatching(/^(policyDenied|orderNotReady)$/),
    });
    expect(await issuanceOf(order)).toEqual(untouched);

    const opened = await openCa({ ...ground.acme.ca, guard: (sql) => sql`true` });
    const unguarded = { ...ground.acme, ca: { ...opened, timekeeper: timekeeper(ground.clock, undefined) } };
    const second = await ground.newAccount();
    const control = await readyOrder(ground, second, name());
    expect((await race(unguarded, control, second, () => act(control, second))).status).toBe("valid");
    expect(await issuanceOf(control)).toEqual(issuedOnce);
  });

  test("an order that was begun before the deactivation may finish", async () => {
    const by = await ground.newAccount();
    const order = await readyOrder(ground, by, name());
    ground.on.reach = (point) =>
      point === "sign:before" ? updateAccount(ground.other, by, { status: "deactivated" }, "test").then(() => {}) : undefined;
    expect((await finalized(ground.acme, by, order)).status).toBe("valid");
  });

  test("a profile that is served no more: invalidProfile (AP-1)", async () => {
    const order = await ready();
    const profiles = new Map([...ground.acme.ca.profiles].filter(([profile]) => profile !== order.profile));
    const attempt = finalized({ ...ground.acme, ca: { ...ground.acme.ca, profiles } }, account, order);
    await expect(attempt).rejects.toMatchObject({ code: "invalidProfile" });
  });
});

describe("the token away", () => {
  test("before the intent: nothing was begun, the order stays ready, and the same request is good later (AF-11)", async () => {
    const order = await ready();
    ground.on.reach = (point) => {
      if (point === "intent:before") throw new Fault("databaseUnavailable", "the database is away");
    };
    await expect(finalized(ground.acme, account, order)).rejects.toMatchObject({ code: "databaseUnavailable" });
    ground.on.reach = undefined;
    expect((await standing(ground.other, account, order)).status).toBe("ready");
    expect((await finalized(ground.acme, account, order)).status).toBe("valid");
  });

  test("after it: the order is processing, never invalid, and valid as soon as the token is back (AF-11, W-28)", async () => {
    const order = await ready();
    ground.on.reach = (point) => {
      if (point === "sign:before") hsmAway(point)();
    };
    const ended = await finalized(ground.acme, account, order);
    expect(ended.status).toBe("processing");
    for (let round = 0; round < 3; round += 1) {
      await settleUnfinished(ground.acme.ca);
      expect((await standing(ground.other, account, order)).status).toBe("processing");
    }
    ground.on.reach = undefined;
    await settleUnfinished(ground.acme.ca);
    expect((await standing(ground.other, account, order)).status).toBe("valid");
    expect(await issuanceOf(order)).toEqual(issuedOnce);
    expect(ground.acme.ca.unfinished.size).toBe(0);
  });

  test("for many orders: one that cannot be settled holds up none of the others", async () => {
    const orders = await Promise.all([ready(), ready(), ready()]);
    const failing = new Set<string>();
    ground.on.reach = (point) => {
      if (point === "sign:before") hsmAway(point)();
    };
    for (const order of orders) expect((await finalized(ground.acme, account, order)).status).toBe("processing");
    for (const id of ground.acme.ca.unfinished.keys()) failing.add(id);
    expect(failing.size).toBe(3);
    let calls = 0;
    // The first that is tried in each round fails.
    ground.on.reach = (point) => {
      if (point === "sign:before" && (calls += 1) === 1) hsmAway(point)();
    };
    await settleUnfinished(ground.acme.ca);
    await settleUnfinished(ground.acme.ca);
    for (const order of orders) expect((await standing(ground.other, account, order)).status).toBe("valid");
  });

  test("and finalize while it is processing waits for the end, then is orderNotReady (AF-3)", async () => {
    const order = await ready();
    ground.on.reach = (point) => {
      if (point === "sign:before") hsmAway(point)();
    };
    await finalized(ground.acme, account, order);
    ground.on.reach = undefined;
    const second = finalized(ground.other, account, order);
    await settleUnfinished(ground.acme.ca);
    await expect(second).rejects.toMatchObject({ code: "orderNotReady", detail: expect.stringContaining("valid") });
  });

  test("for more than an hour: the attempt is closed and begun anew; dates that were asked for stay (AO-12, XI-1)", async () => {
    const from = `${new Date(ground.clock.now().getTime() + 60_000).toISOString().slice(0, 19)}Z`;
    const until = `${new Date(ground.clock.now().getTime() + 20 * 86_400_000).toISOString().slice(0, 19)}Z`;
    const plain = await ready();
    const [host = ""] = valueOf(plain);
    const { order: dated } = await newOrder(ground.acme, ground.directory, account, { ...asking(host), notBefore: from, notAfter: until });
    ground.on.reach = (point) => {
      if (point === "sign:before") hsmAway(point)();
    };
    for (const order of [plain, dated]) expect((await finalized(ground.acme, account, order)).status).toBe("processing");
    ground.on.reach = undefined;
    ground.clock.aheadSeconds += 3 * 3_600;
    expect(await settle(ground.other.ca)).toMatchObject({ failed: 0 });
    for (const order of [plain, dated]) expect((await standing(ground.acme, account, order)).status).toBe("valid");
    expect(await issuanceOf(plain)).toEqual({ attempts: 2, certificates: 1, records: 2 });
    expect(await issuanceOf(dated)).toEqual(issuedOnce);
    const { certificate = new Uint8Array() } = (await certificateOfOrder(ground.acme, account, dated.id)) ?? {};
    const { notBefore, notAfter } = parseCertificate(certificate);
    expect([notBefore, notAfter]).toEqual([new Date(from), new Date(until)]);
    expect(await ground.acme.database.read((sql) => brokenInvariants(sql))).toEqual([]);
  });
});

describe("a failure at each step of issuance (AK-10)", () => {
  test.for(issuancePoints)("%s: the order ends valid with one certificate, and was never invalid", async (point) => {
    const order = await ready();
    ground.on.reach = (reached) => {
      if (reached === point) throw new Error(`failed at ${point}`);
    };
    const begun = await finalized(ground.acme, account, order).catch(() => undefined);
    ground.on.reach = undefined;
    const seen = (await standing(ground.other, account, order)).status;
    expect(["ready", "processing", "valid"]).toContain(seen);
    // What the client was told is what stands, but where nobody could tell.
    if (begun) expect(begun.status).toBe(seen);
    if (seen === "ready") expect((await finalized(ground.other, account, order)).status).toBe("valid");
    await settleUnfinished(ground.acme.ca);
    expect((await standing(ground.other, account, order)).status).toBe("valid");
    expect(await issuanceOf(order)).toEqual(issuedOnce);
  });

  test("an instance that died behind the intent: the same request to another ends it at once, one with another CSR does not (AF-3, AM-2)", async () => {
    const order = await ready();
    ground.on.reach = (point) => {
      if (point === "sign:before") throw new Error("died");
    };
    const payload = await csrFor(...valueOf(order));
    await finalize(ground.acme, account, order.id, payload, "test").catch(() => {});
    ground.acme.ca.unfinished.clear();
    ground.on.reach = undefined;
    await expect(finalized(ground.other, account, order)).rejects.toMatchObject({ code: "orderNotReady" });
    expect((await standing(ground.other, account, order)).status).toBe("processing");
    await expect(finalize(ground.other, account, order.id, payload, "test")).rejects.toMatchObject({
      code: "orderNotReady",
      detail: expect.stringContaining("valid"),
    });
    expect((await standing(ground.other, account, order)).status).toBe("valid");
    expect(await issuanceOf(order)).toEqual(issuedOnce);
  });

  test("an instance that died behind the intent: another settles its order", async () => {
    const order = await ready();
    ground.on.reach = (point) => {
      if (point === "sign:before") throw new Error("died");
    };
    await finalized(ground.acme, account, order).catch(() => {});
    ground.acme.ca.unfinished.clear();
    ground.on.reach = undefined;
    ground.clock.aheadSeconds += 21;
    await settle(ground.other.ca);
    expect((await standing(ground.other, account, order)).status).toBe("valid");
    expect(await issuanceOf(order)).toEqual(issuedOnce);
  });
});

/** The instance with its directory configured otherwise. */
const under = (change: Partial<Directory>): Acme => {
  const directory = { ...ground.directory, ...change };
  return { ...ground.acme, directories: new Map([[directory.name, directory]]) };
};

describe("what has changed since the order was made", () => {
  test.for([
    { name: "a name that the directory allows no more", change: { identifiers: { names: [".example.com"] } }, code: "rejectedIdentifier" },
    { name: "another profile of the directory", change: { profile: "mtls" }, code: "invalidProfile" },
  ] as const)("$name is refused at finalize, so that the client orders anew", async ({ change, code }) => {
    const order = await ready();
    const identifiers = { ...ground.directory.identifiers, ...("identifiers" in change && change.identifiers) };
    await expect(finalized(under({ ...change, identifiers }), account, order)).rejects.toMatchObject({ code });
    expect((await finalized(ground.acme, account, order)).status).toBe("valid");
  });

  test("a finalize that issues nothing takes none of the certificates that the limit leaves for these names", async () => {
    const acme = under({ limits: { certificatesPerNames: { count: 1, seconds: 3_600 } } });
    const order = await ready();
    const own = { ...acme, ca: { ...acme.ca, ownHost: valueOf(order)[0] } };
    await expect(finalized(own, account, order)).rejects.toMatchObject({ code: "policyDenied" });
    expect((await finalized(acme, account, order)).status).toBe("valid");
    await expect(finalized(acme, account, await readyOrder(ground, account, ...valueOf(order)))).rejects.toMatchObject({
      code: "rateLimited",
    });
  });

  test.for([
    { name: "is signed later than an hour after its intent while its account is valid", ends: false, status: "valid" },
    { name: "is closed then when its account has ended", ends: true, status: "invalid" },
  ])("an attempt with dates that were asked for $name", async ({ ends, status }) => {
    const by = await ground.newAccount();
    const notAfter = new Date(ground.clock.now().getTime() + 5 * 86_400_000).toISOString();
    const { order } = await newOrder(ground.acme, ground.directory, by, { ...asking(name()), notAfter });
    await meet(ground, by, order);
    ground.on.reach = (point) => {
      if (point === "sign:before") throw new Error("died");
    };
    await finalized(ground.acme, by, order).catch(() => {});
    ground.acme.ca.unfinished.clear();
    ground.on.reach = undefined;
    if (ends) await updateAccount(ground.acme, by, { status: "deactivated" }, "test");
    ground.clock.aheadSeconds += 3_700;
    await settle(ground.other.ca);
    expect((await standing(ground.other, by, order)).status).toBe(status);
    const intent = await ground.acme.database.read(
      (sql) => sql`select from audit_record where convert_from(bytes, 'UTF8')::jsonb -> 'object' ->> 'order' = ${order.id}`,
    );
    expect(intent).toHaveLength(1);
  });
});
