import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Acme } from "../../src/acme/acme.ts";
import { openAcme } from "../../src/acme/acme.ts";
import { changeKey } from "../../src/acme/change-key.ts";
import { openDatabase } from "../../src/database/connect.ts";
import { signingKey, thumbprint } from "../support/acme-client.ts";
import { recordedEvents } from "../support/events.ts";
import { type DatabaseProxy, startProxy } from "../support/proxy.ts";
import { accountUrl, type AccountWorld, accountWorld, asked, audited, keyChange, keyChangeUrl, registered } from "./account-world.ts";

let world: AccountWorld;
let proxy: DatabaseProxy;
let acme: Acme;
const stack = new AsyncDisposableStack();
beforeAll(async () => {
  world = stack.use(await accountWorld());
  proxy = stack.use(await startProxy(world.chancery.ground.databaseUrl));
  const database = stack.use(await openDatabase({ url: proxy.url }, { events: recordedEvents() }));
  acme = await openAcme({ ...world.acme, database, ca: { ...world.acme.ca, database } });
});
afterAll(() => stack.disposeAsync());

const holderOf = async (key: ReturnType<typeof signingKey>) =>
  (await world.acme.recognise({ nonce: undefined, account: { directory: "default", thumbprint: thumbprint(key) } })).account;
const recordsOf = async (operation: string, key: ReturnType<typeof signingKey>) =>
  (await audited(world.acme, operation)).filter(({ object }) => object["thumbprint"] === thumbprint(key));
const isReserved = async (key: ReturnType<typeof signingKey>) => {
  const account = await holderOf(key);
  if (!account) return false;
  const rows = await world.acme.database.read(
    (sql) => sql`select from reserved_key where spki_sha256 = ${Buffer.from(account.key.spkiSha256, "hex")} and kind = 'account'`,
  );
  return rows.length === 1;
};

/** Where the connection is cut, and whether what the act does stands then. */
const cuts = [
  { statement: /insert into acme_account/, when: "before", stands: false },
  { statement: /insert into acme_account/, when: "after", stands: false },
  { statement: /insert into reserved_key/, when: "before", stands: false },
  { statement: /insert into reserved_key/, when: "after", stands: false },
  { statement: /insert into "audit_record"/, when: "before", stands: false },
  { statement: /insert into "audit_record"/, when: "after", stands: false },
  { statement: /^commit/, when: "before", stands: false },
  { statement: /^commit/, when: "after", stands: true },
] as const;

describe("the connection to the database is cut (T-CRASH, I1)", () => {
  test.for(cuts)(
    "newAccount, $when $statement: what stands has its audit record and its reserved key, and asking again ends it",
    async ({ statement, when, stands }) => {
      const key = signingKey();
      const before = proxy.cuts();
      proxy.cutAt(statement, when);
      await expect(asked(acme, world.directories.open, key, { standing: undefined })).rejects.toMatchObject({
        code: "databaseUnavailable",
      });
      expect(proxy.cuts()).toBe(before + 1);
      await expect.poll(() => holderOf(key)).toEqual(stands ? expect.objectContaining({ status: "valid" }) : undefined);
      expect(await recordsOf("acme.account.create", key)).toHaveLength(stands ? 1 : 0);

      const again = await asked(acme, world.directories.open, key);
      expect(again.created).toBe(!stands);
      expect(await holderOf(key)).toEqual(again.account);
      expect([await recordsOf("acme.account.create", key), await isReserved(key)]).toEqual([[expect.anything()], true]);
    },
  );

  test.for([
    { statement: /update acme_account set jwk/, when: "before", stands: false },
    { statement: /update acme_account set jwk/, when: "after", stands: false },
    ...cuts.slice(2),
  ] as const)(
    "keyChange, $when $statement: the account has the old key or the new one, with its audit record",
    async ({ statement, when, stands }) => {
      const mine = await registered(world.acme, world.directories.open);
      const next = signingKey();
      const change = () =>
        changeKey(acme, mine.account, {
          payload: keyChange(mine, next),
          url: keyChangeUrl,
          accountUrl: accountUrl(mine.account),
          requestId: "r",
        });
      proxy.cutAt(statement, when);
      await expect(change()).rejects.toMatchObject({ code: "databaseUnavailable" });
      await expect.poll(async () => (await holderOf(stands ? next : mine.key))?.id).toBe(mine.account.id);
      expect(await holderOf(stands ? mine.key : next)).toBeUndefined();
      expect(await recordsOf("acme.account.change-key", next)).toHaveLength(stands ? 1 : 0);

      // The client that heard nothing asks again: it is done, or its own account is shown to have the key.
      if (stands) await expect(change()).rejects.toMatchObject({ code: "keyInUse", members: { account: mine.account.id } });
      else expect((await change()).key.thumbprint).toBe(thumbprint(next));
      expect([await recordsOf("acme.account.change-key", next), await isReserved(next)]).toEqual([[expect.anything()], true]);
    },
  );
});
