import type { ServedCrl } from "../../ca/served-crl.ts";
import type { StatusDoors } from "../doors.ts";
import { type PlainAnswer, text } from "../plain.ts";
import { conditional, lastModifiedOf } from "./conditional.ts";
import type { StatusResource } from "./resource.ts";

const crlPath = /^\/crl\/([a-z0-9]+(?:-[a-z0-9]+)*(?:\/(?:0|[1-9]\d{0,4}))?)\.crl$/;

/** How long a cache may keep a CRL: a revocation is seen through it so much later. */
const maxAgeSeconds = 60;

/**
 * `/crl/{slug}.crl` and `/crl/{slug}/{shard}.crl`: one DER CRL, which cRLDistributionPoints URLs lead to. One whose nextUpdate has passed is
 * served as well: whether it is of use is for who verifies to say.
 * @see RFC 5280 §4.2.1.13; RFC 2585 §4.2 for the media type
 */
export function crls(doors: StatusDoors): StatusResource {
  return (incoming, path) => {
    const slot = crlPath.exec(path)?.[1];
    const crl = slot === undefined ? undefined : doors.crl(slot);
    if (!crl) return undefined;
    if (incoming.method !== "GET" && incoming.method !== "HEAD") return text(405, "This path takes GET and HEAD.", { allow: "GET, HEAD" });
    const now = doors.clock.now().getTime();
    const validators = { entityTag: `"${crl.sha256}"`, lastModified: lastModifiedOf(crl.thisUpdate, now) };
    return conditional(incoming, validators, representation(crl, { ...validators, now }));
  };
}

/** `now` in milliseconds of the epoch. */
type Standing = { readonly entityTag: string; readonly lastModified: Date; readonly now: number };

function representation(crl: ServedCrl, { entityTag, lastModified, now }: Standing): PlainAnswer {
  const leftSeconds = Math.floor((crl.nextUpdate.getTime() - now) / 1000);
  const maxAge = Math.min(Math.max(leftSeconds, 0), maxAgeSeconds);
  return {
    status: 200,
    headers: {
      "content-type": "application/pkix-crl",
      etag: entityTag,
      "last-modified": lastModified.toUTCString(),
      expires: crl.nextUpdate.toUTCString(),
      "cache-control": `public, max-age=${maxAge}, no-transform, must-revalidate`,
    },
    body: crl.body instanceof Uint8Array ? crl.body : { octets: crl.octets, parts: crl.body },
  };
}
