import { hash } from "node:crypto";
import { Fault } from "../fault.ts";
import { type VerificationKey, verificationKey } from "../pki/algorithm.ts";
import { type Certificate, parseTbsCertificate, sealCertificate } from "../pki/certificate.ts";
import { reversedName } from "../pki/general-name.ts";
import { type Finding, lint } from "../pki/lint.ts";
import type { Profile } from "../pki/profile.ts";
import { disagreements } from "../pki/second-decoder.ts";
import { type AttemptRow, type IntentRow, readAttemptOf } from "./attempt-store.ts";
import { issuerOfShard, type SigningAuthority } from "./authority.ts";
import type { Ca } from "./ca.ts";
import { type IssuedCertificate, readCertificateOfRequest } from "./certificates.ts";
import { refuseStopped, refuseStoppedNow } from "./halt.ts";

/** An intent as it is worked on; `plan` and `publicKey` are read from its bytes where they are not at hand. */
type OpenAttempt = Pick<IntentRow, "serial" | "requestId" | "namespace" | "principal" | "tbs"> & {
  readonly plan?: Certificate;
  /** As in the intent, where these are the very bytes that were linted: bytes that have changed since are not signed. */
  readonly tbsSha256?: string;
  readonly publicKey?: VerificationKey;
};

/**
 * Signs what an open attempt holds, once more where it was signed before, and records the certificate that verifies. Callers that meet here
 * over one attempt share one signature; of several instances, whoever records first decides. The certificate returned is the recorded one.
 * @throws Fault `issuanceHalted`, `issuerRevoked`: the attempt stays open
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
  refuseAltered(ca, authority, attempt);
  await refuseStopped(ca, { principal: attempt.principal, authority: authority.slug });
  const der = await seal(ca, authority, profile, attempt.tbs);
  const plan = attempt.plan ?? parseTbsCertificate(attempt.tbs);
  const { keyObject: publicKey } = attempt.publicKey ?? verificationKey(plan.spki);
  const differences = disagreements(der, plan, { issuer: authority.nameText, publicKey });
  if (differences.length > 0) {
    ca.events.tell("error", "second-decoder.disagreed", { authority: authority.slug, differences });
    throw new Fault("internal", "a second decoder reads the certificate otherwise");
  }
  // The token may have had it in its queue for seconds: the signature is thrown away, the attempt is settled when issuance goes on.
  await refuseStopped(ca, { principal: attempt.principal, authority: authority.slug });
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
  if (outcome === "conflict") return await recordedElsewhere(ca, authority, attempt);
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

/**
 * The certificate of an attempt that another instance ended.
 * @throws Fault `issuanceHalted`, `issuerRevoked` when it is open: the certificate was left out, for what was committed since the last look
 */
async function recordedElsewhere(
  ca: Ca,
  { slug }: SigningAuthority,
  { serial, requestId, principal }: OpenAttempt,
): Promise<IssuedCertificate> {
  const standing = await ca.database.read((sql) => readAttemptOf(sql, slug, serial));
  if (!standing?.ended) await ca.database.read((sql) => refuseStoppedNow(sql, { principal, authority: slug }));
  return await readCertificateOfRequest(ca, requestId);
}

/** What the token signs is what was linted: between the two lies a commit, and whatever else runs meanwhile in this process (XI-3). */
function refuseAltered(ca: Ca, authority: SigningAuthority, { serial, tbs, tbsSha256 }: OpenAttempt): void {
  if (tbsSha256 === undefined || hash("sha256", tbs, "hex") === tbsSha256) return;
  ca.events.tell("error", "issuance.refused", { authority: authority.slug, serial: Buffer.from(serial).toString("hex") });
  throw new Fault("internal", "the bytes to be signed are not those that were linted");
}

/** The certificate with a signature that verifies under the recorded key. One that does not is discarded and asked for once more. */
async function seal(ca: Ca, authority: SigningAuthority, profile: Profile, tbs: Uint8Array): Promise<Uint8Array> {
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

/** How far back the notBefore of bytes may lie that are signed again, and the intent of bytes with dates that were asked for. */
const freshSeconds = 3_600;

/**
 * Whether the bytes of an open attempt may still be signed as they are: not so long after their notBefore that they would be backdated; those
 * with dates that were asked for not so long after their intent that who asked may have lost the right to it.
 * @throws Fault `busy` while the clock is not to be trusted.
 */
export function isFresh(
  ca: Ca,
  { notBefore, notAfter }: Certificate,
  { exactDates, createdAt }: Pick<AttemptRow, "exactDates" | "createdAt">,
): boolean {
  const now = ca.timekeeper.signingTime().getTime();
  const from = exactDates ? createdAt : notBefore;
  return now <= from.getTime() + freshSeconds * 1000 && now <= notAfter.getTime();
}

/**
 * What lint finds in bytes of an open attempt that were read back or made from such: they were linted by the code of another time, and have
 * lain where others may write. The request is not at hand, so names and key are held against what the bytes themselves say.
 */
export function relint(
  { issuer }: SigningAuthority,
  profile: Profile,
  { tbs, plan, shard }: { readonly tbs: Uint8Array; readonly plan: Certificate; readonly shard: number | undefined },
): readonly Finding[] {
  return lint(tbs, { profile, issuer: issuerOfShard(issuer, shard), names: plan.names, spki: plan.spki });
}
