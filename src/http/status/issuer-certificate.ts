import { createHash } from "node:crypto";
import type { Authority } from "../../ca/authority.ts";
import type { StatusDoors } from "../doors.ts";
import { type PlainAnswer, text } from "../plain.ts";
import { conditional } from "./conditional.ts";
import type { StatusResource } from "./resource.ts";

const issuerPath = /^\/ca\/([a-z0-9]+(?:-[a-z0-9]+)*)\.cer$/;

/** Caches ask again once a day: a slug's key never changes, its certificate may be renewed. */
const cacheControl = "public, max-age=86400";

/**
 * `/ca/{slug}.cer`: the certificate of an authority as one DER object, which caIssuers URLs lead to.
 * @see RFC 5280 §4.2.2.1; RFC 2585 §4.1 for the media type; RFC 9110 §8.8, §13 for the validators
 */
export function issuerCertificates(doors: StatusDoors): StatusResource {
  const prepared = new WeakMap<Authority, PlainAnswer>();
  return (incoming, path) => {
    const slug = issuerPath.exec(path)?.[1];
    const authority = slug === undefined ? undefined : doors.authorities().find((candidate) => candidate.slug === slug);
    if (!authority) return undefined;
    if (incoming.method !== "GET" && incoming.method !== "HEAD") return text(405, "This path takes GET and HEAD.", { allow: "GET, HEAD" });
    const whole = prepared.get(authority) ?? representation(authority);
    prepared.set(authority, whole);
    return conditional(incoming, { entityTag: String(whole.headers["etag"]), lastModified: authority.parsed.notBefore }, whole);
  };
}

function representation({ certificate, parsed }: Authority): PlainAnswer {
  return {
    status: 200,
    headers: {
      "content-type": "application/pkix-cert",
      etag: `"${createHash("sha256").update(certificate).digest("hex")}"`,
      "last-modified": parsed.notBefore.toUTCString(),
      "cache-control": cacheControl,
    },
    body: certificate,
  };
}
