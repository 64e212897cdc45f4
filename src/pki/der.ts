import { Fault } from "../fault.ts";
import { contentProblem } from "./der-content.ts";

/** Identifier octets of the universal types that our structures use (X.690 §8.1.2). */
export const tag = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  objectIdentifier: 0x06,
  enumerated: 0x0a,
  utf8String: 0x0c,
  printableString: 0x13,
  ia5String: 0x16,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

/** Identifier octet of the context-specific tag `number` (0–30), primitive or constructed. */
export function contextTag(number: number, form: "primitive" | "constructed"): number {
  return (form === "constructed" ? 0xa0 : 0x80) | number;
}

/** One value of a DER document that passed the gate. It is a view: it holds offsets into the bytes it was read from. */
export type DerValue = {
  readonly source: Uint8Array;
  /** Identifier octet. */
  readonly tag: number;
  /** Offsets into `source`: of the identifier octet, of the first content octet, and past the last one. */
  readonly start: number;
  readonly contentStart: number;
  readonly end: number;
  /** The values inside a constructed one; empty for a primitive one. */
  readonly children: readonly DerValue[];
  readonly depth: number;
  readonly budget: { nodes: number };
};

/** Caps of one document, values inside opened OCTET STRINGs included. */
export type DerLimits = { readonly depth: number; readonly nodes: number };

/** Caps of a CSR or a certificate. */
export const defaultLimits: DerLimits = { depth: 16, nodes: 2000 };

/**
 * The single DER value that `bytes` is, walked to its leaves in linear time. Everything that DER forbids is refused here, whatever the
 * structure: indefinite or long lengths, octets after the value, constructed strings, INTEGERs with spare octets, unsorted SETs,
 * characters outside a string type's set, times other than RFC 5280's.
 * The values are views of `bytes`, which the caller must not change while it uses them.
 * @param what how a fault names the document, as the subject of a sentence ("CSR").
 * @throws Fault `malformed`
 * @see X.690 §8, §10, §11; RFC 5280 §4.1.2.5
 */
export function readDer(bytes: Uint8Array, what: string, limits: DerLimits = defaultLimits): DerValue {
  // A plain Uint8Array: subarray() of a Buffer costs several times as much.
  const source = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const walk: Walk = { source, maximumDepth: limits.depth, budget: { nodes: limits.nodes } };
  const value = readValue(walk, { start: 0, limit: source.length, depth: 1 });
  if (value.end !== source.length) throw new Fault("malformed", `${what} is followed by ${source.length - value.end} more octets`);
  return value;
}

/**
 * The first `count` fields of the SEQUENCE that `bytes` is, each walked to its leaves; of the rest only its length is looked at.
 * For structures of any size that are told apart by how they begin.
 * @throws Fault `malformed` also when there are fewer fields.
 */
export function readHead(bytes: Uint8Array, what: string, count: number): readonly DerValue[] {
  const source = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (source[0] !== tag.sequence) throw new Fault("malformed", `${what} is not a SEQUENCE`);
  const { contentStart, end } = readLength(source, 0, source.length);
  if (end !== source.length) throw new Fault("malformed", `${what} is followed by ${source.length - end} more octets`);
  const walk: Walk = { source, maximumDepth: defaultLimits.depth, budget: { nodes: defaultLimits.nodes } };
  const fields: DerValue[] = [];
  for (let start = contentStart; fields.length < count; start = fields.at(-1)?.end ?? end) {
    fields.push(readValue(walk, { start, limit: end, depth: 2 }));
  }
  return fields;
}

/**
 * The single DER value inside an OCTET STRING (an extension's value), under the same gate and within the same document's caps.
 * @throws Fault `malformed`
 */
export function openOctetString(value: DerValue | undefined, what: string): DerValue {
  const outer = expectTag(value, tag.octetString, what);
  const walk: Walk = { source: outer.source, maximumDepth: defaultLimits.depth, budget: outer.budget };
  const inner = readValue(walk, { start: outer.contentStart, limit: outer.end, depth: outer.depth + 1 });
  if (inner.end !== outer.end)
    throw new Fault("malformed", `${what} is followed by ${outer.end - inner.end} more octets inside its OCTET STRING`);
  return inner;
}

/** The octets of the whole value, identifier and length included (a view). */
export function bytesOf(value: DerValue): Uint8Array {
  return value.source.subarray(value.start, value.end);
}

/** The content octets (a view). */
export function contentOf(value: DerValue): Uint8Array {
  return value.source.subarray(value.contentStart, value.end);
}

/** `value` itself, when it is there and has this identifier octet. @throws Fault `malformed` */
export function expectTag(value: DerValue | undefined, identifier: number, what: string): DerValue {
  if (value === undefined) throw new Fault("malformed", `${what} is missing`);
  if (value.tag !== identifier)
    throw new Fault("malformed", `${what} has identifier octet ${hexOctet(value.tag)}, not ${hexOctet(identifier)}`);
  return value;
}

/** The fields of a SEQUENCE, taken in order. */
export type Fields = {
  /** The next field, whatever it is. @throws Fault `malformed` when there is none. */
  next(what: string): DerValue;
  /** The next field when it has this identifier octet; otherwise nothing is taken. */
  optional(identifier: number): DerValue | undefined;
  /** A BOOLEAN DEFAULT FALSE: the default must be absent (X.690 §11.5). @throws Fault `malformed` when FALSE is encoded. */
  flag(what: string): boolean;
  /** Nothing may be left. @throws Fault `malformed` */
  end(): void;
};

/**
 * The fields of a constructed value, to be taken in order and closed with `end()`.
 * @param identifier of the value itself; a SEQUENCE unless said otherwise (implicitly tagged ones).
 * @throws Fault `malformed`
 */
export function fieldsOf(value: DerValue | undefined, what: string, identifier: number = tag.sequence): Fields {
  const { children } = expectTag(value, identifier, what);
  let index = 0;
  const optional = (wanted: number): DerValue | undefined => (children[index]?.tag === wanted ? children[index++] : undefined);
  return {
    optional,
    next(field) {
      const child = children[index++];
      if (child === undefined) throw new Fault("malformed", `${what} ends before ${field}`);
      return child;
    },
    flag(field) {
      const child = optional(tag.boolean);
      if (child === undefined) return false;
      if (child.source[child.contentStart] === 0) throw new Fault("malformed", `${field} encodes its default value FALSE`);
      return true;
    },
    end() {
      const child = children[index];
      if (child !== undefined) throw new Fault("malformed", `${what} has an unexpected field with identifier octet ${hexOctet(child.tag)}`);
    },
  };
}

/** Refuses children that are not in ascending order: for a SET OF whose tag is implicit, which the gate cannot know. @throws Fault `malformed` @see X.690 §11.6 */
export function requireSetOrder(value: DerValue, what: string): void {
  if (!isSorted(value.source, value.children)) throw new Fault("malformed", `${what} is a SET OF that is not in ascending order`);
}

/** Total order of encodings: octet by octet, a prefix before what it begins. @see X.690 §11.6 */
export function compareBytes(left: Uint8Array, right: Uint8Array): number {
  const shared = Math.min(left.length, right.length);
  for (let index = 0; index < shared; index++) {
    const difference = (left[index] ?? 0) - (right[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return left.length - right.length;
}

type Walk = { readonly source: Uint8Array; readonly maximumDepth: number; readonly budget: { nodes: number } };
type Place = { readonly start: number; readonly limit: number; readonly depth: number };

// Recursion is bounded by maximumDepth, and each octet is looked at once per level at most.
function readValue(walk: Walk, { start, limit, depth }: Place): DerValue {
  const { source, budget } = walk;
  if (depth > walk.maximumDepth) throw new Fault("malformed", `values are nested deeper than ${walk.maximumDepth}`);
  if (budget.nodes === 0) throw new Fault("malformed", "there are too many values");
  budget.nodes -= 1;
  const identifier = source[start];
  if (identifier === undefined || start >= limit) throw new Fault("malformed", `a value is missing at octet ${start}`);
  const refuse = (reason: string): never => {
    throw new Fault("malformed", `the value with identifier octet ${hexOctet(identifier)} at octet ${start} ${reason}`);
  };
  if ((identifier & 0x1f) === 0x1f) refuse("has a tag number above 30");
  const { contentStart, end } = readLength(source, start, limit);
  const constructed = (identifier & 0x20) !== 0;
  if (identifier < 0x40) {
    const problem = contentProblem(identifier, source, contentStart, end);
    if (problem !== undefined) refuse(problem);
  } else if ((identifier & 0xc0) !== 0x80) refuse("is of a class that no X.509 structure uses");
  const children = constructed ? readChildren(walk, { start: contentStart, limit: end, depth: depth + 1 }) : noChildren;
  if (identifier === tag.set && !isSorted(source, children)) refuse("is a SET OF that is not in ascending order");
  return { source, tag: identifier, start, contentStart, end, children, depth, budget };
}

const noChildren: readonly DerValue[] = [];

function readChildren(walk: Walk, { start, limit, depth }: Place): readonly DerValue[] {
  const children: DerValue[] = [];
  for (let next = start; next < limit;) {
    const child = readValue(walk, { start: next, limit, depth });
    children.push(child);
    next = child.end;
  }
  return children;
}

// X.690 §10.1: definite form, in the fewest octets. Four length octets reach 4 GiB, which no input of ours has.
function readLength(source: Uint8Array, start: number, limit: number): { contentStart: number; end: number } {
  const first = source[start + 1];
  if (first === undefined || start + 1 >= limit) throw new Fault("malformed", `the value at octet ${start} has no length`);
  let contentStart = start + 2;
  let length = first;
  if (first === 0x80) throw new Fault("malformed", `the value at octet ${start} has an indefinite length`);
  if (first > 0x80) {
    const count = first & 0x7f;
    if (count > 4) throw new Fault("malformed", `the value at octet ${start} has a length of ${count} octets`);
    if (contentStart + count > limit) throw new Fault("malformed", `the value at octet ${start} ends inside its length`);
    length = 0;
    for (let index = 0; index < count; index++) length = length * 256 + (source[contentStart + index] ?? 0);
    if (length < 0x80 || length < 256 ** (count - 1)) {
      throw new Fault("malformed", `the value at octet ${start} has a length that is not encoded in the fewest octets`);
    }
    contentStart += count;
  }
  if (length > limit - contentStart) throw new Fault("malformed", `the value at octet ${start} is longer than what holds it`);
  return { contentStart, end: contentStart + length };
}

function isSorted(source: Uint8Array, children: readonly DerValue[]): boolean {
  return children.every((child, index) => {
    const before = children[index - 1];
    return before === undefined || compareBytes(source.subarray(before.start, before.end), source.subarray(child.start, child.end)) <= 0;
  });
}

function hexOctet(octet: number): string {
  return `0x${octet.toString(16).padStart(2, "0")}`;
}
