import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { Account } from "../../src/acme/account.ts";
import { certificateOfOrder } from "../../src/acme/certificate.ts";
import { newOrder } from "../../src/acme/new-order.ts";
import type { Order } from "../../src/acme/order.ts";
import { readAuthorization } from "../../src/acme/read-authorization.ts";
import { readOrder } from "../../src/acme/read-order.ts";
import { sweep } from "../../src/acme/sweep.ts";
import { settleUnfinished } from "../../src/ca/settle.ts";
import { Fault } from "../../src/fault.ts";
import { parseCertificate } from "../../src/pki/certificate.ts";
import { type AcmeGround, acmeGround, asking, finalized, readyOrder, standing } from "../support/acme-world.ts";

let ground: AcmeGround;
let account: Account;
beforeAll(async () => {
  ground = await acmeGround();
  account = await ground.newAccount();
});
afterEach(() => void (ground.on.reach = undefined));
afterAll(() => ground[Symbol.asyncDispose]());

const day = 86_400;
const pass = async (days: number): Promise<void> => {
  ground.clock.aheadSeconds += days * day;
  await sweep(ground.other);
};

/** Rows of every table that orders fill. */
async function rows(): Promise<Record<string, number>> {
  const [counts] = await ground.acme.database.read(
    (sql) => sql<Record<string, number>[]>`
      select (select count(*)::integer from acme_order) as orders, (select count(*)::integer from acme_open_order) as open,
        (select count(*)::integer from acme_authorization) as authorizations, (select count(*)::integer from acme_challenge) as challenges,
        (select count(*)::integer from acme_order_authorization) as links, (select count(*)::integer from acme_replacement) as replacements`,
  );
  return counts ?? {};
}
const nothing = { orders: 0, open: 0, authorizations: 0, challenges: 0, links: 0, replacements: 0 };

const certificateId = async (order: Order): Promise<string> => {
  const found = await certificateOfOrder(ground.acme, account, order.id);
  const { authorityKeyIdentifier = new Uint8Array(), serial } = parseCertificate(found?.certificate ?? new Uint8Array());
  return [authorityKeyIdentifier, Buffer.from(serial, "hex")].map((octets) => Buffer.from(octets).toString("base64url")).join(".");
};

describe("the sweep (AO-40, S-49)", () => {
  test("expired orders read invalid for a day and are then gone, with all that was made for them", async () => {
    const { order } = await newOrder(ground.acme, ground.directory, account, asking("a.example.org", "*.a.example.org", "192.0.2.1"));
    expect(await rows()).toEqual({ orders: 1, open: 1, authorizations: 3, challenges: 6, links: 3, replacements: 0 });
    await pass(7.9);
    const late = await standing(ground.acme, account, order);
    expect([late.status, late.error?.type]).toEqual(["invalid", "urn:ietf:params:acme:error:malformed"]);
    expect((await readAuthorization(ground.acme, account, order.authorizations[0] ?? ""))?.status).toBe("expired");
    await pass(0.2);
    expect(await readOrder(ground.acme, account, order.id)).toBeUndefined();
    expect(await readAuthorization(ground.acme, account, order.authorizations[0] ?? "")).toBeUndefined();
    expect(await rows()).toEqual(nothing);
  });

  test("an authorization that was met stays as long as it serves, and a day", async () => {
    const order = await readyOrder(ground, account, "met.example.org");
    await pass(9);
    expect(await readOrder(ground.acme, account, order.id)).toBeUndefined();
    const again = await newOrder(ground.acme, ground.directory, account, asking("met.example.org"));
    expect([again.order.status, again.order.authorizations]).toEqual(["ready", order.authorizations]);
    await pass(21.5);
    expect((await readAuthorization(ground.acme, account, order.authorizations[0] ?? ""))?.status).toBe("expired");
    await pass(1);
    expect(await rows()).toEqual(nothing);
  });

  test("an order whose issuance is under way stays until it has ended", async () => {
    const order = await readyOrder(ground, account, "open.example.org");
    ground.on.reach = (point) => {
      if (point === "sign:before") throw new Fault("hsmUnavailable", "the token is away");
    };
    expect((await finalized(ground.acme, account, order)).status).toBe("processing");
    await pass(10);
    expect((await standing(ground.acme, account, order)).status).toBe("processing");
    ground.on.reach = undefined;
    await settleUnfinished(ground.acme.ca);
    // By now the order may not begin again, and what was signed so long ago may not be signed any more.
    expect((await standing(ground.acme, account, order)).status).toBe("invalid");
    await pass(30);
    expect(await rows()).toEqual(nothing);
  });

  test("that a certificate was replaced is known until that certificate is over; a failed replacement is forgotten with its order", async () => {
    const first = await finalized(ground.acme, account, await readyOrder(ground, account, "r.example.org"));
    const replaces = await certificateId(first);
    const renewal = await newOrder(ground.acme, ground.directory, account, { ...asking("r.example.org"), replaces });
    await finalized(ground.acme, account, renewal.order);
    const failing = await certificateId(renewal.order);
    await newOrder(ground.acme, ground.directory, account, { ...asking("r.example.org", "never.example.org"), replaces: failing });
    expect((await rows())["replacements"]).toBe(2);
    await pass(10);
    expect(await rows()).toMatchObject({ orders: 0, replacements: 1 });
    const again = newOrder(ground.acme, ground.directory, account, { ...asking("r.example.org", "s.example.org"), replaces });
    await expect(again).rejects.toMatchObject({ code: "alreadyReplaced" });
    await pass(81);
    expect(await rows()).toEqual(nothing);
  });

  test("thousands at once, in batches", async () => {
    const now = ground.clock.now().toISOString();
    await ground.acme.database.transact(async ({ sql }) => {
      await sql`insert into acme_order (id, account_id, request_id, identifiers, profile, created_at, expires_at)
        select 'o' || n, ${account.id}, sha256(n::text::bytea), '[]', 'server', ${now}, ${now} from generate_series(1, 2500) n`;
      await sql`insert into acme_authorization (id, account_id, type, value, wildcard, status, created_at, expires_at)
        select 'a' || n, ${account.id}, 'dns', n || '.example.org', false, 'invalid', ${now}, ${now} from generate_series(1, 2500) n`;
      await sql`insert into acme_order_authorization (order_id, position, authorization_id)
        select 'o' || n, 0, 'a' || n from generate_series(1, 2500) n`;
    });
    await pass(0.5);
    expect(await rows()).toMatchObject({ orders: 2500, authorizations: 2500 });
    await pass(1);
    expect(await rows()).toEqual(nothing);
  });
});
