import type { FailureClass, OpeningFailure } from "./frame.ts";
import { returnClass, returnCodeOf, returnName } from "./return-value.ts";
import type { Call, ReturnClass } from "./return-value.ts";

/** A call of the module that did not succeed: which call, which return value. Lives inside the host; the client sees its class. */
export class ReturnError extends Error {
  readonly call: Call;
  readonly code: number;

  constructor(call: Call, code: number) {
    super(`${call} answered ${returnName(code)}`);
    this.name = "ReturnError";
    this.call = call;
    this.code = code;
  }

  get class(): ReturnClass {
    return returnClass(this.code, this.call);
  }
}

/** A call that the host itself refuses or cannot serve. */
export class HostFailure extends Error {
  readonly failure: FailureClass;

  constructor(failure: FailureClass, detail: string) {
    super(detail);
    this.name = "HostFailure";
    this.failure = failure;
  }
}

/** A token that cannot be opened, with a sentence for the operator. */
export class OpeningError extends Error {
  readonly failure: OpeningFailure;

  constructor(failure: OpeningFailure, detail: string) {
    super(detail);
    this.name = "OpeningError";
    this.failure = failure;
  }
}

/**
 * Makes a synchronous `call` of the module.
 * @returns what it gives, or undefined when its return value means that it is already so.
 * @throws ReturnError for every other return value.
 */
export function attempt<T>(call: Call, act: () => T): T | undefined {
  try {
    return act();
  } catch (error) {
    const failure = asReturnError(call, error);
    if (failure.class === "done") return undefined;
    throw failure;
  }
}

/** The error of the binding as a ReturnError. An error without a return value is a bug in our use of the binding: it is thrown on. */
export function asReturnError(call: Call, error: unknown): ReturnError {
  const code = returnCodeOf(error);
  if (code === undefined) throw error;
  return new ReturnError(call, code);
}
