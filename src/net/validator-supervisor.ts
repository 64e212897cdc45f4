import type { ChildProcess } from "node:child_process";
import { setTimeout as pause } from "node:timers/promises";

import { Fault } from "../fault.ts";
import type { Events } from "../ports/events.ts";
import type { OwnAddress } from "./egress.ts";
import { readFrame } from "./frame.ts";
import type { FrameFromValidator, FrameToValidator, Opening } from "./frame.ts";
import { forkValidator } from "./validator-process.ts";

/** What the supervisor tells the client. */
export type ValidatorListener = {
  /** A child is ready for questions. */
  opened(): void;
  /** What came of a question. */
  settled(frame: Extract<FrameFromValidator, { frame: "outcome" | "unavailable" }>): void;
  /** The child is gone, and with it every question it had. */
  lost(): void;
};

/** Keeps one validator process: starts it, starts another when it ends, kills it when told so. */
export class ValidatorSupervisor {
  #opening: Opening;
  readonly #events: Events;
  readonly #listener: ValidatorListener;
  readonly #stopping = new AbortController();
  #child: ChildProcess | undefined;
  #ready = false;
  #backoffMs = shortestBackoffMs;

  constructor(opening: Opening, { events, listener }: { readonly events: Events; readonly listener: ValidatorListener }) {
    this.#opening = opening;
    this.#events = events;
    this.#listener = listener;
  }

  /** Whether a child takes questions. */
  get ready(): boolean {
    return this.#ready;
  }

  /** Starts the first child. @throws Fault `refusedToStart` when none could be started. */
  async start(): Promise<void> {
    if (await this.#open()) return;
    await this.stop();
    throw new Fault("refusedToStart", "the process that validates did not start; see its message on standard error");
  }

  /** Tells what is our own from now on, to this child and those after it. */
  keepFrom(own: readonly OwnAddress[]): void {
    this.#opening = { ...this.#opening, policy: { ...this.#opening.policy, own } };
    this.send({ frame: "own", own });
  }

  send(frame: FrameToValidator): void {
    // A child that just ended cannot take the frame: its exit is on its way and decides what becomes of the question.
    this.#child?.send(frame, () => {});
  }

  /** Kills the child; the next one starts after a pause that grows while none answers. */
  kill(cause: string): void {
    if (!this.#ready) return;
    this.#ready = false;
    this.#events.tell("error", "validator.ended", { cause });
    this.#child?.kill("SIGKILL");
  }

  /** Closes the channel, which ends the child; by SIGKILL after two seconds. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#ready = false;
    const child = this.#child;
    if (!child || child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    if (child.connected) child.disconnect();
    const impatience = setTimeout(() => child.kill("SIGKILL"), 2000);
    await ended;
    clearTimeout(impatience);
  }

  async #open(): Promise<boolean> {
    const child = await forkValidator();
    this.#child = child;
    if (this.#stopping.signal.aborted) {
      child.kill("SIGKILL");
      return false;
    }
    return new Promise((resolve) => {
      let opened = false;
      const late = setTimeout(() => child.kill("SIGKILL"), openDeadlineMs);
      const ended = () => {
        clearTimeout(late);
        resolve(false);
        if (!opened) this.#events.tell("error", "validator.ended", { cause: "it ended before it was ready" });
        this.#ended(child);
      };
      child.once("exit", ended);
      child.once("error", () => {
        // A process that could not be started has no exit either.
        if (child.pid === undefined) ended();
      });
      child.on("message", (message) => {
        const frame = readFrame(message);
        if (frame?.frame === "opened") {
          clearTimeout(late);
          opened = true;
          this.#opened();
          resolve(true);
        } else this.#received(child, frame);
      });
      child.send({ frame: "open", opening: this.#opening } satisfies FrameToValidator, () => {});
    });
  }

  #opened(): void {
    if (this.#stopping.signal.aborted) return;
    this.#ready = true;
    this.#events.tell("info", "validator.started");
    this.#listener.opened();
  }

  #received(child: ChildProcess, frame: Exclude<FrameFromValidator, { frame: "opened" }> | undefined): void {
    // What a child that is being killed still says comes too late.
    if (child !== this.#child || !this.#ready) return;
    if (frame === undefined) this.kill("it sent what is no frame");
    else if (frame.frame === "refused") {
      this.#events.tell("warn", "validator.refused", { host: frame.host, address: frame.address, class: frame.class });
    } else if (frame.frame === "failed") this.#events.tell("error", "validator.failed", { where: frame.where });
    else {
      this.#backoffMs = shortestBackoffMs;
      this.#listener.settled(frame);
    }
  }

  #ended(child: ChildProcess): void {
    if (child !== this.#child) return;
    if (this.#ready) this.#events.tell("error", "validator.ended", { cause: child.signalCode ?? `exit code ${child.exitCode}` });
    this.#ready = false;
    this.#listener.lost();
    if (!this.#stopping.signal.aborted) void this.#respawn();
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
      this.#events.tell("error", "validator.ended", { cause });
      void this.#respawn();
    }
  }
}

const shortestBackoffMs = 100;
const longestBackoffMs = 5000;
const openDeadlineMs = 20_000;
