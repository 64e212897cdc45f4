import { Fault } from "../fault.ts";
import { bytesOf, contentOf, contextTag, expectTag, fieldsOf, readDer, tag, type DerValue } from "./der.ts";
import { readGeneralizedTime, readOctetString, readOid } from "./der-field.ts";
import { explicitValue } from "./tbs-certificate.ts";

/** What is said of one certificate, as it stands: a reason that is encoded is a number, 0 too. */
export type ReadStatus =
  { readonly status: "good" | "unknown" } | { readonly status: "revoked"; readonly revokedAt: Date; readonly reason: number | undefined };

/** One SingleResponse of a ResponseData. */
export type ReadSingleResponse = {
  /** DER CertID. */
  readonly certId: Uint8Array;
  readonly status: ReadStatus;
  readonly thisUpdate: Date;
  readonly nextUpdate: Date | undefined;
  /** Content of extnValue by extnID. */
  readonly extensions: ReadonlyMap<string, Uint8Array>;
};

/** What a ResponseData says. Bytes are views of what was read. @see RFC 6960 §4.2.1 */
export type ResponseData = {
  /** Octets of byKey; undefined when the responder is given by its name. */
  readonly keyHash: Uint8Array | undefined;
  readonly producedAt: Date;
  readonly responses: readonly ReadSingleResponse[];
  /** Content of extnValue by extnID. */
  readonly extensions: ReadonlyMap<string, Uint8Array>;
};

/**
 * Takes a DER ResponseData apart and judges its form alone.
 * @throws Fault `malformed`
 * @see RFC 6960 §4.2.1
 */
export function readResponseData(der: Uint8Array): ResponseData {
  const fields = fieldsOf(readDer(der, "ResponseData"), "ResponseData");
  const responder = fields.next("responderID");
  const producedAt = readGeneralizedTime(fields.next("producedAt"), "producedAt");
  const responses = expectTag(fields.next("responses"), tag.sequence, "responses").children;
  const extensions = readExtensions(fields.optional(contextTag(1, "constructed")), "responseExtensions");
  fields.end();
  return { keyHash: readKeyHash(responder), producedAt, responses: responses.map(readSingleResponse), extensions };
}

function readKeyHash(responderId: DerValue): Uint8Array | undefined {
  if (responderId.tag === contextTag(1, "constructed")) return undefined;
  return readOctetString(explicitValue(expectTag(responderId, contextTag(2, "constructed"), "responderID"), "responderID"), "byKey");
}

function readSingleResponse(value: DerValue): ReadSingleResponse {
  const fields = fieldsOf(value, "SingleResponse");
  const certId = bytesOf(expectTag(fields.next("certID"), tag.sequence, "certID"));
  const status = readStatus(fields.next("certStatus"));
  const thisUpdate = readGeneralizedTime(fields.next("thisUpdate"), "thisUpdate");
  const nextUpdate = fields.optional(contextTag(0, "constructed"));
  const extensions = readExtensions(fields.optional(contextTag(1, "constructed")), "singleExtensions");
  fields.end();
  return {
    certId,
    status,
    thisUpdate,
    nextUpdate: nextUpdate && readGeneralizedTime(explicitValue(nextUpdate, "nextUpdate"), "nextUpdate"),
    extensions,
  };
}

function readStatus(value: DerValue): ReadStatus {
  if (value.tag === contextTag(0, "primitive") || value.tag === contextTag(2, "primitive")) {
    if (value.end !== value.contentStart) throw new Fault("malformed", "certStatus is a NULL with content");
    return { status: value.tag === contextTag(0, "primitive") ? "good" : "unknown" };
  }
  const fields = fieldsOf(value, "RevokedInfo", contextTag(1, "constructed"));
  const revokedAt = readGeneralizedTime(fields.next("revocationTime"), "revocationTime");
  const reason = fields.optional(contextTag(0, "constructed"));
  fields.end();
  return { status: "revoked", revokedAt, reason: reason && readReason(explicitValue(reason, "revocationReason")) };
}

function readReason(value: DerValue): number {
  const content = contentOf(expectTag(value, tag.enumerated, "revocationReason"));
  if (content.length !== 1) throw new Fault("malformed", `revocationReason has ${content.length} octets`);
  return content[0] ?? 0;
}

function readExtensions(value: DerValue | undefined, what: string): ReadonlyMap<string, Uint8Array> {
  const values = new Map<string, Uint8Array>();
  if (value === undefined) return values;
  for (const extension of expectTag(explicitValue(value, what), tag.sequence, what).children) {
    const fields = fieldsOf(extension, "Extension");
    const type = readOid(fields.next("extnID"), "extnID");
    fields.flag("critical");
    const content = readOctetString(fields.next("extnValue"), "extnValue");
    fields.end();
    if (values.has(type)) throw new Fault("malformed", `the extension ${type} occurs twice in ${what}`);
    values.set(type, content);
  }
  if (values.size === 0) throw new Fault("malformed", `${what} is empty`);
  return values;
}
