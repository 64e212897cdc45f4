import type { Clock } from "../ports/clock.ts";
import type { Database } from "../database/connect.ts";
import { Fault } from "../fault.ts";
import { builtInProfiles, type Profile, profileByName, profileDocument, profileSha256 } from "../pki/profile.ts";
import { readProfileVersion, recordProfileVersions } from "./store.ts";

/** A profile with the hash of its canonical JSON, under which it is recorded. */
export type FrozenProfile = { readonly profile: Profile; readonly sha256: Uint8Array };

/** Into how many shards the CRLs of a profile's certificates are divided, by the profile's name; absent: not at all. */
export type CrlShards = Readonly<Record<string, number>>;

/** The profiles of this release, with the shards that the operator gave them. @throws Fault `refusedToStart` for a profile that can have none. */
export function profilesWith(crlShards: CrlShards): readonly Profile[] {
  for (const name of Object.keys(crlShards)) {
    const profile = profileByName(name);
    if (profile?.kind !== "end-entity" || !profile.crlDistributionPoint) {
      const sharded = builtInProfiles.filter(({ kind, crlDistributionPoint }) => kind === "end-entity" && crlDistributionPoint);
      const names = sharded.map((possible) => possible.name).join(", ");
      throw new Fault("refusedToStart", `CHANCERY_CRL_SHARDS: ${name} is no profile whose CRL can be divided; ${names} are`);
    }
  }
  return builtInProfiles.map((profile) => {
    const shards = Object.hasOwn(crlShards, profile.name) ? crlShards[profile.name] : undefined;
    return shards === undefined ? profile : Object.freeze({ ...profile, crlShards: shards });
  });
}

/** The profiles by name, each recorded under its hash. */
export async function freezeProfiles(
  { database, clock }: { readonly database: Database; readonly clock: Clock },
  profiles: readonly Profile[],
): Promise<ReadonlyMap<string, FrozenProfile>> {
  const frozen = profiles.map((profile) => ({ profile, sha256: new Uint8Array(Buffer.from(profileSha256(profile), "hex")) }));
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
