import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { Fault } from "../../src/fault.ts";
import { exchange } from "../http/exchange.ts";
import { movedClock } from "../support/clock.ts";
import { type RecordedEvents, recordedEvents } from "../support/events.ts";
import { issuedSerial, revokeSerial } from "../support/ocsp.ts";
import { type Ground, standingGround, startService, type TestService } from "../support/service.ts";
import {
  certId,
  ocspRequest,
  readSaidCrl,
  readSaidOcsp,
  type SaidCrl,
  type SaidOcsp,
  type StatusIssuer,
  statusIssuer,
} from "../support/status-bytes.ts";
import { statusWitness, type StatusWitness } from "../support/status-invariants.ts";

const hour = 3_600;
const tryLater = 3;

let ground: Ground;
let chancery: TestService;
let events: RecordedEvents;
let issuer: StatusIssuer;
let witness: StatusWitness;
const clock = movedClock();
/** Seconds that the clock of the database's server is ahead; the service's own is ahead by what it was moved. */
let serverAhead = 0;
/** Whether the clocks can be compared. */
let comparable = true;

beforeAll(async () => {
  ground = await standingGround();
  events = recordedEvents();
  chancery = await startService(
    {
      clock,
      events: () => events,
      database: (database) => ({
        ...database,
        clockSkewSeconds: async () => {
          if (!comparable) throw new Fault("databaseUnavailable", "the clocks are not compared now");
          return clock.aheadSeconds + clock.setSeconds - serverAhead;
        },
        [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
      }),
    },
    ground,
  );
  issuer = statusIssuer(new X509Certificate(await readFile(join(ground.directory, "chain.pem"))).raw);
  witness = statusWitness({ services: [chancery.service] });
});
afterAll(async () => {
  await chancery[Symbol.asyncDispose]();
  await ground[Symbol.asyncDispose]();
});

/** A job of the service, out of its turn. */
const run = async (name: string): Promise<void> =>
  chancery.service.jobs.find((job) => job.name === name)?.act(new AbortController().signal);

async function jump(seconds: number, { withServer }: { readonly withServer: boolean }): Promise<void> {
  if (!withServer) {
    // The difference is known before the time is another: no job signs anything in between.
    serverAhead -= seconds;
    await run("clock");
    serverAhead += seconds;
  }
  clock.aheadSeconds += seconds;
  if (withServer) serverAhead += seconds;
  await run("clock");
}

type Answered = SaidOcsp & { readonly etag: string; readonly body: Buffer };

/** What the listener answers to a GET; undefined where it says that the client has it already. */
async function ocsp(serial: string, known?: string): Promise<Answered | undefined> {
  const request = ocspRequest([certId(issuer, serial, "sha1")]);
  const path = `/ocsp/issuing-1/${encodeURIComponent(request.toString("base64"))}`;
  const { status, body, headers } = await exchange(chancery.service.listeners.status, {
    path,
    ...(known !== undefined && { headers: { "if-none-match": known } }),
  });
  return status === 304 ? undefined : { ...readSaidOcsp(body, issuer), etag: String(headers.etag), body };
}

async function answered(serial: string): Promise<Answered> {
  const answer = await ocsp(serial);
  if (!answer) throw new Error("304 to a request without a condition");
  return answer;
}

async function crl(): Promise<SaidCrl> {
  return readSaidCrl((await exchange(chancery.service.listeners.status, { path: "/crl/issuing-1.crl" })).body, issuer);
}

/** What became of publishing, which the service's own job may be at. */
const publishing = (): Promise<unknown> =>
  run("crl").then(
    () => "done",
    ({ code }: { readonly code?: string }) => code,
  );

const refusals = () => events.told.filter(({ event, level }) => event === "clock.refused" && level === "error").length;

describe("the clock jumps forwards, the database's with it", () => {
  afterEach(async () => expect(await witness.look()).toEqual([]));

  test("by a day and an hour: a kept answer past its nextUpdate is not given, by no condition either, and the CRL is published anew by itself (XO-11, XC-17)", async () => {
    const serial = await issuedSerial(chancery.service);
    const [before, old] = [await answered(serial), await crl()];
    await jump(25 * hour, { withServer: true });
    const after = await ocsp(serial, before.etag);
    expect(after?.thisUpdate.getTime()).toBeGreaterThanOrEqual(before.nextUpdate.getTime());
    await expect.poll(async () => (await crl()).thisUpdate.getTime(), { timeout: 30_000 }).toBeGreaterThan(old.nextUpdate.getTime());
    expect((await crl()).number).toBeGreaterThan(old.number);
  });

  test("by forty days: the responder's certificate is over, nothing is signed with it, and the next one is had by itself (XO-13)", async () => {
    const serial = await issuedSerial(chancery.service);
    expect((await answered(serial)).error).toBe(0);
    await jump(40 * 24 * hour, { withServer: true });
    const during = await answered(serial);
    // The job may have been there already; it is never the answer of before.
    if (during.error !== 0) expect(during.error).toBe(tryLater);
    await run("responders");
    const after = await answered(serial);
    expect([after.error, [...after.statuses.values()]]).toEqual([0, [{ status: "good" }]]);
    expect(after.responderNotAfter.getTime()).toBeGreaterThan(clock.now().getTime());
  });
});

describe("the clock of this instance alone jumps", () => {
  test("forwards a moment ago: no CRL is published with a time that lies ahead, which every later one would have to wait for (XC-18)", async () => {
    const old = await crl();
    clock.aheadSeconds += 13 * hour;
    try {
      await expect.poll(publishing, { timeout: 10_000 }).toBe("busy");
    } finally {
      clock.aheadSeconds -= 13 * hour;
      await run("clock");
    }
    await run("crl directory");
    expect((await crl()).number).toBe(old.number);
  });

  test("forwards since the clocks were compared: nothing is signed with a time ahead, by OCSP or in a certificate, and set right it goes on at once (XV-8)", async () => {
    const serial = await issuedSerial(chancery.service);
    const told = refusals();
    comparable = false;
    clock.setSeconds += hour;
    try {
      expect((await answered(serial)).error).toBe(tryLater);
      await expect(issuedSerial(chancery.service)).rejects.toMatchObject({ code: "busy" });
      expect(refusals()).toBeGreaterThan(told);
    } finally {
      clock.setSeconds -= hour;
      comparable = true;
    }
    const answer = await answered(serial);
    expect([answer.error, answer.thisUpdate <= clock.now()]).toEqual([0, true]);
    await issuedSerial(chancery.service);
  });

  test("forwards: nothing is signed; what is kept is given until its nextUpdate and not beyond; the alarm is raised (XV-8, XO-22)", async () => {
    const serial = await issuedSerial(chancery.service);
    expect(await witness.look()).toEqual([]);
    const [before, old, told] = [await answered(serial), await crl(), refusals()];
    await jump(13 * hour, { withServer: false });
    try {
      // It is time for another, which cannot be signed.
      expect((await answered(serial)).body.equals(before.body)).toBe(true);
      await jump(12 * hour, { withServer: false });
      for (const answer of [await answered(serial), await ocsp(serial, before.etag)]) expect(answer?.error).toBe(tryLater);
      await expect.poll(publishing, { timeout: 10_000 }).toBe("busy");
      expect((await crl()).number).toBe(old.number);
      expect(refusals()).toBeGreaterThan(told);
    } finally {
      clock.aheadSeconds -= 25 * hour;
      await run("clock");
    }
  });

  test("backwards: nothing is signed that would regress, kept answers and the CRL stay, the alarm is raised; set right it goes on (XV-8, XC-18)", async () => {
    const kept = await issuedSerial(chancery.service);
    expect(await witness.look()).toEqual([]);
    const fresh = await issuedSerial(chancery.service);
    const [before, old, told] = [await answered(kept), await crl(), refusals()];
    await jump(-hour, { withServer: true });
    try {
      expect((await answered(kept)).body.equals(before.body)).toBe(true);
      expect((await answered(fresh)).error).toBe(tryLater);
      await expect(issuedSerial(chancery.service)).rejects.toMatchObject({ code: "busy" });
      // Revoking needs no signature: it is durable, and shows as soon as one can be had.
      await revokeSerial(chancery.service, fresh, 4);
      await expect.poll(publishing, { timeout: 10_000 }).toBe("busy");
      expect((await crl()).number).toBe(old.number);
      expect(refusals()).toBeGreaterThan(told + 1);
    } finally {
      await jump(hour, { withServer: true });
    }
    expect(await witness.look()).toEqual([]);
    expect((await crl()).entries.get(fresh)).toMatchObject({ reason: 4 });
    expect([...(await answered(fresh)).statuses.values()]).toMatchObject([{ status: "revoked", reason: 4 }]);
  });
});
