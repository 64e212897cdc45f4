import * as fc from "fast-check";
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Fault } from "../../../src/fault.ts";
import { plainHandler } from "../../../src/http/plain.ts";
import { listen } from "../../../src/http/server.ts";
import { ocspResponders } from "../../../src/http/status/ocsp.ts";
import { parseOcspRequest } from "../../../src/pki/ocsp.ts";
import { issuedSerial, opensslOcspRequest } from "../../support/ocsp.ts";
import { listenForOcsp, ocspDoors } from "../../support/ocsp-doors.ts";
import { type RawAnswer, sendRaw } from "../../support/raw-client.ts";
import { startService, type TestService } from "../../support/service.ts";

const caseCount = 20_000;

let service: TestService;
let requests: readonly Uint8Array[];

beforeAll(async () => {
  service = await startService();
  const issuer = `${service.ground.directory}/chain.pem`;
  const serials = [await issuedSerial(service.service), await issuedSerial(service.service)];
  const ours = await Promise.all([
    opensslOcspRequest({ serials: serials.slice(1), issuer }),
    opensslOcspRequest({ serials: serials.slice(1), hash: "sha256", issuer }),
    opensslOcspRequest({ serials, nonce: true, issuer }),
  ]);
  const vectors = new URL("../../vectors/ocsp/", import.meta.url);
  const read = (name: string) => JSON.parse(readFileSync(new URL(name, vectors), "utf8")) as { der: string }[]; // our own committed files
  const foreign = ["requests.json", "unusual.json", "malformed.json"].flatMap(read).map(({ der }) => Buffer.from(der, "base64"));
  // Half of the cases begin with requests that the service can answer.
  requests = [...Array.from({ length: Math.ceil(foreign.length / ours.length) }, () => ours).flat(), ...foreign];
});
afterAll(() => service[Symbol.asyncDispose]());

const interesting = fc.constantFrom(
  0x00,
  0x01,
  0x02,
  0x04,
  0x05,
  0x06,
  0x0a,
  0x30,
  0x31,
  0x7f,
  0x80,
  0x81,
  0x82,
  0x84,
  0xa0,
  0xa1,
  0xa2,
  0xff,
);
const octet = fc.oneof(interesting, fc.integer({ min: 0, max: 255 }));

/** A request, as it is or with octets changed, cut or doubled. */
function mutated(): fc.Arbitrary<Buffer> {
  const base = fc.constantFrom(...requests);
  const changes = fc.array(fc.tuple(fc.nat(2_048), octet), { maxLength: 4 });
  const cut = fc.option(fc.tuple(fc.nat(2_048), fc.nat(64)), { freq: 5 });
  return fc.tuple(base, changes, cut, fc.boolean()).map(([from, changed, removed, doubled]) => {
    const bytes = Buffer.from(from);
    for (const [at, value] of changed) if (bytes.length > 0) bytes[at % bytes.length] = value;
    if (removed === null || bytes.length === 0) return bytes;
    const [at, length] = [removed[0] % bytes.length, removed[1]];
    const piece = bytes.subarray(at, at + length);
    return Buffer.concat([bytes.subarray(0, at), ...(doubled ? [piece, piece] : []), bytes.subarray(at + length)]);
  });
}

const strange = fc.constantFrom(
  "%",
  "%2",
  "%2f",
  "%2B",
  "%3d",
  "%3D%3D",
  "%00",
  "%ff",
  "%25",
  "%20",
  "%0a",
  "/",
  "//",
  "+",
  "=",
  "-",
  "_",
  "?",
  "&",
  ";",
  "..",
  "A",
  "M",
  "~",
);

/** A path: the base64 of such a request, escaped or not, with characters put in and taken out. */
function path(): fc.Arbitrary<string> {
  const edits = fc.array(fc.tuple(fc.nat(300), fc.nat(4), strange), { maxLength: 3 });
  return fc.tuple(mutated(), fc.boolean(), edits).map(([der, escaped, edited]) => {
    let text = der.toString("base64");
    if (escaped) text = encodeURIComponent(text);
    for (const [at, removed, put] of edited)
      text = text.slice(0, at % (text.length + 1)) + put + text.slice((at % (text.length + 1)) + removed);
    return `/ocsp/issuing-1/${text}`;
  });
}

/** Whole HTTP requests: GET, HEAD aside, whose answers have no body, and POST with and without chunks. */
function httpRequest(): fc.Arbitrary<Uint8Array> {
  const get = path().map((target) => Buffer.from(`GET ${target} HTTP/1.1\r\nHost: a\r\n\r\n`, "latin1"));
  const type = fc.oneof(
    { weight: 12, arbitrary: fc.constant("application/ocsp-request") },
    fc.constantFrom("", "text/plain", "application/ocsp-request;a"),
  );
  const post = fc.tuple(mutated(), type, fc.boolean()).map(([der, contentType, chunked]) => {
    const head = `POST /ocsp/issuing-1 HTTP/1.1\r\nHost: a\r\nContent-Type: ${contentType}\r\n`;
    if (!chunked) return Buffer.concat([Buffer.from(`${head}Content-Length: ${der.length}\r\n\r\n`), der]);
    const chunk = der.length === 0 ? [] : [Buffer.from(`${der.length.toString(16)}\r\n`), der, Buffer.from("\r\n")];
    return Buffer.concat([Buffer.from(`${head}Transfer-Encoding: chunked\r\n\r\n`), ...chunk, Buffer.from("0\r\n\r\n")]);
  });
  return fc.oneof(get, post);
}

/** Why an answer is a fault of the service; undefined when it is none. */
function faultIn({ status, contentType, body }: RawAnswer): string | undefined {
  if (status === 0 || status >= 500) return `status ${status}`;
  if (status !== 200) return [400, 404, 405, 413, 414, 415].includes(status) ? undefined : `status ${status}`;
  if (contentType !== "application/ocsp-response") return `a body of ${contentType}`;
  // OCSPResponseStatus: successful, malformedRequest, tryLater (beyond the client's budget), unauthorized; never internalError.
  const kind = body.length === 5 ? (body[4] ?? 0) : 0;
  return [0, 1, 3, 6].includes(kind) ? undefined : `the OCSPResponseStatus ${kind}`;
}

/** What each case was answered, in numbers, and the faults. */
async function fuzz(port: number, cases: readonly Uint8Array[]) {
  const seen = { answered: 0, malformedRequest: 0, unauthorized: 0, tryLater: 0, refused: 0 };
  const kinds = ["answered", "malformedRequest", undefined, "tryLater", undefined, undefined, "unauthorized"] as const;
  const faults: string[] = [];
  await sendRaw(port, cases, (answer, index) => {
    const fault = faultIn(answer);
    if (fault !== undefined) faults.push(`${fault}: ${Buffer.from(cases[index] ?? []).toString("base64")}`);
    const kind = answer.status !== 200 ? "refused" : kinds[answer.body.length === 5 ? (answer.body[4] ?? 0) : 0];
    if (kind) seen[kind] += 1;
  });
  return { seen, faults };
}

const seed = 6960;

test(`${caseCount} requests by GET and POST: none is answered by 5xx or internalError, none without an answer (F-1)`, async ({
  annotate,
}) => {
  const cases = fc.sample(httpRequest(), { numRuns: caseCount, seed });
  const { seen, faults } = await fuzz(service.service.listeners.status.port, cases);
  await annotate(JSON.stringify(seen));
  expect(faults).toEqual([]);
  // The cases reach all of what there is to reach.
  for (const count of [seen.answered, seen.unauthorized, seen.malformedRequest, seen.refused])
    expect(count).toBeGreaterThan(caseCount / 100);
}, 180_000);

test("the same cases find faults that are planted: in the parser, and in decoding the path", async () => {
  const cases = fc.sample(httpRequest(), { numRuns: caseCount / 4, seed });
  const doors = ocspDoors(service.service);
  const careless = {
    ...doors,
    events: { tell: () => undefined, measure: () => undefined },
    // Takes it for granted that a serial number is there and positive.
    ocsp: (slug: string, request: Uint8Array, client: string) => {
      if (parseOcspRequest(request).entries.some(({ serial }) => serial === undefined)) throw new TypeError("serial is undefined");
      return doors.ocsp(slug, request, client);
    },
  };
  await using parsing = await listenForOcsp(careless);
  expect((await fuzz(parsing.port, cases)).faults).toEqual(expect.arrayContaining([expect.stringMatching(/^the OCSPResponseStatus 2: /)]));

  const responders = ocspResponders(doors);
  const decodesFirst = plainHandler((incoming) => {
    const answer = responders(incoming, decodeURIComponent(incoming.url ?? ""));
    if (!answer) throw new Fault("notFound", "nothing stands under this path");
    return answer;
  });
  await using decoding = await listen({ host: "127.0.0.1", port: 0, option: "CHANCERY_STATUS_LISTEN" }, decodesFirst);
  expect((await fuzz(decoding.port, cases)).faults).toEqual(expect.arrayContaining([expect.stringMatching(/^status 500: /)]));
}, 60_000);
