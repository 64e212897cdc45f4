import type { Evidence, ProbeFailure, Validator } from "../ports/validator.ts";
import type { Identifier, Problem } from "./problem.ts";

/** What an applicant is to show for one identifier. */
export type Asked = {
  /** Whose share of the validator's capacity it takes: the account's id. */
  readonly tenant: string;
  /** Without `*.`. */
  readonly identifier: Identifier;
  readonly token: string;
  /** token "." thumbprint of the account's key. @see RFC 8555 §8.1 */
  readonly keyAuthorization: string;
};

/** What was found. `again`: nothing was shown and nothing disproved, so that another attempt may find it. */
export type Verdict = { readonly evidence: Evidence } & (
  | { readonly outcome: "valid" }
  | { readonly outcome: "invalid"; readonly error: Problem }
  | { readonly outcome: "again"; readonly error: Problem }
);

/** Puts a challenge's question to the validator and judges the answer. @throws Fault `validatorUnavailable` */
export type ChallengeKind = (validator: Validator, asked: Asked) => Promise<Verdict>;

/** The verdict where there was no answer to judge. */
export function unanswered(evidence: Evidence, { kind, detail, final }: ProbeFailure): Verdict {
  const error: Problem = { type: `urn:ietf:params:acme:error:${kind}`, detail, status: 400 };
  return { evidence, outcome: final ? "invalid" : "again", error };
}

/** The verdict on an answer that is not what was asked for. `detail` holds no octet of it. */
export function wrong(evidence: Evidence, detail: string): Verdict {
  return { evidence, outcome: "invalid", error: { type: "urn:ietf:params:acme:error:unauthorized", detail, status: 403 } };
}
