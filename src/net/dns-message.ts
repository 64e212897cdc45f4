import { decode, encode, RECURSION_DESIRED } from "dns-packet";
import type { Answer } from "dns-packet";

import { ipOctets, ipText } from "../pki/ip-address.ts";

/** What we ask for. `NS` only to see whether a resolver answers at all: its records are not read. */
export type QuestionType = keyof typeof typeNumbers;

/** A question as it goes out: `name` in the case it is sent in; `.` is the root. */
export type DnsQuestion = { readonly id: number; readonly name: string; readonly type: QuestionType };

/** A record of class IN, of the types we read; owner and target in lower case, a text as its strings joined in Latin-1. */
export type DnsRecord =
  | { readonly type: "A" | "AAAA"; readonly owner: string; readonly address: string }
  | { readonly type: "CNAME"; readonly owner: string; readonly target: string }
  | { readonly type: "TXT"; readonly owner: string; readonly text: string };

/** Why a resolver gives no records: response codes of RFC 1035 §4.1.1. */
export type DnsError = "NXDOMAIN" | "SERVFAIL" | "REFUSED" | "another error";

/**
 * What a message says. `foreign`: it answers another question than ours, and may be from anyone; `recased`: it is foreign by the case of the
 * name alone, as that of a resolver that changes it.
 */
export type DnsReading =
  | { readonly reading: "foreign" | "recased" | "malformed" | "truncated" }
  | { readonly reading: "error"; readonly rcode: DnsError }
  | { readonly reading: "answer"; readonly records: readonly DnsRecord[] };

/** The octets of a question, recursion desired. */
export function encodeQuestion({ id, name, type }: DnsQuestion): Uint8Array {
  return encode({ type: "query", id, flags: RECURSION_DESIRED, questions: [{ type, name, class: "IN" }] });
}

/** `name` with the case of each letter chosen by a bit of `bits`, which a forger has to guess. @see draft-vixie-dnsext-dns0x20-00 */
export function mixCase(name: string, bits: Uint8Array): string {
  return name.replace(/[a-z]/g, (letter, index: number) => (((bits[index >> 3] ?? 0) >> (index & 7)) & 1 ? letter.toUpperCase() : letter));
}

/**
 * Reads the answer to `question` from a message of at most 65,535 octets. Never throws: its structure is walked here before the library
 * decodes it, and what the library then cannot read is malformed too.
 * @see RFC 1035 §4, RFC 5452 §9.1
 */
export function readAnswer(message: Uint8Array, question: DnsQuestion): DnsReading {
  try {
    return read(Buffer.from(message.buffer, message.byteOffset, message.byteLength), question);
  } catch {
    return { reading: "malformed" };
  }
}

const typeNumbers = { A: 1, NS: 2, TXT: 16, AAAA: 28 } as const;
const cnameType = 5;
const classIn = 1;

const headerOctets = 12;
const opcodeMask = 0x7800;
const [responseFlag, truncationFlag] = [0x8000, 0x0200];

function read(message: Buffer, question: DnsQuestion): DnsReading {
  if (message.length < headerOctets || message.readUInt16BE(0) !== question.id) return { reading: "foreign" };
  const flags = message.readUInt16BE(2);
  if ((flags & responseFlag) === 0 || (flags & opcodeMask) !== 0) return { reading: "foreign" };
  const [rcode, questions] = [flags & 0xf, message.readUInt16BE(4)];
  // A server that cannot read a question sends its header back alone: it tells nothing of the name, so nothing is forged by it.
  if (questions === 0 && rcode !== 0 && rcode !== 3 && message.length === headerOctets) return { reading: "error", rcode: errorOf(rcode) };
  const echo = echoedQuestion(message, question);
  if (questions !== 1 || typeof echo === "string") return { reading: typeof echo === "string" ? echo : "foreign" };
  // What was cut may end within a record: it is asked for again over TCP, and nothing of it is used (RFC 2181 §9).
  if ((flags & truncationFlag) !== 0) return { reading: "truncated" };
  const records = readRecords(message, echo);
  return rcode === 0 ? { reading: "answer", records } : { reading: "error", rcode: errorOf(rcode) };
}

function errorOf(rcode: number): DnsError {
  const names: Readonly<Record<number, DnsError>> = { 2: "SERVFAIL", 3: "NXDOMAIN", 5: "REFUSED" };
  return names[rcode] ?? "another error";
}

/** Where the question section ends when it is ours, octet by octet: the case we chose included. */
function echoedQuestion(message: Buffer, question: DnsQuestion): number | "foreign" | "recased" {
  const sent = encodeQuestion(question).subarray(headerOctets);
  const end = headerOctets + sent.length;
  const echoed = message.subarray(headerOctets, end);
  if (echoed.equals(sent)) return end;
  const folded = [echoed, Buffer.from(sent)].map((octets) => octets.toString("latin1").toLowerCase());
  return folded[0] === folded[1] ? "recased" : "foreign";
}

/** The answer section; the sections behind it are walked for their structure alone. */
function readRecords(message: Buffer, start: number): DnsRecord[] {
  const [answers, others] = [message.readUInt16BE(6), message.readUInt16BE(8) + message.readUInt16BE(10)];
  const walked: WalkedRecord[] = [];
  let at = start;
  for (let index = 0; index < answers; index++) {
    const record = walkRecord(message, at);
    if (record.recordClass !== classIn) throw new RangeError("a record is of another class");
    walked.push(record);
    at = record.end;
  }
  const answerEnd = at;
  for (let index = 0; index < others; index++) at = walkRecord(message, at).end;
  if (at !== message.length) throw new RangeError("octets follow the last record");
  // The library reads every section it is told of; it is told of the one we use.
  const head = Buffer.from(message.subarray(0, answerEnd));
  head.fill(0, 8, headerOctets);
  const decoded = decode(head).answers ?? [];
  return walked.flatMap((record, index) => readRecord(record, decoded[index]));
}

type WalkedRecord = {
  readonly owner: string | undefined;
  readonly type: number;
  readonly recordClass: number;
  /** Of a CNAME. */
  readonly target: string | undefined;
  readonly end: number;
};

/** Passes one record: its RDATA lies within the message and is exactly as long as its type says. @see RFC 1035 §4.1.3 */
function walkRecord(message: Buffer, start: number): WalkedRecord {
  const owner = walkName(message, start);
  const [type, recordClass] = [message.readUInt16BE(owner.end), message.readUInt16BE(owner.end + 2)];
  const rdata = owner.end + 10;
  const end = rdata + message.readUInt16BE(owner.end + 8);
  if (end > message.length) throw new RangeError("a record ends behind the message");
  return { owner: owner.name, type, recordClass, target: walkRdata(message, { type, start: rdata, end }), end };
}

/** Checks the lengths within an RDATA. Gives the target of a CNAME. */
function walkRdata(message: Buffer, { type, start, end }: { type: number; start: number; end: number }): string | undefined {
  switch (type) {
    case typeNumbers.A:
    case typeNumbers.AAAA:
      if (end - start !== (type === typeNumbers.A ? 4 : 16)) throw new RangeError("an address has another length");
      return undefined;
    case typeNumbers.TXT: {
      // RFC 1035 §3.3.14: one or more strings.
      let at = start;
      do at += 1 + message.readUInt8(at);
      while (at < end);
      if (at !== end) throw new RangeError("a string ends behind its record");
      return undefined;
    }
    case cnameType: {
      const target = walkName(message, start);
      if (target.end !== end || target.name === undefined) throw new RangeError("a CNAME leads to no name we ask for");
      return target.name;
    }
    default:
      return undefined;
  }
}

/**
 * Passes a name. Pointers lead strictly back, so that a name ends. `name` is its text in lower case, or undefined when a label has octets
 * that no name we ask for has: a dot within a label would read like two.
 * @see RFC 1035 §4.1.4
 */
function walkName(message: Buffer, start: number): { name: string | undefined; end: number } {
  const labels: string[] = [];
  let [at, pieceStart, octets] = [start, start, 1];
  let end: number | undefined;
  for (;;) {
    const length = message.readUInt8(at);
    if (length === 0) break;
    if ((length & 0xc0) === 0xc0) {
      const target = message.readUInt16BE(at) & 0x3fff;
      if (target >= pieceStart || target < headerOctets) throw new RangeError("a name's pointer does not lead back");
      end ??= at + 2;
      [at, pieceStart] = [target, target];
    } else {
      octets += length + 1;
      if (length > 63 || octets > 255) throw new RangeError("a name is too long");
      labels.push(message.toString("latin1", at + 1, at + 1 + length));
      at += 1 + length;
    }
  }
  const plain = labels.every((label) => /^[A-Za-z0-9_-]+$/.test(label));
  return { name: plain ? labels.join(".").toLowerCase() : undefined, end: end ?? at + 1 };
}

/** What the library read, held against the walk. Records of other types, and of owners that nobody asks for, are left out. */
function readRecord({ owner, type, target }: WalkedRecord, decoded: Answer | undefined): DnsRecord[] {
  if (decoded === undefined) throw new RangeError("a record is missing");
  if (owner === undefined) return [];
  if (type === cnameType) return target === undefined ? [] : [{ type: "CNAME", owner, target }];
  if (type === typeNumbers.A && decoded.type === "A") return [{ type: "A", owner, address: addressOf(decoded.data, 4) }];
  if (type === typeNumbers.AAAA && decoded.type === "AAAA") return [{ type: "AAAA", owner, address: addressOf(decoded.data, 16) }];
  if (type === typeNumbers.TXT && decoded.type === "TXT") return [{ type: "TXT", owner, text: textOf(decoded.data) }];
  return [];
}

function addressOf(data: string, length: number): string {
  const octets = ipOctets(data);
  const address = octets?.length === length ? ipText(octets) : undefined;
  if (address === undefined) throw new RangeError("an address cannot be read");
  return address;
}

function textOf(data: unknown): string {
  if (!Array.isArray(data) || !data.every((string) => Buffer.isBuffer(string))) throw new RangeError("a text cannot be read");
  return Buffer.concat(data).toString("latin1");
}
