import { Fault } from "../fault.ts";
import type { CrlEntries } from "./crl-entry.ts";
import { contextTag, readDer, tag, type DerValue } from "./der.ts";
import { readRegularEntries } from "./read-crl-entry.ts";

/** A field of a CertificateList that is read whole, under the RFC's name. @see RFC 5280 §5.1 */
export type CertListField =
  "version" | "signature" | "issuer" | "thisUpdate" | "nextUpdate" | "crlExtensions" | "signatureAlgorithm" | "signatureValue";

/** What is told of a list while it is read, in its order. What is told stays valid, and no part is kept by it but for entries. */
export type CertListVisitor = {
  /** The TBSCertList begins: offsets in the whole of its first octet, and past its last. */
  tbsCertList?(start: number, end: number): void;
  /** Optional fields that are missing are passed over in silence; what a field means is not judged. */
  field(name: CertListField, value: DerValue): void;
  /** revokedCertificates begins, with so many octets of content. */
  revokedCertificates?(octets: number): void;
  /** Entries of the form that our writer gives them; not read when nobody asks. */
  entries?(entries: CrlEntries): void;
  /** An entry of any other form. */
  irregular(entry: DerValue): void;
};

/** Takes the octets of one list, part by part. After a Fault it is of no use. */
export type CertListReader = {
  /** @throws Fault `malformed` */
  push(part: Uint8Array): void;
  /** No part is left. @throws Fault `malformed` when the list is not whole. */
  end(): void;
};

/**
 * Reads a TBSCertList, or the CertificateList around one, that comes in parts of any size. DER and the order of the fields are checked, with
 * memory for one part and one field.
 * @see RFC 5280 §5.1
 */
export function certListReader(form: "TBSCertList" | "CertificateList", visitor: CertListVisitor): CertListReader {
  const walk: Walk = { form, visitor, source: new Uint8Array(), base: 0, at: 0, ends: [] };
  const steps = form === "TBSCertList" ? tbsCertList : certificateList;
  let done = 0;
  return {
    push(part) {
      take(walk, part);
      const waiting = steps.slice(done).findIndex((step) => !step(walk));
      done = waiting === -1 ? steps.length : done + waiting;
      if (done === steps.length && walk.at < walk.source.length) throw new Fault("malformed", `${form} is followed by more octets`);
    },
    end() {
      if (done < steps.length) throw new Fault("malformed", `${form} ends at octet ${walk.base + walk.source.length}, before it is whole`);
    },
  };
}

type Walk = {
  readonly form: string;
  readonly visitor: CertListVisitor;
  /** What has come and is not yet read begins at `at`; `base` is the offset of `source` in the whole. */
  source: Uint8Array;
  base: number;
  at: number;
  /** Where the open values end in the whole, the innermost last. */
  readonly ends: number[];
};

/** One step through the structure: true when it is done, false when it needs octets that have not come. */
type Step = (walk: Walk) => boolean;

/** Beyond any Name and any extensions of a list. */
const maximumFieldOctets = 16_384;

const times = [tag.utcTime, tag.generalizedTime];
const extensions = contextTag(0, "constructed");

const tbsCertList: readonly Step[] = [
  open("TBSCertList", (walk, start, end) => walk.visitor.tbsCertList?.(start, end)),
  optional("version", [tag.integer]),
  required("signature", [tag.sequence]),
  required("issuer", [tag.sequence]),
  required("thisUpdate", times),
  optional("nextUpdate", times),
  openRevokedCertificates,
  readEntries,
  optional("crlExtensions", [extensions]),
  close("TBSCertList"),
];

const certificateList: readonly Step[] = [
  open("CertificateList"),
  ...tbsCertList,
  required("signatureAlgorithm", [tag.sequence]),
  required("signatureValue", [tag.bitString]),
  close("CertificateList"),
];

function open(what: string, told?: (walk: Walk, start: number, end: number) => void): Step {
  return (walk) => {
    if (walk.at === walk.source.length) return false;
    if (walk.source[walk.at] !== tag.sequence) throw new Fault("malformed", `${what} is not a SEQUENCE`);
    const start = walk.base + walk.at;
    const octets = openValue(walk);
    if (octets !== undefined) told?.(walk, start, walk.base + walk.at + octets);
    return octets !== undefined;
  };
}

function close(what: string): Step {
  return (walk) => {
    if (!atEnd(walk)) throw new Fault("malformed", `${what} has an unexpected field at octet ${walk.base + walk.at}`);
    walk.ends.pop();
    return true;
  };
}

function required(name: CertListField, tags: readonly number[]): Step {
  return (walk) => {
    if (atEnd(walk)) throw new Fault("malformed", `${walk.form} ends before ${name}`);
    if (walk.at === walk.source.length) return false;
    if (!isNext(walk, tags)) throw new Fault("malformed", `${name} is missing at octet ${walk.base + walk.at}`);
    return readField(walk, name);
  };
}

function optional(name: CertListField, tags: readonly number[]): Step {
  return (walk) => {
    if (atEnd(walk)) return true;
    if (walk.at === walk.source.length) return false;
    return !isNext(walk, tags) || readField(walk, name);
  };
}

function openRevokedCertificates(walk: Walk): boolean {
  const missing = atEnd(walk) || (walk.at < walk.source.length && !isNext(walk, [tag.sequence]));
  if (missing) {
    // The list of entries is empty where it is absent: its end is here.
    walk.ends.push(walk.base + walk.at);
    return true;
  }
  const octets = openValue(walk);
  if (octets !== undefined) walk.visitor.revokedCertificates?.(octets);
  return octets !== undefined;
}

function readEntries(walk: Walk): boolean {
  const { visitor, base } = walk;
  const end = walk.ends.at(-1) ?? 0;
  const cursor = { source: walk.source, at: walk.at, limit: Math.min(walk.source.length, end - base) };
  for (;;) {
    const entries = readRegularEntries(cursor, visitor.entries !== undefined);
    if (entries) visitor.entries?.(entries);
    walk.at = cursor.at;
    if (atEnd(walk)) break;
    const entry = wholeValue(walk, "an entry of revokedCertificates");
    if (entry === undefined) return false;
    visitor.irregular(entry);
    cursor.at = walk.at;
  }
  walk.ends.pop();
  return true;
}

function readField(walk: Walk, name: CertListField): boolean {
  const value = wholeValue(walk, name);
  if (value !== undefined) walk.visitor.field(name, value);
  return value !== undefined;
}

/** The next value, walked to its leaves; undefined until all of it has come. */
function wholeValue(walk: Walk, what: string): DerValue | undefined {
  const head = nextHead(walk);
  if (head === undefined) return undefined;
  const end = head.contentStart + head.octets;
  if (end - walk.at > maximumFieldOctets) throw new Fault("malformed", `${what} has more than ${maximumFieldOctets} octets`);
  if (end > walk.source.length) return undefined;
  // A copy: what is kept of a field keeps no part.
  const value = readDer(walk.source.slice(walk.at, end), what);
  walk.at = end;
  return value;
}

/** Goes into the next value: octets of its content; undefined until its length has come. */
function openValue(walk: Walk): number | undefined {
  const head = nextHead(walk);
  if (head === undefined) return undefined;
  walk.at = head.contentStart;
  walk.ends.push(walk.base + head.contentStart + head.octets);
  return head.octets;
}

/** Where the content of the next value begins, and its octets; undefined until its length has come. @see X.690 §10.1 */
function nextHead({ source, base, at, ends }: Walk): { contentStart: number; octets: number } | undefined {
  const first = source[at + 1];
  if (first === undefined) return undefined;
  const count = first < 0x80 ? 0 : first & 0x7f;
  if (first === 0x80 || count > 4) throw new Fault("malformed", `the value at octet ${base + at} has no definite length of up to 4 octets`);
  const contentStart = at + 2 + count;
  if (contentStart > source.length) return undefined;
  let octets = first < 0x80 ? first : 0;
  for (let index = at + 2; index < contentStart; index++) octets = octets * 256 + (source[index] ?? 0);
  if (count > 0 && (octets < 0x80 || octets < 256 ** (count - 1))) {
    throw new Fault("malformed", `the value at octet ${base + at} has a length that is not encoded in the fewest octets`);
  }
  if (base + contentStart + octets > (ends.at(-1) ?? Infinity)) {
    throw new Fault("malformed", `the value at octet ${base + at} is longer than what holds it`);
  }
  return { contentStart, octets };
}

function isNext({ source, at }: Walk, tags: readonly number[]): boolean {
  return tags.includes(source[at] ?? 0);
}

function atEnd({ base, at, ends }: Walk): boolean {
  return base + at === ends.at(-1);
}

/** Puts a part behind what the last one left, which is less than a field. */
function take(walk: Walk, part: Uint8Array): void {
  const left = walk.source.subarray(walk.at);
  walk.base += walk.at;
  walk.at = 0;
  walk.source = new Uint8Array(left.length + part.length);
  walk.source.set(left);
  walk.source.set(part, left.length);
}
