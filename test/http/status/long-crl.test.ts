import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { request, type IncomingMessage } from "node:http";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { buffer } from "node:stream/consumers";
import { afterAll, beforeAll, expect, test } from "vitest";
import { publishCrl } from "../../../src/ca/publish-crl.ts";
import { movedClock } from "../../support/clock.ts";
import { opensslCrl, standing } from "../../support/crl-world.ts";
import { openFiles } from "../../support/open-files.ts";
import { startService, type TestService } from "../../support/service.ts";
import { exchange, type Sent } from "../exchange.ts";

const clock = movedClock();
let chancery: TestService;
let chain: string;

/** More than any connection's buffers take from a service whose client does not read: a reader is in the middle of it. */
const entryCount = 150_000;

beforeAll(async () => {
  chancery = await startService({ clock });
  chain = join(chancery.ground.directory, "chain.pem");
  await chancery.service.ca.database.transactAlone(
    60_000,
    ({ sql }) => sql`
      insert into revocation (authority, serial, revoked_at, reason, not_after)
      select 'issuing-1', decode('4' || substr(md5(g::text), 2), 'hex'), '2026-01-01T00:00:00Z', 4, '2090-01-01T00:00:00Z'
      from generate_series(1, ${entryCount}) g`,
  );
  await publishNext();
}, 120_000);
afterAll(() => chancery[Symbol.asyncDispose]());

const path = "/crl/issuing-1.crl";
const send = (sent: Partial<Sent> = {}) => exchange(chancery.service.listeners.status, { path, ...sent });

/** A newer CRL is published, and served once the service's job has seen it. */
async function publishNext(): Promise<void> {
  const { ca } = chancery.service;
  const before = (await standing(ca)).number;
  clock.aheadSeconds += 1;
  // The service's own job may be at it: either makes the next one.
  for (let made = await standing(ca); made.number <= before || made.entries !== entryCount; made = await standing(ca)) {
    if (!(await publishCrl(ca, "issuing-1"))) await pause(100);
  }
  const { sha256 } = await standing(ca);
  while ((await send({ method: "HEAD" })).headers.etag !== `"${sha256}"`) await pause(100);
}

/** A client that has the head of the answer and stands still. */
async function reader(): Promise<IncomingMessage> {
  const asked = request({ host: "127.0.0.1", port: chancery.service.listeners.status.port, path, agent: false }).end();
  const [response]: IncomingMessage[] = await once(asked, "response");
  if (!response) throw new Error("no answer");
  return response.pause();
}

/** Files that this process holds open and that have lost their name. */
async function heldFiles(): Promise<string[]> {
  const held = await openFiles(chancery.ground.directory);
  return held.filter((file) => file.includes("issuing-1.crl") && file.endsWith("(deleted)"));
}

test("a CRL of many megabytes is served whole from its file, and openssl verifies it and reads every entry (XC-23)", async () => {
  const { status, headers, body } = await send();
  expect([status, headers["content-type"], headers["content-length"]]).toEqual([200, "application/pkix-crl", String(body.length)]);
  expect(body.length).toBeGreaterThan(4 * 1024 * 1024);
  expect(body.equals(await readFile(join(chancery.ground.config.crlDir, "issuing-1.crl")))).toBe(true);
  const { verified, serials } = await opensslCrl(body, chain);
  expect([verified, new Set(serials).size]).toEqual([true, entryCount]);
});

test("HEAD tells its length and sends none of it; who has it is told so with 304, by entity tag and by date (RFC 9110 §13)", async () => {
  const { der, sha256 } = await standing(chancery.service.ca);
  const head = await send({ method: "HEAD" });
  expect([head.status, head.headers["content-length"], head.body.length]).toEqual([200, String(der.length), 0]);
  expect(head.headers).toMatchObject({ etag: `"${sha256}"`, "cache-control": expect.stringMatching(/^public, max-age=60,/) });
  for (const headers of [{ "if-none-match": `"${sha256}"` }, { "if-modified-since": head.headers["last-modified"] ?? "" }]) {
    const known = await send({ headers });
    expect([known.status, known.body.length, known.headers.etag]).toEqual([304, 0, `"${sha256}"`]);
  }
  expect((await send({ headers: { "if-match": '"another"' } })).status).toBe(412);
});

test("no part of it is sent alone: a Range is ignored, and the answer is the whole one (RFC 9110 §14.2)", async () => {
  const { der } = await standing(chancery.service.ca);
  const { status, headers, body } = await send({ headers: { range: "bytes=0-99" } });
  expect([status, headers["accept-ranges"], body.equals(der)]).toEqual([200, undefined, true]);
});

test("two who are reading it when the next one is published have the whole old one, octet by octet, and its file is closed behind them", async () => {
  const before = await standing(chancery.service.ca);
  const readers = [await reader(), await reader()];
  await publishNext();
  const after = await standing(chancery.service.ca);
  expect(after.number).toBeGreaterThan(before.number);
  expect(await heldFiles()).toHaveLength(1);

  const [first, second] = await Promise.all(readers.map(buffer));
  expect([first?.equals(before.der), second?.equals(before.der)]).toEqual([true, true]);
  expect((await opensslCrl(before.der, chain)).verified).toBe(true);
  await expect.poll(heldFiles).toEqual([]);

  const { body } = await send();
  expect(body.equals(after.der)).toBe(true);
  expect((await opensslCrl(body, chain)).verified).toBe(true);
});

test("one that goes away in the middle leaves no file open", async () => {
  const gone = await reader();
  await publishNext();
  expect(await heldFiles()).toHaveLength(1);
  gone.destroy();
  await expect.poll(heldFiles).toEqual([]);
});
