/** Keys that the command line makes, by the names `--key-algorithm` takes. */
export const requestKeyAlgorithms = ["P-256", "P-384", "RSA-2048", "RSA-3072", "RSA-4096"] as const;

/** A key that the command line makes. */
export type RequestKeyAlgorithm = (typeof requestKeyAlgorithms)[number];
