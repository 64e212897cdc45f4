import { Fault } from "../fault.ts";
import { hasher, signatureAlgorithm, type KeyAlgorithm } from "../pki/algorithm.ts";
import type { CertListReader } from "../pki/cert-list.ts";
import { certListCheck } from "../pki/signed-kind.ts";
import type { HostCall } from "./frame.ts";
import { HostFailure } from "./host-failure.ts";
import { inputOfDigest } from "./mechanism.ts";

/** Streams that the host has open at once; a service writes few CRLs at a time. */
const mostStreams = 16;

type PartStream = {
  readonly algorithm: KeyAlgorithm;
  readonly check: CertListReader;
  readonly hash: ReturnType<typeof hasher>;
  /** Parts taken so far. */
  parts: number;
};

/** What the host has taken of bytes that come in parts: of each stream its hash so far, and the place it has been walked to. */
export class PartStreams {
  readonly #open = new Map<number, PartStream>();

  /** Hashes and checks the next part of a stream. @throws HostFailure; the stream is gone then. */
  take({ stream: id, index, algorithm, bytes }: Extract<HostCall, { act: "part" }>): undefined {
    const stream = index === 0 ? this.#begin(id, algorithm) : this.#find(id, index);
    try {
      stream.check.push(bytes);
      stream.hash.update(bytes);
      stream.parts += 1;
    } catch (error) {
      this.drop(id);
      throw refusal(error);
    }
  }

  /**
   * Ends a stream: what the token is given to sign its bytes.
   * @throws HostFailure when they are not whole, no TBSCertList, or hashed for another algorithm than the key's.
   */
  end({ stream: id, parts, key }: Extract<HostCall, { act: "signParts" }>): Uint8Array {
    if (parts === 0) throw new HostFailure("refused", "no bytes are nothing we sign for purpose crl");
    const { check, hash, algorithm } = this.#find(id, parts);
    this.drop(id);
    try {
      check.end();
    } catch (error) {
      throw refusal(error);
    }
    if (key.algorithm !== algorithm)
      throw new HostFailure("refused", `the bytes were hashed for ${algorithm}, the key is ${key.algorithm}`);
    return inputOfDigest(signatureAlgorithm(algorithm), hash.digest());
  }

  /** Forgets a stream; nothing happens when there is none. */
  drop(id: number): void {
    this.#open.delete(id);
  }

  #begin(id: number, algorithm: KeyAlgorithm): PartStream {
    if (this.#open.has(id)) throw new HostFailure("refused", `stream ${id} has begun before`);
    if (this.#open.size === mostStreams) throw new HostFailure("refused", `${mostStreams} streams are open, which is the most allowed`);
    const stream = { algorithm, check: certListCheck(), hash: hasher(signatureAlgorithm(algorithm)), parts: 0 };
    this.#open.set(id, stream);
    return stream;
  }

  /** The stream of which so many parts have come. A host that another one stands in for has not got the ones before. */
  #find(id: number, parts: number): PartStream {
    const stream = this.#open.get(id);
    if (stream?.parts === parts) return stream;
    this.drop(id);
    throw new HostFailure("missing", stream ? `part ${stream.parts} of stream ${id} is missing` : `the host knows nothing of stream ${id}`);
  }
}

function refusal(error: unknown): unknown {
  if (!(error instanceof Fault) || error.code !== "malformed") return error;
  return new HostFailure("refused", `the bytes are nothing we sign for purpose crl: ${error.detail}`);
}
