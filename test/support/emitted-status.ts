import { createHash, X509Certificate } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import { type Extension, ResponseData } from "pkijs";
import type { Sql } from "../../src/database/connection.ts";
import type { Hsm } from "../../src/ports/hsm.ts";
import { becameKnown, brokenCrl, hourMs, shown, told, toleranceMs } from "./crl-invariants.ts";
import { administer } from "./server.ts";
import { certId, octetsOf, readSaidCrl, type SaidStatus, statusOf } from "./status-bytes.ts";
import { brokenPublications, readPublished, readTables, type Row, type Tables } from "./status-tables.ts";

/** What was signed of certificates' status on a ground, in the order of the signatures. */
export type EmittedStatus = {
  /** DER ResponseData of every OCSP response. */
  readonly responses: Uint8Array[];
  /** Nothing is held against the tables at the end: they, or what was signed, were changed on purpose. */
  planted: boolean;
};

/** The token, which remembers each ResponseData that it signs. */
export function noting(hsm: Hsm, { responses }: EmittedStatus): Hsm {
  return new Proxy(hsm, {
    get(target, property) {
      const value: unknown = Reflect.get(target, property, target);
      if (property !== "sign" || typeof value !== "function") return typeof value === "function" ? value.bind(target) : value;
      return async (...args: Parameters<Hsm["sign"]>) => {
        const signature = await target.sign(...args);
        if (args[1] === "ocsp") responses.push(args[2]);
        return signature;
      };
    },
  });
}

/**
 * Holds against the tables whatever was said of certificates' status on a ground that nobody uses any more: every CRL that stands or stood just
 * before, the numbers of all that were published, and every OCSP response that an instance of this process signed.
 * @throws Error with what does not hold, in sentences.
 */
export async function holdEmitted(databaseUrl: string, emitted: EmittedStatus): Promise<void> {
  if (emitted.planted) return;
  const broken = await administer(databaseUrl, async (sql) => {
    const tables = await readTables(sql);
    const responders = await readResponders(sql);
    return [
      ...(await brokenPublications(sql)),
      ...(await brokenCrls(sql, tables)),
      ...brokenResponses(emitted.responses, { tables, responders }),
    ];
  });
  const first = broken.slice(0, 20);
  if (broken.length > 0) throw new Error(`what was said of certificates' status does not hold (${broken.length}):\n${first.join("\n")}`);
}

/** Before a test plants faults: what was said so far is held against the tables, and nothing from here on. */
export async function holdBeforeFaults({ databaseUrl, emitted }: { databaseUrl: string; emitted: EmittedStatus }): Promise<void> {
  await holdEmitted(databaseUrl, emitted);
  emitted.planted = true;
}

async function brokenCrls(sql: Sql, tables: Tables): Promise<string[]> {
  const broken: string[] = [];
  for (const slot of tables.slots) {
    const issuer = tables.issuers.get(slot.authority);
    const { standing, previous, sha256 } = await readPublished(sql, slot.path);
    if (!issuer) throw new Error(`the slot ${slot.path} has no authority`);
    // What is longer has tests of its own, by readers who do not build a tree of it.
    if (standing.length > mostOctets || previous.length > mostOctets) continue;
    const crl = readSaidCrl(standing, issuer);
    const sentences = [...brokenCrl({ tables }, slot, crl)];
    if (createHash("sha256").update(standing).digest("hex") !== sha256) sentences.push("its hash is another");
    if (previous.length > 0) {
      const before = readSaidCrl(previous, issuer);
      sentences.push(...before.faults.map((fault) => `before it, ${fault}`));
      if (before.number >= crl.number || before.thisUpdate >= crl.thisUpdate) sentences.push("the one before is no older (XC-14, XC-18)");
    }
    for (const sentence of sentences) broken.push(`CRL ${slot.path}: ${sentence}`);
  }
  return broken;
}

const mostOctets = 500_000;

/** End of the last certificate of a responder's key, by SHA-1 of the key. */
type Responders = ReadonlyMap<string, Date>;

async function readResponders(sql: Sql): Promise<Responders> {
  const rows = await sql<{ certificate: Uint8Array }[]>`
    select certificate from certificate where profile = 'ocsp-responder' and certificate is not null order by not_after`;
  return new Map(
    rows.map(({ certificate }) => {
      const { publicKey, validToDate } = new X509Certificate(certificate);
      // A P-256 key's BIT STRING ends its SubjectPublicKeyInfo with 65 octets.
      const bits = publicKey.export({ type: "spki", format: "der" }).subarray(-65);
      return [createHash("sha1").update(bits).digest("hex"), validToDate];
    }),
  );
}

function brokenResponses(
  responses: readonly Uint8Array[],
  { tables, responders }: { readonly tables: Tables; readonly responders: Responders },
): string[] {
  if (responses.length === 0) return [];
  const rows = rowsByCertId(tables);
  // Of each certificate, when it was first called revoked.
  const revokedSince = new Map<Row, Date>();
  return responses.flatMap((tbs, index) => {
    const data = ResponseData.fromBER(tbs);
    const sentences = [...brokenTimes(data, responders)];
    for (const single of data.responses) {
      const row = rows(Buffer.from(single.certID.toSchema().toBER()));
      const said = statusOf(single);
      const sentence = brokenStatement(said, row, single.thisUpdate);
      if (sentence) sentences.push(sentence);
      if (!row || !said) continue;
      const since = revokedSince.get(row);
      if (said.status === "revoked" && !since) revokedSince.set(row, single.thisUpdate);
      // Two that are signed at once may be signed in either order.
      if (said.status === "good" && since && single.thisUpdate.getTime() > since.getTime() + toleranceMs)
        sentences.push(`${row.serial} is good, and was revoked before (XO-6)`);
    }
    return sentences.map((sentence) => `OCSP response ${index + 1}: ${sentence}`);
  });
}

function* brokenTimes({ producedAt, responses, responseExtensions = [], responderID }: ResponseData, responders: Responders) {
  const responder = octetsOf(responderID.valueBeforeDecodeView).subarray(-20).toString("hex");
  const notAfter = responders.get(responder);
  if (!notAfter) yield `its responder ${responder} has no certificate (XO-13)`;
  if (responses.length === 0) yield "it says nothing";
  if (responseExtensions.some((extension: Extension) => extension.extnID !== nonce || extension.critical)) yield "it has extensions";
  if (producedAt.getMilliseconds() !== 0) yield "its times have fractions of a second (XO-10)";
  for (const { thisUpdate, nextUpdate, singleExtensions } of responses) {
    const life = nextUpdate ? nextUpdate.getTime() - thisUpdate.getTime() : Number.NaN;
    if (thisUpdate.getTime() !== producedAt.getTime()) yield "producedAt is not thisUpdate";
    if (!(life > 0 && life <= 24 * hourMs) || life % 1000 !== 0) yield `it lasts ${life / hourMs} hours (XO-11)`;
    if (notAfter && nextUpdate && nextUpdate > notAfter) yield "it ends behind its responder's certificate (XO-13)";
    if (singleExtensions) yield "it has singleExtensions";
  }
}

/** id-pkix-ocsp-nonce (RFC 9654 §2.1). */
const nonce = "1.3.6.1.5.5.7.48.1.2";

function brokenStatement(said: SaidStatus | undefined, row: Row | undefined, thisUpdate: Date): string | undefined {
  if (!row) return `it is ${shown(said)} about what no authority issued (XO-5)`;
  if (said?.status === "good") return row.issued ? undefined : `${row.serial} is good, and was never issued (XO-5)`;
  const { said: recorded } = row;
  if (isDeepStrictEqual(said, told(recorded, thisUpdate)) || becameKnown(said, row)) return undefined;
  return `${row.serial} is ${shown(said)}, in the table ${shown(recorded)} (XC-6)`;
}

/** Finds the row that a DER CertID is about, whichever of the two hashes it has. */
function rowsByCertId({ issuers, rows }: Tables): (der: Buffer) => Row | undefined {
  const byPlace = new Map<string, ReadonlyMap<string, Row>>();
  for (const [slug, issuer] of issuers) {
    const bySerial = new Map((rows.get(slug) ?? []).map((row) => [row.serial, row]));
    for (const hash of ["sha1", "sha256"] as const) byPlace.set(placeOf(certId(issuer, "40", hash)), bySerial);
  }
  return (der) => byPlace.get(placeOf(der))?.get(serialOf(der));
}

/** CertID ::= SEQUENCE { hashAlgorithm, issuerNameHash, issuerKeyHash, serialNumber }, shorter than 128 octets: all but the first and the last. */
function placeOf(certIdDer: Buffer): string {
  return partsOf(certIdDer).slice(0, 3).join();
}

function serialOf(certIdDer: Buffer): string {
  return (partsOf(certIdDer)[3] ?? "").slice(4).replace(/^00(?=..)/, "");
}

function partsOf(sequence: Buffer): string[] {
  const parts: string[] = [];
  for (let at = 2; at < sequence.length; at += 2 + (sequence[at + 1] ?? 0))
    parts.push(sequence.subarray(at, at + 2 + (sequence[at + 1] ?? 0)).toString("hex"));
  return parts;
}
