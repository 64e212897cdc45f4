/**
 * Array types of the types that the schema has, for postgres.js. Its own way is to ask the server on each new connection (`fetch_types`): when that
 * connection is cut meanwhile, it rejects a promise that nobody can catch.
 * @see PostgreSQL 18, 8.15.6 Array Input and Output Syntax
 */
export const arrayTypes = Object.fromEntries(
  [
    { name: "boolean", element: 16, array: 1000, read: (text: string) => text === "t" },
    { name: "bytea", element: 17, array: 1001, read: (text: string) => Buffer.from(text.slice(2), "hex") },
    { name: "bigint", element: 20, array: 1016, read: String },
    { name: "smallint", element: 21, array: 1005, read: Number },
    { name: "integer", element: 23, array: 1007, read: Number },
    { name: "text", element: 25, array: 1009, read: String },
    { name: "timestamptz", element: 1184, array: 1185, read: (text: string) => new Date(text) },
    { name: "uuid", element: 2950, array: 2951, read: String },
  ].map(({ name, element, array, read }) => [
    `${name}[]`,
    { element, to: array, from: [array], serialize: writeArray, parse: (text: string): unknown[] => readArray(text, read) },
  ]),
);

/** Object identifier of the array type over an element's type, undefined for a type that the schema does not have. */
export function arrayTypeOf(element: number): number | undefined {
  return Object.values(arrayTypes).find((type) => type.element === element)?.to;
}

function writeArray(values: unknown): unknown {
  // drizzle gives the literal already.
  return Array.isArray(values) ? `{${values.map(writeElement).join(",")}}` : values;
}

function writeElement(value: unknown): string {
  if (value === null) return "NULL";
  if (value instanceof Uint8Array) return `"\\\\x${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("hex")}"`;
  if (value instanceof Date) return `"${value.toISOString()}"`;
  if (typeof value === "number" || typeof value === "boolean" || typeof value === "bigint") return String(value);
  if (typeof value === "string") return `"${value.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
  throw new TypeError(`no element of an array: ${typeof value}`);
}

/** Of one dimension. */
function readArray(text: string, read: (element: string) => unknown): unknown[] {
  return [...text.slice(1, -1).matchAll(/"((?:[^"\\]|\\.)*)"|[^,]+/gs)].map(([whole, quoted]) => {
    if (quoted === undefined) return whole === "NULL" ? null : read(whole);
    return read(quoted.replaceAll(/\\(.)/gs, "$1"));
  });
}
