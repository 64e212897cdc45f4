import type { Outcome, TxtAnswer } from "../ports/validator.ts";
import { openProbe } from "./attempt.ts";
import type { Attempt, Probe } from "./attempt.ts";
import { isListed } from "./egress.ts";
import { fetchChallenge } from "./fetcher.ts";
import type { Answers, Opening, Question } from "./frame.ts";
import { lookupFailed } from "./lookup-failure.ts";
import { type Outside, toldResolver } from "./reach.ts";
import { lookUpTexts } from "./resolver.ts";
import { shakeHands } from "./tls-alpn.ts";

/** What questions are answered with. */
export type Prober = { readonly outside: Outside; readonly opening: Pick<Opening, "policy" | "http01Port" | "tlsAlpn01Port"> };

/** What is asked, and whose question it is. */
export type Asked = { readonly tenant: string; readonly question: Question };

/**
 * Asks, and tells what came of it with what was seen on the way.
 * @param signal aborted when the question's time is over.
 * @throws Fault `validatorUnavailable` when nothing was found out, through no fault of the other side.
 */
export async function answer(
  prober: Prober,
  { tenant, question }: Asked,
  signal: AbortSignal,
): Promise<Outcome<Answers[Question["kind"]]>> {
  const probe = openProbe(tenant, signal);
  const attempt = await ask(prober, question, probe);
  return { evidence: probe.trail, ...attempt };
}

function ask({ outside, opening }: Prober, question: Question, probe: Probe): Promise<Attempt<Answers[Question["kind"]]>> {
  switch (question.kind) {
    case "http":
      return fetchChallenge(
        outside,
        { host: question.host, path: question.path, port: opening.http01Port, isListed: (address) => isListed(address, opening.policy) },
        probe,
      );
    case "txt":
      return texts(outside, question.name, probe);
    case "tlsAlpn":
      return shakeHands(outside, { host: question.host, port: opening.tlsAlpn01Port }, probe);
    default:
      return question satisfies never;
  }
}

async function texts(outside: Outside, name: string, probe: Probe): Promise<Attempt<TxtAnswer>> {
  const lookup = await lookUpTexts(outside.resolver, name, probe);
  const resolver = toldResolver(outside, probe);
  if ("failure" in lookup) return lookupFailed(name, lookup.failure, resolver);
  return { answer: { records: lookup.records, ...(resolver !== undefined && { resolver }) } };
}
