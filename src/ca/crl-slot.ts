/** Where a CRL of one scope is published again and again: the full CRL of an authority, or one of its shards. */
export type CrlSlot = {
  /** Its place below `/crl/`, without the suffix: `issuing-1`, `issuing-1/7`. */
  readonly path: string;
  /** Slug. */
  readonly authority: string;
  /** Undefined: the full CRL. */
  readonly shard: number | undefined;
  /** URL of a shard, as certificates name it; undefined for the full CRL. */
  readonly url: string | undefined;
  /** What stands in it; undefined before the first. */
  readonly published: PublishedCrl | undefined;
  /** What the next one comes behind: what stands in it, or one that was published in it and that a restored database does not know. */
  readonly latest: Pick<PublishedCrl, "number" | "thisUpdate"> | undefined;
};

/** A slot as it is opened. */
export type NewCrlSlot = Omit<CrlSlot, "published" | "latest">;

/** A CRL as it was published. */
export type PublishedCrl = {
  /** UUID of the publication, under which its parts are kept. */
  readonly publication: string;
  readonly number: bigint;
  readonly thisUpdate: Date;
  readonly nextUpdate: Date;
  readonly entries: number;
  /** Length of the DER. */
  readonly octets: number;
  /** SHA-256 of the DER, lower-case hex. */
  readonly sha256: string;
};

/** How long a CRL lasts, and after how long it is renewed where nothing is revoked; both in seconds. */
export type CrlTerms = { readonly lifetimeSeconds: number; readonly periodSeconds: number };

/**
 * Of an authority that the service signs for, and of a root, whose token is opened for this act alone.
 * @see docs/CONFORMANCE.md XC-17
 */
export const crlTerms: Readonly<Record<"issuing" | "root", CrlTerms>> = {
  issuing: { lifetimeSeconds: 24 * 3_600, periodSeconds: 6 * 3_600 },
  root: { lifetimeSeconds: 180 * 86_400, periodSeconds: 90 * 86_400 },
};

/** Whether half of a CRL's life is over: it should have been renewed. */
export function isHalfOver({ thisUpdate, nextUpdate }: Pick<PublishedCrl, "thisUpdate" | "nextUpdate">, now: Date): boolean {
  return now.getTime() - thisUpdate.getTime() >= (nextUpdate.getTime() - thisUpdate.getTime()) / 2;
}

/**
 * The number of the CRL that follows: greater than that of the last, and than any that a database had since lost, for those were made
 * before `thisUpdate`.
 * @see docs/CONFORMANCE.md XC-14
 */
export function nextCrlNumber(latest: CrlSlot["latest"], thisUpdate: Date): bigint {
  const byTime = BigInt(thisUpdate.getTime());
  const following = (latest?.number ?? 0n) + 1n;
  return following > byTime ? following : byTime;
}
