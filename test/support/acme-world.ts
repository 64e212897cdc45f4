import { createHash } from "node:crypto";
import { type Account } from "../../src/acme/account.ts";
import { type Acme, openAcme } from "../../src/acme/acme.ts";
import type { Directory } from "../../src/acme/directory.ts";
import { finalize } from "../../src/acme/finalize.ts";
import { newAccount } from "../../src/acme/new-account.ts";
import { newOrder } from "../../src/acme/new-order.ts";
import type { Order } from "../../src/acme/order.ts";
import { readAuthorization } from "../../src/acme/read-authorization.ts";
import { readOrder } from "../../src/acme/read-order.ts";
import { respond } from "../../src/acme/respond.ts";
import { type Ca, openCa } from "../../src/ca/ca.ts";
import { timekeeper } from "../../src/ca/timekeeper.ts";
import { type Database, openDatabase } from "../../src/database/connect.ts";
import { parseJwk } from "../../src/jose/jwk.ts";
import type { Hsm } from "../../src/ports/hsm.ts";
import type { Json } from "../../src/jose/json.ts";
import { certificateRequest, signingKey } from "./acme-client.ts";
import { type MovedClock, movedClock } from "./clock.ts";
import { type RecordedEvents, recordedEvents } from "./events.ts";
import { type Point, failpoints } from "./failpoints.ts";
import { startService, type TestService } from "./service.ts";
import { httpAnswer, type ScriptedValidator, scriptedValidator, txtAnswer } from "./validator.ts";

/** Two instances of ACME over one database and one token, on a clock that is moved, beside a service that does not disturb them. */
export type AcmeGround = AsyncDisposable & {
  readonly chancery: TestService;
  readonly acme: Acme;
  /** Another instance: its own connections, its own groups and batches, the same token. */
  readonly other: Acme;
  readonly validator: ScriptedValidator;
  readonly clock: MovedClock;
  readonly events: RecordedEvents;
  readonly directory: Directory;
  /** How many certificates the token has signed. */
  readonly signatures: () => number;
  /** What is called at each point of issuance; may throw. */
  readonly on: { reach: ((point: Point) => void | Promise<void>) | undefined };
  readonly newAccount: () => Promise<Account>;
};

const openDirectory: Directory = {
  name: "default",
  namespace: "/",
  profile: "server",
  identifiers: { names: ["*"], wildcards: true, singleLabels: true, ipRanges: ["0.0.0.0/0", "::/0"] },
  challengeTypes: ["http-01", "dns-01", "tls-alpn-01"],
  externalAccountRequired: false,
  renewedConsent: false,
  limits: {},
};

/** An hour ahead, so that the jobs of the service find nothing whose time has come. */
const aheadSeconds = 3_600;

export async function acmeGround({
  directory = openDirectory,
  guard,
}: { directory?: Directory; guard?: Ca["guard"] } = {}): Promise<AcmeGround> {
  await using stack = new AsyncDisposableStack();
  const chancery = stack.use(await startService());
  const own = chancery.service.ca;
  const clock = movedClock(aheadSeconds);
  const events = recordedEvents();
  const validator = scriptedValidator({ http: () => httpAnswer("nothing here", { status: 404 }) });
  const on: AcmeGround["on"] = { reach: undefined };
  let signatures = 0;
  const points = failpoints((point) => {
    if (point === "sign:before") signatures += 1;
    return on.reach?.(point);
  });
  const instance = async (node: string, store: Database): Promise<Acme> => {
    const database = points.database(store);
    const hsm: Hsm = points.hsm(own.hsm);
    const world = { database, clock, random: own.random, events, node };
    const opened = await openCa({ ...own, ...world, hsm, guard: guard ?? own.guard });
    const ca: Ca = { ...opened, timekeeper: timekeeper(clock, undefined) };
    return await openAcme({
      ...world,
      ca,
      validator,
      directories: new Map([[directory.name, directory]]),
      baseUrl: "https://ca.example.org",
      alwaysValid: false,
    });
  };
  const connect = async () => stack.use(await openDatabase({ url: chancery.ground.databaseUrl }, { events }));
  const acme = await instance("one", await connect());
  const other = await instance("two", await connect());
  const held = stack.move();
  return {
    chancery,
    acme,
    other,
    validator,
    clock,
    events,
    directory,
    signatures: () => signatures,
    on,
    newAccount: () => accountOf(acme, directory),
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  };
}

/** A new account with a key of its own. */
async function accountOf(acme: Acme, directory: Directory): Promise<Account> {
  const key = parseJwk(signingKey().jwk as Json); // a JWK as node:crypto exports it
  const request = {
    key,
    standing: undefined,
    payload: {},
    url: "https://ca.example.org/new-account",
    address: "192.0.2.7",
    requestId: "test",
  };
  return (await newAccount(acme, directory, request)).account;
}

/** A payload of newOrder. */
export function asking(...names: readonly string[]) {
  return { identifiers: names.map((value) => ({ type: /^[\d.]+$|:/.test(value) ? "ip" : "dns", value })) };
}

/** Waits for every validation that an instance is at. */
export async function validated(...instances: readonly Acme[]): Promise<void> {
  for (const acme of instances) while (acme.validating.size > 0) await Promise.all(acme.validating);
}

/** Answers every challenge of the kind for the order, so that it is met. */
export async function meet({ acme, validator }: Pick<AcmeGround, "acme" | "validator">, account: Account, order: Order): Promise<void> {
  for (const id of order.authorizations) {
    const authorization = await readAuthorization(acme, account, id);
    const challenge = authorization?.challenges.find(({ type }) => type === "http-01") ?? authorization?.challenges[0];
    if (!authorization || !challenge) throw new Error("no challenge");
    if (authorization.status !== "pending") continue;
    validator.script.txt = () => txtAnswer(createHash("sha256").update(`${challenge.token}.${account.key.thumbprint}`).digest("base64url"));
    validator.script.http = ({ path }) => httpAnswer(`${path?.split("/").at(-1) ?? ""}.${account.key.thumbprint}`);
    await respond(acme, account, challenge.id);
    await validated(acme);
  }
}

/** An order of the account that is ready. */
export async function readyOrder(ground: AcmeGround, account: Account, ...names: readonly string[]): Promise<Order> {
  const { order } = await newOrder(ground.acme, ground.directory, account, asking(...names));
  await meet(ground, account, order);
  return await standing(ground.acme, account, order);
}

/** The order as it stands. */
export async function standing(acme: Acme, account: Account, { id }: Pick<Order, "id">): Promise<Order> {
  const order = await readOrder(acme, account, id);
  if (!order) throw new Error("no order");
  return order;
}

/** A payload of finalize with a new key. */
export async function csrFor(...names: readonly string[]): Promise<{ readonly csr: string }> {
  return { csr: await certificateRequest(names) };
}

/** Finalizes with a new key. */
export async function finalized(acme: Acme, account: Account, order: Order): Promise<Order> {
  const ended = await finalize(acme, account, order.id, await csrFor(...order.identifiers.map(({ value }) => value)), "test");
  if (!ended) throw new Error("no order");
  return ended;
}
