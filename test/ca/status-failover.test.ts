import { afterAll, beforeAll, expect, test } from "vitest";
import { openStatusFeed } from "../../src/ca/status-feed.ts";
import type { Database } from "../../src/database/connect.ts";
import { type OcspGround, ocspGround, type OcspInstance } from "../support/ocsp-world.ts";
import { rewritten } from "../support/rewritten-statement.ts";

let ground: OcspGround;
beforeAll(async () => {
  ground = await ocspGround();
});
afterAll(() => ground[Symbol.asyncDispose]());

/** As a server shows the database that has seen 20 transactions more than the one that takes its place. */
function ofLostPrimary(database: Database): Database {
  return rewritten(database, [
    { find: "pg_postmaster_start_time()", put: "timestamptz '2026-01-01T00:00:00Z'" },
    {
      find: "pg_current_snapshot()",
      put: "(select format('%1$s:%1$s:', (x::text::bigint + 20)::text)::pg_snapshot from pg_snapshot_xmax(pg_current_snapshot()) x)",
    },
  ]);
}

/** The instance, and a feed of its kept answers whose database fails over when it is told to. */
async function failingOver() {
  const instance = await ground.instance();
  const { database } = instance.ca;
  let server = ofLostPrimary(database);
  const feed = await openStatusFeed(
    { ...instance.ca, database: { ...database, read: (query) => server.read(query) } },
    instance.ocsp.cache,
  );
  return { instance, feed, failOver: () => void (server = database) };
}

async function burn({ ca }: OcspInstance, transactions: number): Promise<void> {
  for (let index = 0; index < transactions; index += 1) await ca.database.read((sql) => sql`select pg_current_xact_id()`);
}

test.for([
  { name: "others have used up the lost numbers", burnt: 40 },
  { name: "the lost numbers are not used up", burnt: 0 },
])(
  "a certificate that is revoked after a failover which lost transactions is not called good any more: $name (XO-21)",
  async ({ burnt }) => {
    const { instance, feed, failOver } = await failingOver();
    const [serial, untouched] = [await ground.issued(), await ground.issued()];
    const request = await ground.request(serial);
    const [good, other] = [await instance.answer(request), await instance.answer(await ground.request(untouched))];
    await feed.poll();
    expect(good.kept?.current).toBe(true);

    failOver();
    await ground.revoke(serial, 1);
    await burn(instance, burnt);
    await feed.poll();
    expect([good.kept?.current, other.kept?.current]).toEqual([false, true]);
    expect(await ground.verdict(await instance.answer(request), serial)).toMatchObject({ verified: true, statuses: ["revoked"] });
  },
);
