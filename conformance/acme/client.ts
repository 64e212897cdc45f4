import type { Ability, ClientName } from "./ability.ts";
import type { ExecuteOptions } from "../execute.ts";
import type { Stage } from "./stage.ts";

/** What a client obtained: a PEM file that begins with the certificate, its issuers in it or in `chain`, and the identifiers it must stand for. */
export type Obtained = { readonly certificate: string; readonly chain?: string; readonly names: readonly string[] };

/** One walk of one client over the stage. */
export type Walk = {
  readonly stage: Stage;
  /** An empty directory of this walk. */
  readonly home: string;
  /** The loopback address that all names of this walk lead to; nobody else listens there. */
  readonly address: string;
  /** A name below the stage's zone that no other walk uses: `label.walk.acme.test`. */
  name(label: string): string;
  /** Runs a program in `home` to its end and gives what it writes; a status other than 0 is an error with its last words. */
  run(program: string, parameters: readonly string[], options?: ExecuteOptions): Promise<string>;
  /**
   * Tries one ability and records how it went: what `act` throws is a complaint, and what it obtained must verify for all its names.
   * An ability that this walk leaves out is not tried.
   */
  can(ability: Ability, act: () => Promise<Obtained | undefined>): Promise<void>;
  /** Whether this walk tries `ability`. */
  tries(ability: Ability): boolean;
  /** Records one check of an ability that a program made by itself. */
  tried(outcome: { ability: Ability; check: string; complaint?: string | undefined; obtained?: Obtained | undefined }): Promise<void>;
};

/** An unmodified ACME client. */
export type Client = {
  readonly name: ClientName;
  /** A command, or the path of a file: where it is missing, so is the client. */
  readonly needs: string;
  /** Whether it repeats a request that was answered badNonce (RFC 8555 §6.5): only then does it go through the pass that refuses nonces. */
  readonly retriesBadNonce: boolean;
  /** Walks through everything it can. */
  walk(walk: Walk): Promise<void>;
};
