import { Fault } from "../fault.ts";
import type { Events } from "../ports/events.ts";
import type { Priority } from "../ports/hsm.ts";
import { Breaker } from "./breaker.ts";
import type { FrameFromHost, HostAnswer, HostCall } from "./frame.ts";
import { PriorityQueue } from "./queue.ts";
import { Supervisor } from "./supervisor.ts";
import type { SupervisorOptions } from "./supervisor.ts";

export type DispatcherOptions = Omit<SupervisorOptions, "openDeadlineMs"> & {
  /** Longest time from a call to its answer, in milliseconds. */
  readonly deadlineMs: number;
  /** Most calls of each priority that wait. */
  readonly queueLimit: number;
};

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

/**
 * Brings each call to the host and back: in order of priority with none left out, no more at once than the token has sessions, within its deadline, once more
 * on the next host where its class allows, and not at all while the breaker is open.
 */
export class Dispatcher {
  readonly #token: string;
  readonly #deadlineMs: number;
  readonly #events: Events;
  readonly #supervisor: Supervisor;
  readonly #breaker: Breaker;
  readonly #queue: PriorityQueue<PendingCall>;
  readonly #out = new Map<number, PendingCall>();
  #sessions = 0;
  #lastId = 0;
  #stopping = false;
  #drained: (() => void) | undefined;
  #watchdog: NodeJS.Timeout | undefined;

  constructor({ deadlineMs, queueLimit, ...options }: DispatcherOptions, events: Events) {
    this.#token = options.opening.token;
    this.#deadlineMs = deadlineMs;
    this.#events = events;
    this.#queue = new PriorityQueue(queueLimit);
    this.#breaker = new Breaker((state) => this.#breakerChanged(state));
    const listener = {
      opened: (sessions: number) => this.#opened(sessions),
      settled: (frame: Extract<FrameFromHost, { frame: "answer" | "failure" }>) => this.#settled(frame),
      lost: () => this.#lost(),
    };
    this.#supervisor = new Supervisor({ ...options, openDeadlineMs: Math.max(deadlineMs, shortestOpeningMs) }, { events, listener });
  }

  get queued(): number {
    return this.#queue.length;
  }

  get sessions(): number {
    return this.#sessions;
  }

  /** Why calls fail now, whatever they ask; undefined when they do not. */
  get problem(): string | undefined {
    if (this.#supervisor.refusal !== undefined) return `${this.#supervisor.refusal}; correct the PIN file and start again`;
    return this.#breaker.open ? brokenDetail : undefined;
  }

  /** Starts the first host. @throws Fault `refusedToStart` */
  async start(): Promise<void> {
    await this.#supervisor.start();
    this.#watchdog = setInterval(() => this.#killHung(), watchdogIntervalMs).unref();
  }

  /** Takes no further call, waits until those that are in have their answers, and ends the host. */
  async stop(): Promise<void> {
    this.#stopping = true;
    if (this.#queue.length + this.#out.size > 0) await new Promise<void>((resolve) => (this.#drained = resolve));
    clearInterval(this.#watchdog);
    await this.#supervisor.stop();
  }

  /** Tells the host to forget a stream, of which no part may be on its way. */
  drop(stream: number): void {
    this.#supervisor.drop(stream);
  }

  /** Replaces the host by a new one; its calls go to that one. */
  replaceHost(reason: string): void {
    this.#supervisor.replace(reason);
  }

  /**
   * Makes a call and gives its answer. `probe` passes the open breaker and the full queue: it is what readiness is known from.
   * @throws Fault `hsmUnavailable`, `busy`, `internal` as the port says.
   */
  call<Call extends HostCall>(
    call: Call,
    { priority, probe = false }: { priority: Priority; probe?: boolean },
  ): Promise<HostAnswer[Call["act"]]> {
    return new Promise((resolve, reject) => {
      const refusal = this.#refusal(probe);
      if (refusal) return reject(refusal);
      const id = (this.#lastId += 1);
      const allowedMs = call.act === "generate" ? Math.max(longestGenerationMs, this.#deadlineMs) : this.#deadlineMs;
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
        return reject(new Fault("busy", `as many ${priority} calls wait for token ${this.#token} as may`));
      }
      this.#events.measure("chancery_hsm_queue_depth", this.#queue.length, { token: this.#token });
      this.#dispatch();
    });
  }

  #refusal(probe: boolean): Fault | undefined {
    if (this.#stopping) return new Fault("hsmUnavailable", "the service is stopping");
    if (this.#supervisor.refusal !== undefined) return unavailable(this.#token, this.#supervisor.refusal);
    if (!probe && !this.#breaker.admits(performance.now())) return unavailable(this.#token, brokenDetail);
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
        token: this.#token,
        priority: pending.priority,
      });
      this.#supervisor.call(pending.id, pending.call);
    }
    if (this.#stopping && this.#queue.length + this.#out.size === 0) this.#drained?.();
  }

  #opened(sessions: number): void {
    this.#sessions = sessions;
    this.#events.measure("chancery_hsm_sessions", sessions, { token: this.#token });
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
    if (pending.call.act === "sign" || pending.call.act === "signParts") {
      this.#breaker.succeeded();
      this.#supervisor.worked();
      this.#events.measure("chancery_hsm_sign_seconds", (performance.now() - pending.sentAt) / 1000, {
        token: this.#token,
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
        this.#events.tell("warn", "hsm.call.refused", { token: this.#token, act, detail });
        return this.#reject(pending, new Fault("internal", `the token's host refuses: ${detail}`));
      case "fatal":
        this.#events.tell("error", "hsm.call.failed", { token: this.#token, act, detail });
        return this.#reject(pending, new Fault("internal", "the token cannot do this", { cause: new Error(detail) }));
      case "missing":
        this.#events.tell("error", "hsm.call.failed", { token: this.#token, act, detail });
        return this.#reject(pending, unavailable(this.#token, detail));
      case "pin":
        this.#events.tell("error", "hsm.pin.refused", { token: this.#token, detail });
        this.#supervisor.refuse(detail);
        return this.#giveUp(pending, detail);
      case "device":
        this.#events.tell("warn", "hsm.call.failed", { token: this.#token, act, detail });
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
    // Several parts of one stream are lost together: that is one failure, and its last call may count it.
    if (pending.call.act === "part") this.#reject(pending, unavailable(this.#token, cause));
    else if (pending.attempts < 2 && !onceOnly.has(pending.call.act) && !hopeless) this.#queue.addFirst(pending, pending.priority);
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
    this.#events.tell("warn", "hsm.deadline", { token: this.#token, act: pending.call.act, sent: pending.attempts > 0 });
    const detail = `no answer within ${pending.allowedMs} ms`;
    // A call that only waited, with a host at work, says that there are many, not that the token is ill.
    if (pending.attempts > 0 || !this.#supervisor.ready) this.#giveUp(pending, detail);
    else this.#reject(pending, new Fault("busy", `token ${this.#token} is busy: ${detail}`));
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
    this.#reject(pending, unavailable(this.#token, detail));
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
      token: this.#token,
    });
    if (state === "closed") return;
    for (const pending of this.#queue.drain()) this.#reject(pending, unavailable(this.#token, brokenDetail));
  }
}

/** A module may initialise slowly, whatever a signature may take. */
const shortestOpeningMs = 10_000;
/** A pair may have been generated; of a stream the next host knows nothing. */
const onceOnly: ReadonlySet<HostCall["act"]> = new Set(["generate", "part", "signParts"]);
const brokenDetail = "it failed three times in a row and is tried once a second";

function unavailable(token: string, detail: string): Fault {
  return new Fault("hsmUnavailable", `token ${token} gives no signature: ${detail}`);
}
