import { gather } from "../database/gather.ts";
import type { CertStatus } from "../pki/ocsp.ts";
import type { Ca } from "./ca.ts";
import type { OcspAnswer } from "./kept-answer.ts";
import { type AnswerCache, openAnswerCache } from "./ocsp-answer-cache.ts";
import { type Budgets, openBudget, type TakeSignature } from "./ocsp-budget.ts";
import { readResponders, renewResponder, type Responder } from "./ocsp-responder.ts";
import { openStatusFeed, type StatusFeed } from "./status-feed.ts";
import { readStatuses, type SerialOf } from "./status-store.ts";

/** An answer, and what it is counted as: the status of the first certificate. */
export type CountedAnswer = { readonly answer: OcspAnswer; readonly status: CertStatus["status"] | "unauthorized" };

/** The responders of this instance and their world: the first argument of what answers. */
export type Ocsp = {
  readonly ca: Pick<Ca, "hsm" | "clock" | "events" | "timekeeper">;
  /** By slug; replaced when a certificate is renewed. */
  readonly responders: Map<string, Responder>;
  readonly cache: AnswerCache;
  readonly feed: StatusFeed;
  /** How a serial number stands in the database; shares its statement with others of the moment. */
  readonly readStatus: (of: SerialOf) => Promise<CertStatus>;
  /** For an answer to one request alone. */
  readonly takeSignature: TakeSignature;
  /** For an answer that is kept for everybody. */
  readonly takeShared: TakeSignature;
  /** Answers to be kept that are being made, by slug and CertID: one signature however many ask. */
  readonly making: Map<string, Promise<CountedAnswer>>;
  /** Milliseconds of a clock of this process that never goes back. */
  readonly milliseconds: () => number;
  /** The latest time that was signed, and whether the clock is refused at the moment. */
  readonly times: { latest: Date; refused: boolean };
};

/** Answers that an instance keeps: with what finds them the process grows by up to 4 KB for each, 200 MB altogether. */
const mostAnswers = 50_000;

/**
 * Opens the responders, caught up with what was revoked, each with a certificate. Where that cannot be had now the service starts all the
 * same, and `responderProblem` says so until the job has got one.
 * @throws Fault `refusedToStart` when a responder's key was never made.
 */
export async function openOcsp(ca: Ca, budgets: Budgets): Promise<Ocsp> {
  const cache = openAnswerCache({ maximum: mostAnswers });
  const { database, clock } = ca;
  const ocsp: Ocsp = {
    ca,
    responders: await readResponders(ca),
    cache,
    feed: await openStatusFeed(ca, cache),
    readStatus: gather<SerialOf, CertStatus>({ maximum: 256, ask: (serials) => database.read((sql) => readStatuses(sql, serials)) }),
    takeSignature: openBudget(budgets.alone, clock),
    takeShared: openBudget(budgets.shared, clock),
    making: new Map(),
    milliseconds: () => performance.now(),
    times: { latest: new Date(0), refused: false },
  };
  await renewResponders(ca, ocsp).catch((cause: unknown) => ca.events.tell("error", "job.failed", { job: "responders", cause }));
  return ocsp;
}

/** Renews each responder's certificate that is due. A job's. @throws the first failure, when the others have been tried. */
export async function renewResponders(ca: Ca, { responders, cache }: Pick<Ocsp, "responders" | "cache">): Promise<void> {
  const failures: unknown[] = [];
  for (const [slug, responder] of responders) {
    try {
      const renewed = await renewResponder(ca, responder);
      responders.set(slug, renewed);
      // Whoever holds the key could have signed what is kept.
      if (responder.certificate && (!renewed.certificate || renewed.key.ckaId !== responder.key.ckaId)) cache.dropAuthority(slug);
    } catch (cause) {
      failures.push(cause);
    }
  }
  if (failures.length > 0) throw failures[0];
}

/** Why an authority's answers cannot be signed, in a sentence; undefined when every responder has a certificate that has not ended. */
export function responderProblem({ ca, responders }: Pick<Ocsp, "ca" | "responders">): string | undefined {
  const now = ca.clock.now();
  for (const { authority, certificate } of responders.values()) {
    if (!certificate) return `the responder of ${authority.slug} has no certificate`;
    if (certificate.notAfter < now)
      return `the certificate of the responder of ${authority.slug} ended at ${certificate.notAfter.toISOString()}`;
  }
  return undefined;
}
