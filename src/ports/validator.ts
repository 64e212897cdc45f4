/**
 * Asks machines that an applicant names, through a child process that holds no secret (RFC 8555 §8). Every address is judged before it is
 * dialled, on every hop. Calls may be made concurrently; each ends within its time, whatever the other side does.
 *
 * Contract: what the other side did or failed to do is an outcome, never an error. @throws Fault `validatorUnavailable` when nothing was
 * found out through no fault of the other side: the child ended, hung or is full, or the resolver itself does not answer. The same question
 * may be asked again.
 */
export type Validator = AsyncDisposable & {
  /** GET `http://HOST:PORT/PATH` as http-01 wants it; redirects followed. */
  http(question: HttpQuestion): Promise<Outcome<HttpAnswer>>;
  /** The TXT records of a name, CNAMEs followed; an empty list when there are none. */
  txt(question: TxtQuestion): Promise<Outcome<TxtAnswer>>;
  /** A TLS handshake that offers `acme-tls/1` alone. */
  tlsAlpn(question: TlsAlpnQuestion): Promise<Outcome<TlsAlpnAnswer>>;
  health(): ValidatorHealth;
};

/** Whom to ask. `host` is a canonical DNS name or IP address as an identifier has it; `tenant` is whose share of the capacity it takes. */
export type HttpQuestion = { readonly tenant: string; readonly host: string; readonly path: string };
export type TxtQuestion = { readonly tenant: string; readonly name: string };
export type TlsAlpnQuestion = { readonly tenant: string; readonly host: string };

/** The final answer after redirects: its status and at most 256 octets of its body; `truncated` says that there were more. */
export type HttpAnswer = { readonly status: number; readonly body: Uint8Array; readonly truncated: boolean };
/**
 * One text a record, its strings joined, as octets in Latin-1; and the address of the resolver that gave them, where the applicant may be told
 * it.
 */
export type TxtAnswer = { readonly records: readonly string[]; readonly resolver?: string };
/** The protocol that was agreed, and the DER certificate that was presented. */
export type TlsAlpnAnswer = { readonly protocol: string | undefined; readonly certificate: Uint8Array };

/** What a question came to, with what can be shown of how: for the person who is asked why it failed. */
export type Outcome<Answer> = { readonly evidence: Evidence } & ({ readonly answer: Answer } | { readonly failure: ProbeFailure });

/**
 * Why there is no answer. `dns`: the name leads to no address that may be contacted (RFC 8555 §6.7 `dns`); `connection`: none could be
 * reached, or a redirect leads where we do not go; `tls`: no handshake. `final`: asking again soon is of no use.
 */
export type ProbeFailure = {
  readonly kind: "dns" | "connection" | "tls";
  /**
   * A sentence for the applicant: names resolver, address and class of what was seen, of an address of the inside its class alone; never an
   * octet that was received.
   */
  readonly detail: string;
  readonly final: boolean;
};

/** What was asked and seen on the way. */
export type Evidence = {
  /** Address of the resolver that was asked; absent when none was. */
  readonly resolver?: string;
  /** Every address the last name led to. */
  readonly addresses: readonly string[];
  /** The one that was dialled last. */
  readonly address?: string;
  /** Each URL in turn, with http-01. */
  readonly urls: readonly string[];
};

export type ValidatorHealth = { readonly ready: boolean; /** A sentence for the operator. */ readonly detail: string };
