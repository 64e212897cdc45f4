import { createHmac } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  createExternalAccountKey,
  type ExternalAccountKeyRequest,
  listExternalAccountKeys,
  refusedBinding,
  revokeExternalAccountKey,
} from "../../src/acme/external-account.ts";
import { newOrder } from "../../src/acme/new-order.ts";
import { signed, type SigningKey, signingKey } from "../support/acme-client.ts";
import { type AccountWorld, accountWorld, administrator, asked, audited, json, newAccountUrl } from "./account-world.ts";
import { clockOf } from "../support/clock.ts";

let world: AccountWorld;
beforeAll(async () => {
  world = await accountWorld();
});
afterAll(() => world[Symbol.asyncDispose]());

const fault = (code: string, detail: unknown = expect.anything()) => expect.objectContaining({ name: "Fault", code, detail });

type Credential = Awaited<ReturnType<typeof createExternalAccountKey>>;

async function credential(request: Partial<ExternalAccountKeyRequest> = {}): Promise<Credential> {
  return await createExternalAccountKey(world.acme, administrator, { namespace: "/", directory: "bound", ...request }, "r");
}

const hashes = { HS256: "sha256", HS384: "sha384", HS512: "sha512" } as const;
const text = (value: object | string) => Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url");

/** A binding as RFC 8555 §7.3.4 has it, but for what is given. */
function binding(
  { id, macKey }: Pick<Credential, "id" | "macKey">,
  key: SigningKey,
  { header = {}, payload = key.jwk }: { readonly header?: Record<string, unknown>; readonly payload?: object | string } = {},
) {
  const whole = { alg: "HS256", kid: id, url: newAccountUrl, ...header };
  const parts = { protected: text(whole), payload: text(payload) };
  const hash = hashes[whole.alg as keyof typeof hashes] ?? "sha256";
  const signature = createHmac(hash, Buffer.from(macKey, "base64url")).update(`${parts.protected}.${parts.payload}`).digest("base64url");
  return { ...parts, signature };
}

const bind = (key: SigningKey, externalAccountBinding: unknown, directory: "bound" | "open" = "bound", acme = world.acme) =>
  asked(acme, world.directories[directory], key, { payload: { externalAccountBinding } });

describe("external account binding (RFC 8555 §7.3.4)", () => {
  test("absent where it is required is externalAccountRequired (AA-20)", async () => {
    await expect(asked(world.acme, world.directories.bound, signingKey())).rejects.toEqual(fault("externalAccountRequired"));
  });

  test.for(["HS256", "HS384", "HS512"])("by %s makes an account that shows it, and is used up (AA-22, AA-24, AA-40)", async (alg) => {
    const [made, key] = [await credential(), signingKey()];
    const sent = binding(made, key, { header: { alg } });
    const { account, created } = await bind(key, sent);
    expect(created).toBe(true);
    expect(account).toMatchObject({ externalAccountKey: made.id, externalAccountBinding: sent, namespace: "/" });
    const other = signingKey();
    await expect(bind(other, binding(made, other))).rejects.toEqual(fault("unauthorized", refusedBinding));
    const [record] = (await audited(world.acme, "acme.account.create")).filter(({ object }) => object["account"] === account.id);
    expect(record?.object["externalAccountKey"]).toBe(made.id);
  });

  test("is kept and shown without what else stood beside its three members (AJ-32)", async () => {
    const [made, key] = [await credential(), signingKey()];
    const sent = binding(made, key);
    const { account } = await bind(key, { ...sent, comment: "\0".repeat(3), more: { a: [1, 2] } });
    expect(account.externalAccountBinding).toEqual(sent);
    const again = await asked(world.acme, world.directories.bound, key);
    expect(again).toEqual({ created: false, account });
  });

  test("is verified where it is not required, and shown (AA-24)", async () => {
    const made = await credential({ directory: "default" });
    const key = signingKey();
    await expect(bind(key, { ...binding(made, key), signature: text("no") }, "open")).rejects.toEqual(
      fault("unauthorized", refusedBinding),
    );
    const sent = binding(made, key);
    expect((await bind(key, sent, "open")).account.externalAccountBinding).toEqual(sent);
  });

  test.for([
    { name: "a text", of: () => "nonsense" },
    { name: "null", of: () => null },
    { name: "an array", of: () => [] },
    { name: "an empty object", of: () => ({}) },
    { name: "the compact form", of: (good: ReturnType<typeof binding>) => `${good.protected}.${good.payload}.${good.signature}` },
    { name: "an unprotected header", of: (good: ReturnType<typeof binding>) => ({ ...good, header: { kid: "x" } }) },
    { name: "several signatures", of: (good: ReturnType<typeof binding>) => ({ ...good, signatures: [] }) },
    { name: "padding in the signature", of: (good: ReturnType<typeof binding>) => ({ ...good, signature: `${good.signature}=` }) },
    { name: "no payload", of: (good: ReturnType<typeof binding>) => ({ ...good, payload: undefined }) },
  ])("with $name is malformed (AA-21)", async ({ of }) => {
    const [made, key] = [await credential(), signingKey()];
    await expect(bind(key, of(binding(made, key)))).rejects.toEqual(fault("malformed"));
  });

  test.for([
    { name: "alg none", header: { alg: "none" } },
    { name: "alg ES256", header: { alg: "ES256" } },
    { name: "alg HS1", header: { alg: "HS1" } },
    { name: "alg in small letters", header: { alg: "hs256" } },
    { name: "a nonce", header: { nonce: "bm9uY2U" } },
    { name: "no kid", header: { kid: undefined } },
    { name: "a kid that is no text", header: { kid: 5 } },
    { name: "no url", header: { url: undefined } },
    { name: "the url of another resource", header: { url: "https://ca.example/acme/new-order" } },
    { name: "crit", header: { crit: ["exp"], exp: 1 } },
    { name: "b64", header: { b64: false } },
  ])("with $name in its header is malformed (AA-21)", async ({ header }) => {
    const [made, key] = [await credential(), signingKey()];
    await expect(bind(key, binding(made, key, { header }))).rejects.toEqual(fault("malformed"));
  });

  test("signed with the account key instead of a MAC is malformed (AA-21, S-10)", async () => {
    const [made, key] = [await credential(), signingKey()];
    const header = { alg: key.alg, kid: made.id, url: newAccountUrl };
    await expect(bind(key, signed(key, header, key.jwk))).rejects.toEqual(fault("malformed"));
  });

  test.for([
    { name: "an unknown kid", of: (made: Credential) => ({ ...made, id: "A".repeat(22) }) },
    { name: "a kid of another form", of: (made: Credential) => ({ ...made, id: "\0' or true --" }) },
    { name: "an empty kid", of: (made: Credential) => ({ ...made, id: "" }) },
    { name: "a wrong MAC key", of: (made: Credential) => ({ ...made, macKey: text("x".repeat(64)) }) },
    { name: "an empty MAC key", of: (made: Credential) => ({ ...made, macKey: "" }) },
    { name: "64 zero octets as MAC key, kid unknown", of: () => ({ id: "B".repeat(22), macKey: Buffer.alloc(64).toString("base64url") }) },
  ])("with $name is unauthorized, in the one sentence (AA-22)", async ({ of }) => {
    const [made, key] = [await credential(), signingKey()];
    await expect(bind(key, binding(of(made), key))).rejects.toEqual(fault("unauthorized", refusedBinding));
  });

  test.for([
    { name: "revoked", request: {}, spoil: (id: string) => revokeExternalAccountKey(world.acme, administrator, id, "r") },
    { name: "of another directory", request: { directory: "default" }, spoil: async () => {} },
  ])("with a key that is $name is unauthorized, in the one sentence (AA-22, AA-40)", async ({ request, spoil }) => {
    const [made, key] = [await credential(request), signingKey()];
    await spoil(made.id);
    await expect(bind(key, binding(made, key))).rejects.toEqual(fault("unauthorized", refusedBinding));
  });

  test("with a key that is over is unauthorized; a second before it is not (AA-22)", async () => {
    const expiresAt = new Date(Math.floor(Date.now() / 1000) * 1000 + 3_600_000);
    const made = await credential({ expiresAt, usesAllowed: null });
    for (const [seconds, good] of [
      [-1, true],
      [0, false],
      [1, false],
    ] as const) {
      const key = signingKey();
      const acme = { ...world.acme, clock: clockOf(() => new Date(expiresAt.getTime() + seconds * 1000)) };
      const outcome = bind(key, binding(made, key), "bound", acme);
      if (good) expect((await outcome).created).toBe(true);
      else await expect(outcome).rejects.toEqual(fault("unauthorized", refusedBinding));
    }
  });

  test.for([
    { name: "another key", payload: () => signingKey().jwk, code: "badPublicKey" },
    {
      name: "a weak key",
      payload: () => ({ kty: "RSA", e: "AQAB", n: Buffer.alloc(64, 0xff).toString("base64url") }),
      code: "badPublicKey",
    },
    { name: "a private key", payload: (key: SigningKey) => key.privateKey.export({ format: "jwk" }), code: "badPublicKey" },
    { name: "no JSON", payload: () => "nonsense", code: "malformed" },
    { name: "an array", payload: () => [], code: "malformed" },
  ])("of $name is $code (AA-23)", async ({ payload, code }) => {
    const [made, key] = [await credential(), signingKey()];
    await expect(bind(key, binding(made, key, { payload: payload(key) }))).rejects.toEqual(fault(code));
  });

  test("of the same key written otherwise is good: what counts is the thumbprint (AA-23, RFC 7638)", async () => {
    const [made, key] = [await credential(), signingKey()];
    const { kty, crv, x, y } = key.jwk;
    expect((await bind(key, binding(made, key, { payload: { use: "sig", y, x, kid: "mine", crv, kty } }))).created).toBe(true);
  });

  test("64 at once with a key for one account, over two instances, make one account (AK-6)", async () => {
    const { acme, second } = world;
    for (let round = 0; round < 5; round++) {
      const made = await credential();
      const keys = Array.from({ length: 64 }, () => signingKey());
      const outcomes = await Promise.allSettled(
        keys.map((key, index) => bind(key, binding(made, key), "bound", index % 2 ? acme : second)),
      );
      expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
      for (const outcome of outcomes)
        if (outcome.status === "rejected") expect(outcome.reason).toEqual(fault("unauthorized", refusedBinding));
      const accounts = await acme.database.read((sql) => sql`select from acme_account where external_account_key = ${made.id}`);
      expect(accounts).toHaveLength(1);
      // Whose account was not made has nothing of it: not even a reserved key.
      const won = outcomes.findIndex(({ status }) => status === "fulfilled");
      const loser = keys[won === 0 ? 1 : 0];
      const other = await credential();
      if (loser) expect((await bind(loser, binding(other, loser))).created).toBe(true);
    }
  });

  test("64 at once with a key for ten accounts make ten; for any number, all (AA-40)", async () => {
    for (const [usesAllowed, made] of [
      [10, 10],
      [null, 64],
    ] as const) {
      const shared = await credential({ usesAllowed });
      const keys = Array.from({ length: 64 }, () => signingKey());
      const outcomes = await Promise.allSettled(keys.map((key) => bind(key, binding(shared, key))));
      expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(made);
      const { keys: listed } = await listExternalAccountKeys(world.acme, administrator, { limit: 1_000 });
      expect(listed.find(({ id }) => id === shared.id)?.uses).toBe(made);
    }
  });
});

describe("keys for external accounts (AA-40)", () => {
  test("have 512 random bits, shown once; the list has none; audit records of making and ending lie in the key's namespace", async () => {
    const { acme } = world;
    const made = await createExternalAccountKey(acme, administrator, { namespace: "/team-a", directory: "bound" }, "create-1");
    expect(made).toMatchObject({ usesAllowed: 1, uses: 0, namespace: "/team-a", createdBy: administrator.id });
    expect(Buffer.from(made.macKey, "base64url")).toHaveLength(64);
    const { keys } = await listExternalAccountKeys(acme, { ...administrator, namespace: "/team-a" }, { limit: 10 });
    expect(keys).toHaveLength(1);
    expect(JSON.stringify(keys)).not.toContain(made.macKey);
    expect(keys[0]).not.toHaveProperty("macKey");

    await revokeExternalAccountKey(acme, administrator, made.id, "revoke-1");
    await revokeExternalAccountKey(acme, administrator, made.id, "revoke-2");
    const mine = ({ object }: { readonly object: Readonly<Record<string, unknown>> }) => object["externalAccountKey"] === made.id;
    const [created, ended] = [
      await audited(acme, "acme.external-account-key.create"),
      await audited(acme, "acme.external-account-key.revoke"),
    ];
    expect(created.filter(mine)).toMatchObject([{ namespace: "/team-a", requestId: "create-1", principal: administrator.id }]);
    expect(ended.filter(mine)).toMatchObject([{ namespace: "/team-a", requestId: "revoke-1", principal: administrator.id }]);
  });

  test.for([
    { name: "an unknown directory", request: { directory: "nowhere" }, code: "malformed" },
    { name: "a namespace that is none", request: { namespace: "team" }, code: "malformed" },
    { name: "a pattern that is none", request: { names: ["*.example.org"] }, code: "malformed" },
    { name: "an address as a pattern", request: { names: ["192.0.2.1"] }, code: "malformed" },
    { name: "a range that is none", request: { ipRanges: ["192.0.2.0/33"] }, code: "malformed" },
    { name: "a range without a length", request: { ipRanges: ["192.0.2.0"] }, code: "malformed" },
    { name: "an expiry that is past", request: { expiresAt: new Date("2020-01-01T00:00:00Z") }, code: "malformed" },
    { name: "an expiry that is no time", request: { expiresAt: new Date(Number.NaN) }, code: "malformed" },
    { name: "an expiry in the year 10000", request: { expiresAt: new Date(253_402_300_800_000) }, code: "malformed" },
    { name: "no uses", request: { usesAllowed: 0 }, code: "malformed" },
    { name: "half a use", request: { usesAllowed: 1.5 }, code: "malformed" },
    { name: "more uses than a million", request: { usesAllowed: 1_000_001 }, code: "malformed" },
  ])("are not made with $name: $code", async ({ request, code }) => {
    await expect(credential(request)).rejects.toEqual(fault(code));
  });

  test("are not made, ended or seen outside of the principal's namespace", async () => {
    const { acme } = world;
    const team = { ...administrator, namespace: "/team-b" };
    await expect(createExternalAccountKey(acme, team, { namespace: "/", directory: "bound" }, "r")).rejects.toEqual(fault("policyDenied"));
    const made = await credential({ namespace: "/team-c" });
    await expect(revokeExternalAccountKey(acme, team, made.id, "r")).rejects.toEqual(fault("notFound"));
    for (const id of ["\0", "", "A".repeat(22)])
      await expect(revokeExternalAccountKey(acme, administrator, id, "r")).rejects.toEqual(fault("notFound"));
    expect((await listExternalAccountKeys(acme, team, { limit: 10 })).keys).toEqual([]);
    const key = signingKey();
    expect((await bind(key, binding(made, key))).account.namespace).toBe("/team-c");
  });

  test("are listed newest first, page by page, each once", async () => {
    const { acme } = world;
    for (let count = 0; count < 5; count++) await credential({ namespace: "/paged" });
    const paged = { ...administrator, namespace: "/paged" };
    const seen: string[] = [];
    let cursor: string | undefined;
    do {
      const page = await listExternalAccountKeys(acme, paged, { limit: 2, cursor });
      seen.push(...page.keys.map(({ id }) => id));
      cursor = page.nextCursor;
    } while (cursor !== undefined);
    expect([seen.length, new Set(seen).size]).toEqual([5, 5]);
  });

  test.for([
    { name: "neither", request: {}, good: ["a.example.net", "*.example.net", "10.0.0.1"], refused: [] },
    {
      name: "names",
      request: { names: ["example.org", ".example.net"] },
      good: ["example.org", "a.example.net", "*.example.net", "*.a.example.net"],
      refused: ["*.example.org", "a.example.org", "example.net", "badexample.net", "10.0.0.1", "fd00::1"],
    },
    { name: "ranges", request: { ipRanges: ["10.0.0.0/8"] }, good: ["10.255.0.1"], refused: ["11.0.0.1", "fd00::1", "example.org"] },
    {
      name: "both",
      request: { names: ["*"], ipRanges: ["fd00::/8", "192.0.2.7/32"] },
      good: ["a.b.example", "fd00::1", "192.0.2.7"],
      refused: ["192.0.2.8", "fe80::1"],
    },
    { name: "empty lists", request: { names: [], ipRanges: [] }, good: [], refused: ["example.org", "10.0.0.1"] },
  ])("bind every order of their accounts, with $name", async ({ request, good, refused }) => {
    const { acme, directories } = world;
    const [made, key] = [await credential(request), signingKey()];
    const { account } = await bind(key, binding(made, key));
    const order = (value: string) =>
      newOrder(acme, directories.bound, account, json({ identifiers: [{ type: /^[\d.]+$|:/.test(value) ? "ip" : "dns", value }] }));
    for (const value of good) expect((await order(value)).order.identifiers).toMatchObject([{ value }]);
    for (const value of refused) await expect(order(value)).rejects.toEqual(fault("rejectedIdentifier"));
  });
});
