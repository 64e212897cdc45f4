import { type JsonObject, objectOf, objects, optionalText, text } from "./answer.ts";
import type { Client } from "./connect.ts";

/** A certificate as lists show it. Times are RFC 3339 text in UTC, whole seconds. */
export type ListedCertificate = {
  /** 32 lower-case hex digits. */
  readonly serial: string;
  readonly authority: string;
  readonly profile: string;
  readonly namespace: string;
  /** RFC 4514; empty for the empty name. */
  readonly subject: string;
  readonly names: readonly { readonly type: string; readonly value: string }[];
  readonly notBefore: string;
  readonly notAfter: string;
  readonly status: string;
  /** While the status is `revoked`; the reason by its name in RFC 5280 §5.3.1. */
  readonly revokedAt?: string;
  readonly revocationReason?: string;
  readonly keyAlgorithm: string;
  readonly spkiSha256: string;
};

/** A certificate with its bytes: PEM of the leaf, PEM of its issuers upwards without the root. */
export type IssuedCertificate = ListedCertificate & { readonly certificate: string; readonly chain: string };

/** What is asked for. The same key with the same request gives the same certificate, as long as the row is kept. */
export type CertificateRequest = {
  /** PEM or base64 DER of a PKCS#10 request (RFC 2986). */
  readonly csr: string;
  readonly profile: string;
  readonly lifetimeSeconds?: number;
  /** 1–255 visible ASCII characters. */
  readonly idempotencyKey: string;
};

/** Which certificates, by the interface's own parameters; absent means any. */
export type CertificateFilter = {
  readonly name?: string;
  readonly serial?: string;
  readonly status?: string;
  readonly profile?: string;
  readonly notAfterFrom?: string;
  readonly notAfterBefore?: string;
};

/**
 * Has a certificate issued, or gives the one that was issued for the same key and request before.
 * @throws ClientError `refused` with the problem document: badCSR, policyDenied, lifetimeOutOfRange, idempotencyMismatch …
 */
export async function issueCertificate(client: Client, request: CertificateRequest): Promise<IssuedCertificate> {
  const { csr, profile, lifetimeSeconds, idempotencyKey } = request;
  const answer = await client.send({
    method: "POST",
    path: "/v1/certificates",
    headers: { "idempotency-key": idempotencyKey },
    body: { csr, profile, ...(lifetimeSeconds !== undefined && { lifetimeSeconds }) },
    repeatable: true,
  });
  return issued(objectOf(answer));
}

/**
 * The certificate of this serial.
 * @throws ClientError `refused` (notFound) when there is none, or none that the token may see.
 */
export async function readCertificate(client: Client, serial: string): Promise<IssuedCertificate> {
  return issued(objectOf(await client.send({ method: "GET", path: certificatePath(serial), repeatable: true })));
}

/** Leaf and chain of this serial as the PEM text a TLS server takes, without the root (RFC 8555 §9.1's media type). */
export async function readCertificateChain(client: Client, serial: string): Promise<string> {
  const accept = "application/pem-certificate-chain";
  return (await client.send({ method: "GET", path: certificatePath(serial), accept, repeatable: true })).body.toString("utf8");
}

/** DER of the certificate of this serial (RFC 2585 §4.1's media type). */
export async function readCertificateDer(client: Client, serial: string): Promise<Uint8Array> {
  return (await client.send({ method: "GET", path: certificatePath(serial), accept: "application/pkix-cert", repeatable: true })).body;
}

/** Certificates that match, newest first, one page a step, `pageSize` (1–1000) at a time; the next page is asked for when it is wanted. */
export async function* listCertificates(
  client: Client,
  filter: CertificateFilter,
  pageSize: number,
): AsyncGenerator<readonly ListedCertificate[], void, undefined> {
  let cursor: string | undefined;
  do {
    const query = { ...filter, limit: String(pageSize), cursor };
    const page = objectOf(await client.send({ method: "GET", path: "/v1/certificates", query, repeatable: true }));
    yield objects(page, "certificates").map(listed);
    cursor = optionalText(page, "nextCursor");
  } while (cursor !== undefined);
}

/** Where a certificate stands. */
export function certificatePath(serial: string): string {
  return `/v1/certificates/${encodeURIComponent(serial)}`;
}

/** The certificate of an answer. @throws ClientError `failed` when a member is missing. */
export function issued(object: JsonObject): IssuedCertificate {
  return { ...listed(object), certificate: text(object, "certificate"), chain: text(object, "chain") };
}

/** A certificate as lists have it. @throws ClientError `failed` when a member is missing. */
export function listed(object: JsonObject): ListedCertificate {
  const revokedAt = optionalText(object, "revokedAt");
  const revocationReason = optionalText(object, "revocationReason");
  return {
    serial: text(object, "serial"),
    authority: text(object, "authority"),
    profile: text(object, "profile"),
    namespace: text(object, "namespace"),
    subject: text(object, "subject"),
    names: objects(object, "names").map((name) => ({ type: text(name, "type"), value: text(name, "value") })),
    notBefore: text(object, "notBefore"),
    notAfter: text(object, "notAfter"),
    status: text(object, "status"),
    ...(revokedAt !== undefined && { revokedAt }),
    ...(revocationReason !== undefined && { revocationReason }),
    keyAlgorithm: text(object, "keyAlgorithm"),
    spkiSha256: text(object, "spkiSha256"),
  };
}
