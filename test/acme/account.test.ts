import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readAccount } from "../../src/acme/account-store.ts";
import { listAccounts, showAccount } from "../../src/acme/list-accounts.ts";
import { newOrder } from "../../src/acme/new-order.ts";
import { readAuthorizationsOfOrder } from "../../src/acme/authorization-store.ts";
import { readOrder } from "../../src/acme/read-order.ts";
import { updateAccount } from "../../src/acme/update-account.ts";
import { readStoredCertificate } from "../../src/ca/certificates.ts";
import { signingKey } from "../support/acme-client.ts";
import { accountKey, type AccountWorld, accountWorld, asked, audited, certified, json, provenOrder, registered } from "./account-world.ts";

let world: AccountWorld;
beforeAll(async () => {
  world = await accountWorld();
});
afterAll(() => world[Symbol.asyncDispose]());

const fault = (code: string, detail: unknown = expect.anything()) => expect.objectContaining({ name: "Fault", code, detail });
const stored = ({ account }: { readonly account: { readonly id: string } }) =>
  world.acme.database.read((sql) => readAccount(sql, account.id));

describe("newAccount", () => {
  test("with a new key makes an account, durable with its audit record (AA-1, RFC 8555 §7.3)", async () => {
    const { acme, directories } = world;
    const key = signingKey();
    const made = await asked(acme, directories.open, key, { payload: { contact: ["mailto:admin@example.org"] }, requestId: "made-1" });
    expect(made).toMatchObject({
      created: true,
      account: { status: "valid", contact: ["mailto:admin@example.org"], directory: "default", namespace: directories.open.namespace },
    });
    expect(made.account.id).toMatch(/^[A-Za-z0-9_-]{22}$/);
    expect(await stored(made)).toEqual(made.account);
    const records = (await audited(acme, "acme.account.create")).filter(({ object }) => object["account"] === made.account.id);
    expect(records).toMatchObject([{ principal: `acme:${made.account.id}`, requestId: "made-1", namespace: made.account.namespace }]);
  });

  test("with a key that is known gives its account as it is, whatever the request says (AA-2, RFC 8555 §7.3.1)", async () => {
    const { acme, directories } = world;
    const { account, key } = await registered(acme, directories.open);
    for (const payload of [{}, { contact: ["mailto:other@example.org"] }, { contact: "nonsense" }, { onlyReturnExisting: true }]) {
      expect(await asked(acme, directories.open, key, { payload })).toEqual({ created: false, account });
    }
    expect(await stored({ account })).toEqual(account);
  });

  test.for(["open", "bound", "terms"] as const)(
    "with onlyReturnExisting and an unknown key is accountDoesNotExist, before terms and binding: directory %s (AA-3)",
    async (name) => {
      const payload = { onlyReturnExisting: true, contact: ["nonsense"] };
      await expect(asked(world.acme, world.directories[name], signingKey(), { payload })).rejects.toEqual(fault("accountDoesNotExist"));
    },
  );

  test("with the key of a deactivated account is refused, with and without onlyReturnExisting (AA-4)", async () => {
    const { acme, directories } = world;
    const { account, key } = await registered(acme, directories.open);
    await updateAccount(acme, account, json({ status: "deactivated" }), "r");
    for (const payload of [{}, { onlyReturnExisting: true }])
      await expect(asked(acme, directories.open, key, { payload })).rejects.toEqual(fault("accountInactive"));
  });

  test.for([{}, { termsOfServiceAgreed: false }, { termsOfServiceAgreed: "true" }, { termsOfServiceAgreed: 1 }])(
    "where there are terms needs termsOfServiceAgreed true: %o is userActionRequired (AA-5)",
    async (payload) => {
      const refused = fault("userActionRequired", expect.stringContaining("https://ca.example/terms/1"));
      await expect(asked(world.acme, world.directories.terms, signingKey(), { payload })).rejects.toEqual(refused);
    },
  );

  test("with agreement records which terms were agreed to (AA-5)", async () => {
    const { account } = await registered(world.acme, world.directories.terms);
    expect(account.termsAgreed).toBe("https://ca.example/terms/1");
    const without = await registered(world.acme, world.directories.open);
    expect(without.account).not.toHaveProperty("termsAgreed");
  });

  test("one key has an account in each directory", async () => {
    const { acme, directories } = world;
    const key = signingKey();
    const accounts = [await registered(acme, directories.open, key), await registered(acme, directories.terms, key)];
    expect(new Set(accounts.map(({ account }) => account.id)).size).toBe(2);
  });

  test("64 at once with one key over two instances make one account with one audit record (AK-4)", async () => {
    const { acme, second, directories } = world;
    for (let round = 0; round < 5; round++) {
      const key = signingKey();
      const parsed = accountKey(key);
      const outcomes = await Promise.all(
        Array.from({ length: 64 }, (_, index) => asked(index % 2 ? acme : second, directories.open, key, { standing: undefined })),
      );
      expect(outcomes.filter(({ created }) => created)).toHaveLength(1);
      expect(new Set(outcomes.map(({ account }) => account.id)).size).toBe(1);
      const records = (await audited(acme, "acme.account.create")).filter(({ object }) => object["thumbprint"] === parsed.thumbprint);
      expect(records).toHaveLength(1);
    }
  });

  test("of one key in two directories at once makes both accounts: 20 rounds", async () => {
    const { acme, second, directories } = world;
    for (let round = 0; round < 20; round++) {
      const key = signingKey();
      const payload = { termsOfServiceAgreed: true };
      const made = await Promise.all([asked(acme, directories.open, key, { payload }), asked(second, directories.terms, key, { payload })]);
      expect(made.map(({ created }) => created)).toEqual([true, true]);
    }
  });

  test("beyond the limit of an address is rateLimited; a standing account is not (AN-3)", async () => {
    const { acme, directories } = world;
    const address = "198.51.100.7";
    const keys = Array.from({ length: 3 }, () => signingKey());
    for (const key of keys) expect((await asked(acme, directories.limited, key, { address })).created).toBe(true);
    await expect(asked(acme, directories.limited, signingKey(), { address })).rejects.toEqual(fault("rateLimited"));
    for (const key of keys) expect((await asked(acme, directories.limited, key, { address })).created).toBe(false);
    expect((await asked(acme, directories.limited, signingKey(), { address: "198.51.100.8" })).created).toBe(true);
  });
});

const address63 = `${"a".repeat(64)}@example.org`;

describe("contacts", () => {
  test.for([
    { name: "eleven", contact: Array.from({ length: 11 }, (_, index) => `mailto:a${index}@example.org`), code: "malformed", id: "AA-7" },
    { name: "no array", contact: "mailto:a@example.org", code: "malformed", id: "AA-7" },
    { name: "null", contact: null, code: "malformed", id: "AA-7" },
    { name: "a number among them", contact: ["mailto:a@example.org", 5], code: "malformed", id: "AA-7" },
    { name: "tel:", contact: ["tel:+12025551212"], code: "unsupportedContact", id: "AA-8" },
    { name: "https:", contact: ["https://example.org/"], code: "unsupportedContact", id: "AA-8" },
    { name: "a bare address", contact: ["admin@example.org"], code: "unsupportedContact", id: "AA-8" },
    { name: "an empty text", contact: [""], code: "unsupportedContact", id: "AA-8" },
    { name: "mailto: alone", contact: ["mailto:"], code: "invalidContact", id: "AA-9" },
    { name: "no @", contact: ["mailto:admin"], code: "invalidContact", id: "AA-9" },
    { name: "two @", contact: ["mailto:a@b@example.org"], code: "invalidContact", id: "AA-9" },
    { name: "nothing before the @", contact: ["mailto:@example.org"], code: "invalidContact", id: "AA-9" },
    { name: "nothing behind the @", contact: ["mailto:admin@"], code: "invalidContact", id: "AA-9" },
    { name: "two addresses", contact: ["mailto:a@example.org,b@example.org"], code: "invalidContact", id: "AA-9" },
    { name: "header fields", contact: ["mailto:a@example.org?subject=x"], code: "invalidContact", id: "AA-9" },
    { name: "a fragment", contact: ["mailto:a@example.org#x"], code: "invalidContact", id: "AA-9" },
    { name: "a letter outside ASCII", contact: ["mailto:ä@example.org"], code: "invalidContact", id: "AA-9" },
    { name: "a domain outside ASCII", contact: ["mailto:a@exämple.org"], code: "invalidContact", id: "AA-9" },
    { name: "a blank", contact: ["mailto:a b@example.org"], code: "invalidContact", id: "AA-9" },
    { name: "a line break", contact: ["mailto:a@example.org\r\nBcc:b@example.org"], code: "invalidContact", id: "AA-9" },
    { name: "NUL", contact: ["mailto:a\0@example.org"], code: "invalidContact", id: "AA-9" },
    { name: "an address for a domain", contact: ["mailto:a@127.0.0.1"], code: "invalidContact", id: "AA-9" },
    { name: "a wildcard", contact: ["mailto:a@*.example.org"], code: "invalidContact", id: "AA-9" },
    { name: "a local part of 65", contact: [`mailto:a${address63}`], code: "invalidContact", id: "AA-9" },
    { name: "255 characters", contact: [`mailto:${"a".repeat(60)}@${"b.".repeat(96)}org`], code: "invalidContact", id: "AA-9" },
  ])("$name: $code ($id)", async ({ contact, code }) => {
    const { acme, directories } = world;
    await expect(asked(acme, directories.open, signingKey(), { payload: { contact } })).rejects.toEqual(fault(code));
    const { account } = await registered(acme, directories.open);
    await expect(updateAccount(acme, account, json({ contact }), "r")).rejects.toEqual(fault(code));
    expect(await stored({ account })).toEqual(account);
  });

  test.for([
    { name: "none", contact: [], kept: [] },
    { name: "ten", contact: Array.from({ length: 10 }, (_, index) => `mailto:a${index}@example.org`), kept: undefined },
    { name: "capitals in the scheme", contact: ["MAILTO:Admin@Example.org"], kept: ["mailto:Admin@Example.org"] },
    { name: "a local part of 64", contact: [`mailto:${address63}`], kept: undefined },
    { name: "a plus sign and a host of one label", contact: ["mailto:admin+acme@mail"], kept: undefined },
  ])("$name: taken (AA-1)", async ({ contact, kept }) => {
    const { account } = await asked(world.acme, world.directories.open, signingKey(), { payload: { contact } });
    expect(account.contact).toEqual(kept ?? contact);
  });
});

describe("update of an account", () => {
  test("with contact changes it, with an audit record; with {} it gives the object (AA-10)", async () => {
    const { acme, directories } = world;
    const { account } = await registered(acme, directories.open);
    const updated = await updateAccount(acme, account, json({ contact: ["mailto:new@example.org"] }), "update-1");
    expect(updated).toEqual({ ...account, contact: ["mailto:new@example.org"] });
    expect(await stored({ account })).toEqual(updated);
    expect(await updateAccount(acme, updated, json({}), "update-2")).toEqual(updated);
    expect(await updateAccount(acme, updated, json({ contact: [] }), "update-3")).toEqual({ ...updated, contact: [] });
    const records = (await audited(acme, "acme.account.update")).filter(({ object }) => object["account"] === account.id);
    expect(records.map(({ requestId }) => requestId)).toEqual(["update-1", "update-3"]);
  });

  test.for([
    { orders: "https://ca.example/elsewhere" },
    { termsOfServiceAgreed: true },
    { status: "valid" },
    { status: "revoked" },
    { status: ["deactivated"] },
    { id: "x", key: {}, externalAccountBinding: {}, unknown: 1 },
  ])("of %o changes nothing (AA-11, RFC 8555 §7.3.2)", async (payload) => {
    const { account } = await registered(world.acme, world.directories.open);
    expect(await updateAccount(world.acme, account, json(payload), "r")).toEqual(account);
    expect(await stored({ account })).toEqual(account);
  });

  test("deactivated: orders are invalid, authorizations deactivated, certificates live on (AA-12, RFC 8555 §7.3.6)", async () => {
    const { acme, directories } = world;
    const { account } = await registered(acme, directories.open);
    const certificate = await certified(acme, directories.open, account, ["lives-on.example.org"]);
    const ready = await provenOrder(acme, directories.open, account, ["ready.example.org"]);
    const identifiers = [{ type: "dns", value: "pending.example.org" }];
    const { order: pending } = await newOrder(acme, directories.open, account, json({ identifiers }));
    expect([ready.status, pending.status]).toEqual(["ready", "pending"]);

    const ended = await updateAccount(acme, account, json({ status: "deactivated", contact: ["mailto:x@example.org"] }), "end-1");
    expect(ended).toEqual({ ...account, status: "deactivated" });
    for (const { id } of [ready, pending]) {
      expect(await readOrder(acme, ended, id)).toMatchObject({ status: "invalid" });
      const authorizations = await acme.database.read((sql) => readAuthorizationsOfOrder(sql, id, acme.clock.now()));
      expect(authorizations.map(({ status }) => status)).toEqual(["deactivated"]);
    }
    const serial = Buffer.from(certificate.serial, "hex");
    expect(await readStoredCertificate(acme.ca, certificate.authority, serial)).toMatchObject({ status: "valid" });
    const records = (await audited(acme, "acme.account.deactivate")).filter(({ object }) => object["account"] === account.id);
    expect(records.map(({ requestId }) => requestId)).toEqual(["end-1"]);
  });

  test("of an account that ended meanwhile is refused; 20 deactivations at once are one (AA-12)", async () => {
    const { acme, second, directories } = world;
    const { account } = await registered(acme, directories.open);
    const outcomes = await Promise.allSettled(
      Array.from({ length: 20 }, (_, index) => updateAccount(index % 2 ? acme : second, account, json({ status: "deactivated" }), "r")),
    );
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    for (const outcome of outcomes) if (outcome.status === "rejected") expect(outcome.reason).toEqual(fault("accountInactive"));
    await expect(updateAccount(acme, account, json({ contact: [] }), "r")).rejects.toEqual(fault("accountInactive"));
  });
});

describe("terms that have changed (AA-6, RFC 8555 §7.3.3)", () => {
  const url = "https://ca.example/terms/2";
  const identifiers = [{ type: "dns", value: "consent.example.org" }];

  test("are agreed to by newAccount alone, and until then there is no new order", async () => {
    const { directories } = world;
    const changed = { ...directories.terms, termsOfService: url };
    const acme = { ...world.acme, directories: new Map([[changed.name, changed]]) };
    const { account, key } = await registered(world.acme, directories.terms);
    const refused = expect.objectContaining({ code: "userActionRequired", members: expect.objectContaining({ instance: url }) as unknown });
    await expect(newOrder(acme, changed, account, json({ identifiers }))).rejects.toEqual(refused);

    const updated = await updateAccount(acme, account, json({ termsOfServiceAgreed: true }), "r");
    await expect(newOrder(acme, changed, updated, json({ identifiers }))).rejects.toEqual(refused);
    for (const payload of [{}, { termsOfServiceAgreed: false }, { termsOfServiceAgreed: true, onlyReturnExisting: true }])
      expect(await asked(acme, changed, key, { payload })).toEqual({ created: false, account });

    const agreed = await asked(acme, changed, key, { payload: { termsOfServiceAgreed: true }, requestId: "agree-1" });
    expect(agreed).toEqual({ created: false, account: { ...account, termsAgreed: url } });
    expect(await stored(agreed)).toEqual(agreed.account);
    expect((await newOrder(acme, changed, agreed.account, json({ identifiers }))).order.status).toBe("pending");
    const records = (await audited(acme, "acme.account.agree")).filter(({ object }) => object["account"] === account.id);
    expect(records.map(({ requestId }) => requestId)).toEqual(["agree-1"]);
  });
});

describe("accounts, for administrators", () => {
  test("are listed newest first, page by page, each once", async () => {
    const { acme, directories } = world;
    for (let count = 0; count < 7; count++) await registered(acme, directories.open);
    const seen: string[] = [];
    let cursor: string | undefined;
    do {
      const page = await listAccounts(acme, "/", { limit: 3, cursor });
      seen.push(...page.accounts.map(({ id }) => id));
      cursor = page.nextCursor;
    } while (cursor !== undefined);
    const [{ count } = { count: 0 }] = await acme.database.read(
      (sql) => sql<{ count: number }[]>`select count(*)::integer as count from acme_account`,
    );
    expect(seen).toHaveLength(count);
    expect(new Set(seen).size).toBe(count);
    await expect(listAccounts(acme, "/", { limit: 3, cursor: "nonsense" })).rejects.toEqual(fault("malformed"));
  });

  test("of another namespace are not shown, nor what is no id", async () => {
    const { acme, directories } = world;
    const team = { ...directories.open, name: "team", namespace: "/team-a" };
    const { account } = await registered(acme, team);
    expect(await showAccount(acme, "/team-a", account.id)).toEqual(account);
    expect(await showAccount(acme, "/", account.id)).toEqual(account);
    for (const [namespace, id] of [
      ["/team-b", account.id],
      ["/team", account.id],
      ["/", "\0"],
      ["/", ""],
      ["/", "A".repeat(22)],
    ] as const)
      expect(await showAccount(acme, namespace, id)).toBeUndefined();
    expect((await listAccounts(acme, "/team-a", { limit: 10 })).accounts).toEqual([account]);
    expect((await listAccounts(acme, "/team", { limit: 10 })).accounts).toEqual([]);
  });
});
