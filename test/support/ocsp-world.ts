import { join } from "node:path";
import { type Ca, openCa } from "../../src/ca/ca.ts";
import type { OcspAnswer } from "../../src/ca/kept-answer.ts";
import { type Ocsp, openOcsp } from "../../src/ca/ocsp.ts";
import { answerOcsp } from "../../src/ca/ocsp-answer.ts";
import type { Budget } from "../../src/ca/ocsp-budget.ts";
import { timekeeper } from "../../src/ca/timekeeper.ts";
import { type Database, openDatabase } from "../../src/database/connect.ts";
import type { Hsm } from "../../src/ports/hsm.ts";
import { type FixedClock, fixedClock } from "./clock.ts";
import { type RecordedEvents, recordedEvents } from "./events.ts";
import { issuedSerial, opensslOcspRequest, opensslOcspVerdict, revokeSerial, type Verdict } from "./ocsp.ts";
import { startService, type TestService } from "./service.ts";

/** An instance of the responders beside a service, with its own connections, kept answers and clock; its feed is polled by the test alone. */
export type OcspInstance = {
  readonly ca: Ca;
  readonly ocsp: Ocsp;
  /** Stands at the time when the instance was opened, until it is moved. */
  readonly clock: FixedClock;
  readonly events: RecordedEvents;
  /** What is called around each signature of an answer; may wait or throw. */
  readonly on: { sign: (() => void | Promise<void>) | undefined; signed: (() => void | Promise<void>) | undefined };
  /** Answers that were signed. */
  readonly signatures: () => number;
  /** Milliseconds that have passed for it; the time does not move by itself. */
  readonly passed: { milliseconds: number };
  /** While set, every statement fails with it. */
  readonly away: { database: Error | undefined };
  readonly answer: (request: Uint8Array, client?: string) => Promise<OcspAnswer>;
};

export type OcspGround = AsyncDisposable & {
  readonly chancery: TestService;
  readonly instance: (alone?: Budget, shared?: Budget) => Promise<OcspInstance>;
  readonly issued: () => Promise<string>;
  readonly revoke: (serial: string, reason?: number) => Promise<unknown>;
  readonly request: (...serials: readonly string[]) => Promise<Uint8Array>;
  readonly requestWithNonce: (...serials: readonly string[]) => Promise<Uint8Array>;
  /** What openssl reads in a response, verified. */
  readonly verdict: (answer: OcspAnswer, ...serials: readonly string[]) => Promise<Verdict>;
};

const plenty: Budget = { perSecond: 1_000, atOnce: 256 };

/** A service, and what is needed to open instances of its responders beside it. */
export async function ocspGround(): Promise<OcspGround> {
  await using stack = new AsyncDisposableStack();
  const chancery = stack.use(await startService());
  const stores = stack.use(new AsyncDisposableStack());
  const { service, ground } = chancery;
  const files = { issuer: join(ground.directory, "chain.pem"), root: join(ground.directory, "root.pem") };
  const opened = async (alone = plenty, shared = plenty): Promise<OcspInstance> => {
    const events = recordedEvents();
    const clock = fixedClock(service.ca.clock.now().toISOString());
    const on: OcspInstance["on"] = { sign: undefined, signed: undefined };
    const away: OcspInstance["away"] = { database: undefined };
    const store = stores.use(await openDatabase({ url: ground.databaseUrl, poolSize: 2 }, { events }));
    let signatures = 0;
    const hsm = aroundAnswers(service.ca.hsm, async (sign) => {
      signatures += 1;
      await on.sign?.();
      const signature = await sign();
      await on.signed?.();
      return signature;
    });
    const world = { ...service.ca, database: failing(store, away), hsm, clock, events, node: "beside" };
    const ca: Ca = { ...(await openCa({ ...world, crlShards: {} })), timekeeper: timekeeper(clock, undefined) };
    const passed = { milliseconds: 0 };
    const ocsp = { ...(await openOcsp(ca, { alone, shared })), milliseconds: () => passed.milliseconds };
    const answer: OcspInstance["answer"] = (request, client = "192.0.2.1") => answerOcsp(ocsp, { slug: "issuing-1", request, client });
    return { ca, ocsp, clock, events, on, signatures: () => signatures, passed, away, answer };
  };
  const held = stack.move();
  return {
    chancery,
    instance: opened,
    issued: () => issuedSerial(service),
    revoke: (serial, reason) => revokeSerial(service, serial, reason),
    request: (...serials) => opensslOcspRequest({ serials, ...files }),
    requestWithNonce: (...serials) => opensslOcspRequest({ serials, ...files, nonce: true }),
    verdict: ({ response }, ...serials) => opensslOcspVerdict(response, { serials, ...files }),
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  };
}

/** The token, with something around each signature of an answer. */
export function aroundAnswers(hsm: Hsm, around: (sign: () => ReturnType<Hsm["sign"]>) => ReturnType<Hsm["sign"]>): Hsm {
  return new Proxy(hsm, {
    get(target, property) {
      const value: unknown = Reflect.get(target, property, target);
      if (property !== "sign" || typeof value !== "function") return typeof value === "function" ? value.bind(target) : value;
      return (...args: Parameters<Hsm["sign"]>) => (args[1] === "ocsp" ? around(() => target.sign(...args)) : target.sign(...args));
    },
  });
}

function failing(database: Database, away: OcspInstance["away"]): Database {
  const unlessAway = async <T>(act: () => Promise<T>): Promise<T> => {
    if (away.database) throw away.database;
    return await act();
  };
  return {
    ...database,
    read: (query) => unlessAway(() => database.read(query)),
    transact: (act) => unlessAway(() => database.transact(act)),
    [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
  };
}
