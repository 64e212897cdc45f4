import type { Handle } from "pkcs11js";

import { spkiSha256 } from "../pki/algorithm.ts";
import type { KeyAlgorithm } from "../pki/algorithm.ts";
import type { Purpose } from "../ports/hsm.ts";
import { attempt, HostFailure } from "./host-failure.ts";
import { purposesOfLabel } from "./key-label.ts";
import { readAttributes } from "./key-object.ts";
import type { OpenToken } from "./open-token.ts";
import { algorithmOf } from "./token-object.ts";

/** A private key of the token, and what its own attributes say that it is and may sign. */
export type KeyHandle = {
  readonly handle: Handle;
  readonly algorithm: KeyAlgorithm;
  readonly purposes: ReadonlySet<Purpose>;
  readonly spkiSha256: string;
};

/**
 * Private keys found so far, by CKA_ID: finding is linear in the number of objects, signing must not pay for it each time. At its first
 * use in a host's life a key is read as it was after its generation: attributes, public half, label.
 */
export class KeyHandles {
  readonly #token: OpenToken;
  readonly #found = new Map<string, KeyHandle>();

  constructor(token: OpenToken) {
    this.#token = token;
  }

  /**
   * The one private key that has this CKA_ID.
   * @throws HostFailure `missing` when there is none, `fatal` when there are two or it is not what a signing key must be.
   */
  find(session: Handle, ckaId: string): KeyHandle {
    const known = this.#found.get(ckaId);
    if (known) return known;
    const { library, slot } = this.#token;
    const pair = readAttributes(library, session, ckaId);
    if (!pair) {
      // A token that went away shows no objects: what it says of itself tells a missing key from a missing token.
      attempt("C_GetTokenInfo", () => library.C_GetTokenInfo(slot));
      throw new HostFailure("missing", `no pair of the token has CKA_ID ${ckaId}`);
    }
    const purposes = purposesOfLabel(pair.evidence["private.CKA_LABEL"] ?? "");
    const handle = pair.privateKey;
    const key = { handle, algorithm: algorithmOf(library, session, handle), purposes, spkiSha256: spkiSha256(pair.spki) };
    this.#found.set(ckaId, key);
    return key;
  }

  /** Forgets a handle that the token no longer knows. */
  drop(ckaId: string): void {
    this.#found.delete(ckaId);
  }
}
