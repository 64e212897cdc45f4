import { createHash } from "node:crypto";
import { signatureAlgorithm, signatureVerifier, verificationKey } from "../pki/algorithm.ts";
import { type Certificate, keyIdentifier, parseCertificate } from "../pki/certificate.ts";
import type { CrlEntries } from "../pki/crl-entry.ts";
import { type CrlHead, type CrlPiece, type CrlTail, readCrl } from "../pki/read-crl.ts";
import { sameBytes } from "../pki/tbs-certificate.ts";
import type { Ca } from "./ca.ts";
import { findRemovedEarly } from "./crl-entry-store.ts";
import { missingSerials, sorted } from "./crl-merge.ts";
import type { CrlSlot } from "./crl-slot.ts";
import { crlParts, type WrittenCrl } from "./write-crl.ts";

/** What speaks against a CRL: nobody may see it. */
export type CrlFinding = { readonly rule: CrlRule; readonly detail: string };

/**
 * What a CRL that is about to be published is held against, behind lint, which saw the same bytes on their way to the token and judges
 * their form, number and issuingDistributionPoint.
 * @see docs/CONFORMANCE.md XC-21
 */
export type CrlRule =
  | "chancery_crl_issuer_not_slot"
  | "chancery_crl_authority_key_not_slot"
  | "chancery_crl_this_update_not_later"
  | "chancery_crl_entry_removed_early"
  | "chancery_crl_entries_not_snapshot"
  | "chancery_crl_signature_invalid";

/** What was read of a CRL, and what speaks against it. */
export type CrlJudgement = {
  readonly findings: readonly CrlFinding[];
  /** Length of the DER. */
  readonly octets: number;
  /** SHA-256 of the DER, lower-case hex. */
  readonly sha256: string;
};

/**
 * Reads a written CRL back from the database, octet by octet, and holds it against its slot: the certificate that is recorded for the
 * authority, what was counted, and what is published.
 * @param certificate DER.
 * @throws Fault `malformed` when it cannot be read, or its entries are not in the order of their serial numbers.
 */
export async function judgeCrl(
  ca: Pick<Ca, "database">,
  written: WrittenCrl,
  { slot, certificate }: { readonly slot: CrlSlot; readonly certificate: Uint8Array },
): Promise<CrlJudgement> {
  const issuer = parseCertificate(certificate);
  const key = verificationKey(issuer.spki);
  const signature = signatureVerifier(key, signatureAlgorithm(key.algorithm));
  const whole = createHash("sha256");
  let octets = 0;
  const parts = async function* () {
    for await (const piece of crlParts(ca, { publication: written.publication, octets: written.octets })) {
      whole.update(piece);
      // The TBSCertList, as it was given to the token, stands behind the head of the frame.
      signature.update(within(piece, written.head - octets, written.head + written.octets - octets));
      octets += piece.length;
      yield piece;
    }
  };

  const around: { head?: CrlHead; tail?: CrlTail } = {};
  const removed = await removedEarly(ca, slot, sorted(entriesOf(readCrl(parts()), around)));
  const { head, tail } = around;
  const findings = head && tail ? [...fieldFindings({ head, tail }, { slot, issuer })] : [];
  if (removed !== undefined) {
    findings.push({
      rule: "chancery_crl_entry_removed_early",
      detail: `the entry ${removed} is gone before it was on a CRL behind its certificate's end`,
    });
  }
  if (tail?.entryCount !== written.plan.entryCount) {
    const detail = `it has ${tail?.entryCount ?? 0} entries, the snapshot ${written.plan.entryCount}`;
    findings.push({ rule: "chancery_crl_entries_not_snapshot", detail });
  }
  const framed = head?.tbsStart === written.head && head.tbsEnd === written.head + written.octets;
  if (!framed || !tail || !signature.verify(tail.signature)) {
    findings.push({ rule: "chancery_crl_signature_invalid", detail: `its signature does not verify under the key of ${slot.authority}` });
  }
  return { findings, octets, sha256: whole.digest("hex") };
}

function* fieldFindings(
  { head, tail }: { readonly head: CrlHead; readonly tail: CrlTail },
  { slot, issuer }: { readonly slot: CrlSlot; readonly issuer: Certificate },
): Generator<CrlFinding> {
  if (!sameBytes(head.issuer, issuer.subject)) {
    yield { rule: "chancery_crl_issuer_not_slot", detail: `its issuer is not the subject of ${slot.authority}` };
  }
  if (!sameBytes(tail.authorityKeyIdentifier, issuer.subjectKeyIdentifier ?? keyIdentifier(issuer.spki))) {
    yield { rule: "chancery_crl_authority_key_not_slot", detail: `its authorityKeyIdentifier is not that of ${slot.authority}` };
  }
  const { published } = slot;
  if (published && head.thisUpdate <= published.thisUpdate) {
    const [own, last] = [head.thisUpdate.toISOString(), published.thisUpdate.toISOString()];
    yield { rule: "chancery_crl_this_update_not_later", detail: `its thisUpdate is ${own}; ${last} is that of the published one` };
  }
}

/** The octets of a piece from one offset to another, either of which may lie outside of it. */
function within(piece: Uint8Array, from: number, to: number): Uint8Array {
  return piece.subarray(Math.max(0, from), Math.max(0, to));
}

/** The entries of a CRL; what stands around them is noted. */
async function* entriesOf(
  pieces: AsyncIterable<CrlPiece>,
  around: { head?: CrlHead; tail?: CrlTail } = {},
): AsyncGenerator<CrlEntries, undefined> {
  for await (const piece of pieces) {
    if (piece.piece === "head") around.head = piece;
    else if (piece.piece === "tail") around.tail = piece;
    else yield piece.entries;
  }
}

/** Serial numbers that are looked up at once. */
const lookup = 500;

/** An entry of the published CRL that the next one lacks though its certificate was not over, hex. Reads `next` to its end. */
async function removedEarly(
  ca: Pick<Ca, "database">,
  { authority, published }: CrlSlot,
  next: AsyncIterable<CrlEntries>,
): Promise<string | undefined> {
  let removed: string | undefined;
  let serials: Uint8Array[] = [];
  const look = async (): Promise<void> => {
    if (!published || removed !== undefined || serials.length === 0) return;
    const asked = { authority, serials, since: published.thisUpdate };
    serials = [];
    removed = await ca.database.read((sql) => findRemovedEarly(sql, asked));
  };
  const before = published ? entriesOf(readCrl(crlParts(ca, published))) : [];
  for await (const serial of missingSerials(before, next)) {
    if (serials.push(serial) >= lookup) await look();
  }
  await look();
  return removed;
}
