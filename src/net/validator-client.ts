import { Fault } from "../fault.ts";
import type { Events } from "../ports/events.ts";
import type {
  HttpAnswer,
  HttpQuestion,
  Outcome,
  TlsAlpnAnswer,
  TlsAlpnQuestion,
  TxtAnswer,
  TxtQuestion,
  Validator,
  ValidatorHealth,
} from "../ports/validator.ts";
import { parseDnsServer } from "./dns-server.ts";
import { cidrText } from "./egress.ts";
import type { EgressPolicy, OwnAddress } from "./egress.ts";
import { FairQueue } from "./fair-queue.ts";
import type { FairLimits } from "./fair-queue.ts";
import { outcomeOf } from "./frame.ts";
import type { Answers, ProbeTimes, Question } from "./frame.ts";
import { ValidatorSupervisor } from "./validator-supervisor.ts";

export type ValidatorOptions = {
  /** Where http-01 begins (80), and where tls-alpn-01 is (443). */
  readonly http01Port: number;
  readonly tlsAlpn01Port: number;
  /** `ADDRESS`, `IPV4:PORT` or `[IPV6]:PORT` of each resolver; undefined for those of the system. */
  readonly dnsServers: readonly string[] | undefined;
  readonly policy: EgressPolicy;
  readonly times?: Partial<ValidatorTimes>;
  readonly limits?: Partial<FairLimits>;
};

export type ValidatorTimes = ProbeTimes & {
  /** How long a question waits for its turn. */
  readonly queueMs: number;
  /** How long after the end of its time a question may stay unanswered before the child counts as hung. */
  readonly graceMs: number;
};

/** A validator whose owner says again and again what is its own. */
export type GuardedValidator = Validator & {
  /** From now on these are contacted no more, whatever else is allowed, and those that were told before only as others are. */
  keepFrom(own: readonly OwnAddress[]): void;
};

/**
 * Starts the validator's process.
 * @throws Fault `refusedToStart` when a resolver's text is none, or the process does not start.
 */
export async function openValidator(options: ValidatorOptions, { events }: { readonly events: Events }): Promise<GuardedValidator> {
  for (const text of options.dnsServers ?? []) {
    if (!parseDnsServer(text))
      throw new Fault("refusedToStart", `CHANCERY_DNS_SERVERS: "${text}" is no address of a resolver, with or without its port`);
  }
  const client = new ValidatorClient(options, events);
  await client.start();
  return client;
}

const defaultTimes: ValidatorTimes = { connectMs: 5000, totalMs: 10_000, dnsTriesMs: [1000, 1500, 2000], queueMs: 30_000, graceMs: 5000 };
const defaultLimits: FairLimits = { runningPerTenant: 16, running: 256, waitingPerTenant: 128, waiting: 2048 };

type Call = {
  readonly id: number;
  readonly tenant: string;
  readonly question: Question;
  readonly resolve: (outcome: Outcome<unknown>) => void;
  readonly reject: (fault: Fault) => void;
  /** Ends the wait for a turn, then the wait for the child. */
  timer?: NodeJS.Timeout;
};

class ValidatorClient implements GuardedValidator {
  readonly #policy: EgressPolicy;
  readonly #times: ValidatorTimes;
  readonly #queue: FairQueue<Call>;
  readonly #supervisor: ValidatorSupervisor;
  /** Every call that has no answer, by its id. */
  readonly #open = new Map<number, Call>();
  readonly #running = new Set<Call>();
  #lastId = 0;
  #stopping = false;

  constructor({ policy, times, limits, ...opening }: ValidatorOptions, events: Events) {
    this.#policy = policy;
    this.#times = { ...defaultTimes, ...times };
    this.#queue = new FairQueue({ ...defaultLimits, ...limits });
    const { connectMs, totalMs, dnsTriesMs } = this.#times;
    this.#supervisor = new ValidatorSupervisor(
      { ...opening, policy, times: { connectMs, totalMs, dnsTriesMs } },
      {
        events,
        listener: {
          opened: () => this.#serve(),
          settled: (frame) => {
            if (frame.frame === "outcome") this.#settle(frame.id, (call) => call.resolve(frame.outcome));
            else this.#settle(frame.id, (call) => call.reject(new Fault("validatorUnavailable", frame.detail)));
          },
          lost: () => this.#lost(),
        },
      },
    );
  }

  start(): Promise<void> {
    return this.#supervisor.start();
  }

  http({ tenant, host, path }: HttpQuestion): Promise<Outcome<HttpAnswer>> {
    return this.#ask(tenant, { kind: "http", host, path });
  }

  txt({ tenant, name }: TxtQuestion): Promise<Outcome<TxtAnswer>> {
    return this.#ask(tenant, { kind: "txt", name });
  }

  tlsAlpn({ tenant, host }: TlsAlpnQuestion): Promise<Outcome<TlsAlpnAnswer>> {
    return this.#ask(tenant, { kind: "tlsAlpn", host });
  }

  keepFrom(own: readonly OwnAddress[]): void {
    this.#supervisor.keepFrom(own);
  }

  health(): ValidatorHealth {
    const { waiting, running } = this.#queue;
    const opened = this.#policy.allow.map(cidrText).join(", ");
    const reach = `it contacts public addresses${opened === "" ? "" : `, and the operator lists ${opened}`}`;
    if (!this.#supervisor.ready) return { ready: false, detail: `the validator's process is being started; ${waiting} questions wait` };
    return { ready: true, detail: `the validator runs: ${running} questions under way, ${waiting} wait; ${reach}` };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping = true;
    for (const call of this.#open.values()) this.#fail(call, "the service is stopping");
    await this.#supervisor.stop();
  }

  async #ask<Kind extends Question["kind"]>(tenant: string, question: Question & { readonly kind: Kind }): Promise<Outcome<Answers[Kind]>> {
    if (this.#stopping) throw new Fault("validatorUnavailable", "the service is stopping");
    const outcome = await new Promise<Outcome<unknown>>((resolve, reject) => {
      this.#lastId += 1;
      const call: Call = { id: this.#lastId, tenant, question, resolve, reject };
      if (!this.#queue.add(tenant, call)) {
        reject(new Fault("validatorUnavailable", `${this.#queue.waiting} questions wait for the validator, which is as many as may`));
        return;
      }
      this.#open.set(call.id, call);
      call.timer = setTimeout(() => this.#fail(call, `no turn came within ${this.#times.queueMs} ms`), this.#times.queueMs);
      this.#serve();
    });
    const own = outcomeOf(question.kind, outcome);
    if (own) return own;
    this.#supervisor.kill("it answered another question than it was asked");
    throw new Fault("validatorUnavailable", "the validator's process gave no usable answer");
  }

  /** Gives the child what may run now. */
  #serve(): void {
    while (this.#supervisor.ready && !this.#stopping) {
      const call = this.#queue.next();
      if (!call) return;
      this.#running.add(call);
      clearTimeout(call.timer);
      call.timer = setTimeout(() => this.#supervisor.kill("it left a question unanswered"), this.#times.totalMs + this.#times.graceMs);
      this.#supervisor.send({ frame: "question", id: call.id, tenant: call.tenant, question: call.question });
    }
  }

  #settle(id: number, act: (call: Call) => void): void {
    const call = this.#open.get(id);
    if (!call) return;
    this.#open.delete(id);
    clearTimeout(call.timer);
    if (this.#running.delete(call)) this.#queue.finished(call.tenant);
    else this.#queue.remove(call.tenant, call);
    act(call);
    this.#serve();
  }

  #fail(call: Call, detail: string): void {
    this.#settle(call.id, () => call.reject(new Fault("validatorUnavailable", detail)));
  }

  /** What waits for its turn stays for the next child. */
  #lost(): void {
    for (const call of this.#running) this.#fail(call, "the validator's process ended before it answered");
  }
}
