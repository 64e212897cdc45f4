import { createHash } from "node:crypto";
import type { IncomingMessage, OutgoingHttpHeaders } from "node:http";
import { LRUCache } from "lru-cache";
import type { KeptAnswer, OcspAnswer } from "../../ca/kept-answer.ts";
import { Fault } from "../../fault.ts";
import { isOcspError, maximumOcspRequestOctets, ocspError } from "../../pki/ocsp.ts";
import { decodeBase64 } from "../../pki/pem.ts";
import { readBody } from "../body.ts";
import type { StatusDoors } from "../doors.ts";
import { type PlainAnswer, text } from "../plain.ts";
import { peerOf } from "../remote-address.ts";
import { conditional, lastModifiedOf, type Validators } from "./conditional.ts";
import type { StatusResource } from "./resource.ts";

// The slug of the authority, and behind it what a GET asks: base64 with slashes of its own.
const responderPath = /^\/ocsp\/([a-z0-9]+(?:-[a-z0-9]+)*)(?:\/(.*))?$/;

/** What the responders ask. */
export type OcspDoors = Pick<StatusDoors, "authorities" | "clock" | "events" | "ocsp">;

/** How long a cache may keep an answer: a revocation is seen through it by then. */
const maxAgeSeconds = 60;

/** Paths whose answer is found without decoding them: of requests that many send, so none with a nonce. */
const maxPaths = 20_000;

/**
 * `/ocsp/{slug}`: the OCSP responder of an authority, by GET with the request in the path and by POST. What is no OCSP request gets the error
 * response malformedRequest, with status 200 as every response of the protocol.
 * @see RFC 6960 Appendix A; RFC 9919 §6, §7.2
 */
export function ocspResponders(doors: OcspDoors): StatusResource {
  const keptByPath = new LRUCache<string, KeptAnswer>({ max: maxPaths });
  const prepared = new WeakMap<KeptAnswer, Prepared>();

  const whole = (kept: KeptAnswer, now: number): Prepared => {
    const before = prepared.get(kept);
    if (before && now <= before.until) return before;
    const made = prepare(kept, now);
    prepared.set(kept, made);
    return made;
  };

  const byGet = async (incoming: IncomingMessage, path: string, { slug, tail }: Asked): Promise<PlainAnswer> => {
    const answer = await answerTo(doors, { incoming, slug, request: () => requestInPath(tail) });
    if (!answer.kept) return live(answer);
    const now = doors.clock.now().getTime();
    if (answer.repeatable === true && isFresh(answer.kept, now)) keptByPath.set(path, answer.kept);
    const { validators, answer: made } = whole(answer.kept, now);
    return conditional(incoming, validators, made);
  };

  const byPost = async (incoming: IncomingMessage, slug: string): Promise<PlainAnswer> => {
    const refusal = refusedType(incoming);
    if (refusal) return refusal;
    const body = await bodyOf(incoming);
    if (!(body instanceof Uint8Array)) return body;
    const answer = await answerTo(doors, { incoming, slug, request: () => body });
    return answer.kept ? whole(answer.kept, doors.clock.now().getTime()).answer : live(answer);
  };

  return (incoming, path) => {
    if (!path.startsWith("/ocsp/")) return undefined;
    const reads = incoming.method === "GET" || incoming.method === "HEAD";
    const kept = reads ? keptByPath.get(path) : undefined;
    const now = doors.clock.now().getTime();
    if (kept && isFresh(kept, now)) {
      const { validators, answer, counted } = whole(kept, now);
      doors.events.measure("chancery_ocsp_answers_total", 1, counted);
      return conditional(incoming, validators, answer);
    }
    const [, slug, tail = ""] = responderPath.exec(path) ?? [];
    const authority = doors.authorities().find((candidate) => candidate.slug === slug && candidate.kind === "issuing");
    if (!authority) return undefined;
    if (reads) return byGet(incoming, path, { slug: authority.slug, tail });
    if (/[^/]/.test(tail)) return text(405, "This path takes GET and HEAD.", { allow: "GET, HEAD" });
    if (incoming.method !== "POST") return text(405, "This path takes GET, HEAD and POST.", { allow: "GET, HEAD, POST" });
    return byPost(incoming, authority.slug);
  };
}

type Asked = { readonly slug: string; readonly tail: string };

/**
 * An answer as it is written until `until`, in milliseconds of the epoch: later its max-age would reach too far. `counted` are the labels under
 * which it is counted where it is found by its path; all others are counted where they are made.
 */
type Prepared = {
  readonly answer: PlainAnswer;
  readonly validators: Validators;
  readonly until: number;
  readonly counted: Readonly<Record<"status" | "hash" | "source", string>>;
};

function isFresh(kept: KeptAnswer, now: number): boolean {
  return kept.current && now < kept.refreshAt.getTime();
}

/** The headers of RFC 9919 §7.2. A cache asks again before the answer is renewed or, where that is late, before it ends (§7.1). */
function prepare({ response, status, hash, thisUpdate, nextUpdate, refreshAt }: KeptAnswer, now: number): Prepared {
  const end = (now < refreshAt.getTime() ? refreshAt : nextUpdate).getTime();
  const age = Math.max(0, Math.min(maxAgeSeconds, Math.floor((end - now) / 1000)));
  const entityTag = `"${createHash("sha256").update(response).digest("hex")}"`;
  const lastModified = lastModifiedOf(thisUpdate, now);
  const headers = {
    etag: entityTag,
    "last-modified": lastModified.toUTCString(),
    expires: nextUpdate.toUTCString(),
    "cache-control": `max-age=${age}, public, no-transform, must-revalidate`,
  };
  return {
    answer: ocspAnswer(response, headers),
    // One that says revoked may be as old as the good one before it, or older where instances' clocks differ: a client that knows its own
    // answer by the date alone is given the other one whole.
    validators: { entityTag, lastModified: status.status === "good" ? lastModified : undefined },
    until: end - age * 1000,
    counted: { status: status.status, hash, source: "path" },
  };
}

/** An answer that is made for one client alone. RFC 9919 §7.2: no cache keeps an error; of what is signed nothing says no-store. */
function live({ response }: OcspAnswer): PlainAnswer {
  return ocspAnswer(response, {
    "cache-control": isOcspError(response) ? "no-store" : "private, max-age=0, no-transform, must-revalidate",
  });
}

function ocspAnswer(response: Uint8Array, headers: OutgoingHttpHeaders): PlainAnswer {
  return { status: 200, headers: { "content-type": "application/ocsp-response", ...headers }, body: response };
}

/** `request` gives the DER, or throws Fault `malformed`. */
type Question = { readonly incoming: IncomingMessage; readonly slug: string; readonly request: () => Uint8Array };

/** What the responder answers to a request, and to what cannot be read as one. */
async function answerTo(doors: OcspDoors, { incoming, slug, request }: Question): Promise<OcspAnswer> {
  try {
    return await doors.ocsp(slug, request(), peerOf(incoming.socket.remoteAddress ?? ""));
  } catch (error) {
    const status = errorOf(error);
    doors.events.measure("chancery_ocsp_answers_total", 1, { status, hash: "other", source: "alone" });
    if (status === "internalError") doors.events.tell("error", "request.failed", { door: "ocsp", authority: slug, error });
    return { response: ocspError[status] };
  }
}

function errorOf(error: unknown): "malformedRequest" | "tryLater" | "internalError" {
  const code = error instanceof Fault ? error.code : "internal";
  if (code === "malformed") return "malformedRequest";
  return code === "hsmUnavailable" || code === "databaseUnavailable" || code === "busy" ? "tryLater" : "internalError";
}

/**
 * The DER request of a GET. RFC 6960 A.1 has the base64 in URL encoding, but clients also send it as it is; some write a slash more in front
 * of it, which no request begins with.
 * @throws Fault `malformed`
 */
function requestInPath(tail: string): Uint8Array {
  return decodeBase64(tail.replaceAll(/%([0-9a-f]{2})/gi, unescaped).replace(/^\/+/, ""));
}

function unescaped(_: string, digits: string): string {
  return String.fromCharCode(Number.parseInt(digits, 16));
}

/** RFC 6960 A.1. */
function refusedType({ headers }: IncomingMessage): PlainAnswer | undefined {
  const type = headers["content-type"]?.split(";", 1)[0]?.trim().toLowerCase();
  const coded = (headers["content-encoding"] ?? "identity").trim().toLowerCase() !== "identity";
  if (type === "application/ocsp-request" && !coded) return undefined;
  return text(415, "The body must be application/ocsp-request, without a content coding.", { accept: "application/ocsp-request" });
}

/** The body, or the refusal of one that is too long or did not come to its end. */
async function bodyOf(incoming: IncomingMessage): Promise<Uint8Array | PlainAnswer> {
  try {
    return await readBody(incoming, maximumOcspRequestOctets);
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    return text(error.code === "tooLarge" ? 413 : 400, `${error.detail}.`, { connection: "close" });
  }
}
