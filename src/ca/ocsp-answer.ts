import { Fault } from "../fault.ts";
import { type CertId, ocspError, type OcspRequest, parseOcspRequest } from "../pki/ocsp.ts";
import type { OcspAnswer } from "./kept-answer.ts";
import type { CountedAnswer, Ocsp } from "./ocsp.ts";
import type { CachedAnswer } from "./ocsp-answer-cache.ts";
import { type Question, signAnswer, type SignedAnswer } from "./ocsp-answer-sign.ts";
import { isOfAuthority, type Responder } from "./ocsp-responder.ts";

/** A request as it reached the responder of `slug`: DER, and by whom it was sent as far as budgets go. */
export type OcspQuestion = { readonly slug: string; readonly request: Uint8Array; readonly client: string };

/**
 * What an authority's responder answers: `good` for certificates that it issued, `revoked` with time and reason, `unauthorized` for whatever
 * it never issued, all of a request or none.
 * @throws Fault `malformed` when the request is none
 * @throws Fault `hsmUnavailable`, `databaseUnavailable`, `busy`: nothing can be signed now, or not for this client, and nothing is kept that may
 *   still be said
 * @see RFC 6960 §2.2, §2.3; RFC 9919 §3.2.3
 */
export async function answerOcsp(ocsp: Ocsp, { slug, request: der, client }: OcspQuestion): Promise<OcspAnswer> {
  const request = parseOcspRequest(der);
  const { answer, status } = await answerRequest(ocsp, request, { slug, client });
  const hash = request.entries[0]?.hashAlgorithm ?? "other";
  ocsp.ca.events.measure("chancery_ocsp_answers_total", 1, { status, hash, source: answer.kept ? "kept" : "alone" });
  return answer;
}

const unauthorized: CountedAnswer = { answer: { response: ocspError.unauthorized }, status: "unauthorized" };

async function answerRequest(
  ocsp: Ocsp,
  request: OcspRequest,
  { slug, client }: Pick<OcspQuestion, "slug" | "client">,
): Promise<CountedAnswer> {
  const responder = ocsp.responders.get(slug);
  const questions = responder && questionsOf(responder, request.entries);
  const [only, second] = questions ?? [];
  if (!responder || !questions || !only) return unauthorized;
  if (!second && request.nonce === undefined) return await answerKept(ocsp, responder, { question: only, client });
  using granted = ocsp.takeSignature(client);
  if (granted) return await answerAlone(ocsp, responder, questions, request);
  if (second) throw new Fault("busy", "this client has asked for too many answers of its own");
  // Beyond its budget a client gets what everybody gets, which a responder may give whatever the request says (RFC 9919 §3.2.1).
  const { answer, status } = await answerKept(ocsp, responder, { question: only, client });
  return { answer: { ...answer, repeatable: false }, status };
}

/**
 * Undefined when one of the certificates is not of the responder's own authority: the answer would have to be signed by another key, and
 * all of a response is signed by one (RFC 6960 §4.2.2.2).
 */
function questionsOf(responder: Responder, entries: readonly CertId[]): readonly Question[] | undefined {
  const questions: Question[] = [];
  for (const entry of entries) {
    const { der: certId, serial, hashAlgorithm } = entry;
    if (!isOfAuthority(responder, entry) || serial === undefined || hashAlgorithm === undefined) return undefined;
    questions.push({ of: { authority: responder.authority.slug, serial }, certId, hash: hashAlgorithm });
  }
  return questions;
}

/** With a nonce or for several certificates: nobody else asks the same. */
async function answerAlone(
  ocsp: Ocsp,
  responder: Responder,
  questions: readonly Question[],
  { nonce }: OcspRequest,
): Promise<CountedAnswer> {
  return (await signAnswer(ocsp, responder.authority.slug, { questions, nonce, finish: alone })) ?? unauthorized;
}

function alone({ response, statuses: [status] }: SignedAnswer): CountedAnswer {
  return { answer: { response }, status: status?.status ?? "unknown" };
}

/** A newer answer could not be made: so long the one that is kept is given without another try. */
const retrySeconds = 10;

/** The kept answer, or one that is made now and kept. While none can be made, the one that is kept is given until its nextUpdate. */
async function answerKept(ocsp: Ocsp, responder: Responder, { question, client }: ClientQuestion): Promise<CountedAnswer> {
  const now = ocsp.ca.clock.now();
  const kept = ocsp.cache.find(question.of, question.certId);
  if (kept && isServed(kept, now)) return given(kept);
  const making = makeShared(ocsp, responder, { question, client });
  if (!making) {
    // No retryAt: it would keep the renewal from the other clients.
    if (kept && now < kept.nextUpdate) return given(kept);
    throw new Fault("busy", "this client, or all of them together, ask for more answers than are made");
  }
  try {
    return await making;
  } catch (cause) {
    // Sought again: meanwhile it may have been superseded.
    const standing = ocsp.cache.find(question.of, question.certId);
    if (!isOutage(cause) || !standing || standing.nextUpdate <= now) throw cause;
    standing.retryAt = new Date(now.getTime() + retrySeconds * 1000);
    return given(standing);
  }
}

function given(kept: CachedAnswer): CountedAnswer {
  return { answer: { response: kept.response, kept, repeatable: true }, status: kept.status.status };
}

function isServed({ refreshAt, retryAt, nextUpdate }: CachedAnswer, now: Date): boolean {
  return now < nextUpdate && (now < refreshAt || (retryAt !== undefined && now < retryAt));
}

type ClientQuestion = { readonly question: Question; readonly client: string };

/** The answer that is being made, at no cost, or a new one from the client's budget; undefined when that is spent. */
function makeShared(ocsp: Ocsp, responder: Responder, { question, client }: ClientQuestion): Promise<CountedAnswer> | undefined {
  const key = `${responder.authority.slug} ${Buffer.from(question.certId).toString("latin1")}`;
  const running = ocsp.making.get(key);
  if (running) return running;
  const granted = ocsp.takeShared(client);
  if (!granted) return undefined;
  const making = make(ocsp, responder, question).finally(() => {
    granted[Symbol.dispose]();
    ocsp.making.delete(key);
  });
  ocsp.making.set(key, making);
  return making;
}

async function make(ocsp: Ocsp, responder: Responder, question: Question): Promise<CountedAnswer> {
  const kept = await signAnswer(ocsp, responder.authority.slug, {
    questions: [question],
    finish: ({ response, thisUpdate, nextUpdate, statuses: [status = { status: "unknown" }] }) => {
      // At half of its life: twelve hours.
      const refreshAt = new Date((thisUpdate.getTime() + nextUpdate.getTime()) / 2);
      const { hash } = question;
      const made: CachedAnswer = { response, hash, thisUpdate, nextUpdate, refreshAt, current: true, status, retryAt: undefined };
      ocsp.cache.keep(question.of, question.certId, made);
      return made;
    },
  });
  return kept ? given(kept) : unauthorized;
}

/** Whether what went wrong will pass: without a signature or a status nothing is said of a certificate. */
function isOutage(cause: unknown): boolean {
  return cause instanceof Fault && ["hsmUnavailable", "databaseUnavailable", "busy"].includes(cause.code);
}
