import { randomBytes } from "node:crypto";
import * as fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { crlTerms } from "../../src/ca/crl-slot.ts";
import { listDueCrls } from "../../src/ca/crl-store.ts";
import { publishDueCrls } from "../../src/ca/publish-due-crls.ts";
import { readState, readStatusChanges } from "../../src/ca/status-store.ts";
import type { Database } from "../../src/database/connect.ts";
import type { Sql } from "../../src/database/connection.ts";
import { type CrlGround, crlGround } from "../support/crl-world.ts";
import { holdBeforeFaults } from "../support/emitted-status.ts";

let crls: CrlGround;
let database: Database;
beforeAll(async () => {
  crls = await crlGround({ mtls: 4 });
  ({ database } = crls.ca);
  // What is revoked here is on no CRL.
  await holdBeforeFaults(crls.ground);
});
afterAll(() => crls[Symbol.asyncDispose]());

type Revoked = { readonly serial: string; readonly authority: string; readonly shard: number | null; readonly transaction: bigint };

/** Revokes so many serial numbers of an authority, that nobody has, in a transaction of its own. */
async function revokeRows(authority: string, shard: number | null, count = 1): Promise<readonly Revoked[]> {
  const serials = Array.from({ length: count }, () => Buffer.concat([Buffer.of(0x40), randomBytes(15)]));
  const rows = await database.read(
    (sql) => sql<{ serial: string; transaction: string }[]>`
      insert into revocation (authority, serial, revoked_at, reason, not_after, shard)
      select ${authority}, serial, '2026-01-01T00:00:00Z', 4, '2090-01-01T00:00:00Z', ${shard}::smallint
      from unnest(${sql.array(serials, 17)}::bytea[]) as u (serial)
      returning encode(serial, 'hex') as serial, transaction_id::text as transaction`,
  );
  return rows.map(({ serial, transaction }) => ({ serial, authority, shard, transaction: BigInt(transaction) }));
}

const dueCrls = (sql: Sql, now = crls.clock.now()) => listDueCrls(sql, "issuing", { ...crlTerms.issuing, now });

/** Another session's, as one is that was prepared and forgotten: it has a number, and does nothing. */
async function withOpenTransaction(act: () => Promise<void>): Promise<void> {
  const [begun, held] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const open = crls.other.database.transact(async ({ sql }) => {
    await sql`select pg_current_xact_id()`;
    begun.resolve();
    await held.promise;
  });
  try {
    await begun.promise;
    await act();
  } finally {
    held.resolve();
    await open;
  }
}

/** Rows of `revocation` that a statement reads. */
const rowsRead = (ask: (sql: Sql) => Promise<unknown>): Promise<number> =>
  database.transact(async ({ sql }) => {
    // Of this session: those of the transactions before may be among them.
    const read = async (): Promise<number> => {
      const [row] = await sql<{ count: string }[]>`
        select seq_tup_read + idx_tup_fetch as count from pg_stat_xact_user_tables where relname = 'revocation'`;
      return Number(row?.count);
    };
    const before = await read();
    await ask(sql);
    return (await read()) - before;
  });

describe("while somebody holds a transaction open", () => {
  test("what the CRLs list already is not read again to see whether one is due", async () => {
    await withOpenTransaction(async () => {
      for (let shard = 0; shard < 4; shard += 1) await revokeRows("issuing-1", shard, 50);
      crls.clock.aheadSeconds += 1;
      expect(await publishDueCrls(crls.ca)).toBe(5);
      expect(await database.read(dueCrls)).toEqual([]);
      expect(await rowsRead(dueCrls)).toBe(0);
      await revokeRows("issuing-1", 2, 3);
      expect(await database.read(dueCrls)).toEqual(["issuing-1", "issuing-1/2"]);
      // Once, however many slots there are.
      expect(await rowsRead(dueCrls)).toBe(3);
    });
  });

  test("what the feed has told is not read again", async () => {
    await withOpenTransaction(async () => {
      await revokeRows("issuing-1", null, 50);
      const since = await database.read(readState);
      await revokeRows("issuing-1", null, 3);
      expect(await rowsRead((sql) => readStatusChanges(sql, { since, limit: 1_000 }))).toBe(3);
    });
  });
});

type Snapshot = { readonly xmin: bigint; readonly xmax: bigint; readonly xip: readonly bigint[] };

const textOf = ({ xmin, xmax, xip }: Snapshot): string => `${xmin}:${xmax}:${xip.join(",")}`;
const isNew = ({ xmax, xip }: Snapshot, { transaction }: Revoked): boolean => transaction >= xmax || xip.includes(transaction);

const pathOf = (shard: number | null): string => (shard === null ? "issuing-1" : `issuing-1/${shard}`);

describe("what a snapshot does not show: transactions from its xmax on, and those in its xip", () => {
  let revoked: readonly Revoked[];
  let last: bigint;
  beforeAll(async () => {
    const scopes = [0, 1, 2, 3, null, 0, 1, 2].flatMap((shard) => ["issuing-1", "root-1"].map((authority) => ({ authority, shard })));
    const rows: Revoked[] = [];
    for (const { authority, shard } of scopes) rows.push(...(await revokeRows(authority, shard)));
    revoked = rows;
    last = rows.at(-1)?.transaction ?? 0n;
    // Of a database that was restored: a transaction of the future is nobody's yet.
    await database.read(
      (sql) => sql`
        insert into revocation (authority, serial, revoked_at, reason, not_after, shard, transaction_id)
        values ('issuing-1', ${randomBytes(16)}, '2026-01-01T00:00:00Z', 4, '2090-01-01T00:00:00Z', 0, '999999999')`,
    );
  });

  const from = (): bigint => revoked[0]?.transaction ?? 0n;
  /** Any that the transactions of `revoked` are before, in and behind. */
  const snapshots = () =>
    fc.tuple(fc.bigInt(from(), last + 1n), fc.uniqueArray(fc.bigInt(from(), last), { maxLength: 6 })).map(([xmax, open]): Snapshot => {
      const xip = open.filter((transaction) => transaction < xmax).toSorted((a, b) => Number(a - b));
      return { xmin: xip[0] ?? xmax, xmax, xip };
    });
  test("a CRL is due by exactly these of its scope", async () => {
    const slots: readonly (number | null)[] = [null, 0, 1, 2, 3];
    await fc.assert(
      fc.asyncProperty(fc.tuple(...slots.map(snapshots)), async (of) => {
        for (const [index, shard] of slots.entries()) {
          const snapshot = of[index];
          if (!snapshot) throw new Error("no snapshot");
          await database.read(
            (sql) => sql`update crl_slot set snapshot = ${textOf(snapshot)}::text::pg_snapshot where path = ${pathOf(shard)}`,
          );
        }
        const due = slots.filter((shard, index) =>
          revoked.some((row) => {
            const snapshot = of[index];
            return snapshot && row.authority === "issuing-1" && (shard === null || row.shard === shard) && isNew(snapshot, row);
          }),
        );
        expect(await database.read(dueCrls)).toEqual(due.map(pathOf));
      }),
      { numRuns: 100 },
    );
  });

  test("the feed tells exactly these", async () => {
    const { server } = await database.read(readState);
    await fc.assert(
      fc.asyncProperty(snapshots(), async (snapshot) => {
        const since = { snapshot: textOf(snapshot), server };
        const { changed } = await database.read((sql) => readStatusChanges(sql, { since, limit: 1_000 }));
        const told = changed.map(({ of }) => of.serial).toSorted();
        expect(told).toEqual(
          revoked
            .filter((row) => isNew(snapshot, row))
            .map(({ serial }) => serial)
            .toSorted(),
        );
      }),
      { numRuns: 100 },
    );
  });
});
