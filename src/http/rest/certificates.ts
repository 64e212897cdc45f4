import { hash } from "node:crypto";
import { z } from "zod";
import type { CertificateQuery, IssuedCertificate } from "../../ca/certificates.ts";
import { Fault, type FaultCode } from "../../fault.ts";
import { csrFromText, parseCsr } from "../../pki/csr.ts";
import { canonicalDnsName, canonicalIpAddress, canonicalUri, type GeneralName } from "../../pki/general-name.ts";
import { encodePem } from "../../pki/pem.ts";
import type { RestDoors } from "../doors.ts";
import { recordingDenial } from "./denial.ts";
import { idempotencyKey, namedRequest } from "./idempotency-key.ts";
import { page } from "./page.ts";
import { type Answer, route } from "./route.ts";
import { rfc3339, time } from "./time.ts";

const largestLifetimeSeconds = 2 ** 31 - 1;
const lifetimeRange = `must be a whole number from 1 to ${largestLifetimeSeconds}`;

/** Name of a profile. No profile has another, and PostgreSQL takes no NUL. */
export const profileName = z.string().regex(/^[!-~]{1,64}$/, "must be 1 to 64 visible ASCII characters");

/** POST /v1/certificates: one certificate for one certificate request. */
export const issueRoute = route({
  method: "POST",
  path: "/v1/certificates",
  action: "certificate:issue",
  body: z.strictObject({
    csr: z.string().min(1, "must not be empty"),
    profile: profileName,
    lifetimeSeconds: z.int(lifetimeRange).min(1, lifetimeRange).max(largestLifetimeSeconds, lifetimeRange).optional(),
  }),
  handle: async (doors, { principal, body, headers, requestId }) => {
    const key = idempotencyKey(headers);
    const object = { profile: body.profile };
    return await recordingDenial(doors, { principal, requestId, operation: "certificate.issue", object, codes: judgements }, async () => {
      refuseForeignProfile(doors, body.profile);
      const csr = await parseCsr(csrFromText(body.csr));
      const { certificate, repeated } = await doors.issue({
        door: "rest",
        key,
        principal: { id: principal.id, namespace: principal.namespace },
        requestId,
        requestHash: requestHash(csr.der, body),
        profile: body.profile,
        names: csr.names,
        publicKey: csr.publicKey,
        lifetimeSeconds: body.lifetimeSeconds,
      });
      const location = `/v1/certificates/${certificate.serial}`;
      return { status: repeated ? 200 : 201, headers: { location }, json: certificateWithChain(certificate) };
    });
  },
});

/** Refusals of what was asked, rather than of how: they leave an audit record (AUD-17). */
const judgements: ReadonlySet<FaultCode> = new Set(["policyDenied", "badCSR", "lifetimeOutOfRange", "lintRefused"]);

/** POST /v1/certificates/{serial}/revoke: the certificate is revoked for good. */
export const revokeRoute = route({
  method: "POST",
  path: "/v1/certificates/:serial/revoke",
  action: "certificate:revoke",
  body: z.strictObject({
    reason: z.string().max(64).optional(),
    revokedAt: time.optional(),
    proof: z.string().min(1).optional(),
    blockKey: z.literal(true, "must be true, or absent").optional(),
  }),
  handle: async (doors, { principal, parts, body, headers, requestId }) => {
    const { serial = "" } = parts;
    if (!serialPattern.test(serial)) throw unknownCertificate(serial);
    const { reason, revokedAt, blockKey } = body;
    const proof = body.proof === undefined ? undefined : csrFromText(body.proof);
    const asked = {
      serial,
      reason,
      revokedAt: revokedAt && rfc3339(revokedAt),
      proof: proof && Buffer.from(proof).toString("hex"),
      blockKey,
    };
    const repeatable = namedRequest({ principal, headers }, "certificate.revoke", asked);
    const refusable = { principal, requestId, operation: "certificate.revoke", object: { serial } };
    return await recordingDenial(doors, refusable, async () => {
      const revoked = await doors.revokeCertificate(principal, { serial, reason, revokedAt, proof, blockKey, repeatable, requestId });
      return { json: certificateWithChain(revoked) };
    });
  },
});

/** GET /v1/certificates/{serial}: what was issued, as JSON, PEM with its chain (RFC 8555 §9.1), or DER (RFC 2585 §4.1). */
export const readRoute = route({
  method: "GET",
  path: "/v1/certificates/:serial",
  action: "certificate:read",
  produces: ["application/json", "application/pem-certificate-chain", "application/pkix-cert"],
  handle: async (doors, { principal, parts, accepted }): Promise<Answer> => {
    const { serial = "" } = parts;
    const certificate = serialPattern.test(serial) ? await doors.readCertificate(principal.namespace, serial) : undefined;
    if (!certificate) throw unknownCertificate(serial);
    switch (accepted) {
      case "application/pem-certificate-chain":
        return { type: accepted, bytes: pem([certificate.certificate, ...certificate.chain]) };
      case "application/pkix-cert":
        return { type: accepted, bytes: certificate.certificate };
      default:
        return { json: certificateWithChain(certificate) };
    }
  },
});

/** A serial as the interface writes it. */
export const serialPattern = /^[0-9a-f]{32}$/;

function unknownCertificate(serial: string): Fault {
  return new Fault("notFound", `there is no certificate ${JSON.stringify(serial.slice(0, 64))}`);
}

/** GET /v1/certificates: what was issued in the caller's namespace and within it, newest first. */
export const listRoute = route({
  method: "GET",
  path: "/v1/certificates",
  action: "certificate:read",
  query: z.strictObject({
    name: z.string().min(1).max(1024).transform(generalName).optional(),
    serial: z.string().regex(serialPattern, "must be 32 lower-case hex digits").optional(),
    status: z.enum(["valid", "revoked", "expired"]).optional(),
    profile: profileName.optional(),
    notAfterFrom: time.optional(),
    notAfterBefore: time.optional(),
    ...page,
  }),
  handle: async (doors, { principal, query }) => {
    const { certificates, nextCursor } = await doors.listCertificates(principal.namespace, query satisfies CertificateQuery);
    return { json: { certificates: certificates.map(certificateWithoutChain), ...(nextCursor !== undefined && { nextCursor }) } };
  },
});

/** A name as it is looked for: an address, a URI when it has a scheme, a DNS name otherwise. */
export function generalName(text: string, context: z.RefinementCtx): GeneralName {
  const ip = canonicalIpAddress(text);
  if (ip !== undefined) return { type: "ip", value: ip };
  const uri = canonicalUri(text);
  if (typeof uri === "string") return { type: "uri", value: uri };
  const dns = canonicalDnsName(text);
  if (dns !== undefined) return { type: "dns", value: dns };
  context.addIssue({ code: "custom", message: "must be a DNS name, an IP address or a URI" });
  return z.NEVER;
}

/** Authorities and responders are made by the service itself: nobody can ask for their profiles. */
function refuseForeignProfile(doors: RestDoors, name: string): void {
  const known = doors.profiles().some((profile) => profile.name === name && profile.kind === "end-entity");
  if (!known) throw new Fault("policyDenied", `there is no profile ${JSON.stringify(name)} that may be asked for`);
}

/** SHA-256 over what was asked, whatever form the request had: PEM or base64, white space, order of members. */
function requestHash(csr: Uint8Array, { profile, lifetimeSeconds }: { profile: string; lifetimeSeconds?: number | undefined }): Uint8Array {
  const canonical = JSON.stringify({ csr: Buffer.from(csr).toString("hex"), lifetimeSeconds, profile });
  return hash("sha256", canonical, "buffer");
}

function certificateWithChain(certificate: IssuedCertificate) {
  return { ...certificateWithoutChain(certificate), certificate: pem([certificate.certificate]), chain: pem(certificate.chain) };
}

/** A certificate as lists show it. */
export function certificateWithoutChain({ serial, authority, profile, namespace, subject, names, ...certificate }: IssuedCertificate) {
  return {
    serial,
    authority,
    profile,
    namespace,
    subject,
    names,
    notBefore: rfc3339(certificate.notBefore),
    notAfter: rfc3339(certificate.notAfter),
    status: certificate.status,
    ...(certificate.revocation && {
      revokedAt: rfc3339(certificate.revocation.revokedAt),
      revocationReason: certificate.revocation.reason,
    }),
    keyAlgorithm: certificate.keyAlgorithm,
    spkiSha256: certificate.spkiSha256,
  };
}

function pem(certificates: readonly Uint8Array[]): string {
  return certificates.map((der) => encodePem("CERTIFICATE", der)).join("");
}
