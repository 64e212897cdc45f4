import type { EventName } from "../ports/events.ts";
import type { KeyAlgorithm } from "../pki/algorithm.ts";
import type { FoundKey, KeyReference, KeySpecification, Purpose, TokenKey } from "../ports/hsm.ts";

/** What opens a token. The PIN travels in this frame alone: never in argv, environment or a log. */
export type TokenOpening = {
  /** Path of the PKCS#11 module. */
  readonly module: string;
  /** CKA_LABEL of the token. */
  readonly token: string;
  readonly pin: string;
  readonly sessions: number;
};

/** What a host is opened with: for its whole life, so that no later frame gives it more than it began with. */
export type Opening = TokenOpening & {
  /** Whether the host generates and destroys keys. One that serves signatures does not. */
  readonly administration: boolean;
};

/** What the host is asked to do with the token, and what each act answers. */
export type HostCall =
  | { readonly act: "sign"; readonly key: KeyReference; readonly purpose: Purpose; readonly bytes: Uint8Array }
  /** Octets of a stream, `index` counted from 0; it begins with its first part, which says by which key's algorithm it is hashed. */
  | { readonly act: "part"; readonly stream: number; readonly index: number; readonly algorithm: KeyAlgorithm; readonly bytes: Uint8Array }
  /** Ends a stream of so many parts and signs it. */
  | { readonly act: "signParts"; readonly stream: number; readonly parts: number; readonly key: KeyReference; readonly purpose: "crl" }
  | { readonly act: "generate"; readonly specification: KeySpecification }
  | { readonly act: "read"; readonly ckaId: string }
  | { readonly act: "find"; readonly ckaId: string }
  | { readonly act: "list" }
  | { readonly act: "destroy"; readonly ckaId: string };

/** The answer to each act. */
export type HostAnswer = {
  readonly sign: Uint8Array<ArrayBuffer>;
  readonly part: undefined;
  readonly signParts: Uint8Array<ArrayBuffer>;
  readonly generate: TokenKey;
  readonly read: TokenKey | undefined;
  readonly find: FoundKey;
  readonly list: readonly string[];
  readonly destroy: undefined;
};

/** What goes over the channel, either way: frames, the first of them first. */
export type Message<Frame> = readonly Frame[];

/** Frames to the host: one `open` first, then calls, `stop` last. */
export type FrameToHost =
  | { readonly frame: "open"; readonly opening: Opening }
  | { readonly frame: "call"; readonly id: number; readonly call: HostCall }
  /** Its caller has given the stream up: nobody answers. */
  | { readonly frame: "drop"; readonly stream: number }
  | { readonly frame: "stop" };

/**
 * Why a call failed, for the client's reaction: `refused` and `fatal` are final, `missing` too (no key has this CKA_ID), `device` asks
 * for a new host, `pin` for none.
 */
export type FailureClass = "refused" | "fatal" | "missing" | "device" | "pin";

/** Why a host could not open its token. */
export type OpeningFailure = "module" | "token" | "pin" | "device";

/** Frames from the host. */
export type FrameFromHost =
  | { readonly frame: "opened"; readonly sessions: number; readonly manufacturer: string }
  | { readonly frame: "notOpened"; readonly failure: OpeningFailure; readonly detail: string }
  | { readonly frame: "answer"; readonly id: number; readonly answer: HostAnswer[HostCall["act"]] }
  | { readonly frame: "failure"; readonly id: number; readonly failure: FailureClass; readonly detail: string }
  | {
      readonly frame: "event";
      readonly level: "info" | "warn" | "error";
      readonly event: EventName;
      readonly fields: Readonly<Record<string, unknown>>;
    };
