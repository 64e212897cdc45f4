import { createHash } from "node:crypto";
import { setTimeout as wait } from "node:timers/promises";
import { auditRow } from "../audit/entry.ts";
import { Fault } from "../fault.ts";
import { type VerificationKey, verificationKey } from "../pki/algorithm.ts";
import { type Certificate, notAfterOf, parseTbsCertificate, sealCertificate, tbsCertificate } from "../pki/certificate.ts";
import { type GeneralName, reversedName } from "../pki/general-name.ts";
import { examine, type Finding } from "../pki/lint.ts";
import type { Name } from "../pki/name.ts";
import { type Profile, violations } from "../pki/profile.ts";
import { disagreements } from "../pki/second-decoder.ts";
import type { Authority } from "./authority.ts";
import type { Ca } from "./ca.ts";
import type { IssuedCertificate } from "./certificates.ts";
import { storedCertificate } from "./certificates.ts";
import type { FrozenProfile } from "./profiles.ts";
import { type AttemptRow, type IntentRow, isReserved, readAttempt } from "./store.ts";

/** What is asked of the authority. Everything in it was parsed and judged at the door, but for what only the profile can judge. */
export type IssueRequest = {
  /** Where the request came in; part of its identity. */
  readonly door: "rest" | "system";
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
  /** The key to certify, which the key policy has accepted. */
  readonly publicKey: VerificationKey;
  readonly lifetimeSeconds?: number | undefined;
};

/** The part of an authority that signing needs: a root has it before it has a certificate. */
export type SigningAuthority = Pick<Authority, "slug" | "issuer" | "nameText" | "key" | "verificationKey">;

export type Issued = {
  readonly certificate: IssuedCertificate;
  /** Whether it stood already, under the same key and with the same body. */
  readonly repeated: boolean;
};

/** How long an attempt that another instance opened is left to it before its bytes are signed here as well. */
const elsewhereMs = 1_000;

/**
 * Issues a certificate: the only path to a signature over one. The intent is durable before the token signs, the certificate before it
 * is returned, and at most one certificate ever comes of one request.
 * @throws Fault `policyDenied`, `badCSR`, `lifetimeOutOfRange`, `lintRefused`: the request cannot be served as it is
 * @throws Fault `idempotencyMismatch`: the key stands for another request
 * @throws Fault `hsmUnavailable`, `databaseUnavailable`, `busy`: the same request may be repeated; under a key it never issues twice
 */
export async function issue(ca: Ca, request: IssueRequest): Promise<Issued> {
  const issuing = [...ca.authorities.values()].filter((authority) => authority.kind === "issuing");
  // At random where there are several, so that nobody pins one of them.
  const authority = issuing.length > 1 ? issuing[(ca.random.bytes(1)[0] ?? 0) % issuing.length] : issuing[0];
  if (!authority) throw new Fault("internal", "no issuing authority is recorded");
  return await issueFrom(ca, authority, request);
}

/** `issue` from a given authority. */
export async function issueFrom(ca: Ca, authority: SigningAuthority, request: IssueRequest): Promise<Issued> {
  const frozen = ca.profiles.get(request.profile);
  if (!frozen) throw new Fault("policyDenied", `there is no profile ${request.profile}`);
  if (request.door === "rest" && frozen.profile.kind !== "end-entity") {
    throw new Fault("policyDenied", `the profile ${request.profile} is for certificates that the service makes for itself`);
  }
  if (request.door === "rest") refuseOwnHost(ca, request.names);
  const lifetimeSeconds = request.lifetimeSeconds ?? frozen.profile.lifetimeSeconds.default;
  const broken = violations(frozen.profile, { names: request.names, keyAlgorithm: request.publicKey.algorithm, lifetimeSeconds })[0];
  if (broken) throw new Fault(broken.code, broken.detail);

  const { intent, plan } = prepare(ca, authority, frozen, { ...request, lifetimeSeconds });
  if ((await ca.recordIntent(intent)) === "conflict") return await repeated(ca, authority, request, intent);
  const certificate = await finish(ca, authority, frozen.profile, { ...intent, plan, publicKey: request.publicKey });
  return { certificate, repeated: false };
}

/** Whoever had a certificate for the service's own host could take its clients' tokens. */
function refuseOwnHost({ ownHost }: Ca, names: readonly GeneralName[]): void {
  const taken = names.find(
    ({ value }) => value === ownHost || (value.startsWith("*.") && ownHost?.slice(ownHost.indexOf(".")) === value.slice(1)),
  );
  if (ownHost !== undefined && taken) throw new Fault("policyDenied", `${taken.value} covers the host of this service itself`);
}

/** The exact bytes to be signed, linted, as the intent that makes them durable, and what they say. */
function prepare(
  ca: Ca,
  authority: SigningAuthority,
  frozen: FrozenProfile,
  request: IssueRequest & { lifetimeSeconds: number },
): { intent: IntentRow; plan: Certificate } {
  const { profile, sha256 } = frozen;
  const notBefore = new Date(ca.timekeeper.signingTime().getTime() - profile.backdateSeconds * 1000);
  const notAfter = notAfterOf(notBefore, request.lifetimeSeconds);
  if (notAfter > authority.issuer.notAfter) {
    const latest = authority.issuer.notAfter.toISOString();
    throw new Fault("lifetimeOutOfRange", `the certificate would outlive its issuer ${authority.slug}, which ends at ${latest}`);
  }
  const serial = drawSerial(ca);
  const content = { subject: request.subject ?? [], names: request.names, spki: request.publicKey.spki };
  const tbs = tbsCertificate(authority.issuer, profile, content, { serial, notBefore, notAfter });
  const { findings, certificate: plan } = examine(tbs, { profile, issuer: authority.issuer, ...content });
  refuseFindings(ca, findings);
  if (!plan) throw new Fault("internal", "what was linted cannot be read");
  const intent = intentRow(
    ca,
    {
      authority: authority.slug,
      serial: Buffer.from(serial, "hex"),
      requestId: identity(ca, request),
      attempt: 1,
      requestHash: request.requestHash,
      namespace: request.principal.namespace,
      principal: request.principal.id,
      profileSha256: sha256,
      spkiSha256: Buffer.from(plan.spkiSha256, "hex"),
      tbs,
      createdAt: ca.clock.now(),
    },
    request.requestId,
  );
  return { intent, plan };
}

/** An intent with its audit record; `requestId` is the door's. */
export function intentRow(ca: Ca, row: Omit<IntentRow, "audit">, requestId?: string): IntentRow {
  const audit = auditRow(
    {
      operation: "certificate.issue",
      namespace: row.namespace,
      principal: row.principal,
      outcome: "success",
      ...(requestId !== undefined && { requestId }),
      object: {
        authority: row.authority,
        serial: Buffer.from(row.serial).toString("hex"),
        attempt: row.attempt,
        request: Buffer.from(row.requestId).toString("hex"),
        profile: Buffer.from(row.profileSha256).toString("hex"),
        tbs: createHash("sha256").update(row.tbs).digest("hex"),
      },
    },
    ca,
  );
  return { ...row, audit };
}

/** 16 octets: 0x40, six random bits below it, and 120 more: positive, of one length, 126 bits of randomness (RFC 5280 §4.1.2.2). */
export function drawSerial(ca: Pick<Ca, "random">): string {
  const serial = ca.random.bytes(16);
  serial[0] = 0x40 | ((serial[0] ?? 0) & 0x3f);
  return Buffer.from(serial).toString("hex");
}

/** @throws Fault `lintRefused` with the rules when there is any finding. */
function refuseFindings(ca: Pick<Ca, "events">, findings: readonly Finding[]): void {
  if (findings.length === 0) return;
  const rules = findings.map((finding) => finding.rule);
  ca.events.tell("warn", "lint.refused", { rules });
  throw new Fault("lintRefused", findings.map((finding) => `${finding.rule}: ${finding.detail}`).join("; "), { members: { rules } });
}

/** Whose request this is: nobody can occupy or read back that of another door, namespace or principal. */
function identity(ca: Ca, request: IssueRequest): Uint8Array {
  if (request.key === undefined) return ca.random.bytes(32);
  const whose = JSON.stringify([request.door, request.principal.namespace, request.principal.id, request.key]);
  return createHash("sha256").update(whose).digest();
}

/** An intent as it is worked on; `plan` and `publicKey` are read from its bytes where they are not at hand. */
type OpenAttempt = Pick<IntentRow, "serial" | "requestId" | "namespace" | "tbs"> & {
  readonly plan?: Certificate;
  readonly publicKey?: VerificationKey;
};

/**
 * Signs what an open attempt holds, once more where it was signed before, and records the certificate that verifies. Callers that meet here
 * over one attempt share one signature; of several instances, whoever records first decides. The certificate returned is the recorded one.
 */
export async function finish(ca: Ca, authority: SigningAuthority, profile: Profile, attempt: OpenAttempt): Promise<IssuedCertificate> {
  const id = Buffer.from(attempt.serial).toString("hex");
  const running = ca.finishing.get(id);
  if (running) return await running;
  const finishing = signAndRecord(ca, authority, profile, attempt);
  ca.finishing.set(id, finishing);
  try {
    return await finishing;
  } finally {
    ca.finishing.delete(id);
  }
}

async function signAndRecord(ca: Ca, authority: SigningAuthority, profile: Profile, attempt: OpenAttempt): Promise<IssuedCertificate> {
  const der = await sealed(ca, authority, profile, attempt.tbs);
  const plan = attempt.plan ?? parseTbsCertificate(attempt.tbs);
  const { keyObject: publicKey } = attempt.publicKey ?? verificationKey(plan.spki);
  const differences = disagreements(der, plan, { issuer: authority.nameText, publicKey });
  if (differences.length > 0) {
    ca.events.tell("error", "second-decoder.disagreed", { authority: authority.slug, differences });
    throw new Fault("internal", "a second decoder reads the certificate otherwise");
  }
  const outcome = await ca.recordCertificate({
    authority: authority.slug,
    serial: attempt.serial,
    namespace: attempt.namespace,
    profile: profile.name,
    certificate: der,
    spkiSha256: Buffer.from(plan.spkiSha256, "hex"),
    notBefore: plan.notBefore,
    notAfter: plan.notAfter,
    recordedAt: ca.clock.now(),
    names: plan.names.map(reversedName),
  });
  if (outcome === "conflict") return await recorded(ca, attempt.requestId);
  ca.events.tell("debug", "certificate.issued", { authority: authority.slug, serial: plan.serial, profile: profile.name });
  return {
    authority: authority.slug,
    serial: plan.serial,
    profile: profile.name,
    namespace: attempt.namespace,
    subject: plan.subjectText,
    names: plan.names,
    notBefore: plan.notBefore,
    notAfter: plan.notAfter,
    status: "valid",
    keyAlgorithm: plan.keyAlgorithm,
    spkiSha256: plan.spkiSha256,
    certificate: der,
    chain: ca.authorities.get(authority.slug)?.chain ?? [],
  };
}

/** The certificate with a signature that verifies under the recorded key. One that does not is discarded and asked for once more. */
async function sealed(ca: Ca, authority: SigningAuthority, profile: Profile, tbs: Uint8Array): Promise<Uint8Array> {
  const purpose = profile.kind === "root" || profile.kind === "subordinate" ? "subordinate" : "certificate";
  for (let attempt = 1; attempt <= 2; attempt++) {
    const signature = await ca.hsm.sign(authority.key, purpose, tbs, "issue");
    const der = await sealCertificate(tbs, authority.verificationKey, signature);
    if (der) return der;
    ca.events.tell("error", "signature.corrupt", { authority: authority.slug, attempt });
    ca.hsm.replaceHost("a signature did not verify");
  }
  throw new Fault("hsmUnavailable", "the token gives signatures that do not verify; none was released");
}

/** What stands in the way of a new attempt: an earlier request under the same key, or a caller or key that may not. */
async function repeated(ca: Ca, authority: SigningAuthority, request: IssueRequest, intent: IntentRow): Promise<Issued> {
  const standing = await ca.database.read((sql) => readAttempt(sql, intent.requestId));
  if (!standing) {
    if (await ca.database.read((sql) => isReserved(sql, intent.spkiSha256))) {
      throw new Fault("badCSR", "the key is one of this service's own and may not be in a certificate");
    }
    throw new Fault("policyDenied", "the caller may no longer ask for certificates");
  }
  if (!Buffer.from(standing.requestHash).equals(request.requestHash)) {
    throw new Fault("idempotencyMismatch", "this Idempotency-Key stands for a request with another body");
  }
  const attempt = standing.ended ? standing : await ended(ca, standing);
  ca.events.tell("debug", "certificate.repeated", { authority: attempt.authority });
  if (attempt.certificate) return { certificate: await recorded(ca, attempt.requestId), repeated: true };
  if (attempt.ended)
    throw new Fault("policyDenied", "this request was closed without a certificate; ask again under another Idempotency-Key");
  const frozen = [...ca.profiles.values()].find(({ sha256 }) => Buffer.from(sha256).equals(attempt.profileSha256));
  if (!frozen || attempt.authority !== authority.slug || !isFresh(ca, parseTbsCertificate(attempt.tbs))) {
    throw new Fault("busy", "an earlier attempt of this request is being settled; ask again");
  }
  return { certificate: await finish(ca, authority, frozen.profile, attempt), repeated: true };
}

/** How far back the notBefore of bytes may lie that are signed again. */
const freshSeconds = 3_600;

/**
 * Whether the bytes of an open attempt may still be signed: not so long after their notBefore that they would be backdated.
 * @throws Fault `busy` while the clock is not to be trusted.
 */
export function isFresh(ca: Ca, { notBefore }: Certificate): boolean {
  return ca.timekeeper.signingTime().getTime() <= notBefore.getTime() + freshSeconds * 1000;
}

/** The attempt once it has ended; still open when nobody here is at work on it and nobody elsewhere has ended it in time. */
async function ended(ca: Ca, attempt: AttemptRow): Promise<AttemptRow> {
  await ca.finishing.get(Buffer.from(attempt.serial).toString("hex"));
  let current = attempt;
  for (let waitedMs = 0; !current.ended && waitedMs < elsewhereMs; waitedMs += 50) {
    if (waitedMs > 0) await wait(50);
    current = (await ca.database.read((sql) => readAttempt(sql, attempt.requestId))) ?? current;
  }
  return current;
}

/** The certificate that a request's newest attempt ended with. */
async function recorded(ca: Ca, id: Uint8Array): Promise<IssuedCertificate> {
  const attempt = await ca.database.read((sql) => readAttempt(sql, id));
  if (!attempt?.certificate) throw new Fault("busy", "this request is being settled; ask again");
  const certificate = await storedCertificate(ca, attempt.authority, attempt.serial);
  if (!certificate) throw new Fault("internal", "a recorded certificate is missing");
  return certificate;
}
