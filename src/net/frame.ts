import { z } from "zod";

import type { HttpAnswer, HttpQuestion, Outcome, TlsAlpnAnswer, TlsAlpnQuestion, TxtAnswer, TxtQuestion } from "../ports/validator.ts";
import type { EgressPolicy, OwnAddress } from "./egress.ts";

/** What a validator is opened with: what may be contacted beyond public addresses for its whole life, so that no later frame opens a block. */
export type Opening = {
  readonly policy: EgressPolicy;
  readonly http01Port: number;
  readonly tlsAlpn01Port: number;
  /** Texts of `parseDnsServer`; undefined for the system's own. */
  readonly dnsServers: readonly string[] | undefined;
  readonly times: ProbeTimes;
};

/** How long is waited for what, in milliseconds. */
export type ProbeTimes = {
  /** The answer to a connection. */
  readonly connectMs: number;
  /** A whole question: look-ups, every hop, the answer. */
  readonly totalMs: number;
  /** Each try of a DNS query, in turn. */
  readonly dnsTriesMs: readonly number[];
};

/** What is asked, without whose question it is. */
export type Question =
  | ({ readonly kind: "http" } & Omit<HttpQuestion, "tenant">)
  | ({ readonly kind: "txt" } & Omit<TxtQuestion, "tenant">)
  | ({ readonly kind: "tlsAlpn" } & Omit<TlsAlpnQuestion, "tenant">);

/** The answer to each kind. */
export type Answers = { readonly http: HttpAnswer; readonly txt: TxtAnswer; readonly tlsAlpn: TlsAlpnAnswer };

/** Frames to the validator: one `open` first, then questions, and what is our own whenever that was read again. The end of the channel ends it. */
export type FrameToValidator =
  | { readonly frame: "open"; readonly opening: Opening }
  | { readonly frame: "own"; readonly own: readonly OwnAddress[] }
  /** `tenant`: whose share of an address it takes. */
  | { readonly frame: "question"; readonly id: number; readonly tenant: string; readonly question: Question };

/** Frames from the validator. */
export type FrameFromValidator =
  | { readonly frame: "opened" }
  | { readonly frame: "outcome"; readonly id: number; readonly outcome: Outcome<Answers[Question["kind"]]> }
  /** Nothing was found out, through no fault of the other side. */
  | { readonly frame: "unavailable"; readonly id: number; readonly detail: string }
  /** A bug: where it is, without what was read. */
  | { readonly frame: "failed"; readonly where: string }
  | { readonly frame: "refused"; readonly host: string; readonly address: string; readonly class: string };

/**
 * A frame of the child, or undefined for anything else. The child reads what attackers write: what comes from it is checked like a
 * stranger's.
 */
export function readFrame(message: unknown): FrameFromValidator | undefined {
  const read = frameSchema.safeParse(message);
  return read.success ? read.data : undefined;
}

/** An outcome as one of `kind`; undefined when its answer is another kind's. */
export function outcomeOf<Kind extends Question["kind"]>(kind: Kind, outcome: Outcome<unknown>): Outcome<Answers[Kind]> | undefined {
  if ("failure" in outcome) return outcome;
  const answer = answerSchemas[kind].safeParse(outcome.answer);
  return answer.success ? { evidence: outcome.evidence, answer: answer.data } : undefined;
}

const text = z.string().max(8192);
const octets = z.instanceof(Uint8Array);

const answerSchemas: { readonly [Kind in Question["kind"]]: z.ZodType<Answers[Kind]> } = {
  http: z.strictObject({ status: z.int(), body: octets.refine(({ length }) => length <= 256), truncated: z.boolean() }),
  txt: z
    .strictObject({ records: z.array(z.string().max(0x10000)).max(0x10000), resolver: text.optional() })
    .transform(({ records, resolver }) => ({ records, ...(resolver === undefined ? {} : { resolver }) })),
  tlsAlpn: z.strictObject({
    protocol: z.string().max(255).or(z.undefined()),
    certificate: octets.refine(({ length }) => length <= 0x20000),
  }),
};

const evidenceSchema = z
  .strictObject({ resolver: text.optional(), addresses: z.array(text).max(64), address: text.optional(), urls: z.array(text).max(11) })
  .transform(({ resolver, addresses, address, urls }) => ({
    ...(resolver === undefined ? {} : { resolver }),
    ...(address === undefined ? {} : { address }),
    addresses,
    urls,
  }));

const failureSchema = z.strictObject({ kind: z.enum(["dns", "connection", "tls"]), detail: text, final: z.boolean() });

const outcomeSchema = z.union([
  z.strictObject({ evidence: evidenceSchema, failure: failureSchema }),
  z.strictObject({ evidence: evidenceSchema, answer: z.union([answerSchemas.http, answerSchemas.txt, answerSchemas.tlsAlpn]) }),
]);

const frameSchema: z.ZodType<FrameFromValidator> = z.union([
  z.strictObject({ frame: z.literal("opened") }),
  z.strictObject({ frame: z.literal("outcome"), id: z.int(), outcome: outcomeSchema }),
  z.strictObject({ frame: z.literal("unavailable"), id: z.int(), detail: text }),
  z.strictObject({ frame: z.literal("failed"), where: text }),
  z.strictObject({ frame: z.literal("refused"), host: text, address: text, class: text }),
]);
