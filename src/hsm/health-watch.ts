import { randomBytes } from "node:crypto";

import { verificationKey, verifySignature, signatureAlgorithm } from "../pki/algorithm.ts";
import { healthHead } from "../pki/signed-text.ts";
import type { KeyReference } from "../ports/hsm.ts";

const intervalMs = 2000;
const freshMs = 10_000;

/** Signs `bytes` for purpose `health`, past the breaker: the health signature is the breaker's probe. */
export type HealthSign = (key: KeyReference, bytes: Uint8Array) => Promise<Uint8Array>;

/**
 * Signs a text with the token's health key every two seconds and verifies it under the recorded public key. What the token says of
 * itself is no evidence: with its objects gone, its sessions still report that all is well.
 */
export class HealthWatch {
  readonly #sign: HealthSign;
  readonly #corrupt: () => void;
  #verifiedAt: number | undefined;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  /** @param corrupt told when a health signature does not verify. */
  constructor(sign: HealthSign, corrupt: () => void) {
    this.#sign = sign;
    this.#corrupt = corrupt;
  }

  /** Seconds since the last verified signature was made; undefined before the first. */
  get ageSeconds(): number | undefined {
    return this.#verifiedAt === undefined ? undefined : (performance.now() - this.#verifiedAt) / 1000;
  }

  /** Whether a verified signature is at most ten seconds old. */
  get fresh(): boolean {
    return this.#verifiedAt !== undefined && performance.now() - this.#verifiedAt <= freshMs;
  }

  /** Begins, with a first signature at once. */
  start(key: KeyReference, spki: Uint8Array): void {
    const algorithm = signatureAlgorithm(key.algorithm);
    const publicKey = verificationKey(spki);
    const check = async (): Promise<void> => {
      const begun = performance.now();
      const text = Buffer.from(`${healthHead}${randomBytes(16).toString("hex")}\n`);
      const signature = await this.#sign(key, text).catch(() => undefined);
      if (signature !== undefined) {
        if (await verifySignature(publicKey, algorithm, text, signature)) this.#verifiedAt = begun;
        else this.#corrupt();
      }
      if (!this.#stopped) this.#timer = setTimeout(() => void check(), intervalMs).unref();
    };
    void check();
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }
}
