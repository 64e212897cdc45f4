import type { PublishedCrl } from "./crl-slot.ts";

/** A CRL as an instance serves it: from memory, or where it is longer from a file that is held open. */
export type ServedCrl = Omit<PublishedCrl, "publication"> & {
  /** The DER: whole, or for each call once more in parts from its beginning. */
  readonly body: Uint8Array | (() => AsyncIterable<Uint8Array>);
};
