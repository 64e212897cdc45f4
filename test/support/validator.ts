import type { HttpAnswer, Outcome, TlsAlpnAnswer, TxtAnswer, Validator } from "../../src/ports/validator.ts";

/** A question as it was put to the validator. */
export type Asked = { readonly kind: "http" | "txt" | "tlsAlpn"; readonly tenant: string; readonly host: string; readonly path?: string };

/** What the machines that are asked do: each answer may be a promise, and may be rejected with a Fault. */
export type Script = {
  http?: (asked: Asked) => Outcome<HttpAnswer> | Promise<Outcome<HttpAnswer>>;
  txt?: (asked: Asked) => Outcome<TxtAnswer> | Promise<Outcome<TxtAnswer>>;
  tlsAlpn?: (asked: Asked) => Outcome<TlsAlpnAnswer> | Promise<Outcome<TlsAlpnAnswer>>;
};

/** A validator that asks nobody: its answers are those of `script`, which may be changed; `asked` is every question, in order. */
export type ScriptedValidator = Validator & { readonly script: Script; readonly asked: Asked[] };

export function scriptedValidator(script: Script = {}): ScriptedValidator {
  const asked: Asked[] = [];
  const put = async <T>(question: Asked, answer: ((asked: Asked) => T | Promise<T>) | undefined): Promise<T> => {
    asked.push(question);
    if (!answer) throw new Error(`nobody answers ${question.kind} for ${question.host}`);
    return await answer(question);
  };
  return {
    script,
    asked,
    http: ({ tenant, host, path }) => put({ kind: "http", tenant, host, path }, script.http),
    txt: ({ tenant, name }) => put({ kind: "txt", tenant, host: name }, script.txt),
    tlsAlpn: ({ tenant, host }) => put({ kind: "tlsAlpn", tenant, host }, script.tlsAlpn),
    health: () => ({ ready: true, detail: "scripted" }),
    async [Symbol.asyncDispose]() {
      // Nothing is open.
    },
  };
}

const evidence = { resolver: "192.0.2.53", addresses: ["192.0.2.1"], address: "192.0.2.1", urls: [] } as const;

/** An answer over HTTP. */
export function httpAnswer(
  body: string | Uint8Array,
  { status = 200, truncated = false, urls = [] as readonly string[] } = {},
): Outcome<HttpAnswer> {
  return {
    evidence: { ...evidence, urls },
    answer: { status, body: typeof body === "string" ? Buffer.from(body, "latin1") : body, truncated },
  };
}

/** The TXT records of a name. */
export function txtAnswer(...records: readonly string[]): Outcome<TxtAnswer> {
  return { evidence: { resolver: evidence.resolver, addresses: [], urls: [] }, answer: { records, resolver: evidence.resolver } };
}

/** What a TLS server showed. */
export function tlsAlpnAnswer(certificate: Uint8Array, protocol: string | undefined = "acme-tls/1"): Outcome<TlsAlpnAnswer> {
  return { evidence, answer: { protocol, certificate } };
}

/** No answer: as it may be in a moment, or for good. */
export function noAnswer(kind: "dns" | "connection" | "tls", { final = false } = {}) {
  return { evidence, failure: { kind, detail: `nothing was found (${kind})`, final } } as const;
}
