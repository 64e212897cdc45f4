import type { ChildProcess } from "node:child_process";
import { setTimeout as pause } from "node:timers/promises";

import { Fault } from "../fault.ts";
import type { Events } from "../ports/events.ts";
import type { FrameFromHost, FrameToHost, HostCall, Message, Opening, OpeningFailure } from "./frame.ts";
import { forkModuleProcess } from "./host-process.ts";
import { outbox } from "./outbox.ts";

/** What the supervisor tells the client of the token. */
export type HostListener = {
  /** A host has opened the token with this many sessions. */
  opened(sessions: number): void;
  /** An answer or a failure of a call. */
  settled(frame: Extract<FrameFromHost, { frame: "answer" | "failure" }>): void;
  /** The host is gone, and with it every call it had. */
  lost(): void;
};

/** The options that the operator sets for one token, as a refusal names them. */
export type TokenOptionNames = { readonly module: string; readonly token: string; readonly pinFile: string };

export type SupervisorOptions = {
  readonly opening: Opening;
  readonly optionNames: TokenOptionNames;
  readonly softHsmConf?: string;
  readonly openDeadlineMs: number;
  readonly production: boolean;
};

type OpeningResult = Extract<FrameFromHost, { frame: "opened" | "notOpened" }>;

/**
 * Keeps one host process on one token: starts it, starts another when it ends, kills it when told so.
 * A refused PIN ends this for good: another try would bring the token nearer to its lock.
 */
export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #events: Events;
  readonly #listener: HostListener;
  readonly #stopping = new AbortController();
  #host: ChildProcess | undefined;
  #send: (frame: FrameToHost) => void = () => {};
  #ready = false;
  #openedAt = 0;
  #backoffMs = shortestBackoffMs;
  #refusal: string | undefined;

  constructor(options: SupervisorOptions, { events, listener }: { events: Events; listener: HostListener }) {
    this.#options = options;
    this.#events = events;
    this.#listener = listener;
  }

  /** Whether a host has the token open. */
  get ready(): boolean {
    return this.#ready;
  }

  /** Why no host will be started any more; undefined while one will. */
  get refusal(): string | undefined {
    return this.#refusal;
  }

  /**
   * Starts the first host.
   * @throws Fault `refusedToStart` naming the option to correct.
   */
  async start(): Promise<void> {
    const result = await this.#open();
    if (result.frame === "opened") return;
    this.#stopping.abort();
    this.#host?.kill("SIGKILL");
    throw new Fault("refusedToStart", `${result.detail}; ${remedy(result.failure, this.#options.optionNames)}`);
  }

  call(id: number, call: HostCall): void {
    this.#send({ frame: "call", id, call });
  }

  /** Tells the host to forget a stream. */
  drop(stream: number): void {
    if (this.#ready) this.#send({ frame: "drop", stream });
  }

  /** Kills the host; the next one starts at once, or after a pause when the last ones ended early too. */
  replace(cause: string): void {
    // Several callers may complain of the same host: those after the first meet its successor, or nobody.
    if (!this.#ready || performance.now() - this.#openedAt < youngHostMs) return;
    this.kill(cause);
  }

  /** Kills the host, however young. */
  kill(cause: string): void {
    if (!this.#ready) return;
    this.#events.tell("warn", "hsm.host.ended", { token: this.#options.opening.token, cause });
    this.#ready = false;
    this.#host?.kill("SIGKILL");
  }

  /** Kills the host and starts no other: the token refused the PIN. */
  refuse(detail: string): void {
    this.#refusal = detail;
    this.kill(detail);
  }

  /** The token has signed: the next host, should one be needed, starts at once. */
  worked(): void {
    this.#backoffMs = shortestBackoffMs;
  }

  /** Lets the host close its sessions and end, by SIGKILL after two seconds. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#ready = false;
    const host = this.#host;
    if (!host || host.exitCode !== null || host.signalCode !== null) return;
    const ended = new Promise<void>((resolve) => host.once("exit", () => resolve()));
    this.#send({ frame: "stop" });
    const impatience = setTimeout(() => host.kill("SIGKILL"), 2000);
    await ended;
    clearTimeout(impatience);
  }

  async #open(): Promise<OpeningResult> {
    const { opening, softHsmConf, openDeadlineMs } = this.#options;
    const host = await forkModuleProcess("host.ts", {
      ...(softHsmConf === undefined ? {} : { softHsmConf }),
      threads: opening.sessions + 4,
    });
    this.#host = host;
    // A host that just ended cannot take the frames: its exit is on its way and decides what becomes of the calls.
    this.#send = outbox((frames) => host.send(frames, () => {}));
    if (this.#stopping.signal.aborted) {
      host.kill("SIGKILL");
      return { frame: "notOpened", failure: "device", detail: "the service is stopping" };
    }
    const result = await new Promise<OpeningResult>((resolve) => {
      const late = setTimeout(() => {
        resolve({ frame: "notOpened", failure: "device", detail: `the token did not open within ${openDeadlineMs} ms` });
        host.kill("SIGKILL");
      }, openDeadlineMs);
      host.once("error", (error) => {
        resolve({ frame: "notOpened", failure: "device", detail: error.message });
        // A process that could not be started has no exit either.
        if (host.pid === undefined) this.#ended(host);
      });
      host.once("exit", () => {
        clearTimeout(late);
        resolve({
          frame: "notOpened",
          failure: "device",
          detail: "the process that holds the PKCS#11 module ended while it opened the token",
        });
        this.#ended(host);
      });
      host.on("message", (frames: Message<FrameFromHost>) => {
        for (const frame of frames) {
          if (frame.frame === "opened" || frame.frame === "notOpened") {
            clearTimeout(late);
            this.#opened(frame);
            resolve(frame);
          } else this.#received(host, frame);
        }
      });
      this.#send({ frame: "open", opening });
    });
    if (result.frame === "notOpened") host.kill("SIGKILL");
    return result;
  }

  #opened(result: OpeningResult): void {
    const { token } = this.#options.opening;
    if (result.frame === "notOpened") {
      if (result.failure === "pin") this.#refusal = result.detail;
      this.#events.tell("error", result.failure === "pin" ? "hsm.pin.refused" : "hsm.host.ended", { token, cause: result.detail });
      return;
    }
    this.#ready = true;
    this.#openedAt = performance.now();
    const software = /softhsm/i.test(result.manufacturer);
    this.#events.tell(software && this.#options.production ? "warn" : "info", "hsm.host.started", {
      token,
      sessions: result.sessions,
      manufacturer: result.manufacturer,
      ...(software && this.#options.production ? { detail: "this module keeps keys in files, not in hardware" } : {}),
    });
    this.#listener.opened(result.sessions);
  }

  #received(host: ChildProcess, frame: Exclude<FrameFromHost, OpeningResult>): void {
    if (frame.frame === "event") this.#events.tell(frame.level, frame.event, { token: this.#options.opening.token, ...frame.fields });
    // What a host that is being killed still answers comes too late: its calls are with the next one.
    else if (host === this.#host && this.#ready) this.#listener.settled(frame);
  }

  #ended(host: ChildProcess): void {
    if (host !== this.#host) return;
    if (this.#ready) {
      const cause = host.signalCode ?? `exit code ${host.exitCode}`;
      this.#events.tell("error", "hsm.host.ended", { token: this.#options.opening.token, cause });
    }
    this.#ready = false;
    this.#listener.lost();
    if (this.#stopping.signal.aborted || this.#refusal !== undefined) return;
    void this.#respawn();
  }

  async #respawn(): Promise<void> {
    const waitMs = this.#backoffMs;
    this.#backoffMs = Math.min(waitMs * 2, longestBackoffMs);
    await pause(waitMs, undefined, { signal: this.#stopping.signal, ref: false }).catch(() => undefined);
    if (this.#stopping.signal.aborted) return;
    try {
      await this.#open();
    } catch (cause) {
      // No process could be started: the machine may have room for one at the next try.
      this.#events.tell("error", "hsm.host.ended", { token: this.#options.opening.token, cause });
      void this.#respawn();
    }
  }
}

const shortestBackoffMs = 100;
/** A token that comes back is served again within this time and a start. */
const longestBackoffMs = 2000;
const youngHostMs = 500;

function remedy(failure: OpeningFailure, { module, token, pinFile }: TokenOptionNames): string {
  switch (failure) {
    case "module":
      return `set ${module} to the path of a PKCS#11 module`;
    case "token":
      return `set ${token} to the label of the token`;
    case "pin":
      return `put the token's PIN into the file that ${pinFile} names`;
    case "device":
      return "see that the token answers";
    default:
      return failure satisfies never;
  }
}
