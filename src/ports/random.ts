/** Randomness fit for keys, serials and tokens: the operating system's generator, or a seeded one in tests. */
export type Random = {
  /** `length` bytes, uniformly distributed. */
  bytes(length: number): Uint8Array<ArrayBuffer>;
};
