import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { movedClock } from "../../support/clock.ts";
import { issueLeaf, opensslCrl, opensslVerdict, revokeLeaf } from "../../support/crl-world.ts";
import { recordedEvents } from "../../support/events.ts";
import { type Ground, standingGround, startService, type TestService } from "../../support/service.ts";
import { exchange, type Sent } from "../exchange.ts";

const clock = movedClock();
const events = recordedEvents();
let ground: Ground;
let chancery: TestService;
beforeAll(async () => {
  ground = await standingGround({ CHANCERY_CRL_SHARDS: "mtls=2" });
  chancery = await startService({ clock, events: () => events }, ground);
});
afterAll(async () => {
  await chancery[Symbol.asyncDispose]();
  await ground[Symbol.asyncDispose]();
});

const send = (sent: Sent) => exchange(chancery.service.listeners.status, sent);
const full = { path: "/crl/issuing-1.crl" };

describe("/crl/{slug}.crl: what cRLDistributionPoints lead to (RFC 5280 §4.2.1.13, XC-23)", () => {
  test.for(["issuing-1", "issuing-1/0", "issuing-1/1", "root-1"])(
    "%s: one DER CRL as application/pkix-crl (RFC 2585 §4.2)",
    async (path) => {
      const answer = await send({ path: `/crl/${path}.crl` });
      const { text } = await opensslCrl(answer.body);
      const said = (field: string): Date => new Date(new RegExp(`${field}: (.*)`).exec(text)?.[1] ?? "");
      expect([answer.status, answer.headers["content-type"]]).toEqual([200, "application/pkix-crl"]);
      expect(answer.headers).toMatchObject({
        "content-length": String(answer.body.length),
        etag: expect.stringMatching(/^"[0-9a-f]{64}"$/),
        "last-modified": said("Last Update").toUTCString(),
        expires: said("Next Update").toUTCString(),
        "cache-control": "public, max-age=60, no-transform, must-revalidate",
        "x-content-type-options": "nosniff",
      });
    },
  );

  test("HEAD has the same headers and no body; who has it is told so with 304, and another method is 405", async () => {
    const [get, head] = [await send(full), await send({ ...full, method: "HEAD" })];
    expect(head.headers).toMatchObject({ "content-length": String(get.body.length), etag: get.headers.etag });
    expect(head.body.length).toBe(0);
    const known = await send({ ...full, headers: { "if-none-match": get.headers.etag ?? "" } });
    expect([known.status, known.body.length, known.headers.etag]).toEqual([304, 0, get.headers.etag]);
    expect((await send({ ...full, headers: { "if-modified-since": get.headers["last-modified"] ?? "" } })).status).toBe(304);
    const posted = await send({ ...full, method: "POST", body: "x" });
    expect([posted.status, posted.headers.allow]).toEqual([405, "GET, HEAD"]);
  });

  test.for([
    "issuing-1/2",
    "issuing-1/00",
    "issuing-1/-1",
    "issuing-2",
    "issuing-1/0/0",
    "../crl/issuing-1",
    "ISSUING-1",
    "issuing-1.crl/0",
    "constructor",
  ])("%s is no path of one: 404", async (path) => {
    expect((await send({ path: `/crl/${path}.crl` })).status).toBe(404);
  });
});

test("a revocation is on the CRLs that are served within seconds, by the service's own jobs, and openssl refuses the certificate", async () => {
  const leaf = await issueLeaf(chancery.service.ca, "mtls");
  const files = { root: join(ground.directory, "root.pem"), chain: join(ground.directory, "chain.pem") };
  await revokeLeaf(chancery.service.ca, leaf, 1);
  await expect
    .poll(async () => (await opensslCrl((await send(full)).body)).serials, { timeout: 30_000, interval: 500 })
    .toContain(leaf.serial);
  const shards = await Promise.all(["0", "1"].map(async (shard) => (await send({ path: `/crl/issuing-1/${shard}.crl` })).body));
  const verdicts = await Promise.all(shards.map((crl) => opensslVerdict(leaf.der, { ...files, crl, at: clock.now() })));
  expect(verdicts.toSorted()).toEqual(["23", "44"]);
});

test("metrics have the age, the time left, the entries and the time to publish of each (MON-3)", async () => {
  const { text } = await exchange(chancery.service.listeners.ops, { path: "/metrics" });
  for (const crl of ["issuing-1", "issuing-1/0", "root-1"]) {
    for (const name of ["chancery_crl_age_seconds", "chancery_crl_left_seconds", "chancery_crl_entries"]) {
      expect(text).toMatch(new RegExp(`^${name}\\{crl="${crl}"\\} [\\d.]+$`, "m"));
    }
  }
});

/** The clock is set so many seconds after the thisUpdate of the root's CRL. */
const inSeconds = async (seconds: number): Promise<void> => {
  const thisUpdate = new Date((await send({ path: "/crl/root-1.crl" })).headers["last-modified"] ?? "");
  clock.aheadSeconds += Math.round((thisUpdate.getTime() - clock.now().getTime()) / 1000 + seconds);
};

test("Last-Modified is not later than Date where the clock of who published is ahead (RFC 9110 §8.8.2.1)", async () => {
  const thisUpdate = new Date((await send(full)).headers["last-modified"] ?? "");
  await inSeconds(-120);
  try {
    const { status, headers } = await send(full);
    expect(status).toBe(200);
    expect(Date.parse(headers["last-modified"] ?? "")).toBeLessThan(thisUpdate.getTime());
    expect(Date.parse(headers["last-modified"] ?? "")).toBeLessThanOrEqual(clock.now().getTime());
  } finally {
    clock.aheadSeconds = 0;
  }
});

describe("in the life of the root's CRL, which nobody renews here", () => {
  const day = 86_400;

  test("at its half its renewal is asked for: in the log and in readiness, which stays (XC-17)", async () => {
    await inSeconds(90 * day + 60);
    await chancery.service.jobs.find(({ name }) => name === "crl age")?.act(new AbortController().signal);
    const remedy = expect.stringContaining("chancery ca crl root-1");
    expect(events.told).toContainEqual(
      expect.objectContaining({ level: "warn", event: "crl.stale", fields: expect.objectContaining({ crl: "root-1", remedy }) }),
    );
    const ready = await exchange(chancery.service.listeners.ops, { path: "/readyz/status" });
    expect(ready.text).toContain("chancery ca crl root-1");
  });

  test.for([
    { name: "a minute before its end", seconds: 180 * day - 61, maxAge: /^public, max-age=60,/ },
    { name: "half a minute before it", seconds: 180 * day - 30, maxAge: /^public, max-age=(?:2\d|30),/ },
    { name: "behind it, where it is served all the same", seconds: 180 * day + 60, maxAge: /^public, max-age=0,/ },
  ])("no cache keeps it beyond its nextUpdate (XC-23): $name", async ({ seconds, maxAge }) => {
    await inSeconds(seconds);
    const answer = await send({ path: "/crl/root-1.crl" });
    expect([answer.status, answer.headers["cache-control"]]).toEqual([200, expect.stringMatching(maxAge)]);
  });
});
