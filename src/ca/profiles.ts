import type { Clock } from "../ports/clock.ts";
import type { Database } from "../database/connect.ts";
import { builtInProfiles, type Profile, profileDocument, profileSha256 } from "../pki/profile.ts";
import { readProfileVersion, recordProfileVersions } from "./store.ts";

/** A profile with the hash of its canonical JSON, under which it is recorded. */
export type FrozenProfile = { readonly profile: Profile; readonly sha256: Uint8Array };

/** The profiles of this release by name, each recorded under its hash. */
export async function freezeProfiles(database: Database, clock: Clock): Promise<ReadonlyMap<string, FrozenProfile>> {
  const frozen = builtInProfiles.map((profile) => ({ profile, sha256: new Uint8Array(Buffer.from(profileSha256(profile), "hex")) }));
  const createdAt = clock.now();
  await database.transact((tx) =>
    recordProfileVersions(
      tx,
      frozen.map(({ profile, sha256 }) => ({ sha256, name: profile.name, document: profileDocument(profile), createdAt })),
    ),
  );
  return new Map(frozen.map((entry) => [entry.profile.name, entry]));
}

/** The profile that an intent was made from, in the version it names; undefined when it was never recorded. */
export async function readFrozenProfile(database: Database, sha256: Uint8Array): Promise<Profile | undefined> {
  const document = await database.read((sql) => readProfileVersion(sql, sha256));
  // The document was written by `profileDocument` under this very hash, which the column's key enforces.
  return document === undefined ? undefined : (JSON.parse(document) as Profile);
}
