import { type JsonObject, number, objectOf, objects, optionalObject, text } from "./answer.ts";
import type { Client } from "./connect.ts";

/** A certification authority of the service. Times are RFC 3339 text in UTC. */
export type ListedAuthority = {
  /** Stands in the URLs of every certificate it issued. */
  readonly slug: string;
  readonly kind: string;
  /** Slug of its issuer; its own for a root. */
  readonly issuer: string;
  readonly subject: string;
  readonly keyAlgorithm: string;
  readonly notBefore: string;
  readonly notAfter: string;
  readonly spkiSha256: string;
  /** PEM. */
  readonly certificate: string;
  /** Its full CRL as it is served; undefined where there is none. */
  readonly crl: ListedCrl | undefined;
};

/** A CRL. Its number is given in decimal digits. */
export type ListedCrl = { readonly number: string; readonly thisUpdate: string; readonly nextUpdate: string; readonly entries: number };

/** The authorities of the service, roots and issuing ones. */
export async function listAuthorities(client: Client): Promise<readonly ListedAuthority[]> {
  const answer = await client.send({ method: "GET", path: "/v1/authorities", repeatable: true });
  return objects(objectOf(answer), "authorities").map(listed);
}

function listed(object: JsonObject): ListedAuthority {
  const crl = optionalObject(object, "crl");
  return {
    slug: text(object, "slug"),
    kind: text(object, "kind"),
    issuer: text(object, "issuer"),
    subject: text(object, "subject"),
    keyAlgorithm: text(object, "keyAlgorithm"),
    notBefore: text(object, "notBefore"),
    notAfter: text(object, "notAfter"),
    spkiSha256: text(object, "spkiSha256"),
    certificate: text(object, "certificate"),
    crl: crl === undefined ? undefined : listedCrl(crl),
  };
}

function listedCrl(object: JsonObject): ListedCrl {
  return {
    number: text(object, "number"),
    thisUpdate: text(object, "thisUpdate"),
    nextUpdate: text(object, "nextUpdate"),
    entries: number(object, "entries"),
  };
}
