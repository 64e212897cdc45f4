import { keyIdentifier, type Certificate, type Issuer } from "./certificate.ts";
import { reasonName } from "./crl-reason.ts";
import { hex } from "./hex.ts";
import { type Finding, unlessMalformed } from "./lint.ts";
import type { CertStatus } from "./ocsp.ts";
import { oid, oidName } from "./oid.ts";
import { readResponseData, type ReadSingleResponse, type ReadStatus, type ResponseData } from "./response-data.ts";
import { sameBytes } from "./tbs-certificate.ts";

/** What a response was meant to be. */
export type OcspLintContext = {
  /** What the client asks, in its order, and how each certificate is recorded; undefined: its serial number is none that was issued. */
  readonly asked: readonly { readonly certId: Uint8Array; readonly recorded: CertStatus | undefined }[];
  /** Content of the nonce's extnValue, where the answer is to repeat it. */
  readonly nonce: Uint8Array | undefined;
  /** The certificate that the client will verify the response with. */
  readonly responder: Certificate;
  /** The authority of the certificates that are asked for. */
  readonly issuer: Issuer;
};

/** One rule over a ResponseData: under zlint's name where zlint has it, else with the prefix `chancery_`. Each finds errors. */
export type OcspRule = {
  readonly name: string;
  readonly citation: string;
  /** What is wrong, as a sentence with the offending value; undefined when the rule holds or does not apply. */
  readonly check: (data: ResponseData, context: OcspLintContext) => string | undefined;
};

/** Every rule, in the order in which findings are told. */
export const ocspRules: readonly OcspRule[] = [
  whole("chancery_ocsp_responder_not_by_key", "RFC 9919 §3.2.2", ({ keyHash }, { responder }) => {
    const expected = hex(keyIdentifier(responder.spki));
    const found = keyHash && hex(keyHash);
    return found === expected ? undefined : `responderID is ${found ?? "a name"}, not the key hash ${expected}`;
  }),
  whole("chancery_ocsp_responder_not_direct", "RFC 6960 §4.2.2.2", (_, { responder, issuer }) => {
    if (!sameBytes(responder.issuer, issuer.subject)) return "the responder's certificate names another issuer than the authority";
    const { authorityKeyIdentifier, extendedKeyUsage } = responder;
    if (!authorityKeyIdentifier || !sameBytes(authorityKeyIdentifier, issuer.subjectKeyIdentifier))
      return "the responder's certificate is not issued by the authority's key";
    return extendedKeyUsage?.includes("OCSPSigning") ? undefined : "the responder's certificate is not for OCSPSigning";
  }),
  whole("chancery_ocsp_cert_id_not_request", "RFC 6960 §3.2", ({ responses }, { asked }) => {
    if (responses.length !== asked.length) return `${responses.length} certificates are answered, and ${asked.length} were asked for`;
    const index = responses.findIndex(({ certId }, at) => !sameBytes(certId, asked[at]?.certId ?? new Uint8Array()));
    return index < 0 ? undefined : `certID number ${index + 1} is not the request's, byte for byte`;
  }),
  each("chancery_ocsp_good_for_unassigned", "CA/Browser Forum BR 4.9.10", ({ status }, { recorded }) =>
    status.status === "good" && !recorded ? "is called good, and its serial number was never assigned" : undefined,
  ),
  each("chancery_ocsp_status_not_recorded", "RFC 6960 §2.2", ({ status }, { recorded }) => {
    const [found, expected] = [statusText(status), statusText(recorded ?? { status: "unknown" })];
    return found === expected ? undefined : `is called ${found}, and what is recorded is ${expected}`;
  }),
  each("chancery_ocsp_revocation_time_after_produced_at", "RFC 6960 §2.2", ({ status }, { data }) =>
    status.status === "revoked" && status.revokedAt > data.producedAt
      ? `has the revocationTime ${status.revokedAt.toISOString()}, after producedAt`
      : undefined,
  ),
  each("chancery_ocsp_reason_not_allowed", "RFC 5280 §5.3.1", ({ status }) => {
    const reason = status.status === "revoked" ? status.reason : undefined;
    return reason === undefined || (reason !== 0 && reasonName(reason)) ? undefined : `has the revocationReason ${reason}`;
  }),
  each("e_this_update_not_after_produced_at", "RFC 6960 §2.4", ({ thisUpdate }, { data }) =>
    thisUpdate > data.producedAt ? `has the thisUpdate ${thisUpdate.toISOString()}, after producedAt` : undefined,
  ),
  // Last-Modified is the one by RFC 9919 §6 and the other by §7.2.
  each("chancery_ocsp_this_update_not_produced_at", "RFC 9919 §6", ({ thisUpdate }, { data }) =>
    thisUpdate < data.producedAt ? `has the thisUpdate ${thisUpdate.toISOString()}, before producedAt` : undefined,
  ),
  each("chancery_ocsp_next_update_missing", "RFC 9919 §3.2.4", ({ nextUpdate }) => (nextUpdate ? undefined : "has no nextUpdate")),
  each("chancery_ocsp_validity_interval", "CA/Browser Forum BR 4.9.10", ({ thisUpdate, nextUpdate }, { context }) => {
    if (!nextUpdate) return undefined;
    const seconds = (nextUpdate.getTime() - thisUpdate.getTime()) / 1000;
    // Shorter is better than none when the responder's certificate ends and could not be renewed.
    const least = nextUpdate.getTime() === context.responder.notAfter.getTime() ? 1 : minimumSeconds;
    return seconds < least || seconds > maximumSeconds ? `is good for ${seconds} s, not ${least} to ${maximumSeconds}` : undefined;
  }),
  each("chancery_ocsp_next_update_after_responder_not_after", "RFC 6960 §4.2.2.2", ({ nextUpdate }, { context }) =>
    nextUpdate && nextUpdate > context.responder.notAfter
      ? `has the nextUpdate ${nextUpdate.toISOString()}, after the end of the responder's certificate`
      : undefined,
  ),
  each("chancery_ocsp_reason_in_single_extensions", "CA/Browser Forum BR 7.3.2", ({ extensions }) =>
    extensions.has(oid.reasonCode) ? "has reasonCode in singleExtensions" : undefined,
  ),
  each("chancery_ocsp_single_extensions_present", "RFC 9919 §3.2.1", ({ extensions }) =>
    extensions.size === 0 ? undefined : `has singleExtensions: ${[...extensions.keys()].map(oidName).join(", ")}`,
  ),
  whole("chancery_ocsp_response_extensions_present", "RFC 9919 §3.2.1", ({ extensions }) => {
    const others = [...extensions.keys()].filter((type) => type !== oid.ocspNonce);
    return others.length === 0 ? undefined : `responseExtensions has ${others.map(oidName).join(", ")}`;
  }),
  whole("chancery_ocsp_nonce_not_request", "RFC 9654 §2.1", ({ extensions }, { nonce }) => {
    const [found, expected] = [extensions.get(oid.ocspNonce), nonce].map((octets) => octets && hex(octets));
    return found === expected ? undefined : `the nonce is ${found ?? "absent"}, and was to be ${expected ?? "absent"}`;
  }),
];

/**
 * What is wrong with a ResponseData before it is signed: form, responder, times, and that it says of each certificate what is recorded. Any
 * finding stops the signature. Never throws for any bytes.
 */
export function lintResponseData(tbs: Uint8Array, context: OcspLintContext): Finding[] {
  const data = unlessMalformed(() => readResponseData(tbs));
  if (typeof data === "string") {
    return [{ rule: "chancery_ocsp_response_data_malformed", severity: "e", detail: data, citation: "RFC 6960 §4.2.1" }];
  }
  return ocspRules.flatMap(({ name, citation, check }) => {
    const detail = check(data, context);
    return detail === undefined ? [] : [{ rule: name, severity: "e" as const, detail, citation }];
  });
}

// BR 4.9.10: at least eight hours and at most ten days.
const minimumSeconds = 8 * 3_600;
const maximumSeconds = 10 * 86_400;

function whole(name: string, citation: string, check: OcspRule["check"]): OcspRule {
  return { name, citation, check };
}

type Around = { readonly recorded: CertStatus | undefined; readonly data: ResponseData; readonly context: OcspLintContext };

/** A rule of every SingleResponse: the first that breaks it is told. */
function each(name: string, citation: string, check: (one: ReadSingleResponse, around: Around) => string | undefined): OcspRule {
  return whole(name, citation, (data, context) => {
    for (const [index, one] of data.responses.entries()) {
      const detail = check(one, { recorded: context.asked[index]?.recorded, data, context });
      if (detail !== undefined) return `the certificate number ${index + 1} ${detail}`;
    }
    return undefined;
  });
}

function statusText(status: ReadStatus): string {
  if (status.status !== "revoked") return status.status;
  return `revoked at ${status.revokedAt.toISOString()} for the reason ${status.reason ?? 0}`;
}
