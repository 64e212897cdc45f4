import { createHash } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { Authority } from "../../ca/authority.ts";
import type { StatusDoors } from "../doors.ts";
import { parseHttpDate } from "../http-date.ts";
import { type PlainAnswer, text } from "../plain.ts";
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
    return conditional(incoming, authority, whole);
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

/** What the preconditions of a request make of the whole answer, in the order of RFC 9110 §13.2.2. */
function conditional({ headers }: IncomingMessage, { parsed }: Authority, whole: PlainAnswer): PlainAnswer {
  const entityTag = String(whole.headers["etag"]);
  const lastModified = Math.floor(parsed.notBefore.getTime() / 1000) * 1000;
  // A date that is none makes no condition (§13.1.3, §13.1.4).
  const dateOf = (value: string | undefined) => (value === undefined ? undefined : parseHttpDate(value, lastModified));

  const match = headers["if-match"];
  const unmodifiedSince = match === undefined ? dateOf(headers["if-unmodified-since"]) : undefined;
  const asExpected = match === undefined ? lastModified <= (unmodifiedSince ?? lastModified) : isAmong(entityTag, match, "strong");
  if (!asExpected) return text(412, "The certificate is another than the one that the request was made for.");

  const noneMatch = headers["if-none-match"];
  const modifiedSince = noneMatch === undefined ? dateOf(headers["if-modified-since"]) : undefined;
  const known =
    noneMatch === undefined ? modifiedSince !== undefined && lastModified <= modifiedSince : isAmong(entityTag, noneMatch, "weak");
  return known ? { ...whole, status: 304, body: "" } : whole;
}

/** Whether one of a list of tags is ours, which is strong: in the strong comparison one marked as weak is not (RFC 9110 §8.8.3.2). */
function isAmong(entityTag: string, list: string, comparison: "strong" | "weak"): boolean {
  if (list.trim() === "*") return true;
  const tags = [...list.matchAll(/(W\/)?("[!#-~\x80-\xff]*")/g)];
  return tags.some(([, weak, tag]) => tag === entityTag && (weak === undefined || comparison === "weak"));
}
