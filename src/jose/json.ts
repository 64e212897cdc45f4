import { Fault } from "../fault.ts";

/** A JSON value. Objects have no prototype, so that no member name reaches anything but data. */
export type Json = null | boolean | number | string | readonly Json[] | JsonObject;
/** A JSON object without prototype. */
export type JsonObject = { readonly [member: string]: Json };

/** Deepest nesting of arrays and objects. */
const maxDepth = 8;
/** Most members of one object. */
const maxMembers = 64;
/** Most items of one array: more than an order has identifiers. */
const maxItems = 128;

/**
 * The one JSON value that `bytes` holds. Stricter than JSON.parse, within I-JSON (RFC 7493): UTF-8 without byte order mark, no member
 * name twice (TR-8), no lone surrogate, no number beyond the range of a double; at most 8 levels deep, 64 members an object and 128
 * items an array.
 * @throws Fault `malformed` with the offset, in UTF-16 units, of what is wrong.
 * @see RFC 8259, RFC 7493 §2
 */
export function readJson(bytes: Uint8Array): Json {
  const reader: Reader = { text: decodeUtf8(bytes), at: 0 };
  skipSpace(reader);
  const value = readValue(reader, 0);
  skipSpace(reader);
  if (reader.at < reader.text.length) throw wrong(reader, "bytes after the JSON value");
  return value;
}

/** Whether `value` is an object, and neither absent nor an array. */
export function isJsonObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

type Reader = { readonly text: string; at: number };

function decodeUtf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new Fault("malformed", "the JSON text is not UTF-8", { cause });
  }
}

function readValue(reader: Reader, depth: number): Json {
  switch (reader.text[reader.at]) {
    case "{":
      return readObject(reader, depth + 1);
    case "[":
      return readArray(reader, depth + 1);
    case '"':
      return readString(reader);
    case "t":
      return readWord(reader, "true", true);
    case "f":
      return readWord(reader, "false", false);
    case "n":
      return readWord(reader, "null", null);
    default:
      return readNumber(reader);
  }
}

function readObject(reader: Reader, depth: number): JsonObject {
  open(reader, depth);
  const object: Record<string, Json> = Object.create(null);
  let members = 0;
  if (closes(reader, "}")) return object;
  do {
    skipSpace(reader);
    const start = reader.at;
    if (reader.text[start] !== '"') throw wrong(reader, "no member name where one must stand");
    const name = readString(reader);
    members += 1;
    if (members > maxMembers) throw wrong(reader, `more than ${maxMembers} members in one JSON object`, start);
    if (name in object) throw wrong(reader, "a member name occurs twice in one JSON object", start);
    skipSpace(reader);
    if (!take(reader, ":")) throw wrong(reader, "no colon after a member name");
    skipSpace(reader);
    object[name] = readValue(reader, depth);
    skipSpace(reader);
  } while (take(reader, ","));
  if (!take(reader, "}")) throw wrong(reader, "the JSON object does not end");
  return object;
}

function readArray(reader: Reader, depth: number): readonly Json[] {
  open(reader, depth);
  const items: Json[] = [];
  if (closes(reader, "]")) return items;
  do {
    skipSpace(reader);
    if (items.length === maxItems) throw wrong(reader, `more than ${maxItems} items in one JSON array`);
    items.push(readValue(reader, depth));
    skipSpace(reader);
  } while (take(reader, ","));
  if (!take(reader, "]")) throw wrong(reader, "the JSON array does not end");
  return items;
}

function open(reader: Reader, depth: number): void {
  if (depth > maxDepth) throw wrong(reader, `the JSON value is more than ${maxDepth} levels deep`);
  reader.at += 1;
}

function closes(reader: Reader, mark: string): boolean {
  skipSpace(reader);
  return take(reader, mark);
}

const escape = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y;

function readString(reader: Reader): string {
  const start = reader.at;
  reader.at += 1;
  do skipPlain(reader);
  while (advance(reader, escape));
  if (!take(reader, '"')) throw wrong(reader, "the JSON string does not end, or has a control character or unknown escape");
  const string: string = JSON.parse(reader.text.slice(start, reader.at));
  if (!string.isWellFormed()) throw wrong(reader, "the JSON string has a lone surrogate", start);
  return string;
}

const number = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;

function readNumber(reader: Reader): number {
  const start = reader.at;
  if (!advance(reader, number))
    throw wrong(reader, reader.at < reader.text.length ? "no JSON value where one must stand" : "the JSON text ends early");
  const value = Number(reader.text.slice(start, reader.at));
  if (!Number.isFinite(value)) throw wrong(reader, "the number is out of range", start);
  return value;
}

function readWord<Value>(reader: Reader, word: string, value: Value): Value {
  if (!reader.text.startsWith(word, reader.at)) throw wrong(reader, "no JSON value where one must stand");
  reader.at += word.length;
  return value;
}

/** Moves past what the sticky `pattern` matches here; false when it matches nothing. */
function advance(reader: Reader, pattern: RegExp): boolean {
  pattern.lastIndex = reader.at;
  if (!pattern.test(reader.text)) return false;
  reader.at = pattern.lastIndex;
  return true;
}

/** Moves past what stands in a string as itself: all but control characters, quotation mark and backslash (RFC 8259 §7). */
function skipPlain(reader: Reader): void {
  for (
    let code = reader.text.charCodeAt(reader.at);
    code >= 0x20 && code !== 0x22 && code !== 0x5c;
    code = reader.text.charCodeAt(reader.at)
  ) {
    reader.at += 1;
  }
}

function skipSpace(reader: Reader): void {
  while (isSpace(reader.text.charCodeAt(reader.at))) reader.at += 1;
}

function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x09 || code === 0x0a || code === 0x0d;
}

function take(reader: Reader, mark: string): boolean {
  if (reader.text[reader.at] !== mark) return false;
  reader.at += 1;
  return true;
}

function wrong(reader: Reader, what: string, at = reader.at): Fault {
  return new Fault("malformed", `${what} (JSON offset ${at})`);
}
