import * as fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { parseCertificate, keyIdentifier, type Certificate } from "../../src/pki/certificate.ts";
import { encode, explicit, generalizedTime, objectIdentifier, octetString, sequence } from "../../src/pki/der-writer.ts";
import { lintResponseData, ocspRules, type OcspLintContext } from "../../src/pki/lint-ocsp.ts";
import { tbsResponseData, type CertStatus, type ResponsePlan, type SingleResponse } from "../../src/pki/ocsp.ts";
import { issuerOf, sealedPlan, softwareKey } from "./authorities.ts";

const key = softwareKey("P-256", 1);
const issuer = issuerOf(softwareKey("P-256"));
const thisUpdate = new Date("2026-01-12T08:00:00Z");
const revokedAt = new Date("2026-01-11T00:00:00Z");
const hours = (count: number): Date => new Date(thisUpdate.getTime() + count * 3_600_000);
const certIds = [sequence(octetString(Buffer.from("one"))), sequence(octetString(Buffer.from("two")))] as const;
const good: CertStatus = { status: "good" };
const revoked: CertStatus = { status: "revoked", revokedAt, reason: 1 };
const nonce = octetString(Buffer.alloc(16, 7));

let responder: Certificate;
beforeAll(async () => {
  responder = parseCertificate((await sealedPlan("ocsp-responder", key, softwareKey("P-256"))).der);
});

/** A response about two certificates, the second of them revoked, and what it was meant to be. */
function planned(): { plan: ResponsePlan; context: OcspLintContext } {
  const times = { thisUpdate, nextUpdate: hours(24) };
  const responses = [
    { certId: certIds[0], status: good, ...times },
    { certId: certIds[1], status: revoked, ...times },
  ];
  return {
    plan: { responderKeyHash: keyIdentifier(key.spki), producedAt: thisUpdate, responses, nonce },
    context: {
      asked: [
        { certId: certIds[0], recorded: good },
        { certId: certIds[1], recorded: revoked },
      ],
      nonce,
      responder,
      issuer,
    },
  };
}

type Change = { readonly plan?: (plan: ResponsePlan) => ResponsePlan; readonly context?: (context: OcspLintContext) => OcspLintContext };

function findings({ plan: changePlan = (plan) => plan, context: changeContext = (context) => context }: Change): string[] {
  const { plan, context } = planned();
  return lintResponseData(tbsResponseData(changePlan(plan)), changeContext(context)).map(({ rule }) => rule);
}

/** The plan with another first answer. */
function first(change: (one: SingleResponse) => SingleResponse): (plan: ResponsePlan) => ResponsePlan {
  return (plan) => ({ ...plan, responses: plan.responses.map((one, index) => (index === 0 ? change(one) : one)) });
}

const recorded = (status: CertStatus | undefined) => (context: OcspLintContext) => ({
  ...context,
  asked: context.asked.map((one, index) => (index === 0 ? { ...one, recorded: status } : one)),
});

const rows: readonly (Change & { readonly name: string; readonly rules: readonly string[] })[] = [
  { name: "as it was planned", rules: [] },
  {
    name: "another key's hash",
    plan: (plan) => ({ ...plan, responderKeyHash: new Uint8Array(20) }),
    rules: ["chancery_ocsp_responder_not_by_key"],
  },
  {
    name: "a responder of another authority's name",
    context: (context) => ({ ...context, issuer: { ...issuer, subject: issuerOf(key, "issuing-2", "Example Issuing 2").subject } }),
    rules: ["chancery_ocsp_responder_not_direct"],
  },
  {
    name: "a responder of another key of the authority",
    context: (context) => ({ ...context, issuer: { ...issuer, subjectKeyIdentifier: new Uint8Array(20) } }),
    rules: ["chancery_ocsp_responder_not_direct"],
  },
  {
    name: "a responder without OCSPSigning",
    context: (context) => ({ ...context, responder: { ...responder, extendedKeyUsage: ["serverAuth"] } }),
    rules: ["chancery_ocsp_responder_not_direct"],
  },
  {
    name: "one certificate too few",
    plan: (plan) => ({ ...plan, responses: plan.responses.slice(0, 1) }),
    rules: ["chancery_ocsp_cert_id_not_request"],
  },
  {
    name: "certificates in another order",
    plan: (plan) => ({ ...plan, responses: plan.responses.toReversed() }),
    rules: ["chancery_ocsp_cert_id_not_request", "chancery_ocsp_status_not_recorded"],
  },
  {
    name: "good for a serial number that was never assigned (XO-5)",
    context: recorded(undefined),
    rules: ["chancery_ocsp_good_for_unassigned", "chancery_ocsp_status_not_recorded"],
  },
  {
    name: "unknown for one that is issued",
    plan: first((one) => ({ ...one, status: { status: "unknown" } })),
    rules: ["chancery_ocsp_status_not_recorded"],
  },
  { name: "good for one that is revoked", context: recorded(revoked), rules: ["chancery_ocsp_status_not_recorded"] },
  {
    name: "another time of revocation (XC-6)",
    plan: first((one) => ({ ...one, status: { status: "revoked", revokedAt: hours(-1), reason: 1 } })),
    context: recorded(revoked),
    rules: ["chancery_ocsp_status_not_recorded"],
  },
  {
    name: "another reason (XC-6)",
    plan: first((one) => ({ ...one, status: { ...revoked, reason: 4 } })),
    context: recorded(revoked),
    rules: ["chancery_ocsp_status_not_recorded"],
  },
  {
    name: "a hold",
    plan: first((one) => ({ ...one, status: { ...revoked, reason: 6 } })),
    context: recorded({ ...revoked, reason: 6 }),
    rules: ["chancery_ocsp_reason_not_allowed"],
  },
  {
    name: "revoked at producedAt",
    plan: first((one) => ({ ...one, status: { ...revoked, revokedAt: thisUpdate } })),
    context: recorded({ ...revoked, revokedAt: thisUpdate }),
    rules: [],
  },
  {
    name: "revoked a second after it (XC-6)",
    plan: first((one) => ({ ...one, status: { ...revoked, revokedAt: new Date(thisUpdate.getTime() + 1_000) } })),
    context: recorded({ ...revoked, revokedAt: new Date(thisUpdate.getTime() + 1_000) }),
    rules: ["chancery_ocsp_revocation_time_after_produced_at"],
  },
  {
    name: "thisUpdate after producedAt",
    plan: first((one) => ({ ...one, thisUpdate: hours(1) })),
    rules: ["e_this_update_not_after_produced_at"],
  },
  {
    name: "thisUpdate before producedAt (XO-10)",
    plan: first((one) => ({ ...one, thisUpdate: hours(-1) })),
    rules: ["chancery_ocsp_this_update_not_produced_at"],
  },
  { name: "good for 8 hours (XO-11)", plan: first((one) => ({ ...one, nextUpdate: hours(8) })), rules: [] },
  {
    name: "good for a second less",
    plan: first((one) => ({ ...one, nextUpdate: new Date(hours(8).getTime() - 1_000) })),
    rules: ["chancery_ocsp_validity_interval"],
  },
  { name: "good for 10 days", plan: first((one) => ({ ...one, nextUpdate: hours(240) })), rules: [] },
  {
    name: "good for a second more",
    plan: first((one) => ({ ...one, nextUpdate: new Date(hours(240).getTime() + 1_000) })),
    rules: ["chancery_ocsp_validity_interval"],
  },
  {
    name: "nextUpdate before thisUpdate",
    plan: first((one) => ({ ...one, nextUpdate: hours(-1) })),
    rules: ["chancery_ocsp_validity_interval"],
  },
  {
    name: "good for a minute, as long as the responder's certificate",
    plan: first((one) => ({ ...one, nextUpdate: new Date(thisUpdate.getTime() + 60_000) })),
    context: (context) => ({ ...context, responder: { ...responder, notAfter: new Date(thisUpdate.getTime() + 60_000) } }),
    // The second certificate's answer is longer.
    rules: ["chancery_ocsp_next_update_after_responder_not_after"],
  },
  {
    name: "longer than the responder's certificate",
    context: (context) => ({ ...context, responder: { ...responder, notAfter: new Date(hours(24).getTime() - 1_000) } }),
    rules: ["chancery_ocsp_next_update_after_responder_not_after"],
  },
  { name: "no nonce where one was sent", plan: (plan) => ({ ...plan, nonce: undefined }), rules: ["chancery_ocsp_nonce_not_request"] },
  {
    name: "a nonce where none was sent",
    context: (context) => ({ ...context, nonce: undefined }),
    rules: ["chancery_ocsp_nonce_not_request"],
  },
  {
    name: "another nonce",
    plan: (plan) => ({ ...plan, nonce: octetString(Buffer.alloc(16, 8)) }),
    rules: ["chancery_ocsp_nonce_not_request"],
  },
];

describe("a response is held to its request, to what is recorded and to its responder before it is signed", () => {
  test.for(rows)("$name: $rules", ({ rules, ...change }) => {
    expect(findings(change)).toEqual(rules);
  });
});

/** ResponseData with parts that our writer never writes. */
type Parts = {
  readonly responderId?: Uint8Array;
  readonly status?: Uint8Array;
  readonly nextUpdate?: readonly Uint8Array[];
  readonly single?: readonly Uint8Array[];
  readonly extensions?: readonly Uint8Array[];
};

function written({ responderId, status = Uint8Array.of(0x80, 0), nextUpdate, single = [], extensions = [] }: Parts): Uint8Array {
  const answer = sequence(
    certIds[0],
    status,
    generalizedTime(thisUpdate),
    ...(nextUpdate ?? [explicit(0, generalizedTime(hours(24)))]),
    ...single.map((one) => explicit(1, sequence(one))),
  );
  return sequence(
    responderId ?? explicit(2, octetString(keyIdentifier(key.spki))),
    generalizedTime(thisUpdate),
    sequence(answer),
    ...extensions.map((one) => explicit(1, sequence(one))),
  );
}

function extension(extnID: string, value: Uint8Array): Uint8Array {
  return sequence(objectIdentifier(extnID), octetString(value));
}

function revokedFor(reason: number): Uint8Array {
  return encode(0xa1, generalizedTime(revokedAt), explicit(0, Uint8Array.of(0x0a, 1, reason)));
}

const foreign: readonly (Parts & { readonly name: string; readonly rules: readonly string[]; readonly recorded?: CertStatus })[] = [
  { name: "as ours is", rules: [] },
  { name: "the responder by name", responderId: explicit(1, issuer.subject), rules: ["chancery_ocsp_responder_not_by_key"] },
  { name: "no nextUpdate", nextUpdate: [], rules: ["chancery_ocsp_next_update_missing"] },
  {
    name: "reason 0 written (XC-3)",
    status: revokedFor(0),
    recorded: { ...revoked, reason: 0 },
    rules: ["chancery_ocsp_reason_not_allowed"],
  },
  {
    name: "reasonCode in singleExtensions (XO-12)",
    single: [extension("2.5.29.21", Uint8Array.of(0x0a, 1, 1))],
    rules: ["chancery_ocsp_reason_in_single_extensions", "chancery_ocsp_single_extensions_present"],
  },
  {
    name: "archiveCutoff in singleExtensions",
    single: [extension("1.3.6.1.5.5.7.48.1.6", generalizedTime(thisUpdate))],
    rules: ["chancery_ocsp_single_extensions_present"],
  },
  {
    name: "extended revoke in responseExtensions (XO-6)",
    extensions: [extension("1.3.6.1.5.5.7.48.1.9", Uint8Array.of(5, 0))],
    rules: ["chancery_ocsp_response_extensions_present"],
  },
  { name: "a certStatus with content", status: Uint8Array.of(0x80, 1, 0), rules: ["chancery_ocsp_response_data_malformed"] },
  { name: "a certStatus of another tag", status: Uint8Array.of(0x83, 0), rules: ["chancery_ocsp_response_data_malformed"] },
  {
    name: "a time in UTCTime (RFC 9919 §3.2.4)",
    nextUpdate: [explicit(0, encode(0x17, Buffer.from("260113080000Z")))],
    rules: ["chancery_ocsp_response_data_malformed"],
  },
  {
    name: "a time with a fraction",
    nextUpdate: [explicit(0, encode(0x18, Buffer.from("20260113080000.5Z")))],
    rules: ["chancery_ocsp_response_data_malformed"],
  },
  {
    name: "the 30th of February",
    nextUpdate: [explicit(0, encode(0x18, Buffer.from("20260230080000Z")))],
    rules: ["chancery_ocsp_response_data_malformed"],
  },
];

describe("what our writer never writes is found too", () => {
  test.for(foreign)("$name: $rules", ({ rules, recorded: record = good, ...parts }) => {
    const context = { asked: [{ certId: certIds[0], recorded: record }], nonce: undefined, responder, issuer };
    expect(lintResponseData(written(parts), context).map(({ rule }) => rule)).toEqual(rules);
  });
});

test("every rule has a row that breaks it", () => {
  const broken = new Set([...rows, ...foreign].flatMap(({ rules }) => rules));
  expect(ocspRules.map(({ name }) => name).filter((name) => !broken.has(name))).toEqual([]);
});

test("any bytes have findings, and nothing is thrown", () => {
  const { context } = planned();
  const data = written({});
  const changed = fc
    .array(fc.tuple(fc.nat(data.length - 1), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 3 })
    .map((changes) => {
      const copy = Uint8Array.from(data);
      for (const [at, octet] of changes) copy[at] = octet;
      return copy;
    });
  fc.assert(
    fc.property(fc.oneof(changed, fc.uint8Array({ maxLength: 200 })), (bytes) => {
      expect(lintResponseData(bytes, context).length).toBeGreaterThan(0);
    }),
    { numRuns: 3_000 },
  );
});
