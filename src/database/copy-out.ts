import type { Readable } from "node:stream";
import { Fault } from "../fault.ts";
import type { Tx } from "./connect.ts";

/**
 * Rows side by side, without an object for each: field `column` of row `row` is what stands in `source` from `starts[row * columns + column]`
 * to `ends[row * columns + column]`, in the binary form of its type. NULL starts and ends at -1. Arrays may be longer than that.
 */
export type CopiedRows = {
  readonly rows: number;
  readonly columns: number;
  readonly source: Uint8Array;
  /** The same octets, for numbers: integers are big-endian. */
  readonly view: DataView;
  readonly starts: Int32Array;
  readonly ends: Int32Array;
};

/** What is copied. COPY takes no parameters: the query reads each of `settings` as `current_setting('copy.<name>')`, which is text. */
export type CopyQuery = { readonly select: string; readonly columns: number; readonly settings?: Readonly<Record<string, string>> };

/**
 * Rows of a query by COPY in binary, in batches of some 256 KB, as fast as they are taken. Until the end, or until its caller stops, the
 * transaction serves no other statement; the server's statement_timeout counts for the whole.
 * @see PostgreSQL, COPY, "Binary Format"
 */
export async function* copyOut(
  { sql }: Pick<Tx, "sql">,
  { select, columns, settings = {} }: CopyQuery,
): AsyncGenerator<CopiedRows, undefined> {
  const reader = copyReader(columns);
  for await (const chunk of gathered(copyChunks({ sql }, { select, settings }))) {
    const batch = reader.read(chunk);
    if (batch.rows > 0) yield batch;
  }
  reader.end();
}

/** The octets of a query's one column of bytea, row after row, as they come and as fast as they are taken; else as `copyOut`. */
export async function* copyOctets(tx: Pick<Tx, "sql">, query: Omit<CopyQuery, "columns">): AsyncGenerator<Uint8Array, undefined> {
  const reader = octetReader();
  for await (const chunk of copyChunks(tx, query)) yield* reader.read(chunk);
  reader.end();
}

async function* copyChunks(
  { sql }: Pick<Tx, "sql">,
  { select, settings = {} }: Omit<CopyQuery, "columns">,
): AsyncGenerator<Uint8Array, undefined> {
  await applySettings({ sql }, settings);
  const stream = await sql.unsafe(`copy (${select}) to stdout (format binary)`).readable();
  try {
    for await (const chunk of stream.iterator({ destroyOnReturn: false })) yield chunk;
  } finally {
    await drain(stream);
    // postgres.js pauses the socket while much is buffered, and lets it go on when the stream asks for more, which one that has come whole
    // never does: the answers to the statements after it would not be read.
    // oxlint-disable-next-line no-underscore-dangle
    stream._read(0);
  }
}

/** Several chunks as one: the server sends what it has, a few KB at a time where it is the slower one. */
async function* gathered(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, undefined> {
  let held: Uint8Array[] = [];
  let octets = 0;
  for await (const chunk of chunks) {
    held.push(chunk);
    octets += chunk.length;
    if (octets < batchOctets) continue;
    yield Buffer.concat(held);
    [held, octets] = [[], 0];
  }
  if (octets > 0) yield Buffer.concat(held);
}

const batchOctets = 262_144;

/** Sets `settings` for the rest of the transaction, as `copyOut` does: other statements can read them too. */
export async function applySettings({ sql }: Pick<Tx, "sql">, settings: Readonly<Record<string, string>>): Promise<void> {
  for (const [name, value] of Object.entries(settings)) await sql`select set_config(${`copy.${name}`}, ${value}, true)`;
}

/** Takes what the server still sends: the connection serves nothing else before. */
async function drain(stream: Readable): Promise<void> {
  if (stream.readableEnded || stream.errored) return;
  const over = new Promise<void>((resolve) => stream.once("end", resolve).once("error", () => resolve()));
  stream.resume();
  await over;
}

/** Reads the octets of one binary COPY, chunk by chunk. */
export type CopyReader = {
  /** The rows that are whole with this chunk. @throws Fault `internal` when the octets are no such COPY. */
  read(chunk: Uint8Array): CopiedRows;
  /** No chunk is left. @throws Fault `internal` when the trailer is missing. */
  end(): void;
};

/** A reader of rows of so many columns. */
export function copyReader(columns: number): CopyReader {
  let left: Uint8Array = new Uint8Array();
  let state: "head" | "rows" | "over" = "head";
  return {
    read(chunk) {
      const source = left.length === 0 ? chunk : Buffer.concat([left, chunk]);
      const batch = emptyBatch(source, columns);
      let at = 0;
      if (state === "head") {
        at = headEnd(batch.view);
        if (at > 0) state = "rows";
      }
      while (state === "rows") {
        const end = readRow(batch, at);
        if (end === rowMissing) break;
        if (end === trailer) state = "over";
        at = end === trailer ? at + 2 : end;
      }
      left = source.subarray(at);
      if (state === "over" && left.length > 0) throw new Fault("internal", "the server's COPY goes on behind its trailer");
      return batch;
    },
    end() {
      if (state !== "over") throw new Fault("internal", "the server's COPY ends without its trailer");
    },
  };
}

type Batch = { -readonly [Member in keyof CopiedRows]: CopiedRows[Member] };

// A field takes at least the four octets of its length.
function emptyBatch(source: Uint8Array, columns: number): Batch {
  const most = Math.floor(source.length / (2 + 4 * columns)) * columns;
  const view = new DataView(source.buffer, source.byteOffset, source.byteLength);
  return { rows: 0, columns, source, view, starts: new Int32Array(most), ends: new Int32Array(most) };
}

const signature = Buffer.from("PGCOPY\n\xff\r\n\0", "latin1");

/** Past the head: signature, flags, length of an extension that no server writes yet; 0 when it has not come whole. */
function headEnd(view: DataView): number {
  if (view.byteLength < signature.length + 8) return 0;
  const known = signature.every((octet, index) => view.getUint8(index) === octet);
  if (!known || view.getInt32(signature.length) !== 0 || view.getInt32(signature.length + 4) !== 0) {
    throw new Fault("internal", "the server's COPY does not begin as a binary one");
  }
  return signature.length + 8;
}

const rowMissing = 0;
const trailer = -1;

/** Notes the row at `at`: its end, or one of the two above. */
function readRow(batch: Batch, at: number): number {
  const { view, columns } = batch;
  const length = view.byteLength;
  if (at + 2 > length) return rowMissing;
  const fields = view.getInt16(at);
  if (fields === -1) return trailer;
  if (fields !== columns) throw new Fault("internal", `the server's COPY has ${fields} columns, not ${columns}`);
  let next = at + 2;
  for (let column = 0; column < columns; column++) {
    if (next + 4 > length) return rowMissing;
    const octets = view.getInt32(next);
    next += 4;
    const place = batch.rows * columns + column;
    batch.starts[place] = octets === -1 ? -1 : next;
    if (octets > 0) next += octets;
    if (next > length) return rowMissing;
    batch.ends[place] = octets === -1 ? -1 : next;
  }
  batch.rows += 1;
  return next;
}

/** Reads the fields of one column, whatever pieces the octets of the COPY come in. */
function octetReader(): { readonly read: (chunk: Uint8Array) => Generator<Uint8Array>; readonly end: () => void } {
  let head = Buffer.of();
  let state: "head" | "rows" | "over" = "head";
  let fieldLeft = 0;
  return {
    *read(chunk) {
      for (let at = 0; at < chunk.length;) {
        if (state === "over") throw new Fault("internal", "the server's COPY goes on behind its trailer");
        if (fieldLeft > 0) {
          const piece = chunk.subarray(at, at + fieldLeft);
          at += piece.length;
          fieldLeft -= piece.length;
          yield piece;
          continue;
        }
        // Octet by octet, as few as they are: a head may come in pieces too.
        head = Buffer.concat([head, chunk.subarray(at, (at += 1))]);
        if (state === "head") {
          if (headEnd(new DataView(head.buffer, head.byteOffset, head.length)) === 0) continue;
          state = "rows";
        } else if (head.length === 2) {
          if (head.readInt16BE() === -1) state = "over";
          else if (head.readInt16BE() !== 1) throw new Fault("internal", `the server's COPY has ${head.readInt16BE()} columns, not 1`);
          continue;
        } else if (head.length === 6) {
          fieldLeft = Math.max(0, head.readInt32BE(2));
        } else continue;
        head = Buffer.of();
      }
    },
    end() {
      if (state !== "over") throw new Fault("internal", "the server's COPY ends without its trailer");
    },
  };
}

/** Whole seconds since 1970 of a timestamptz at `at`: microseconds since 2000 in 64 bits. */
export function copiedSeconds(view: DataView, at: number): number {
  const microseconds = view.getInt32(at) * 2 ** 32 + view.getUint32(at + 4);
  return Math.floor(microseconds / 1_000_000) + year2000;
}

const year2000 = Date.UTC(2000, 0, 1) / 1000;
