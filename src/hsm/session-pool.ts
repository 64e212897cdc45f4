import pkcs11js from "pkcs11js";
import type { Handle, PKCS11 } from "pkcs11js";

import { attempt, HostFailure, ReturnError } from "./host-failure.ts";
import { returnCodeOf } from "./return-value.ts";

/** CKR_SESSION_COUNT: the token has no further session for us. */
const sessionCount = 0xb1;

/**
 * A fixed number of sessions on one token. Each is lent to one call at a time; one on which any call failed is closed and replaced,
 * since an operation that an error left open answers CKR_OPERATION_ACTIVE for ever.
 */
export class SessionPool {
  readonly #library: PKCS11;
  readonly #slot: Handle;
  readonly #idle: Handle[] = [];
  readonly #waiting: ((session: Handle | ReturnError) => void)[] = [];
  readonly #reduced: (size: number) => void;
  #size = 0;
  #readWrite: Handle | undefined;
  #administration: Promise<unknown> = Promise.resolve();

  /**
   * Opens the read-write session and `wanted` others, or as many as the token gives.
   * @param reduced told the pool's size whenever the token refuses one of them.
   * @throws ReturnError when not even one opens.
   */
  constructor(library: PKCS11, slot: Handle, { wanted, reduced }: { wanted: number; reduced: (size: number) => void }) {
    this.#library = library;
    this.#slot = slot;
    this.#reduced = reduced;
    this.readWriteSession();
    while (this.#size < wanted && this.#grow());
  }

  /** Sessions in the pool, lent ones included. */
  get size(): number {
    return this.#size;
  }

  /** A session that nobody else uses until it is given back or discarded. Waits in order when none is idle. */
  async take(): Promise<Handle> {
    if (this.#size === 0) this.#grow();
    const session = this.#idle.pop() ?? (await new Promise<Handle | ReturnError>((resolve) => this.#waiting.push(resolve)));
    if (session instanceof ReturnError) throw session;
    return session;
  }

  /** Takes back a session on which every call succeeded. */
  giveBack(session: Handle): void {
    this.#lend(session);
  }

  /** Closes a session on which a call failed and opens another in its place. */
  discard(session: Handle): void {
    this.#close(session);
    this.#size -= 1;
    try {
      this.#grow();
    } catch (error) {
      if (!(error instanceof ReturnError)) throw error;
      // Those who wait cannot be served by sessions that are not there: the error decides what becomes of them.
      if (this.#size === 0) for (const resolve of this.#waiting.splice(0)) resolve(error);
    }
  }

  /** Runs an act of administration in the read-write session, one at a time: they are rare, and a token may have few sessions. */
  administer<T>(act: (session: Handle) => T | Promise<T>): Promise<T> {
    const result = this.#administration.then(async () => {
      try {
        return await act(this.readWriteSession());
      } catch (error) {
        if (!(error instanceof HostFailure)) this.#closeReadWrite();
        throw error;
      }
    });
    this.#administration = result.then(
      () => undefined,
      () => undefined,
    );
    return result;
  }

  /** The read-write session, opened where there is none. */
  readWriteSession(): Handle {
    if (this.#readWrite) return this.#readWrite;
    const session = attempt("C_OpenSession", () => this.#library.C_OpenSession(this.#slot, readWrite));
    if (session === undefined) throw new ReturnError("C_OpenSession", 0);
    this.#readWrite = session;
    return session;
  }

  /** Closes the sessions that are idle. */
  closeAll(): void {
    for (const session of this.#idle.splice(0)) this.#close(session);
    this.#closeReadWrite();
  }

  #closeReadWrite(): void {
    if (this.#readWrite) this.#close(this.#readWrite);
    this.#readWrite = undefined;
  }

  /** One session more; false when the token has none left but the pool has some. */
  #grow(): boolean {
    try {
      const session = this.#library.C_OpenSession(this.#slot, readOnly);
      this.#size += 1;
      this.#lend(session);
      return true;
    } catch (error) {
      const code = returnCodeOf(error);
      if (code === undefined) throw error;
      if (code !== sessionCount || this.#size === 0) throw new ReturnError("C_OpenSession", code);
      this.#reduced(this.#size);
      return false;
    }
  }

  #lend(session: Handle): void {
    const next = this.#waiting.shift();
    if (next) next(session);
    else this.#idle.push(session);
  }

  #close(session: Handle): void {
    try {
      this.#library.C_CloseSession(session);
    } catch (error) {
      // A session that the token has closed already, or a token that is gone: nothing is left to release.
      if (returnCodeOf(error) === undefined) throw error;
    }
  }
}

const readOnly: number = pkcs11js.CKF_SERIAL_SESSION;
const readWrite: number = pkcs11js.CKF_SERIAL_SESSION | pkcs11js.CKF_RW_SESSION;
