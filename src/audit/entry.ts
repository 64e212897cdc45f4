import { hash } from "node:crypto";
import { Fault } from "../fault.ts";
import type { Clock } from "../ports/clock.ts";
import type { Random } from "../ports/random.ts";

/**
 * What one act says of itself. Never a secret: no token, PIN, key, plaintext, signature input, request body or header.
 * `object` names what was acted on, and how: ids, serials, profiles, versions.
 */
export type AuditEntry = {
  /** Part and act: "certificate.issue", "token.revoke". */
  readonly operation: string;
  readonly namespace: string;
  /** "token:<uuid>", "system" or "host:<uid>". */
  readonly principal: string;
  readonly outcome: "success" | "denied" | "failure";
  readonly requestId?: string;
  readonly object?: Readonly<Record<string, string | number | boolean>>;
};

/** A row of `audit_record`, complete before the act: its bytes are the leaf of the audit tree, whatever else is stored. */
export type AuditRow = {
  /** UUIDv7, its time from the clock. */
  readonly id: string;
  /** Canonical JSON in UTF-8, at most 65,535 bytes: the entry, its id, its time and the node. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** SHA-256 of 0x00 and the bytes. @see RFC 6962 §2.1 */
  readonly leafHash: Uint8Array<ArrayBuffer>;
};

/** Who makes the record: `node` names the instance. */
export type AuditWorld = { readonly clock: Clock; readonly random: Random; readonly node: string };

/**
 * The record of one act, to be written in the act's own transaction. Pure in the clock and the random bytes.
 * @throws Fault `internal` when it is longer than a leaf may be.
 */
export function auditRow(entry: AuditEntry, { clock, random, node }: AuditWorld): AuditRow {
  const now = clock.now();
  const id = uuidV7(now, random.bytes(10));
  const bytes = new TextEncoder().encode(canonicalJson({ ...entry, id, time: now.toISOString(), node }));
  if (bytes.length > maxEntryBytes) throw new Fault("internal", `an audit record has ${bytes.length} bytes, more than ${maxEntryBytes}`);
  return { id, bytes, leafHash: leafHash(bytes) };
}

/** @see RFC 6962 §2.1 */
function leafHash(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(hash("sha256", Buffer.concat([leafPrefix, bytes]), "buffer"));
}

/** A tile's entry has its length in two bytes. @see C2SP tlog-tiles */
const maxEntryBytes = 65_535;
const leafPrefix = Uint8Array.of(0x00);

type Json = string | number | boolean | { readonly [name: string]: Json | undefined };

/** Names in the order of their UTF-16 code units, no white space, absent members left out. @see RFC 8785 §3.2.3 */
function canonicalJson(value: Json): string {
  if (typeof value === "number" && !Number.isFinite(value)) throw new Fault("internal", "an audit record has a number that is none");
  if (typeof value === "string" && !value.isWellFormed()) return JSON.stringify(value.toWellFormed());
  if (typeof value !== "object") return JSON.stringify(value);
  let members = "";
  for (const name of Object.keys(value).toSorted()) {
    const member = value[name];
    if (member !== undefined) members += `${members && ","}${JSON.stringify(name)}:${canonicalJson(member)}`;
  }
  return `{${members}}`;
}

/**
 * Milliseconds, then 74 random bits.
 * @see RFC 9562 §5.7
 */
function uuidV7(time: Date, random: Uint8Array): string {
  const bytes = Buffer.alloc(16);
  bytes.writeUIntBE(time.getTime(), 0, 6);
  bytes.set(random, 6);
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x70, 6);
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8);
  const hex = bytes.toString("hex");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
