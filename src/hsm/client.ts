import { Fault } from "../fault.ts";
import type { Events } from "../ports/events.ts";
import type { FoundKey, Hsm, HsmHealth, KeyReference, KeySpecification, Priority, Purpose, TokenKey } from "../ports/hsm.ts";
import { Dispatcher } from "./dispatcher.ts";
import { HealthWatch } from "./health-watch.ts";
import { keyLabel } from "./key-label.ts";
import { signInParts } from "./sign-parts.ts";
import type { TokenOptionNames } from "./supervisor.ts";

export type HsmOptions = {
  /** Path of the PKCS#11 module. */
  readonly module: string;
  /** CKA_LABEL of the token. */
  readonly token: string;
  /** Read by the caller from the PIN file. */
  readonly pin: string;
  /** Signatures the token makes at once. */
  readonly sessions: number;
  /** Longest time from a call to its answer, in milliseconds. */
  readonly deadlineMs: number;
  /** Most calls of each priority that wait. */
  readonly queueLimit: number;
  /** SOFTHSM2_CONF of the host. */
  readonly softHsmConf?: string;
  /** Warns of a module that keeps its keys in files. */
  readonly production: boolean;
  /** Whether keys may be generated and destroyed: for ceremonies. False unless said; the host refuses both then. */
  readonly administration?: boolean;
  /** The operator's options for this token, for refusals. */
  readonly optionNames: TokenOptionNames;
};

/**
 * Opens a token in a host process of its own.
 * @throws Fault `refusedToStart` naming the option when the module does not load, the token is not there or the PIN is refused.
 */
export async function openHsm(options: HsmOptions, { events }: { events: Events }): Promise<Hsm> {
  const client = new TokenClient(options, events);
  await client.start();
  return client;
}

class TokenClient implements Hsm {
  readonly token: string;
  readonly administration: boolean;
  readonly #events: Events;
  readonly #dispatcher: Dispatcher;
  readonly #health: HealthWatch;
  #lastStream = 0;

  constructor({ module, token, pin, sessions, administration = false, ...options }: HsmOptions, events: Events) {
    this.token = token;
    this.administration = administration;
    this.#events = events;
    this.#dispatcher = new Dispatcher({ ...options, opening: { module, token, pin, sessions, administration } }, events);
    this.#health = new HealthWatch(
      (key, bytes) => this.#dispatcher.call({ act: "sign", key, purpose: "health", bytes }, { priority: "status", probe: true }),
      () => this.#healthCorrupt(),
    );
  }

  start(): Promise<void> {
    return this.#dispatcher.start();
  }

  async sign(key: KeyReference, purpose: Purpose, bytes: Uint8Array, priority: Priority = "issue"): Promise<Uint8Array<ArrayBuffer>> {
    this.#requireOwn(key);
    return this.#dispatcher.call({ act: "sign", key, purpose, bytes }, { priority });
  }

  async signParts(key: KeyReference, purpose: "crl", parts: AsyncIterable<Uint8Array>): Promise<Uint8Array<ArrayBuffer>> {
    this.#requireOwn(key);
    return signInParts(this.#dispatcher, parts, { stream: (this.#lastStream += 1), key, purpose });
  }

  async generate(specification: KeySpecification): Promise<TokenKey> {
    keyLabel(specification.name, specification.purposes);
    return this.#dispatcher.call({ act: "generate", specification }, { priority: "background" });
  }

  async read(ckaId: string): Promise<TokenKey | undefined> {
    return this.#dispatcher.call({ act: "read", ckaId }, { priority: "background" });
  }

  async find(ckaId: string): Promise<FoundKey> {
    return this.#dispatcher.call({ act: "find", ckaId }, { priority: "background" });
  }

  async list(): Promise<readonly string[]> {
    return this.#dispatcher.call({ act: "list" }, { priority: "background" });
  }

  async destroy(ckaId: string): Promise<void> {
    await this.#dispatcher.call({ act: "destroy", ckaId }, { priority: "background" });
  }

  replaceHost(reason: string): void {
    this.#dispatcher.replaceHost(reason);
  }

  watch(key: KeyReference, spki: Uint8Array): void {
    this.#health.start(key, spki);
  }

  health(): HsmHealth {
    const { ageSeconds } = this.#health;
    const problem = this.#dispatcher.problem ?? this.#healthProblem(ageSeconds);
    const { queued, sessions } = this.#dispatcher;
    const said = problem ?? `it signs, with ${sessions === 1 ? "one session" : `${sessions} sessions`}`;
    const age = ageSeconds === undefined ? {} : { ageSeconds };
    return { ready: problem === undefined, detail: `token ${this.token}: ${said}`, ...age, queued, sessions };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#health.stop();
    await this.#dispatcher.stop();
  }

  #requireOwn(key: KeyReference): void {
    if (key.token !== this.token) throw new Fault("internal", `key ${key.ckaId} is in token "${key.token}", this is "${this.token}"`);
  }

  #healthProblem(ageSeconds: number | undefined): string | undefined {
    if (ageSeconds === undefined) return "it has given no verified health signature yet";
    return this.#health.fresh ? undefined : `its last verified health signature is ${Math.round(ageSeconds)} s old`;
  }

  #healthCorrupt(): void {
    this.#events.tell("error", "signature.corrupt", { token: this.token, purpose: "health" });
    this.#dispatcher.replaceHost("a health signature does not verify");
  }
}
