import { Fault } from "../fault.ts";
import type { CertListField, CertListVisitor } from "./cert-list.ts";
import { crlReasons, type CrlEntries } from "./crl-entry.ts";
import { bytesOf, compareBytes, contentOf, expectTag, fieldsOf, tag, type DerValue } from "./der.ts";
import { readTime, readUnsigned } from "./der-field.ts";
import { hex } from "./hex.ts";
import type { CrlLintContext, CrlRule } from "./lint-crl.ts";
import { oid } from "./oid.ts";
import { readExtensionList } from "./tbs-certificate.ts";

/** Rules of the entries of a CRL: while they go by, a witness notes what breaks them. */
export const crlEntryRules: readonly CrlRule[] = (
  [
    ["e_crl_empty_revoked_certificates", "RFC 5280 §5.1.2.6"],
    ["e_crl_empty_extn_sequence", "RFC 5280 Appendix A.1"],
    ["e_crl_unique_revoked_certificate", "RFC 5280 §5.1.2.6"],
    ["e_cab_crl_has_valid_reason_code", "TLS BR 7.2.2; RFC 5280 §5.3.1"],
    ["e_cab_crl_reason_code_not_critical", "TLS BR 7.2.2"],
    ["e_crl_revocation_time_after_this_update", "RFC 5280 §5.1.2.4, §5.1.2.6"],
    ["chancery_crl_reason_missing", "TLS BR 7.2.2"],
    ["chancery_crl_entries_not_ascending", "docs/CONFORMANCE.md XC-2"],
    ["chancery_crl_entry_not_ours", "RFC 5280 §5.1.2.6, §5.3"],
  ] as const
).map(([name, citation]) => ({ name, severity: "e", citation, check: ({ entries }) => entries.get(name) }));

/** Name of a rule that entries can break. */
export type EntryRuleName =
  | "e_crl_empty_revoked_certificates"
  | "e_crl_empty_extn_sequence"
  | "e_crl_unique_revoked_certificate"
  | "e_cab_crl_has_valid_reason_code"
  | "e_cab_crl_reason_code_not_critical"
  | "e_crl_revocation_time_after_this_update"
  | "chancery_crl_reason_missing"
  | "chancery_crl_entries_not_ascending"
  | "chancery_crl_entry_not_ours";

/** What reads entries for the rules, and what it has found: of each rule the first entry that breaks it. */
export type EntryWitness = {
  readonly visitor: Required<Pick<CertListVisitor, "revokedCertificates" | "entries" | "irregular">>;
  readonly found: ReadonlyMap<EntryRuleName, string>;
};

/** A witness of the entries of one list. @param fields what has been read of the list when its entries come. */
export function entryWitness(fields: ReadonlyMap<CertListField, DerValue>, { listsAuthorities = false }: CrlLintContext): EntryWitness {
  const found = new Map<EntryRuleName, string>();
  const note = (rule: EntryRuleName, detail: string): void => {
    if (!found.has(rule)) found.set(rule, detail);
  };
  let last: Uint8Array | undefined;
  let thisUpdate: number | undefined;
  const seconds = (): number => (thisUpdate ??= secondsOf(fields.get("thisUpdate")));
  const follow = (order: number, serial: Uint8Array): void => {
    if (order === 0) note("e_crl_unique_revoked_certificate", `${hex(serial)} is listed twice`);
    else note("chancery_crl_entries_not_ascending", `${hex(serial)} stands behind a greater serial number`);
  };
  const late = (serial: Uint8Array): void => {
    note("e_crl_revocation_time_after_this_update", `${hex(serial)} is revoked after thisUpdate`);
  };

  return {
    found,
    visitor: {
      revokedCertificates(octets) {
        if (octets === 0) note("e_crl_empty_revoked_certificates", "revokedCertificates is there and empty");
      },
      entries(entries) {
        const { count, revokedAt, reasons } = entries;
        const update = seconds();
        // This runs once for each of a million entries.
        for (let index = 0; index < count; index++) {
          const order = index > 0 ? orderOf(entries, index) : last === undefined ? 1 : compareBytes(serialOf(entries, 0), last);
          if (order <= 0) follow(order, serialOf(entries, index));
          if ((revokedAt[index] ?? 0) > update) late(serialOf(entries, index));
          if (listsAuthorities && reasons[index] === 0) {
            note("chancery_crl_reason_missing", `${hex(serialOf(entries, index))} has no reasonCode`);
          }
        }
        last = serialOf(entries, count - 1).slice();
      },
      irregular(entry) {
        const before = found.size;
        const read = readEntry(entry, note);
        if (read !== undefined) {
          const order = last === undefined ? 1 : compareBytes(read.serial, last);
          if (order <= 0) follow(order, read.serial);
          if (read.revokedAt > seconds()) late(read.serial);
          last = read.serial.slice();
        }
        // Whatever made it irregular is a finding, also where no other rule has a name for it.
        if (found.size === before) note("chancery_crl_entry_not_ours", `the entry ${hex(bytesOf(entry).subarray(0, 64))} is none of ours`);
      },
    },
  };
}

function serialOf({ source, serialStarts, serialEnds }: CrlEntries, index: number): Uint8Array {
  return source.subarray(serialStarts[index], serialEnds[index]);
}

/** As `compareBytes` of an entry's serial number and the one before, whose octets are looked at where they stand. */
function orderOf({ source, serialStarts, serialEnds }: CrlEntries, index: number): number {
  const [one, other] = [serialStarts[index] ?? 0, serialStarts[index - 1] ?? 0];
  const [length, otherLength] = [(serialEnds[index] ?? 0) - one, (serialEnds[index - 1] ?? 0) - other];
  const shared = Math.min(length, otherLength);
  for (let octet = 0; octet < shared; octet++) {
    const difference = (source[one + octet] ?? 0) - (source[other + octet] ?? 0);
    if (difference !== 0) return difference;
  }
  return length - otherLength;
}

function secondsOf(value: DerValue | undefined): number {
  return readTime(value, "thisUpdate").getTime() / 1000;
}

type Note = (rule: EntryRuleName, detail: string) => void;

/** Serial number and time of an entry that our writer would not write; undefined when it has none. */
function readEntry(entry: DerValue, note: Note): { serial: Uint8Array; revokedAt: number } | undefined {
  try {
    const fields = fieldsOf(entry, "an entry of revokedCertificates");
    const serial = readUnsigned(fields.next("userCertificate"), "userCertificate");
    const revokedAt = readTime(fields.next("revocationDate"), "revocationDate").getTime() / 1000;
    const extensions = fields.optional(tag.sequence);
    fields.end();
    if (extensions?.children.length === 0) note("e_crl_empty_extn_sequence", `crlEntryExtensions of ${hex(serial)} is empty`);
    else if (extensions) noteReason(extensions, hex(serial), note);
    return { serial, revokedAt };
  } catch (error) {
    if (!(error instanceof Fault) || error.code !== "malformed") throw error;
    note("chancery_crl_entry_not_ours", error.detail);
    return undefined;
  }
}

function noteReason(extensions: DerValue, serial: string, note: Note): void {
  const reasonCode = readExtensionList(extensions).find((extension) => extension.oid === oid.reasonCode);
  if (reasonCode === undefined) return;
  if (reasonCode.critical !== undefined) note("e_cab_crl_reason_code_not_critical", `reasonCode of ${serial} encodes critical`);
  const [reason = 0, ...more] = contentOf(expectTag(reasonCode.value, tag.enumerated, "reasonCode"));
  if (reason === 0 || !crlReasons.has(reason) || more.length > 0)
    note("e_cab_crl_has_valid_reason_code", `reasonCode of ${serial} is ${reason}`);
}
