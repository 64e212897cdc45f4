import { isDeepStrictEqual } from "node:util";
import { Fault } from "../fault.ts";
import { lintResponseData } from "../pki/lint-ocsp.ts";
import { type CertStatus, sealOcspResponse, tbsResponseData } from "../pki/ocsp.ts";
import type { Ocsp } from "./ocsp.ts";
import type { Responder, ResponderCertificate } from "./ocsp-responder.ts";
import type { SerialOf } from "./status-store.ts";

/** One certificate of a request: whose it is, and the DER CertID that the answer repeats, with the algorithm of its hashes. */
export type Question = { readonly of: SerialOf; readonly certId: Uint8Array; readonly hash: "sha1" | "sha256" };

/** A signed response, and what it says of each certificate. */
export type SignedAnswer = {
  readonly response: Uint8Array;
  readonly thisUpdate: Date;
  readonly nextUpdate: Date;
  readonly statuses: readonly CertStatus[];
};

/** What is to be signed. What `finish` gives is given back: it is called at a time when no change of any of the statuses, or of the key, is known of. */
export type SigningRequest<Finished> = {
  readonly questions: readonly Question[];
  readonly nonce?: Uint8Array | undefined;
  readonly finish: (answer: SignedAnswer) => Finished;
};

/** How long an answer is good (RFC 6960 §2.4), if the responder's certificate is as long. */
const lifetimeSeconds = 24 * 3_600;

/** Longest time between reading a status and giving an answer with it: beyond it the status is read once more. */
const staleMs = 250;

/** Times that a status may change while its answer is being signed, before who asks is sent away. */
const rounds = 3;

/**
 * Reads how certificates of the authority `slug` stand and signs it. What was revoked before the call is never called good; what is revoked meanwhile is read
 * again where it is known of, and where the signature took long.
 * @returns undefined when one of the certificates is none that was issued.
 * @throws Fault `hsmUnavailable`, `databaseUnavailable`, `busy`: no signature can be had now.
 */
export async function signAnswer<Finished>(
  ocsp: Ocsp,
  slug: string,
  { questions, nonce, finish }: SigningRequest<Finished>,
): Promise<Finished | undefined> {
  const read = () => Promise.all(questions.map(({ of }) => ocsp.readStatus(of)));
  for (let round = 1; round <= rounds; round += 1) {
    // Before the status is read: whatever the feed tells from now on may be newer than what was read. So may the responder be, whose key is
    // blocked meanwhile: what it signed is not given, and the next round is signed by the key in its place, if there is one.
    using watch = ocsp.cache.watch(questions.map(({ of }) => of));
    const responder = ocsp.responders.get(slug);
    if (!responder) return undefined;
    const readAt = ocsp.milliseconds();
    const statuses = await read();
    if (statuses.some(({ status }) => status === "unknown")) return undefined;
    const answer = await sign(ocsp, responder, { questions, statuses, nonce });
    const stale = ocsp.milliseconds() - readAt > staleMs && !isDeepStrictEqual(await read(), statuses);
    if (stale || watch.changed) continue;
    // In the same turn of the loop: what the feed tells from here on finds the answer where it is kept.
    return finish(answer);
  }
  throw new Fault("busy", "the status changed while it was signed");
}

type Statement = {
  readonly questions: readonly Question[];
  readonly statuses: readonly CertStatus[];
  readonly nonce: Uint8Array | undefined;
};

/**
 * The signed response. A signature that does not verify is discarded and asked for once more.
 * @throws Fault `lintRefused` when the bytes are not what they were meant to be.
 */
async function sign(ocsp: Ocsp, responder: Responder, { questions, statuses, nonce }: Statement): Promise<SignedAnswer> {
  const { hsm, events } = ocsp.ca;
  const { authority, key, verificationKey, keyHash } = responder;
  const thisUpdate = signingTime(ocsp);
  const certificate = requireCertificate(responder, thisUpdate);
  const nextUpdate = new Date(Math.min(thisUpdate.getTime() + lifetimeSeconds * 1000, certificate.notAfter.getTime()));
  const responses = questions.flatMap(({ certId }, index) => {
    const status = statuses[index];
    return status ? [{ certId, status: told(status, thisUpdate), thisUpdate, nextUpdate }] : [];
  });
  const tbs = tbsResponseData({ responderKeyHash: keyHash, producedAt: thisUpdate, responses, nonce });
  const asked = questions.map(({ certId }, index) => ({ certId, recorded: told(statuses[index], thisUpdate) }));
  const findings = lintResponseData(tbs, { asked, nonce, responder: certificate, issuer: authority.issuer });
  if (findings.length > 0) {
    events.tell("error", "lint.refused", { authority: authority.slug, rules: findings.map(({ rule }) => rule) });
    throw new Fault("lintRefused", findings.map(({ detail }) => detail).join("; "));
  }
  for (let attempt = 1; attempt <= 2; attempt += 1) {
    const signature = await hsm.sign(key, "ocsp", tbs, "status");
    const response = await sealOcspResponse(tbs, verificationKey, { signature, certificates: [certificate.der] });
    if (response) return { response, thisUpdate, nextUpdate, statuses };
    events.tell("error", "signature.corrupt", { authority: authority.slug, purpose: "ocsp", attempt });
    hsm.replaceHost("a signature did not verify");
  }
  throw new Fault("hsmUnavailable", "the token gives signatures that do not verify; none was released");
}

/**
 * A status as it is told: what an instance whose clock is ahead revoked is revoked at thisUpdate until then, as on a CRL. No response speaks
 * of the future.
 */
function told<Status extends CertStatus | undefined>(status: Status, thisUpdate: Date): Status {
  return status?.status === "revoked" && status.revokedAt > thisUpdate ? { ...status, revokedAt: thisUpdate } : status;
}

/** The time to sign with: never before one that was signed. Why none is given is told once, until one is given again. */
function signingTime({ ca: { timekeeper, events }, times }: Ocsp): Date {
  try {
    const now = timekeeper.signingTime();
    times.refused = false;
    // The clock may go back by a second without being refused.
    if (now > times.latest) times.latest = now;
    return times.latest;
  } catch (cause) {
    if (!times.refused) events.tell("error", "clock.refused", { cause });
    times.refused = true;
    throw cause;
  }
}

function requireCertificate({ authority, certificate }: Responder, at: Date): ResponderCertificate {
  if (certificate && at <= certificate.notAfter) return certificate;
  throw new Fault("busy", `the responder of ${authority.slug} has no certificate that is good now`);
}
