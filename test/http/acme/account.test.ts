import { createHmac, randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadConfig } from "../../../src/config.ts";
import { administer } from "../../support/server.ts";
import {
  type AcmeAnswer,
  acmeClient,
  type AcmeClient,
  encoded,
  signed,
  signingKey,
  type SigningKey,
  texts,
} from "../../support/acme-client.ts";
import { standingGround, type Ground, startService, type TestService } from "../../support/service.ts";

const directories = `
default: { names: ["*"], wildcards: true }
terms: { names: ["*"], termsOfService: "https://example.org/terms/1" }
bound: { names: ["*"], externalAccountRequired: true }
few: { names: ["*"], newAccountsPerAddress: { count: 2, seconds: 3600 }, newOrdersPerAccount: { count: 2, seconds: 60 } }
steady: { names: ["*"], accountUpdates: { count: 2, seconds: 3600 } }
`;

let bare: Ground;
let service: TestService;
beforeAll(async () => {
  bare = await standingGround();
  service = await startService({}, await groundWith(directories));
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
  await bare[Symbol.asyncDispose]();
});

/** The ground with this file of directories. */
async function groundWith(text: string): Promise<Ground> {
  await writeFile(join(bare.directory, "directories.yaml"), text);
  const env = { ...bare.env, CHANCERY_ACME_DIRECTORIES: "directories.yaml" };
  return { ...bare, env, config: loadConfig({ env, directory: bare.directory }) };
}

function told({ status, problem }: AcmeAnswer): { status: number; problem: string | undefined } {
  return { status, problem };
}

/** The id that a URL ends with. */
function idOf(url: string | undefined): string {
  return url?.split("/").at(-1) ?? "";
}

async function registered(directory = "default"): Promise<AcmeClient> {
  const client = await acmeClient(service, { directory });
  expect((await client.register({ termsOfServiceAgreed: true })).status).toBe(201);
  return client;
}

/** So many contacts. */
function many(count: number): readonly string[] {
  return Array.from({ length: count }, (_, index) => `mailto:a${index}@example.org`);
}

type Key = { readonly kid: string; readonly mac: Buffer };

/** A new external account key of the directory `bound`. */
async function newKey(more: object = {}): Promise<Key> {
  const answer = await service.ask("/v1/acme/external-account-keys", { body: { namespace: "/", directory: "bound", ...more } });
  const { id, macKey } = answer.json();
  return { kid: String(id), mac: Buffer.from(String(macKey), "base64url") };
}

/** The inner JWS, with this and that otherwise. */
function inner(
  client: AcmeClient,
  to: SigningKey,
  { header = {}, payload = {}, by = to }: { header?: object; payload?: object; by?: SigningKey } = {},
) {
  const members = { alg: by.alg, jwk: to.jwk, url: client.url("key-change"), ...header };
  return signed(by, members, { account: client.account(), oldKey: client.key.jwk, ...payload });
}

/** A binding of the account's key, with this and that otherwise. */
function binding(client: AcmeClient, { kid, mac }: Key, { header = {}, payload }: { header?: object; payload?: object } = {}) {
  const members = { alg: "HS256", kid, url: client.url("new-account"), ...header };
  const parts = { protected: encoded(members), payload: encoded(payload ?? client.key.jwk) };
  const hash = { HS384: "sha384", HS512: "sha512" }[String(members.alg)] ?? "sha256";
  return { ...parts, signature: createHmac(hash, mac).update(`${parts.protected}.${parts.payload}`).digest("base64url") };
}

describe("newAccount", () => {
  test("AA-1: a new key gets 201 with Location and an object with status, contact and orders", async () => {
    const client = await acmeClient(service);
    const answer = await client.register({ contact: ["mailto:admin@example.org"] });
    expect(answer.status).toBe(201);
    expect(answer.header("location")).toMatch(/^https:\/\/localhost:9443\/acme\/default\/acct\/[\w-]{22}$/);
    expect(answer.json).toEqual({
      status: "valid",
      contact: ["mailto:admin@example.org"],
      orders: `${client.account()}/orders`,
    });
  });

  test("AA-2: a key that is known gets 200, Location and the stored object whatever the request says", async () => {
    const client = await registered();
    for (const payload of [{}, { onlyReturnExisting: true }, { contact: ["mailto:other@example.org"] }, { contact: "no array" }]) {
      const again = await client.post(client.url("new-account"), payload, { protected: { jwk: client.key.jwk, kid: undefined } });
      expect(again.status).toBe(200);
      expect(again.header("location")).toBe(client.account());
      expect(again.json).toMatchObject({ status: "valid", contact: [] });
    }
  });

  test.for(["default", "terms", "bound"])(
    "AA-3: onlyReturnExisting without an account is accountDoesNotExist 400 in %s, before terms and binding",
    async (directory) => {
      const client = await acmeClient(service, { directory });
      expect(told(await client.register({ onlyReturnExisting: true }))).toEqual({ status: 400, problem: "accountDoesNotExist" });
    },
  );

  test("AA-4: the key of an account that was deactivated is unauthorized 401", async () => {
    const client = await registered();
    await client.post(client.account(), { status: "deactivated" });
    const answer = await client.post(client.url("new-account"), {}, { protected: { jwk: client.key.jwk, kid: undefined } });
    expect(told(answer)).toEqual({ status: 401, problem: "unauthorized" });
  });

  test.for([undefined, false, "true"])(
    "AA-5: terms with termsOfServiceAgreed %j are userActionRequired 403 with their link",
    async (agreed) => {
      const client = await acmeClient(service, { directory: "terms" });
      const answer = await client.register({ termsOfServiceAgreed: agreed });
      expect(told(answer)).toEqual({ status: 403, problem: "userActionRequired" });
      expect(answer.lines("link")).toContain('<https://example.org/terms/1>;rel="terms-of-service"');
    },
  );

  test("AA-5: agreed to, they stand in the account", async () => {
    const client = await acmeClient(service, { directory: "terms" });
    expect((await client.register({ termsOfServiceAgreed: true })).json).toMatchObject({ termsOfServiceAgreed: true });
  });

  test.for<{ id: string; name: string; contact: unknown; problem: string }>([
    { id: "AA-7", name: "eleven contacts", contact: many(11), problem: "malformed" },
    { id: "AA-7", name: "a contact that is no array", contact: "mailto:a@example.org", problem: "malformed" },
    { id: "AA-7", name: "a contact that is no text", contact: [1], problem: "malformed" },
    { id: "AA-8", name: "tel:", contact: ["tel:+441234567"], problem: "unsupportedContact" },
    { id: "AA-8", name: "no URL", contact: ["admin@example.org"], problem: "unsupportedContact" },
    { id: "AA-9", name: "an empty mailto", contact: ["mailto:"], problem: "invalidContact" },
    { id: "AA-9", name: "an address of other letters", contact: ["mailto:ä@example.org"], problem: "invalidContact" },
    { id: "AA-9", name: "header fields", contact: ["mailto:a@example.org?subject=x"], problem: "invalidContact" },
    { id: "AA-9", name: "a fragment", contact: ["mailto:a@example.org#x"], problem: "invalidContact" },
    { id: "AA-9", name: "two addresses", contact: ["mailto:a@example.org,b@example.org"], problem: "invalidContact" },
    { id: "AA-9", name: "no @", contact: ["mailto:example.org"], problem: "invalidContact" },
  ])("$id: $name is $problem 400", async ({ contact, problem }) => {
    const client = await acmeClient(service);
    expect(told(await client.register({ contact }))).toEqual({ status: 400, problem });
  });

  test("AA-7: ten contacts are taken", async () => {
    const client = await acmeClient(service);
    expect((await client.register({ contact: many(10) })).status).toBe(201);
  });

  test("AK-4: of 32 newAccounts with one key one is 201, the others are 200, all with one Location", async () => {
    const client = await acmeClient(service);
    const answers = await Promise.all(Array.from({ length: 32 }, () => client.post(client.url("new-account"), {})));
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(1);
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(31);
    expect(new Set(answers.map((answer) => answer.header("location"))).size).toBe(1);
  });

  test("AN-3: over a limit a new account or order is rateLimited 429 with Retry-After; a standing account is found all the same", async () => {
    const client = await registered("few");
    await registered("few");
    const third = await acmeClient(service, { directory: "few" });
    const refused = await third.register();
    expect(told(refused)).toEqual({ status: 429, problem: "rateLimited" });
    expect(Number(refused.header("retry-after"))).toBeGreaterThan(0);
    expect(Number(refused.header("retry-after"))).toBeLessThanOrEqual(600);
    expect((await client.post(client.url("new-account"), {}, { protected: { jwk: client.key.jwk, kid: undefined } })).status).toBe(200);
    for (const name of ["a.example.org", "b.example.org"]) expect((await client.order([name])).status).toBe(201);
    expect(told(await client.order(["c.example.org"]))).toEqual({ status: 429, problem: "rateLimited" });
  });
});

describe("updates", () => {
  test("AA-10: contact is changed; {} changes nothing; both answer 200 and the object", async () => {
    const client = await registered();
    const contact = ["mailto:new@example.org"];
    const changed = await client.post(client.account(), { contact });
    expect([changed.status, changed.json["contact"]]).toEqual([200, contact]);
    for (const payload of ["", {}]) expect((await client.post(client.account(), payload)).json).toEqual(changed.json);
    expect((await client.post(client.account(), { contact: [] })).json["contact"]).toEqual([]);
    expect(told(await client.post(client.account(), { contact: ["tel:1"] }))).toEqual({ status: 400, problem: "unsupportedContact" });
  });

  test.for([{ orders: "https://evil.example.net" }, { termsOfServiceAgreed: false }, { status: "revoked" }, { status: 1 }, { key: {} }])(
    "AA-11: %j is ignored, 200 (RFC 8555 §7.3.2)",
    async (payload) => {
      const client = await registered();
      const before = await client.post(client.account(), "");
      const answer = await client.post(client.account(), payload);
      expect([answer.status, answer.json]).toEqual([200, before.json]);
    },
  );

  test("AA-12: deactivation answers 200; it ends the account's orders and nobody sees them any more", async () => {
    const client = await registered();
    const order = await client.order(["a.example.org"]);
    const answer = await client.post(client.account(), { status: "deactivated" });
    expect([answer.status, answer.json["status"]]).toEqual([200, "deactivated"]);
    expect(told(await client.post(order.header("location") ?? "", ""))).toEqual({ status: 401, problem: "unauthorized" });
    expect((await service.ask(`/v1/acme/orders/${idOf(order.header("location"))}`)).json()).toMatchObject({
      status: "invalid",
      authorizations: [{ status: "deactivated" }],
    });
  });

  test("an administrator's revocation is final: what the account asks is unauthorized 401, what it had ends, its certificates live on (RFC 8555 §7.1.2)", async () => {
    const client = await registered();
    const pending = await client.order(["a.example.org"]);
    const [url = ""] = texts(pending.json["authorizations"]);
    const revoke = (reason: unknown) => service.ask(`/v1/acme/accounts/${idOf(client.account())}/revoke`, { body: { reason } });
    for (const reason of [undefined, "", "  ", 4, "x".repeat(256)]) expect((await revoke(reason)).status).toBe(400);
    expect((await client.post(client.account(), "")).json["status"]).toBe("valid");

    const [revoked, again] = [await revoke("the server was sold"), await revoke("once more")];
    for (const answer of [revoked, again]) expect([answer.status, answer.json()["status"]]).toEqual([200, "revoked"]);
    const byKey = { protected: { jwk: client.key.jwk, kid: undefined } };
    for (const answer of [
      await client.post(client.account(), ""),
      await client.post(client.account(), { status: "valid" }),
      await client.post(url, ""),
      await client.order(["b.example.org"]),
      await client.post(client.url("new-account"), {}, byKey),
    ]) {
      expect([told(answer), answer.detail]).toEqual([{ status: 401, problem: "unauthorized" }, "the account is revoked"]);
    }
    expect((await service.ask(`/v1/acme/orders/${idOf(pending.header("location"))}`)).json()).toMatchObject({
      status: "invalid",
      error: { detail: "the account is revoked" },
      authorizations: [{ status: "revoked" }],
    });
    const records = await administer(
      bare.databaseUrl,
      (sql) => sql<{ entry: { principal: string; object: object } }[]>`
        select convert_from(bytes, 'UTF8')::jsonb as entry from audit_record
        where convert_from(bytes, 'UTF8')::jsonb ->> 'operation' = 'acme.account.revoke'`,
    );
    expect(records.map(({ entry }) => entry)).toMatchObject([
      { principal: expect.stringMatching(/^token:/), object: { account: idOf(client.account()), reason: "the server was sold" } },
    ]);
  });

  test("AA-6: terms that changed are to be agreed to before the next order, with an instance to visit; newAccount agrees (RFC 8555 §7.3.3)", async () => {
    await using own = await standingGround();
    const serviceWith = async (terms: string) => {
      await writeFile(
        join(own.directory, "directories.yaml"),
        `default: { names: ["*"], renewedConsent: true, termsOfService: "${terms}" }`,
      );
      const env = { ...own.env, CHANCERY_ACME_DIRECTORIES: "directories.yaml" };
      return await startService({}, { ...own, env, config: loadConfig({ env, directory: own.directory }) });
    };
    const key = signingKey();
    {
      await using first = await serviceWith("https://example.org/terms/1");
      const client = await acmeClient(first, { key });
      await client.register({ termsOfServiceAgreed: true });
      expect((await client.order(["a.example.org"])).status).toBe(201);
    }
    await using second = await serviceWith("https://example.org/terms/2");
    const client = await acmeClient(second, { key });
    expect((await client.register()).status).toBe(200);
    const refused = await client.order(["b.example.org"]);
    expect(told(refused)).toEqual({ status: 403, problem: "userActionRequired" });
    expect(refused.json["instance"]).toBe("https://example.org/terms/2");
    expect(refused.lines("link")).toContain('<https://example.org/terms/2>;rel="terms-of-service"');
    const agreed = { jwk: key.jwk, kid: undefined };
    expect((await client.post(client.url("new-account"), { termsOfServiceAgreed: true }, { protected: agreed })).status).toBe(200);
    expect((await client.order(["b.example.org"])).status).toBe(201);
  });
});

test("AN-3: over their limit changes of contact and key together are rateLimited 429; what changes nothing and the account's end are not", async () => {
  const client = await registered("steady");
  const contact = ["mailto:new@example.org"];
  const change = (to: SigningKey) => client.post(client.url("key-change"), inner(client, to));
  expect((await client.post(client.account(), { contact })).status).toBe(200);
  // What is refused for its form takes nothing.
  expect(told(await client.post(client.account(), { contact: ["tel:1"] }))).toEqual({ status: 400, problem: "unsupportedContact" });
  expect((await client.post(client.account(), { contact: [] })).status).toBe(200);
  for (const refused of [await client.post(client.account(), { contact }), await change(signingKey())]) {
    expect(told(refused)).toEqual({ status: 429, problem: "rateLimited" });
    expect(Number(refused.header("retry-after"))).toBe(600);
  }
  expect((await client.post(client.account(), {})).json["contact"]).toEqual([]);
  expect((await client.post(client.account(), { status: "deactivated" })).json["status"]).toBe("deactivated");
  const other = await registered("steady");
  expect((await other.post(other.url("key-change"), inner(other, signingKey()))).status).toBe(200);
});

describe("the orders list (AA-13)", () => {
  test("it has the account's own, 100 a page, with a link to the next", async () => {
    const client = await registered();
    const made: string[] = [];
    for (let index = 0; index < 101; index++) made.push((await client.order([`n${index}.example.org`])).header("location") ?? "");
    const first = await client.post(`${client.account()}/orders`, "");
    const next = first.lines("link").find((line) => line.endsWith('rel="next"'));
    expect(first.json["orders"]).toHaveLength(100);
    const second = await client.post(/<(.*)>/.exec(next ?? "")?.[1] ?? "", "");
    // Those of one second come in any order.
    expect([...texts(first.json["orders"]), ...texts(second.json["orders"])].toSorted()).toEqual(made.toSorted());
    expect(second.lines("link")).toHaveLength(1);
  });

  test.for(["?after=AAAA", `?after=${"A".repeat(22)}`])("a cursor that is none, %s, is malformed 404", async (query) => {
    const client = await registered();
    expect(told(await client.post(`${client.account()}/orders${query}`, ""))).toEqual({ status: 404, problem: "malformed" });
  });
});

describe("external account binding", () => {
  test("AA-20: where one is required and none is there, externalAccountRequired 403", async () => {
    const client = await acmeClient(service, { directory: "bound" });
    expect(told(await client.register())).toEqual({ status: 403, problem: "externalAccountRequired" });
  });

  test.for(["HS256", "HS384", "HS512"])("a binding by %s makes the account and stands in it", async (alg) => {
    const client = await acmeClient(service, { directory: "bound" });
    const externalAccountBinding = binding(client, await newKey(), { header: { alg } });
    const answer = await client.register({ externalAccountBinding });
    expect([answer.status, answer.json["externalAccountBinding"]]).toEqual([201, externalAccountBinding]);
    expect((await client.post(client.account(), "")).json["externalAccountBinding"]).toEqual(externalAccountBinding);
  });

  type Wrong = (client: AcmeClient, key: Key) => unknown;
  test.for<{ name: string; wrong: Wrong }>([
    { name: "no object", wrong: () => "binding" },
    { name: "no JWS", wrong: () => ({}) },
    { name: "alg ES256", wrong: (client, key) => binding(client, key, { header: { alg: "ES256" } }) },
    { name: "alg none", wrong: (client, key) => binding(client, key, { header: { alg: "none" } }) },
    { name: "a nonce", wrong: (client, key) => binding(client, key, { header: { nonce: "AAAA" } }) },
    { name: "no kid", wrong: (client, key) => binding(client, key, { header: { kid: undefined } }) },
    { name: "no url", wrong: (client, key) => binding(client, key, { header: { url: undefined } }) },
    { name: "another url", wrong: (client, key) => binding(client, key, { header: { url: client.url("new-order") } }) },
  ])("AA-21: a binding with $name is malformed 400", async ({ wrong }) => {
    const client = await acmeClient(service, { directory: "bound" });
    const answer = await client.register({ externalAccountBinding: wrong(client, await newKey()) });
    expect(told(answer)).toEqual({ status: 400, problem: "malformed" });
  });

  test("AA-22: a kid that is unknown, revoked or used up, and a MAC that is wrong, are unauthorized 403 in one text", async () => {
    const used = await newKey();
    const user = await acmeClient(service, { directory: "bound" });
    expect((await user.register({ externalAccountBinding: binding(user, used) })).status).toBe(201);
    const revoked = await newKey();
    await service.ask(`/v1/acme/external-account-keys/${revoked.kid}`, { method: "DELETE" });
    const good = await newKey();
    const elsewhere = await newKey({ directory: "default" });
    const keys = [{ kid: "A".repeat(22), mac: randomBytes(64) }, revoked, used, { ...good, mac: randomBytes(64) }, elsewhere];
    const answers: AcmeAnswer[] = [];
    for (const key of keys) {
      const client = await acmeClient(service, { directory: "bound" });
      answers.push(await client.register({ externalAccountBinding: binding(client, key) }));
    }
    expect(answers.map(told)).toEqual(keys.map(() => ({ status: 403, problem: "unauthorized" })));
    expect(new Set(answers.map(({ text }) => text)).size).toBe(1);
  });

  test("AA-23: a binding of another key is badPublicKey 400", async () => {
    const client = await acmeClient(service, { directory: "bound" });
    const externalAccountBinding = binding(client, await newKey(), { payload: signingKey().jwk });
    expect(told(await client.register({ externalAccountBinding }))).toEqual({ status: 400, problem: "badPublicKey" });
  });

  test("AA-24: one that is not required is verified all the same", async () => {
    const key = await newKey({ directory: "default" });
    const wrong = await acmeClient(service);
    const refused = await wrong.register({ externalAccountBinding: binding(wrong, { ...key, mac: randomBytes(64) }) });
    expect(told(refused)).toEqual({ status: 403, problem: "unauthorized" });
    const client = await acmeClient(service);
    const externalAccountBinding = binding(client, key);
    expect((await client.register({ externalAccountBinding })).json["externalAccountBinding"]).toEqual(externalAccountBinding);
  });

  test("AA-40: the key's names bind every later order", async () => {
    const client = await acmeClient(service, { directory: "bound" });
    await client.register({ externalAccountBinding: binding(client, await newKey({ names: [".shop.example.org"] })) });
    expect((await client.order(["a.shop.example.org"])).status).toBe(201);
    expect(told(await client.order(["a.example.org"]))).toEqual({ status: 400, problem: "rejectedIdentifier" });
  });

  test("AK-6: of 16 keys with one binding that may be used once, one is 201", async () => {
    const key = await newKey();
    const answers = await Promise.all(
      Array.from({ length: 16 }, async () => {
        const client = await acmeClient(service, { directory: "bound" });
        return await client.register({ externalAccountBinding: binding(client, key) });
      }),
    );
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(1);
    expect(answers.filter(({ problem }) => problem === "unauthorized")).toHaveLength(15);
  });
});

describe("keyChange", () => {
  test("AA-30: the account keeps its URL and orders, and the old key is dead at once", async () => {
    const client = await registered();
    const order = await client.order(["a.example.org"]);
    const to = signingKey();
    const answer = await client.post(client.url("key-change"), inner(client, to));
    expect([answer.status, answer.json["status"]]).toEqual([200, "valid"]);
    expect(told(await client.post(client.account(), ""))).toEqual({ status: 400, problem: "malformed" });
    const read = await client.post(order.header("location") ?? "", "", { key: to });
    expect([read.status, read.json["status"]]).toEqual([200, "pending"]);
    const renewed = await acmeClient(service, { key: to });
    expect((await renewed.register({ onlyReturnExisting: true })).header("location")).toBe(client.account());
  });

  type Wrong = (client: AcmeClient, to: SigningKey) => object;
  test.for<{ id: string; name: string; wrong: Wrong; problem?: string }>([
    { id: "AA-31", name: "no JWS", wrong: () => ({ account: "a", oldKey: {} }) },
    { id: "AA-31", name: "no jwk", wrong: (client, to) => inner(client, to, { header: { jwk: undefined } }) },
    { id: "AA-31", name: "no url", wrong: (client, to) => inner(client, to, { header: { url: undefined } }) },
    { id: "AA-31", name: "another url", wrong: (client, to) => inner(client, to, { header: { url: client.account() } }) },
    { id: "AA-31", name: "a nonce", wrong: (client, to) => inner(client, to, { header: { nonce: "AAAA" } }) },
    { id: "AA-31", name: "another key's signature", wrong: (client, to) => inner(client, to, { by: signingKey() }) },
    { id: "AA-32", name: "another account", wrong: (client, to) => inner(client, to, { payload: { account: `${client.account()}A` } }) },
    { id: "AA-32", name: "another oldKey", wrong: (client, to) => inner(client, to, { payload: { oldKey: to.jwk } }) },
    { id: "AA-32", name: "no oldKey", wrong: (client, to) => inner(client, to, { payload: { oldKey: undefined } }) },
    { id: "AA-32", name: "the account's own key", wrong: (client) => inner(client, client.key) },
    { id: "AA-32", name: "a weak key", wrong: (client) => inner(client, signingKey("RS256", 1024)), problem: "badPublicKey" },
  ])("$id: an inner JWS with $name is refused, and changes nothing", async ({ wrong, problem = "malformed" }) => {
    const client = await registered();
    const answer = await client.post(client.url("key-change"), wrong(client, signingKey()));
    expect(told(answer)).toEqual({ status: 400, problem });
    expect((await client.post(client.account(), "")).status).toBe(200);
  });

  test("AA-34: a key that another account has is malformed 409 with its Location (RFC 8555 §7.3.5)", async () => {
    const [client, other] = [await registered(), await registered()];
    const answer = await client.post(client.url("key-change"), inner(client, other.key));
    expect(told(answer)).toEqual({ status: 409, problem: "malformed" });
    expect(answer.header("location")).toBe(other.account());
  });

  test("AK-5: of two accounts that change to one key at once, one is 200 and one 409", async () => {
    const clients = [await registered(), await registered()];
    const to = signingKey();
    const answers = await Promise.all(clients.map((client) => client.post(client.url("key-change"), inner(client, to))));
    expect(answers.map(({ status }) => status).toSorted()).toEqual([200, 409]);
  });
});
