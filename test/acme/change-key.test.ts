import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readAccount } from "../../src/acme/account-store.ts";
import { changeKey } from "../../src/acme/change-key.ts";
import { newOrder } from "../../src/acme/new-order.ts";
import { readOrder } from "../../src/acme/read-order.ts";
import { updateAccount } from "../../src/acme/update-account.ts";
import { storedKey } from "../../src/jose/jwk.ts";
import { type SigningKey, signingKey, thumbprint } from "../support/acme-client.ts";
import { accountUrl, type AccountWorld, accountWorld, asked, audited, json, keyChange, keyChangeUrl, registered } from "./account-world.ts";

let world: AccountWorld;
beforeAll(async () => {
  world = await accountWorld();
});
afterAll(() => world[Symbol.asyncDispose]());

const fault = (code: string, detail: unknown = expect.anything()) => expect.objectContaining({ name: "Fault", code, detail });

type Owner = Awaited<ReturnType<typeof registered>>;
const owner = () => registered(world.acme, world.directories.open);
const change = (mine: Owner, payload: ReturnType<typeof keyChange>, acme = world.acme) =>
  changeKey(acme, mine.account, { payload, url: keyChangeUrl, accountUrl: accountUrl(mine.account), requestId: "change-1" });
const stored = ({ account }: Owner) => world.acme.database.read((sql) => readAccount(sql, account.id));

describe("keyChange (RFC 8555 §7.3.5)", () => {
  test.for(["ES256", "ES384", "ES512", "RS256", "EdDSA", "Ed25519"] as const)(
    "to a key for %s gives the account its key: same id, old key of no use, orders untouched (AA-30)",
    async (alg) => {
      const { acme, directories } = world;
      const mine = await owner();
      const { order } = await newOrder(
        acme,
        directories.open,
        mine.account,
        json({ identifiers: [{ type: "dns", value: "kept.example.org" }] }),
      );
      const next = signingKey(alg);
      const changed = await change(mine, keyChange(mine, next));
      expect(changed).toMatchObject({ ...mine.account, key: { thumbprint: thumbprint(next) } });
      expect(await stored(mine)).toMatchObject({ id: mine.account.id, key: { thumbprint: thumbprint(next) } });
      expect(await readOrder(acme, changed, order.id)).toMatchObject({ id: order.id, status: "pending" });
      const byKey = async (key: SigningKey) =>
        (await acme.recognise({ nonce: undefined, account: { directory: "default", thumbprint: thumbprint(key) } })).account?.id;
      expect([await byKey(mine.key), await byKey(next)]).toEqual([undefined, mine.account.id]);
      const records = (await audited(acme, "acme.account.change-key")).filter(({ object }) => object["account"] === mine.account.id);
      expect(records).toMatchObject([{ requestId: "change-1", object: { thumbprint: thumbprint(next) } }]);
    },
  );

  test("there and back again (AA-30)", async () => {
    const mine = await owner();
    const next = signingKey();
    const account = await change(mine, keyChange(mine, next));
    const back = { account, key: next };
    expect((await change(back, keyChange(back, mine.key))).key.thumbprint).toBe(thumbprint(mine.key));
  });

  test.for([
    { name: "no jwk", header: { jwk: undefined } },
    { name: "a kid instead of a jwk", header: { jwk: undefined, kid: "https://ca.example/acme/acct/x" } },
    { name: "no url", header: { url: undefined } },
    { name: "another url", header: { url: "https://ca.example/acme/new-order" } },
    { name: "a nonce", header: { nonce: "bm9uY2U" } },
    { name: "crit", header: { crit: ["x"], x: 1 } },
  ])("whose inner JWS has $name is malformed (AA-31)", async ({ header }) => {
    const mine = await owner();
    await expect(change(mine, keyChange(mine, signingKey(), { header }))).rejects.toEqual(fault("malformed"));
    expect(await stored(mine)).toEqual(mine.account);
  });

  test.for([
    { name: "no JWS", spoil: () => json({}) },
    { name: "an inner JWS with header", spoil: (good: object) => json({ ...good, header: {} }) },
    {
      name: "an inner signature by another key",
      spoil: (good: object) => json({ ...good, signature: Buffer.alloc(64, 1).toString("base64url") }),
    },
    { name: "an inner payload that is no object", spoil: (good: object) => json({ ...good, payload: "W10" }) },
  ])("with $name is malformed (AA-31)", async ({ spoil }) => {
    const mine = await owner();
    await expect(change(mine, spoil(keyChange(mine, signingKey())))).rejects.toEqual(fault("malformed"));
  });

  test.for([
    { name: "the account of another", payload: () => ({ account: accountUrl({ id: "A".repeat(22) }) }) },
    { name: "no account", payload: () => ({ account: undefined }) },
    { name: "the account in capitals", payload: ({ account }: Owner) => ({ account: accountUrl(account).replace("https", "HTTPS") }) },
    { name: "no oldKey", payload: () => ({ oldKey: undefined }) },
    { name: "the oldKey of another", payload: () => ({ oldKey: signingKey().jwk }) },
    { name: "an oldKey that is none", payload: () => ({ oldKey: { kty: "EC" } }) },
    { name: "an oldKey that is a text", payload: () => ({ oldKey: "x" }) },
  ])("with $name is malformed (AA-32)", async ({ payload }) => {
    const mine = await owner();
    await expect(change(mine, keyChange(mine, signingKey(), { payload: payload(mine) }))).rejects.toEqual(fault("malformed"));
    expect(await stored(mine)).toEqual(mine.account);
  });

  test("to the key that the account has is malformed (AA-32)", async () => {
    const mine = await owner();
    await expect(change(mine, keyChange(mine, mine.key))).rejects.toEqual(fault("malformed", expect.stringContaining("already")));
  });

  test("to an RSA key of 1024 bits is badPublicKey (AA-32)", async () => {
    const mine = await owner();
    await expect(change(mine, keyChange(mine, signingKey("RS256", 1024)))).rejects.toEqual(fault("badPublicKey"));
  });

  test("of an account whose key has become weak is what gets rid of it (AA-30)", async () => {
    const mine = await owner();
    const { jwk } = signingKey("RS256", 1024);
    const weak = json({ e: jwk["e"], kty: "RSA", n: jwk["n"] });
    const account = { ...mine.account, key: storedKey(weak) };
    await world.acme.database.read(
      (sql) =>
        sql`update acme_account set jwk = ${JSON.stringify(weak)}::text::jsonb, thumbprint = ${account.key.thumbprint} where id = ${account.id}`,
    );
    const payload = keyChange(mine, signingKey(), { payload: { oldKey: weak } });
    expect((await change({ ...mine, account }, payload)).id).toBe(account.id);
  });

  test("to the key of another account, ended or not, is keyInUse with that account (AA-34)", async () => {
    const mine = await owner();
    const other = await owner();
    const refused = expect.objectContaining({ code: "keyInUse", members: { account: other.account.id } });
    await expect(change(mine, keyChange(mine, other.key))).rejects.toEqual(refused);
    await updateAccount(world.acme, other.account, json({ status: "deactivated" }), "r");
    await expect(change(mine, keyChange(mine, other.key))).rejects.toEqual(refused);
  });

  test("of two accounts to one key at once: one has it, the other is told who (AK-5): 50 rounds over two instances", async () => {
    for (let round = 0; round < 50; round++) {
      const [left, right] = [await owner(), await owner()];
      const next = signingKey();
      const outcomes = await Promise.allSettled([change(left, keyChange(left, next)), change(right, keyChange(right, next), world.second)]);
      const [won] = outcomes.flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value.id] : []));
      const refused = outcomes.flatMap((outcome) => (outcome.status === "rejected" ? [outcome.reason as unknown] : []));
      expect([left.account.id, right.account.id]).toContain(won);
      expect(refused).toEqual([expect.objectContaining({ code: "keyInUse", members: { account: won } })]);
    }
  });

  test("and newAccount with one key at once: one account has it: 50 rounds over two instances (AK-5, S-13)", async () => {
    const { second, directories } = world;
    for (let round = 0; round < 50; round++) {
      const mine = await owner();
      const next = signingKey();
      const [changed, made] = await Promise.allSettled([
        change(mine, keyChange(mine, next)),
        asked(second, directories.open, next, { standing: undefined }),
      ]);
      if (made.status === "rejected") throw made.reason;
      if (changed.status === "fulfilled") expect(made.value).toMatchObject({ created: false, account: { id: mine.account.id } });
      else {
        expect(made.value.created).toBe(true);
        expect(changed.reason).toMatchObject({ code: "keyInUse", members: { account: made.value.account.id } });
      }
    }
  });

  test("of one account to 20 keys at once: one is the key, the others are refused (S-13)", async () => {
    const mine = await owner();
    const keys = Array.from({ length: 20 }, () => signingKey());
    const outcomes = await Promise.allSettled(
      keys.map((next, index) => change(mine, keyChange(mine, next), index % 2 ? world.acme : world.second)),
    );
    const [won, ...more] = outcomes.flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value.key.thumbprint] : []));
    expect(more).toEqual([]);
    expect((await stored(mine))?.key.thumbprint).toBe(won);
    for (const outcome of outcomes) if (outcome.status === "rejected") expect(outcome.reason).toEqual(fault("accountInactive"));
    // What was refused has left nothing: the keys may still become accounts.
    const free = keys[outcomes.findIndex(({ status }) => status === "rejected")];
    if (free) expect((await asked(world.acme, world.directories.open, free)).created).toBe(true);
  });

  test("of a deactivated account is refused", async () => {
    const mine = await owner();
    await updateAccount(world.acme, mine.account, json({ status: "deactivated" }), "r");
    await expect(change(mine, keyChange(mine, signingKey()))).rejects.toEqual(fault("accountInactive"));
  });
});
