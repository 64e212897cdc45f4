import { type JsonObject, number, objectOf, objects, optionalText, text } from "./answer.ts";
import { certificatePath, type IssuedCertificate, issued, listed, type ListedCertificate } from "./certificate.ts";
import type { Client } from "./connect.ts";

/** What is asked of one certificate. The same key with the same request changes nothing more. */
export type RevocationRequest = {
  /** Name of a CRLReason (RFC 5280 §5.3.1). */
  readonly reason: string;
  /** Since when the key is known to be compromised, RFC 3339. */
  readonly revokedAt?: string;
  /** PEM of a PKCS#10 request by which the certificate's key shows itself. */
  readonly proof?: string;
  /** Block the key without a proof: for administrators of "/". */
  readonly blockKey?: true;
  readonly idempotencyKey: string;
};

/**
 * Revokes the certificate of a serial, and gives it as it is then.
 * @throws ClientError `refused`: alreadyRevoked, badRevocationReason, certificateExpired, policyDenied, notFound …
 */
export async function revokeCertificate(
  client: Client,
  serial: string,
  { idempotencyKey, ...body }: RevocationRequest,
): Promise<IssuedCertificate> {
  const headers = { "idempotency-key": idempotencyKey };
  return issued(
    objectOf(await client.send({ method: "POST", path: `${certificatePath(serial)}/revoke`, headers, body, repeatable: true })),
  );
}

/** Which certificates, by the interface's own members; at least one is there. */
export type RevocationFilter = {
  readonly serials?: readonly string[];
  readonly spkiSha256?: string;
  readonly account?: string;
  readonly authority?: string;
  readonly profile?: string;
  readonly name?: string;
  readonly issuedFrom?: string;
  readonly issuedBefore?: string;
};

/** A revocation of many certificates. Times are RFC 3339 text. */
export type MassRevocation = {
  readonly id: string;
  /** `running`, `ended` or `stopped`. */
  readonly state: string;
  readonly revoked: number;
  readonly reason: string;
  readonly namespace: string;
  readonly createdBy: string;
  readonly createdAt: string;
  readonly endedAt?: string;
  /** Why it was ended before it was through. */
  readonly stopReason?: string;
};

/** What is asked of many certificates. */
export type MassRevocationRequest = {
  readonly filter: RevocationFilter;
  readonly reason: string;
  /** Whether the key that the filter names is blocked too; absent: as the service has it by default. */
  readonly blockKey?: boolean;
};

/** What such a request would revoke now: how many, and ten of them at most. Changes nothing. */
export async function previewRevocation(
  client: Client,
  request: MassRevocationRequest,
): Promise<{ readonly count: number; readonly sample: readonly ListedCertificate[] }> {
  const answer = await client.send({ method: "POST", path: "/v1/revocations", body: { ...request, dryRun: true }, repeatable: true });
  const object = objectOf(answer);
  return { count: number(object, "count"), sample: objects(object, "sample").map(listed) };
}

/** Begins to revoke everything that fits; the service goes on by itself. The same key with the same request is the same revocation. */
export async function createRevocation(client: Client, request: MassRevocationRequest, idempotencyKey: string): Promise<MassRevocation> {
  const headers = { "idempotency-key": idempotencyKey };
  return massRevocation(objectOf(await client.send({ method: "POST", path: "/v1/revocations", headers, body: request, repeatable: true })));
}

/** How far a revocation of many is. @throws ClientError `refused` (notFound). */
export async function readRevocation(client: Client, id: string): Promise<MassRevocation> {
  return massRevocation(
    objectOf(await client.send({ method: "GET", path: `/v1/revocations/${encodeURIComponent(id)}`, repeatable: true })),
  );
}

/** Ends a revocation of many before it is through; one that has ended stays as it is. @throws ClientError `refused` (notFound). */
export async function stopRevocation(client: Client, id: string, reason: string): Promise<MassRevocation> {
  const path = `/v1/revocations/${encodeURIComponent(id)}/stop`;
  return massRevocation(objectOf(await client.send({ method: "POST", path, body: { reason }, repeatable: true })));
}

/** Whether issuance is halted: since when, by whom and why. */
export type Halt =
  { readonly halted: false } | { readonly halted: true; readonly haltedAt: string; readonly haltedBy: string; readonly reason: string };

/** Halts all issuance but the service's own; where it is halted, that halt stands. */
export async function haltIssuance(client: Client, reason: string): Promise<Halt> {
  return halt(objectOf(await client.send({ method: "POST", path: "/v1/halt", body: { reason }, repeatable: true })));
}

/** Lets issuance go on. */
export async function resumeIssuance(client: Client, reason: string): Promise<Halt> {
  return halt(objectOf(await client.send({ method: "POST", path: "/v1/resume", body: { reason }, repeatable: true })));
}

/** Whether issuance is halted. */
export async function readHalt(client: Client): Promise<Halt> {
  return halt(objectOf(await client.send({ method: "GET", path: "/v1/halt", repeatable: true })));
}

function halt(object: JsonObject): Halt {
  if (object["halted"] !== true) return { halted: false };
  return { halted: true, haltedAt: text(object, "haltedAt"), haltedBy: text(object, "haltedBy"), reason: text(object, "reason") };
}

function massRevocation(object: JsonObject): MassRevocation {
  const endedAt = optionalText(object, "endedAt");
  const stopReason = optionalText(object, "stopReason");
  return {
    id: text(object, "id"),
    state: text(object, "state"),
    revoked: number(object, "revoked"),
    reason: text(object, "reason"),
    namespace: text(object, "namespace"),
    createdBy: text(object, "createdBy"),
    createdAt: text(object, "createdAt"),
    ...(endedAt !== undefined && { endedAt }),
    ...(stopReason !== undefined && { stopReason }),
  };
}
