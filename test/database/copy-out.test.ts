import * as fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { copiedSeconds, copyOctets, copyOut, copyReader, type CopiedRows } from "../../src/database/copy-out.ts";
import { produced } from "../../src/database/produced.ts";
import { openTestDatabase, type TestDatabase } from "../support/database.ts";

let database: TestDatabase;

beforeAll(async () => {
  database = await openTestDatabase();
});
afterAll(async () => {
  await database?.[Symbol.asyncDispose]();
});

/** The fields of a batch, row by row, each in hex; null for NULL. */
function fieldsOf({ rows, columns, source, starts, ends }: CopiedRows): (string | null)[][] {
  return Array.from({ length: rows }, (_, row) =>
    Array.from({ length: columns }, (_field, column) => {
      const [start, end] = [starts[row * columns + column] ?? -1, ends[row * columns + column] ?? -1];
      return start === -1 ? null : Buffer.from(source.subarray(start, end)).toString("hex");
    }),
  );
}

async function rowsOf(batches: AsyncIterable<CopiedRows>): Promise<(string | null)[][]> {
  return (await Array.fromAsync(batches, fieldsOf)).flat();
}

describe("COPY in binary, from the server", () => {
  test("gives bytea, integers, NULL and an empty value as they are", async () => {
    const select = `values (decode('00ff', 'hex'), 1::smallint, null::text), (''::bytea, -2::smallint, 'é')`;
    const rows = await database.transact((tx) => rowsOf(copyOut(tx, { select, columns: 3 })));
    expect(rows).toEqual([
      ["00ff", "0001", null],
      ["", "fffe", "c3a9"],
    ]);
  });

  test("gives no row of an empty result", async () => {
    expect(await database.transact((tx) => rowsOf(copyOut(tx, { select: "select 1 where false", columns: 1 })))).toEqual([]);
  });

  test.for([
    { text: "1999-12-31T23:59:59.999999Z", seconds: 946_684_799 },
    { text: "2000-01-01T00:00:00Z", seconds: 946_684_800 },
    { text: "2026-02-28T12:34:56.5Z", seconds: 1_772_282_096 },
    { text: "1950-01-01T00:00:00Z", seconds: -631_152_000 },
    { text: "9999-12-31T23:59:59Z", seconds: 253_402_300_799 },
  ])("reads the timestamptz $text in whole seconds", async ({ text, seconds }) => {
    const select = `values ('${text}'::timestamptz)`;
    const [batch] = await database.transact((tx) => Array.fromAsync(copyOut(tx, { select, columns: 1 })));
    if (!batch) throw new Error("there is no row");
    expect(copiedSeconds(batch.view, batch.starts[0] ?? 0)).toBe(seconds);
  });

  test("gives 200,000 rows in order, in batches of a small part of them, to a reader that is slower than the server", async () => {
    const select = "select i, repeat('x', i % 50) from generate_series(1, 200000) i";
    let [rows, largest, next] = [0, 0, 1];
    await database.transactAlone(60_000, async (tx) => {
      for await (const { rows: count, columns, view, starts, ends, source } of copyOut(tx, { select, columns: 2 })) {
        for (let row = 0; row < count; row++, next++) {
          const [number, text] = [row * columns, row * columns + 1];
          if (view.getInt32(starts[number] ?? 0) !== next) throw new Error(`row ${next} is missing`);
          if ((ends[text] ?? 0) - (starts[text] ?? 0) !== next % 50) throw new Error(`row ${next} has another text`);
        }
        rows += count;
        largest = Math.max(largest, source.length);
        await new Promise((resolve) => setImmediate(resolve));
      }
    });
    expect(rows).toBe(200_000);
    expect(largest).toBeLessThan(1_000_000);
  });

  test("takes settings as text, whatever they hold", async () => {
    const value = `a'b"c; drop table issuance --`;
    const query = { select: "select current_setting('copy.path')", columns: 1, settings: { path: value } };
    expect(await database.transact((tx) => rowsOf(copyOut(tx, query)))).toEqual([[Buffer.from(value).toString("hex")]]);
    const [row] = await database.read((sql) => sql`select current_setting('copy.path', true) as left_over`);
    expect(row?.["left_over"] ?? "").toBe("");
  });

  test("leaves its connection for the next statement, also when its reader stops early or throws", async () => {
    const query = { select: "select repeat('x', 1000) from generate_series(1, 50000)", columns: 1 };
    const after = await database.transact(async (tx) => {
      for await (const { rows } of copyOut(tx, query)) if (rows > 0) break;
      const reading = (async () => {
        for await (const { rows } of copyOut(tx, query)) if (rows > 0) throw new Error("the reader has seen enough");
      })();
      await expect(reading).rejects.toThrow("the reader has seen enough");
      return await tx.sql`select 7 as seven`;
    });
    expect(after[0]?.["seven"]).toBe(7);
  });

  test("fails with the server's error, before the first row and behind many", async () => {
    for (const select of ["select * from no_such_table", "select 1 / (100000 - i) from generate_series(1, 200000) i"]) {
      await expect(database.transact((tx) => rowsOf(copyOut(tx, { select, columns: 1 })))).rejects.toThrow(
        /no_such_table|division by zero/,
      );
    }
    const [row] = await database.read((sql) => sql`select 1 as one`);
    expect(row?.["one"]).toBe(1);
  });
});

const head = Buffer.concat([Buffer.from("PGCOPY\n\xff\r\n\0", "latin1"), Buffer.alloc(8)]);
const trailer = Buffer.from("ffff", "hex");
function fieldOctets(value: Uint8Array | null): Buffer {
  const length = Buffer.alloc(4);
  length.writeInt32BE(value?.length ?? -1);
  return Buffer.concat([length, value ?? Buffer.alloc(0)]);
}

function rowOctets(values: readonly (Uint8Array | null)[]): Buffer {
  const count = Buffer.alloc(2);
  count.writeInt16BE(values.length);
  return Buffer.concat([count, ...values.map(fieldOctets)]);
}

function read(chunks: readonly Uint8Array[], columns: number): (string | null)[][] {
  const reader = copyReader(columns);
  const rows = chunks.flatMap((chunk) => fieldsOf(reader.read(chunk)));
  reader.end();
  return rows;
}

/** Rows of 60,000 octets, each of its own number. */
const longRows = (rows: number): string =>
  `select decode(repeat(lpad(to_hex(g), 2, '0'), 60000), 'hex') from generate_series(1, ${rows}) g`;

const outside = (rows: number, fault?: Error) =>
  produced<Uint8Array>((put) =>
    database.transactAlone(5_000, async (tx) => {
      for await (const piece of copyOctets(tx, { select: longRows(rows) })) await put(piece);
      if (fault) throw fault;
    }),
  );
describe("one column of bytea by COPY", () => {
  test.for([0, 1, 2, 3, 4, 5, 6])(
    "of %i rows that fill the stream comes whole to a slow reader, and the transaction goes on",
    async (rows) => {
      const { octets, after } = await database.transactAlone(5_000, async (tx) => {
        const pieces: Uint8Array[] = [];
        for await (const piece of copyOctets(tx, { select: longRows(rows) })) {
          pieces.push(piece);
          // Whatever the server has to send fills the stream meanwhile.
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
        return { octets: Buffer.concat(pieces), after: await tx.sql`select 1 as one` };
      });
      expect(octets.equals(Buffer.concat(Array.from({ length: rows }, (_, row) => Buffer.alloc(60_000, row + 1))))).toBe(true);
      expect(after).toHaveLength(1);
    },
  );

  test("of many short rows, an empty one among them, is their octets one after the other", async () => {
    const octets = await database.transact((tx) =>
      Array.fromAsync(copyOctets(tx, { select: "values ('\\x01'::bytea), (''), ('\\x0203')" })),
    );
    expect(Buffer.concat(octets).toString("hex")).toBe("010203");
  });

  test("is iterated over from outside of its transaction; who stops early ends it, and an error inside is told", async () => {
    expect(Buffer.concat(await Array.fromAsync(outside(5)))).toHaveLength(300_000);
    for await (const piece of outside(50)) {
      expect(piece[0]).toBe(1);
      break;
    }
    await expect(Array.fromAsync(outside(2, new Error("inside")))).rejects.toThrow("inside");
  });
});

describe("the octets of a binary COPY (PostgreSQL, COPY, Binary Format)", () => {
  test("are the same rows however they are cut into chunks", () => {
    const value = fc.option(fc.uint8Array({ maxLength: 40 }), { nil: null });
    const table = fc.integer({ min: 1, max: 4 }).chain((columns) =>
      fc.record({
        columns: fc.constant(columns),
        rows: fc.array(fc.array(value, { minLength: columns, maxLength: columns }), { maxLength: 12 }),
        cuts: fc.array(fc.nat(600)),
      }),
    );
    fc.assert(
      fc.property(table, ({ columns, rows, cuts }) => {
        const octets = Buffer.concat([head, ...rows.map(rowOctets), trailer]);
        const places = [0, ...cuts.filter((cut) => cut < octets.length).toSorted((one, other) => one - other), octets.length];
        const chunks = places.slice(1).map((end, index) => octets.subarray(places[index], end));
        expect(read(chunks, columns)).toEqual(rows.map((values) => values.map((each) => each && Buffer.from(each).toString("hex"))));
      }),
    );
  });

  test.for([
    { name: "another signature", octets: Buffer.concat([Buffer.from("PGCOPY\n\xfe\r\n\0", "latin1"), Buffer.alloc(8), trailer]) },
    { name: "flags that nobody knows", octets: Buffer.concat([head.subarray(0, -8), Buffer.from("0001000000000000", "hex"), trailer]) },
    { name: "another count of columns", octets: Buffer.concat([head, rowOctets([null]), trailer]) },
    { name: "no trailer", octets: Buffer.concat([head, rowOctets([null, null])]) },
    { name: "octets behind the trailer", octets: Buffer.concat([head, trailer, Buffer.alloc(1)]) },
    { name: "a row cut short", octets: Buffer.concat([head, rowOctets([Buffer.alloc(9), null]).subarray(0, 12), trailer]) },
    { name: "nothing", octets: Buffer.alloc(0) },
  ])("with $name are refused", ({ octets }) => {
    expect(() => read([octets], 2)).toThrow(expect.objectContaining({ code: "internal" }));
  });
});
