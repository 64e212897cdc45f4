import { Fault } from "../fault.ts";
import type { SignatureAlgorithm } from "./algorithm.ts";
import type { CrlEntries } from "./crl.ts";

/** A CRL as it is read, piece by piece: its head, its entries in batches, and last what stands behind them. */
export type CrlPiece =
  | {
      readonly piece: "head";
      /** Where the TBSCertList stands in the whole: offset of its first octet, and past its last. */
      readonly tbsStart: number;
      readonly tbsEnd: number;
      readonly signatureAlgorithm: SignatureAlgorithm;
      /** DER Name. */
      readonly issuer: Uint8Array;
      readonly thisUpdate: Date;
      readonly nextUpdate: Date;
    }
  | { readonly piece: "entries"; readonly entries: CrlEntries }
  | {
      readonly piece: "tail";
      readonly entryCount: number;
      readonly authorityKeyIdentifier: Uint8Array;
      readonly number: bigint;
      /** URI of the issuingDistributionPoint; undefined where there is none. */
      readonly distributionPoint: string | undefined;
      readonly signature: Uint8Array;
    };

/**
 * Reads a CRL that comes in parts of any size, with memory for one part. Strict: DER, version 2, no field, extension or CRLReason that a
 * CRL of ours never has. Judges neither signature nor dates.
 * @throws Fault `malformed`
 * @see RFC 5280 §5.1
 */
// eslint-disable-next-line
export async function* readCrl(parts: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): AsyncGenerator<CrlPiece, undefined> {
  void parts;
  throw new Fault("internal", "not there yet");
}
