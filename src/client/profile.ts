import { type JsonObject, objectOf, objects, text } from "./answer.ts";
import type { Client } from "./connect.ts";

/** A profile that certificates may be asked for: its name, and its whole document as the service freezes it into certificates. */
export type ListedProfile = { readonly name: string; readonly document: JsonObject };

/** The profiles of the service. */
export async function listProfiles(client: Client): Promise<readonly ListedProfile[]> {
  const answer = await client.send({ method: "GET", path: "/v1/profiles", repeatable: true });
  return objects(objectOf(answer), "profiles").map((document) => ({ name: text(document, "name"), document }));
}
