import { hash } from "node:crypto";
import { Fault } from "../fault.ts";
import type { VerificationKey } from "../pki/algorithm.ts";
import { type Certificate, notAfterOf, tbsCertificate } from "../pki/certificate.ts";
import type { GeneralName } from "../pki/general-name.ts";
import { examine, type Finding } from "../pki/lint.ts";
import type { Name } from "../pki/name.ts";
import { crlShardOf, type Profile, violations } from "../pki/profile.ts";
import type { IntentRow } from "./attempt-store.ts";
import { issuerOfShard, type SigningAuthority } from "./authority.ts";
import type { Ca } from "./ca.ts";
import type { IssuedCertificate } from "./certificates.ts";
import { finish } from "./finish.ts";
import { drawSerial, intentRow } from "./intent.ts";
import type { FrozenProfile } from "./profiles.ts";
import { repeat } from "./repeat.ts";

/** Where a request came in: part of its identity. Only the service itself comes by `system`. */
export type Door = "rest" | "acme" | "system";

/** What is asked of the authority. Everything in it was parsed and judged at the door, but for what only the profile can judge. */
export type IssueRequest = {
  readonly door: Door;
  /** The caller's own name for this request: the same one is never served twice. Absent: each call is a request of its own. */
  readonly key?: string | undefined;
  readonly principal: { readonly id: string; readonly namespace: string };
  /** What the door calls this call of it, as in its log: stands in the audit record. */
  readonly requestId?: string | undefined;
  /** SHA-256 of what was asked, 32 octets: another one under the same key is refused. */
  readonly requestHash: Uint8Array;
  readonly profile: string;
  readonly subject?: Name;
  readonly names: readonly GeneralName[];
  /** The key to certify, which the key policy has accepted but for whether an RSA modulus is a prime. */
  readonly publicKey: VerificationKey;
  readonly lifetimeSeconds?: number | undefined;
  /** Dates that are to stand in the certificate as they are, instead of those that the lifetime gives. Whole seconds. */
  readonly notBefore?: Date | undefined;
  readonly notAfter?: Date | undefined;
  /** What the caller proved itself with, where its guard asks for that. */
  readonly credential?: string | undefined;
};

export type Issued = {
  readonly certificate: IssuedCertificate;
  /** Whether it stood already, under the same key and with the same body. */
  readonly repeated: boolean;
};

/**
 * Issues a certificate: the only path to a signature over one. The intent is durable before the token signs, the certificate before it
 * is returned, and at most one certificate ever comes of one request.
 * @throws Fault `policyDenied`, `badCSR`, `lifetimeOutOfRange`, `lintRefused`: the request cannot be served as it is
 * @throws Fault `idempotencyMismatch`: the key stands for another request
 * @throws Fault `issuanceHalted`, `issuerRevoked`, `hsmUnavailable`, `databaseUnavailable`, `busy`: the same request may be repeated; under a key it never issues twice
 */
export async function issue(ca: Ca, request: IssueRequest): Promise<Issued> {
  const all = [...ca.authorities.values()].filter((authority) => authority.kind === "issuing");
  const revoked = ca.halt.revoked();
  const standing = all.filter(({ slug }) => !revoked.includes(slug));
  // Where none is left, who repeats its request is given what stands, and the service what it needs itself.
  const issuing = standing.length > 0 ? standing : all;
  // At random where there are several, so that nobody pins one of them.
  const authority = issuing.length > 1 ? issuing[(ca.random.bytes(1)[0] ?? 0) % issuing.length] : issuing[0];
  if (!authority) throw new Fault("internal", "no issuing authority is recorded");
  return await issueFrom(ca, authority, request);
}

/** `issue` from a given authority. */
export async function issueFrom(ca: Ca, authority: SigningAuthority, request: IssueRequest): Promise<Issued> {
  const frozen = ca.profiles.get(request.profile);
  if (!frozen) throw new Fault("policyDenied", `there is no profile ${request.profile}`);
  if (request.door !== "system" && frozen.profile.kind !== "end-entity") {
    throw new Fault("policyDenied", `the profile ${request.profile} is for certificates that the service makes for itself`);
  }
  if (request.door !== "system") refuseOwnHost(ca, request.names);
  const validity = validityOf(ca, frozen.profile, request);
  const asked = { names: request.names, keyAlgorithm: request.publicKey.algorithm, lifetimeSeconds: validity.lifetimeSeconds };
  const broken = violations(frozen.profile, asked)[0];
  if (broken) throw new Fault(broken.code, broken.detail);
  await refusePrimeModulus(ca, request.publicKey);

  const { intent, plan } = prepare(ca, authority, frozen, request, validity);
  const recorded = await watched(ca, intent, request, ca.recordIntent(intent));
  if (recorded === "conflict") return { certificate: await repeat(ca, authority, { intent, door: request.door }), repeated: true };
  const finishing = finish(ca, authority, frozen.profile, { ...intent, plan, publicKey: request.publicKey });
  return { certificate: await watched(ca, intent, request, finishing), repeated: false };
}

/** Attempts that are remembered: more of them are settled with those of other instances. */
const mostUnfinished = 1_000;

/**
 * Remembers an attempt of an order that may stand though its step failed: the order is waited for, and nobody may ask for it twice. By
 * other doors the caller repeats its request.
 */
async function watched<T>(ca: Ca, { authority, serial }: IntentRow, { door }: IssueRequest, step: Promise<T>): Promise<T> {
  try {
    return await step;
  } catch (error) {
    if (door === "acme" && ca.unfinished.size < mostUnfinished) {
      ca.unfinished.set(Buffer.from(serial).toString("hex"), { authority, serial });
    }
    throw error;
  }
}

/** Behind all that costs less. */
async function refusePrimeModulus({ modulusIsPrime }: Ca, { algorithm, spki }: VerificationKey): Promise<void> {
  if (algorithm.startsWith("RSA-") && (await modulusIsPrime(spki))) throw new Fault("badCSR", "the RSA modulus is a prime");
}

function refuseOwnHost(ca: Ca, names: readonly GeneralName[]): void {
  const taken = names.find((name) => coversOwnHost(ca, name));
  if (taken) throw new Fault("policyDenied", `${taken.value} covers the host of this service itself`);
}

/** Whether a name covers the service's own host: whoever had a certificate for it could take its clients' tokens. */
export function coversOwnHost({ ownHost }: Pick<Ca, "ownHost">, { value }: Pick<GeneralName, "value">): boolean {
  if (ownHost === undefined) return false;
  return value === ownHost || (value.startsWith("*.") && ownHost.slice(ownHost.indexOf(".")) === value.slice(1));
}

/** How far back a notBefore that is asked for may lie: as far as an order or a peer's clock may be late. */
const oldestSeconds = 3_600;

/** Dates that were judged when they were asked for may be over when the certificate is. */
function refusePast(now: Date, { from, until }: { readonly from: Date | undefined; readonly until: Date | undefined }): void {
  if (until && until <= now) throw new Fault("lifetimeOutOfRange", `notAfter, ${until.toISOString()}, is over`);
  if (from && from.getTime() < now.getTime() - oldestSeconds * 1000) {
    throw new Fault("lifetimeOutOfRange", `notBefore, ${from.toISOString()}, is more than an hour ago`);
  }
}

type Validity = { readonly notBefore: Date; readonly notAfter: Date; readonly lifetimeSeconds: number };

/** The dates of a certificate: those that were asked for, the rest from the lifetime and the time of signing. */
function validityOf(ca: Ca, profile: Profile, { notBefore: from, notAfter: until, lifetimeSeconds: asked }: IssueRequest): Validity {
  const now = ca.timekeeper.signingTime();
  refusePast(now, { from, until });
  const { default: usual, maximum } = profile.lifetimeSeconds;
  const usualStart = new Date(now.getTime() - profile.backdateSeconds * 1000);
  if (!until) {
    const lifetimeSeconds = asked ?? usual;
    const notBefore = from ?? usualStart;
    return { notBefore, notAfter: notAfterOf(notBefore, lifetimeSeconds), lifetimeSeconds };
  }
  // Set back by less where the longest life would not reach to the end that was asked for; set forward where its clock is ahead of ours.
  const earliest = new Date(until.getTime() - (maximum - 1) * 1000);
  const notBefore = from ?? (earliest > usualStart ? earliest : usualStart);
  // Both ends count (RFC 5280 §4.1.2.5).
  return { notBefore, notAfter: until, lifetimeSeconds: (until.getTime() - notBefore.getTime()) / 1000 + 1 };
}

/** The exact bytes to be signed, linted, as the intent that makes them durable, and what they say. */
function prepare(
  ca: Ca,
  authority: SigningAuthority,
  frozen: FrozenProfile,
  request: IssueRequest,
  { notBefore, notAfter }: Validity,
): { intent: IntentRow; plan: Certificate } {
  const { profile, sha256 } = frozen;
  if (notAfter > authority.issuer.notAfter) {
    const latest = authority.issuer.notAfter.toISOString();
    throw new Fault("lifetimeOutOfRange", `the certificate would outlive its issuer ${authority.slug}, which ends at ${latest}`);
  }
  const serial = drawSerial(ca);
  const shard = crlShardOf(profile, serial);
  const issuer = issuerOfShard(authority.issuer, shard);
  const content = { subject: request.subject ?? [], names: request.names, spki: request.publicKey.spki };
  const tbs = tbsCertificate(issuer, profile, content, { serial, notBefore, notAfter });
  const { findings, certificate: plan } = examine(tbs, { profile, issuer, ...content });
  refuseFindings(ca, findings);
  if (!plan) throw new Fault("internal", "what was linted cannot be read");
  const intent = intentRow(
    ca,
    {
      authority: authority.slug,
      serial: Buffer.from(serial, "hex"),
      shard,
      requestId: request.key === undefined ? ca.random.bytes(32) : requestIdentity({ ...request, key: request.key }),
      attempt: 1,
      requestHash: request.requestHash,
      namespace: request.principal.namespace,
      principal: request.principal.id,
      profileSha256: sha256,
      spkiSha256: Buffer.from(plan.spkiSha256, "hex"),
      tbs,
      createdAt: ca.clock.now(),
      exactDates: request.notBefore !== undefined || request.notAfter !== undefined,
      credential: request.credential,
    },
    { requestId: request.requestId, order: request.door === "acme" ? request.key : undefined },
  );
  return { intent, plan };
}

/** @throws Fault `lintRefused` with the rules when there is any finding. */
function refuseFindings(ca: Pick<Ca, "events">, findings: readonly Finding[]): void {
  if (findings.length === 0) return;
  const rules = findings.map((finding) => finding.rule);
  ca.events.tell("warn", "lint.refused", { rules });
  throw new Fault("lintRefused", findings.map((finding) => `${finding.rule}: ${finding.detail}`).join("; "), { members: { rules } });
}

/** Whose request this is, 32 octets: nobody can occupy or read back that of another door, namespace or principal. */
export function requestIdentity({ door, principal, key }: Pick<IssueRequest, "door" | "principal"> & { readonly key: string }): Uint8Array {
  return hash("sha256", JSON.stringify([door, principal.namespace, principal.id, key]), "buffer");
}
