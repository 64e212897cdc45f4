import { Fault } from "../fault.ts";
import type { Events } from "../ports/events.ts";
import type { FoundKey, Hsm, HsmHealth, KeyReference, KeySpecification, Priority, Purpose, TokenKey } from "../ports/hsm.ts";
import { Breaker } from "./breaker.ts";
import type { FrameFromHost, HostAnswer, HostCall } from "./frame.ts";
import { keyLabel } from "./key-label.ts";
import { HealthWatch } from "./health-watch.ts";
import { PriorityQueue } from "./queue.ts";
import { Supervisor } from "./supervisor.ts";

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
  /** Most calls that wait. */
  readonly queueLimit: number;
  /** SOFTHSM2_CONF of the host. */
  readonly softHsmConf?: string;
  readonly production: boolean;
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

/** One call of a caller, from its entry to its answer. */
type PendingCall = {
  readonly id: number;
  readonly call: HostCall;
  readonly priority: Priority;
  readonly enteredAt: number;
  readonly timer: NodeJS.Timeout;
  /** Longest time with the host, in milliseconds: beyond it the host counts as hung. */
  readonly allowedMs: number;
  sentAt: number;
  attempts: number;
  /** Its caller has an answer already; the host still works on it. */
  answered: boolean;
  readonly resolve: (answer: HostAnswer[HostCall["act"]]) => void;
  readonly reject: (fault: Fault) => void;
};

/** Generation of a large RSA pair takes seconds, and is no call that a subscriber waits for. */
const longestGenerationMs = 60_000;
const watchdogIntervalMs = 50;

class TokenClient implements Hsm {
  readonly token: string;
  readonly #options: HsmOptions;
  readonly #events: Events;
  readonly #supervisor: Supervisor;
  readonly #breaker: Breaker;
  readonly #health: HealthWatch;
  readonly #queue: PriorityQueue<PendingCall>;
  readonly #out = new Map<number, PendingCall>();
  #sessions = 0;
  #lastId = 0;
  #stopping = false;
  #drained: (() => void) | undefined;
  #watchdog: NodeJS.Timeout | undefined;

  constructor(options: HsmOptions, events: Events) {
    this.token = options.token;
    this.#options = options;
    this.#events = events;
    this.#queue = new PriorityQueue(options.queueLimit);
    this.#breaker = new Breaker((state) => this.#breakerChanged(state));
    this.#health = new HealthWatch(
      (key, bytes) => this.#enter({ act: "sign", key, purpose: "health", bytes }, { priority: "status", probe: true }),
      () => this.#healthCorrupt(),
    );
    this.#supervisor = new Supervisor(
      {
        opening: { module: options.module, token: options.token, pin: options.pin, sessions: options.sessions },
        ...(options.softHsmConf === undefined ? {} : { softHsmConf: options.softHsmConf }),
        openDeadlineMs: Math.max(options.deadlineMs, 10_000),
        production: options.production,
      },
      {
        events,
        listener: {
          opened: (sessions) => this.#opened(sessions),
          settled: (frame) => this.#settled(frame),
          lost: () => this.#lost(),
        },
      },
    );
  }

  async start(): Promise<void> {
    await this.#supervisor.start();
    this.#watchdog = setInterval(() => this.#killHung(), watchdogIntervalMs).unref();
  }

  async sign(key: KeyReference, purpose: Purpose, bytes: Uint8Array, priority: Priority = "issue"): Promise<Uint8Array<ArrayBuffer>> {
    if (key.token !== this.token) throw new Fault("internal", `key ${key.ckaId} is in token "${key.token}", this is "${this.token}"`);
    return this.#enter({ act: "sign", key, purpose, bytes }, { priority });
  }

  async generate(specification: KeySpecification): Promise<TokenKey> {
    keyLabel(specification.name, specification.purposes);
    return this.#enter({ act: "generate", specification }, { priority: "background" });
  }

  async read(ckaId: string): Promise<TokenKey | undefined> {
    return this.#enter({ act: "read", ckaId }, { priority: "background" });
  }

  async find(ckaId: string): Promise<FoundKey> {
    return this.#enter({ act: "find", ckaId }, { priority: "background" });
  }

  async list(): Promise<readonly string[]> {
    return this.#enter({ act: "list" }, { priority: "background" });
  }

  async destroy(ckaId: string): Promise<void> {
    await this.#enter({ act: "destroy", ckaId }, { priority: "background" });
  }

  replaceHost(reason: string): void {
    this.#supervisor.replace(reason);
  }

  watch(key: KeyReference, spki: Uint8Array): void {
    this.#health.start(key, spki);
  }

  health(): HsmHealth {
    const { ageSeconds } = this.#health;
    if (ageSeconds !== undefined) this.#events.measure("chancery_hsm_health_age_seconds", ageSeconds, { token: this.token });
    const problem = this.#problem(ageSeconds);
    return { ready: problem === undefined, detail: problem ?? "", queued: this.#queue.length, sessions: this.#sessions };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping = true;
    this.#health.stop();
    if (this.#queue.length + this.#out.size > 0) await new Promise<void>((resolve) => (this.#drained = resolve));
    clearInterval(this.#watchdog);
    await this.#supervisor.stop();
  }

  #problem(ageSeconds: number | undefined): string | undefined {
    if (this.#supervisor.refusal !== undefined)
      return `token ${this.token}: ${this.#supervisor.refusal}; correct the PIN file and start again`;
    if (this.#breaker.open) return `token ${this.token} failed three times in a row and is tried once a second`;
    if (ageSeconds === undefined) return `token ${this.token} has given no verified health signature yet`;
    if (!this.#health.fresh) return `token ${this.token} gave its last verified health signature ${Math.round(ageSeconds)} s ago`;
    return undefined;
  }

  #enter<Call extends HostCall>(
    call: Call,
    { priority, probe = false }: { priority: Priority; probe?: boolean },
  ): Promise<HostAnswer[Call["act"]]> {
    return new Promise((resolve, reject) => {
      const refusal = this.#refusal(probe);
      if (refusal) return reject(refusal);
      const id = (this.#lastId += 1);
      const allowedMs = call.act === "generate" ? Math.max(longestGenerationMs, this.#options.deadlineMs) : this.#options.deadlineMs;
      const pending: PendingCall = {
        id,
        call,
        priority,
        enteredAt: performance.now(),
        timer: setTimeout(() => this.#late(pending), allowedMs),
        allowedMs,
        sentAt: 0,
        attempts: 0,
        answered: false,
        // The host answers each act with that act's type: `frame.ts` says so for both sides of the channel.
        resolve: (answer) => resolve(answer as HostAnswer[Call["act"]]),
        reject,
      };
      // Readiness is asked of the token, not of the length of the queue.
      if (probe) this.#queue.addFirst(pending, priority);
      else if (!this.#queue.add(pending, priority)) {
        clearTimeout(pending.timer);
        return reject(new Fault("busy", `${this.#queue.length} signatures wait for token ${this.token}, which is the most allowed`));
      }
      this.#events.measure("chancery_hsm_queue_depth", this.#queue.length, { token: this.token });
      this.#dispatch();
    });
  }

  #refusal(probe: boolean): Fault | undefined {
    if (this.#stopping) return new Fault("hsmUnavailable", "the service is stopping");
    if (this.#supervisor.refusal !== undefined) return unavailable(this.token, this.#supervisor.refusal);
    if (!probe && !this.#breaker.admits(performance.now()))
      return unavailable(this.token, "it failed three times in a row and is tried once a second");
    return undefined;
  }

  #dispatch(): void {
    while (this.#supervisor.ready && this.#out.size < this.#sessions) {
      const pending = this.#queue.next();
      if (!pending) break;
      pending.sentAt = performance.now();
      pending.attempts += 1;
      this.#out.set(pending.id, pending);
      this.#events.measure("chancery_hsm_wait_seconds", (pending.sentAt - pending.enteredAt) / 1000, {
        token: this.token,
        priority: pending.priority,
      });
      this.#supervisor.call(pending.id, pending.call);
    }
    if (this.#stopping && this.#queue.length + this.#out.size === 0) this.#drained?.();
  }

  #opened(sessions: number): void {
    this.#sessions = sessions;
    this.#events.measure("chancery_hsm_sessions", sessions, { token: this.token });
    this.#dispatch();
  }

  #settled(frame: Extract<FrameFromHost, { frame: "answer" | "failure" }>): void {
    const pending = this.#out.get(frame.id);
    if (!pending) return;
    this.#out.delete(frame.id);
    if (frame.frame === "answer") this.#answer(pending, frame.answer);
    else this.#failure(pending, frame);
    this.#dispatch();
  }

  #answer(pending: PendingCall, answer: HostAnswer[HostCall["act"]]): void {
    if (pending.call.act === "sign") {
      this.#breaker.succeeded();
      this.#supervisor.worked();
      this.#events.measure("chancery_hsm_sign_seconds", (performance.now() - pending.sentAt) / 1000, {
        token: this.token,
        purpose: pending.call.purpose,
      });
    }
    if (pending.answered) return;
    clearTimeout(pending.timer);
    pending.answered = true;
    pending.resolve(answer);
  }

  #failure(pending: PendingCall, { failure, detail }: Extract<FrameFromHost, { frame: "failure" }>): void {
    const { act } = pending.call;
    switch (failure) {
      case "refused":
        this.#events.tell("warn", "hsm.call.refused", { token: this.token, act, detail });
        return this.#reject(pending, new Fault("internal", `the token's host refuses: ${detail}`));
      case "fatal":
        this.#events.tell("error", "hsm.call.failed", { token: this.token, act, detail });
        return this.#reject(pending, new Fault("internal", "the token cannot do this", { cause: new Error(detail) }));
      case "missing":
        this.#events.tell("error", "hsm.call.failed", { token: this.token, act, detail });
        return this.#reject(pending, unavailable(this.token, detail));
      case "pin":
        this.#events.tell("error", "hsm.pin.refused", { token: this.token, detail });
        this.#supervisor.refuse(detail);
        return this.#giveUp(pending, detail);
      case "device":
        this.#events.tell("warn", "hsm.call.failed", { token: this.token, act, detail });
        this.#retry(pending, detail);
        return this.#supervisor.kill(detail);
      default:
        return failure satisfies never;
    }
  }

  /** Once more on the next host, where a repeat does no harm and the first try was the only one. */
  #retry(pending: PendingCall, cause: string): void {
    if (pending.answered) return;
    const hopeless = this.#breaker.open || this.#supervisor.refusal !== undefined;
    if (pending.attempts < 2 && pending.call.act !== "generate" && !hopeless) this.#queue.addFirst(pending, pending.priority);
    else this.#giveUp(pending, cause);
  }

  /** The host is gone: whoever was with it goes to the next one, once. */
  #lost(): void {
    const calls = [...this.#out.values()].toReversed();
    this.#out.clear();
    for (const pending of calls) this.#retry(pending, "the process that holds the token ended");
    if (this.#supervisor.refusal !== undefined) {
      for (const pending of this.#queue.drain()) this.#giveUp(pending, this.#supervisor.refusal);
    }
    this.#dispatch();
  }

  #late(pending: PendingCall): void {
    this.#queue.remove(pending);
    this.#events.tell("warn", "hsm.deadline", { token: this.token, act: pending.call.act, sent: pending.attempts > 0 });
    this.#giveUp(pending, `no answer within ${pending.allowedMs} ms`);
    this.#dispatch();
  }

  /** A call that is past its deadline inside the host will not return: only the end of the process frees its thread. */
  #killHung(): void {
    const now = performance.now();
    for (const pending of this.#out.values()) {
      if (now - pending.sentAt >= pending.allowedMs) return this.#supervisor.kill("a call hangs in the module");
    }
  }

  #giveUp(pending: PendingCall, detail: string): void {
    this.#reject(pending, unavailable(this.token, detail));
    this.#breaker.failed(performance.now());
  }

  #reject(pending: PendingCall, fault: Fault): void {
    if (pending.answered) return;
    clearTimeout(pending.timer);
    pending.answered = true;
    pending.reject(fault);
  }

  #breakerChanged(state: "opened" | "closed"): void {
    this.#events.tell(state === "opened" ? "error" : "info", state === "opened" ? "hsm.breaker.opened" : "hsm.breaker.closed", {
      token: this.token,
    });
    if (state === "closed") return;
    for (const pending of this.#queue.drain()) this.#reject(pending, unavailable(this.token, "it failed three times in a row"));
  }

  #healthCorrupt(): void {
    this.#events.tell("error", "signature.corrupt", { token: this.token, purpose: "health" });
    this.#supervisor.replace("a health signature does not verify");
  }
}

function unavailable(token: string, detail: string): Fault {
  return new Fault("hsmUnavailable", `token ${token} gives no signature: ${detail}`);
}
