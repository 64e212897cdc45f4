import type { Tx } from "../database/connect.ts";

/** A key that is to stay out of certificates. `spkiSha256` is 32 octets. */
export type ReservedKey = {
  readonly spkiSha256: Uint8Array;
  readonly kind: "account" | "compromised";
  readonly reservedAt: Date;
};

/**
 * Keeps a key out of certificates from now on, in the transaction of the act that needs it.
 * @returns false, and nothing is reserved, when the key is reserved for something else, or is to be an account's and stands in a
 *   certificate (RFC 8555 §11.1).
 */
export async function reserveKey({ sql }: Tx, { spkiSha256, kind, reservedAt }: ReservedKey): Promise<boolean> {
  const [row] = await sql<{ reserved: boolean }[]>`
    with made as (
      insert into reserved_key (spki_sha256, kind, reserved_at)
      select ${spkiSha256}, ${kind}, ${reservedAt.toISOString()}
      where ${kind} <> 'account' or not exists (select from certificate where spki_sha256 = ${spkiSha256})
      on conflict do nothing
      returning kind
    )
    select exists (select from made) or exists (select from reserved_key where spki_sha256 = ${spkiSha256} and kind = ${kind}) as reserved`;
  return row?.reserved ?? false;
}
