import { setImmediate } from "node:timers/promises";
import { contains } from "../access/namespace.ts";
import { pageOf, parseCursor } from "../database/cursor.ts";
import { search } from "../database/search.ts";
import { Fault } from "../fault.ts";
import type { KeyAlgorithm } from "../pki/algorithm.ts";
import { parseCertificate } from "../pki/certificate.ts";
import { type ReasonName, reasonName } from "../pki/crl-reason.ts";
import { type GeneralName, reversedName } from "../pki/general-name.ts";
import { readAttempt } from "./attempt-store.ts";
import type { Ca } from "./ca.ts";
import {
  type CertificateFilter,
  type CertificateRecord,
  listCertificateRecords,
  readCertificateOf,
  readCertificates,
  readIssued,
  readPrincipal,
} from "./certificate-store.ts";

/** A certificate that this service issued, as it is shown. */
export type IssuedCertificate = {
  readonly authority: string;
  /** 32 lower-case hex digits. */
  readonly serial: string;
  readonly profile: string;
  readonly namespace: string;
  /** RFC 4514; "" for the empty name. */
  readonly subject: string;
  readonly names: readonly GeneralName[];
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly status: "valid" | "revoked" | "expired";
  /** Since when and why it is revoked, while `status` says so. */
  readonly revocation?: { readonly revokedAt: Date; readonly reason: ReasonName };
  readonly keyAlgorithm: KeyAlgorithm;
  /** Lower-case hex. */
  readonly spkiSha256: string;
  /** DER. */
  readonly certificate: Uint8Array;
  /** DER certificates of the issuers upwards, the root left out. */
  readonly chain: readonly Uint8Array[];
};

/** The certificate of this serial, if it lies in `namespace` or within it. */
export async function readCertificate(ca: Ca, namespace: string, serial: string): Promise<IssuedCertificate | undefined> {
  const rows = await ca.database.read((sql) => readCertificates(sql, Buffer.from(serial, "hex")));
  const row = rows.find((candidate) => contains(namespace, candidate.namespace));
  return row && show(ca, row);
}

/**
 * The certificate that the newest attempt of a request ended with; `requestId` as in the intent.
 * @throws Fault `busy` when it has not ended, or was closed without one
 */
export async function readCertificateOfRequest(ca: Ca, requestId: Uint8Array): Promise<IssuedCertificate> {
  const attempt = await ca.database.read((sql) => readAttempt(sql, requestId));
  if (!attempt?.certificate) throw new Fault("busy", "this request is being settled; ask again");
  const row = await ca.database.read((sql) => readCertificateOf(sql, attempt.authority, attempt.serial));
  if (!row) throw new Fault("internal", "a recorded certificate is missing");
  return show(ca, row);
}

/** A certificate in DER, and by whom. */
export type CertificateChain = Pick<IssuedCertificate, "authority" | "certificate" | "chain">;

/** The certificate that was issued for a request, `requestId` as in the intent; undefined while there is none. */
export async function readChainOfRequest(ca: Ca, requestId: Uint8Array): Promise<CertificateChain | undefined> {
  const row = await ca.database.read((sql) => readIssued(sql, requestId));
  return row && { authority: row.authority, certificate: row.certificate, chain: chainOf(ca, row.authority) };
}

/** A certificate with when it was recorded, and whose request it was issued for. */
export type StoredCertificate = IssuedCertificate & { readonly issuedAt: Date; readonly principal: string };

/** The certificate of this authority and serial, whatever its namespace. */
export async function readStoredCertificate(ca: Ca, authority: string, serial: Uint8Array): Promise<StoredCertificate | undefined> {
  const [row, principal] = await ca.database.read((sql) =>
    Promise.all([readCertificateOf(sql, authority, serial), readPrincipal(sql, authority, serial)]),
  );
  return row && principal !== undefined ? { ...show(ca, row), issuedAt: row.recordedAt, principal } : undefined;
}

/** What a list of certificates may be asked for. */
export type CertificateQuery = {
  readonly name?: GeneralName | undefined;
  /** 32 lower-case hex digits. */
  readonly serial?: string | undefined;
  readonly status?: "valid" | "revoked" | "expired" | undefined;
  readonly profile?: string | undefined;
  /** notAfter at or after this time. */
  readonly notAfterFrom?: Date | undefined;
  /** notAfter before this time. */
  readonly notAfterBefore?: Date | undefined;
  /** 1 to 1,000. */
  readonly limit: number;
  /** `nextCursor` of the page before. */
  readonly cursor?: string | undefined;
};

/**
 * Certificates of `namespace` and within it, newest first, with the cursor of the next page where there may be one.
 * @throws Fault `malformed` when the cursor is none that this service gave.
 */
export async function listCertificates(
  ca: Ca,
  namespace: string,
  query: CertificateQuery,
): Promise<{ certificates: readonly IssuedCertificate[]; nextCursor?: string }> {
  const { name, serial, status, profile, notAfterFrom, notAfterBefore, limit, cursor } = query;
  const filter: CertificateFilter = {
    ...(name && { reversedName: reversedName(name) }),
    ...(serial !== undefined && { serial: Buffer.from(serial, "hex") }),
    ...(status && { status }),
    ...(profile !== undefined && { profile }),
    ...(notAfterFrom && { notAfterFrom }),
    ...(notAfterBefore && { notAfterBefore }),
    ...(cursor !== undefined && { after: positionOf(cursor) }),
  };
  const found = await search(ca.database, (sql) =>
    listCertificateRecords(sql, { namespace, now: ca.clock.now(), limit: limit + 1 }, filter),
  );
  const { rows, next } = pageOf(found, limit, ({ recordedAt, serial: id }) => ({ time: recordedAt, id }));
  return { certificates: await showInTurns(ca, rows), ...next };
}

/** So many certificates are parsed before others have their turn of the event loop: a page of 1,000 must not hold up signatures. */
const parsedInOneTurn = 25;

async function showInTurns(ca: Ca, rows: readonly CertificateRecord[]): Promise<readonly IssuedCertificate[]> {
  const certificates: IssuedCertificate[] = [];
  for (const [index, row] of rows.entries()) {
    if (index > 0 && index % parsedInOneTurn === 0) await setImmediate();
    certificates.push(show(ca, row));
  }
  return certificates;
}

function positionOf(cursor: string): { readonly recordedAt: Date; readonly serial: Uint8Array } {
  const { time, id } = parseCursor(cursor);
  return { recordedAt: time, serial: id };
}

/** A recorded certificate as it is shown. */
export function show(ca: Ca, row: CertificateRecord): IssuedCertificate {
  const parsed = parseCertificate(row.certificate);
  return {
    authority: row.authority,
    serial: parsed.serial,
    profile: row.profile,
    namespace: row.namespace,
    subject: parsed.subjectText,
    names: parsed.names,
    notBefore: parsed.notBefore,
    notAfter: parsed.notAfter,
    status: row.revokedAt ? "revoked" : parsed.notAfter < ca.clock.now() ? "expired" : "valid",
    ...(row.revokedAt && { revocation: { revokedAt: row.revokedAt, reason: reasonName(row.reason ?? 0) ?? "unspecified" } }),
    keyAlgorithm: parsed.keyAlgorithm,
    spkiSha256: parsed.spkiSha256,
    certificate: row.certificate,
    chain: chainOf(ca, row.authority),
  };
}

function chainOf({ authorities }: Ca, authority: string): readonly Uint8Array[] {
  return authorities.get(authority)?.chain ?? [];
}
