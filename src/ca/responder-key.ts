import { generateKeyPair } from "../custody/generate.ts";
import type { Custody, KeyPair } from "../custody/key-pair.ts";
import { readKeyPair } from "../custody/store.ts";
import type { Database } from "../database/connect.ts";
import type { Ca } from "./ca.ts";
import { readResponderRecord } from "./responder-store.ts";

/** Purposes of the key that an authority's answers are signed with. It is P-256 under every authority: no other signs as fast. */
const kind = { algorithm: "P-256", purposes: ["ocsp", "binding"], namespace: "/", principal: "system" } as const;

/** A name stands for one key for ever: the one that takes the place of a compromised key has the next number. */
function keyName(slug: string, number: number): string {
  return number === 1 ? `ocsp-${slug}` : `ocsp-${slug}.${number}`;
}

/**
 * Makes the key of an authority's responder in the authority's token, once; and another where a certificate of the one that stands was
 * revoked because it is compromised.
 */
export async function generateResponderKey(custody: Custody, slug: string): Promise<void> {
  const standing = await readNewest(custody.database, slug);
  const next = standing === undefined || (await isCompromised(custody.database, slug, standing.pair)) ? 1 : 0;
  await generateKeyPair(custody, { ...kind, name: keyName(slug, (standing?.number ?? 0) + next) });
}

async function isCompromised(database: Database, authority: string, { reference }: KeyPair): Promise<boolean> {
  const spkiSha256 = Buffer.from(reference.spkiSha256, "hex");
  return (await database.read((sql) => readResponderRecord(sql, { authority, spkiSha256 }))).compromised;
}

/** The key of an authority's responder, the newest where there are several; undefined when none was ever made. */
export async function readResponderKey(database: Database, slug: string): Promise<KeyPair | undefined> {
  return (await readNewest(database, slug))?.pair;
}

/** Slugs of the issuing authorities whose responder has no key yet: made by a ceremony of a release without OCSP. */
export async function listMissingResponderKeys({ database, authorities }: Pick<Ca, "database" | "authorities">): Promise<string[]> {
  const missing: string[] = [];
  for (const { slug, kind: authorityKind } of authorities.values()) {
    if (authorityKind === "issuing" && !(await readResponderKey(database, slug))) missing.push(slug);
  }
  return missing;
}

async function readNewest(database: Database, slug: string): Promise<{ readonly number: number; readonly pair: KeyPair } | undefined> {
  return await database.transact(async (tx) => {
    let newest: { readonly number: number; readonly pair: KeyPair } | undefined;
    for (let number = 1; ; number += 1) {
      const pair = await readKeyPair(tx, keyName(slug, number));
      if (!pair) return newest;
      newest = { number, pair };
    }
  });
}
