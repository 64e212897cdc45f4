import { setImmediate } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { Account } from "../../src/acme/account.ts";
import type { Acme } from "../../src/acme/acme.ts";
import type { Challenge } from "../../src/acme/authorization.ts";
import { newOrder } from "../../src/acme/new-order.ts";
import type { Order } from "../../src/acme/order.ts";
import { deactivateAuthorization, readAuthorization, readChallenge } from "../../src/acme/read-authorization.ts";
import { respond } from "../../src/acme/respond.ts";
import { validateDue } from "../../src/acme/validate.ts";
import { Fault } from "../../src/fault.ts";
import { parseJwk } from "../../src/jose/jwk.ts";
import type { Json } from "../../src/jose/json.ts";
import type { HttpAnswer, Outcome } from "../../src/ports/validator.ts";
import { signingKey } from "../support/acme-client.ts";
import { type AcmeGround, acmeGround, asking, standing, validated } from "../support/acme-world.ts";
import { httpAnswer, noAnswer, txtAnswer } from "../support/validator.ts";

let ground: AcmeGround;
let account: Account;
beforeAll(async () => {
  ground = await acmeGround();
  account = await ground.newAccount();
});
afterAll(() => ground[Symbol.asyncDispose]());

type Pending = {
  readonly order: Order;
  readonly authorization: string;
  readonly challenges: readonly Challenge[];
  readonly http: Challenge;
};

/** The audit records about the order's authorization, in their order. */
const recordsOf = async ({ authorization }: Pick<Pending, "authorization">) => {
  const rows = await ground.acme.database.read(
    (sql) => sql<{ entry: unknown }[]>`
      select e as entry from audit_record, lateral (select convert_from(bytes, 'UTF8')::jsonb as e) j
      where e -> 'object' ->> 'authorization' = ${authorization} order by id`,
  );
  return rows.map(({ entry }) => (typeof entry === "string" ? (JSON.parse(entry) as unknown) : entry));
};

let names = 0;
/** A pending order for one new name. */
async function pending(): Promise<Pending> {
  const { order } = await newOrder(ground.acme, ground.directory, account, asking(`c${(names += 1)}.example.org`));
  const [authorization = ""] = order.authorizations;
  const challenges = (await readAuthorization(ground.acme, account, authorization))?.challenges ?? [];
  const http = challenges.find(({ type }) => type === "http-01");
  if (!http) throw new Error("no http-01");
  return { order, authorization, challenges, http };
}

const answerRightly = () => {
  ground.validator.script.http = ({ path }) => httpAnswer(`${path?.split("/").at(-1) ?? ""}.${account.key.thumbprint}`);
};
/** Keeps every answer back until the returned function is called, which waits for what then ends. Places of an account are few. */
const holdAnswers = (answer: () => Outcome<HttpAnswer>) => {
  const held = Promise.withResolvers<void>();
  const late = async () => (await held.promise, answer());
  ground.validator.script.http = late;
  ground.validator.script.txt = async () => (await held.promise, noAnswer("dns"));
  ground.validator.script.tlsAlpn = async () => (await held.promise, noAnswer("tls"));
  return async () => {
    held.resolve();
    await validated(ground.acme, ground.other);
  };
};
/** What was asked about the order's name. */
const askedOf = ({ order }: Pick<Pending, "order">) => {
  const name = order.identifiers[0]?.value.replace("*.", "") ?? "";
  return ground.validator.asked.filter(({ host }) => host === name || host === `_acme-challenge.${name}`);
};
const read = async ({ id }: Challenge) => (await readChallenge(ground.other, account, id))?.challenge;
const statusOf = async ({ order, authorization, http }: Pending) => ({
  order: (await standing(ground.other, account, order)).status,
  authorization: (await readAuthorization(ground.other, account, authorization))?.status,
  challenge: (await read(http))?.status,
});

describe("a response", () => {
  test("begins the validation, and its end makes authorization and order what they are (AO-30, AO-40)", async () => {
    const one = await pending();
    answerRightly();
    const answered = await respond(ground.acme, account, one.http.id);
    expect([answered?.challenge.status, answered?.authorization.id]).toEqual(["processing", one.authorization]);
    await validated(ground.acme);
    expect(askedOf(one)).toEqual([
      { kind: "http", tenant: account.id, host: one.order.identifiers[0]?.value, path: `/.well-known/acme-challenge/${one.http.token}` },
    ]);
    expect(await statusOf(one)).toEqual({ order: "ready", authorization: "valid", challenge: "valid" });
    expect((await read(one.http))?.validatedAt).toBeInstanceOf(Date);
    expect(await recordsOf(one)).toMatchObject([
      {
        operation: "acme.authorization.valid",
        outcome: "success",
        object: {
          authorization: one.authorization,
          account: account.id,
          identifier: one.order.identifiers[0]?.value,
          challenge: "http-01",
          address: "192.0.2.1",
        },
      },
    ]);
  });

  test("a wrong answer is final: authorization and order are invalid, with the reason in both (AV-6, AV-7)", async () => {
    const one = await pending();
    ground.validator.script.http = () => httpAnswer("other");
    await respond(ground.acme, account, one.http.id);
    await validated(ground.acme);
    expect(await statusOf(one)).toEqual({ order: "invalid", authorization: "invalid", challenge: "invalid" });
    const error = (await read(one.http))?.error;
    expect(error).toMatchObject({ type: "urn:ietf:params:acme:error:unauthorized", status: 403 });
    expect((await standing(ground.other, account, one.order)).error).toEqual(error);
  });

  test("again after the end changes nothing and asks nobody (AO-33)", async () => {
    for (const right of [true, false]) {
      const one = await pending();
      if (right) answerRightly();
      else ground.validator.script.http = () => httpAnswer("other");
      await respond(ground.acme, account, one.http.id);
      await validated(ground.acme);
      const before = await statusOf(one);
      expect((await respond(ground.other, account, one.http.id))?.challenge.status).toBe(right ? "valid" : "invalid");
      await validated(ground.other);
      expect(await statusOf(one)).toEqual(before);
      expect(askedOf(one)).toHaveLength(1);
    }
  });

  test("another account's challenge, and one that never was, are not there", async () => {
    const one = await pending();
    const stranger = await ground.newAccount();
    expect(await respond(ground.acme, stranger, one.http.id)).toBeUndefined();
    expect(await respond(ground.acme, account, "AAAAAAAAAAAAAAAAAAAAAA")).toBeUndefined();
    expect(askedOf(one)).toEqual([]);
  });

  test("to an authorization that expired or was deactivated is malformed and says expired (AO-34)", async () => {
    const over = await pending();
    expect((await deactivateAuthorization(ground.acme, account, over.authorization, "test"))?.status).toBe("deactivated");
    const late = await pending();
    ground.clock.aheadSeconds += 7 * 86_400 + 1;
    for (const { http } of [over, late]) {
      const attempt = respond(ground.acme, account, http.id);
      await expect(attempt).rejects.toMatchObject({ code: "malformed", detail: expect.stringContaining("expired") });
    }
    expect([...askedOf(over), ...askedOf(late)]).toEqual([]);
    expect(await statusOf(late)).toEqual({ order: "invalid", authorization: "expired", challenge: "pending" });
  });

  test("while a sibling is processing is malformed; of all three at once one begins (AO-35)", async () => {
    for (let round = 0; round < 10; round += 1) {
      const one = await pending();
      const release = holdAnswers(() => noAnswer("connection"));
      try {
        const outcomes = await Promise.allSettled(
          one.challenges.map(({ id }, index) => respond(index === 1 ? ground.other : ground.acme, account, id)),
        );
        expect(outcomes.map(({ status }) => status).toSorted()).toEqual(["fulfilled", "rejected", "rejected"]);
        for (const outcome of outcomes) if (outcome.status === "rejected") expect(outcome.reason).toMatchObject({ code: "malformed" });
        expect(askedOf(one)).toHaveLength(1);
      } finally {
        await release();
      }
    }
  });

  test("50 to one challenge at once over two instances put one question (AK-3)", async () => {
    for (let round = 0; round < 4; round += 1) {
      const one = await pending();
      const release = holdAnswers(() => httpAnswer(`${one.http.token}.${account.key.thumbprint}`));
      try {
        const answers = await Promise.all(
          Array.from({ length: 50 }, (_, index) => respond(index % 2 === 0 ? ground.acme : ground.other, account, one.http.id)),
        );
        expect(new Set(answers.map((answer) => answer?.challenge.status))).toEqual(new Set(["processing"]));
        expect(askedOf(one)).toHaveLength(1);
      } finally {
        await release();
      }
    }
  });

  test("fixes the key authorization: a key change before it asks for the new thumbprint, one after it changes nothing (AO-42)", async () => {
    const { thumbprint } = parseJwk(signingKey().jwk as Json);
    const changed: Account = { ...account, key: { ...account.key, thumbprint } };
    const before = await pending();
    ground.validator.script.http = ({ path }) => httpAnswer(`${path?.split("/").at(-1) ?? ""}.${thumbprint}`);
    await respond(ground.acme, changed, before.http.id);
    await validated(ground.acme);
    expect((await read(before.http))?.status).toBe("valid");

    const after = await pending();
    ground.validator.script.http = () => noAnswer("connection");
    await respond(ground.acme, account, after.http.id);
    await validated(ground.acme);
    answerRightly();
    ground.clock.aheadSeconds += 6;
    await respond(ground.acme, changed, after.http.id);
    await validated(ground.acme);
    expect((await read(after.http))?.status).toBe("valid");
  });
});

/** Moves the clock and lets the instance do what is due. */
async function pass(seconds: number, acme: Acme = ground.acme): Promise<void> {
  ground.clock.aheadSeconds += seconds;
  await validateDue(acme);
  await validated(acme);
}

describe("no answer", () => {
  test("is asked for again after 5 and 15 seconds, processing with the error shown; then the challenge has failed (AV-6)", async () => {
    const one = await pending();
    ground.validator.script.http = () => noAnswer("connection");
    await respond(ground.acme, account, one.http.id);
    await validated(ground.acme);
    const asked = async () => ({ asked: askedOf(one).length, ...(await statusOf(one)) });
    const waiting = { order: "pending", authorization: "pending", challenge: "processing" };
    expect(await asked()).toEqual({ asked: 1, ...waiting });
    expect((await read(one.http))?.error).toMatchObject({ type: "urn:ietf:params:acme:error:connection", status: 400 });
    await pass(4);
    expect(await asked()).toEqual({ asked: 1, ...waiting });
    await pass(1.1, ground.other);
    expect(await asked()).toEqual({ asked: 2, ...waiting });
    await pass(14);
    expect(await asked()).toEqual({ asked: 2, ...waiting });
    await pass(1.1);
    expect(await asked()).toEqual({ asked: 3, order: "invalid", authorization: "invalid", challenge: "invalid" });
    expect(await read(one.http)).toMatchObject({ error: { type: "urn:ietf:params:acme:error:connection" }, attempts: 3 });
  });

  test("may come at the second attempt, and the client may ask for that after five seconds, not before (AO-32)", async () => {
    const one = await pending();
    ground.validator.script.http = () => noAnswer("dns");
    await respond(ground.acme, account, one.http.id);
    await validated(ground.acme);
    answerRightly();
    ground.clock.aheadSeconds += 4;
    expect((await respond(ground.other, account, one.http.id))?.challenge.status).toBe("processing");
    expect(askedOf(one)).toHaveLength(1);
    ground.clock.aheadSeconds += 1.1;
    expect((await respond(ground.other, account, one.http.id))?.challenge.status).toBe("processing");
    await validated(ground.other);
    expect(askedOf(one)).toHaveLength(2);
    expect(await statusOf(one)).toEqual({ order: "ready", authorization: "valid", challenge: "valid" });
    expect((await read(one.http))?.error).toBeUndefined();
  });

  test("that would come no sooner is final at once (AV-7)", async () => {
    const one = await pending();
    ground.validator.script.http = () => noAnswer("dns", { final: true });
    await respond(ground.acme, account, one.http.id);
    await validated(ground.acme);
    expect(await statusOf(one)).toEqual({ order: "invalid", authorization: "invalid", challenge: "invalid" });
    expect((await read(one.http))?.error).toMatchObject({ type: "urn:ietf:params:acme:error:dns", status: 400 });
  });
});

const away = () => Promise.reject(new Fault("validatorUnavailable", "the validator is away"));

describe("the validator or our own DNS away", () => {
  test("fails nothing and is not counted: asked again within a minute, as often as it takes, it stays processing (AV-6)", async () => {
    const one = await pending();
    ground.validator.script.http = away;
    await respond(ground.acme, account, one.http.id);
    await validated(ground.acme);
    for (let minute = 1; minute <= 10; minute += 1) {
      await pass(60, minute % 2 === 0 ? ground.acme : ground.other);
      expect(askedOf(one)).toHaveLength(1 + minute);
    }
    expect(await statusOf(one)).toEqual({ order: "pending", authorization: "pending", challenge: "processing" });
    answerRightly();
    await pass(60);
    expect(await statusOf(one)).toEqual({ order: "ready", authorization: "valid", challenge: "valid" });
  });

  test.for(["expires", "is deactivated"] as const)(
    "nobody is asked any more once the authorization %s, and the challenge ends",
    async (end) => {
      const one = await pending();
      ground.validator.script.http = away;
      await respond(ground.acme, account, one.http.id);
      await validated(ground.acme);
      if (end === "expires") ground.clock.aheadSeconds += 7 * 86_400;
      else await deactivateAuthorization(ground.acme, account, one.authorization, "test");
      await pass(60);
      expect(askedOf(one)).toHaveLength(1);
      expect((await statusOf(one)).challenge).toBe("invalid");
      expect((await read(one.http))?.error).toMatchObject({ type: "urn:ietf:params:acme:error:malformed" });
    },
  );

  test("an answer that comes after the authorization expired brings neither it nor its order back (AO-40)", async () => {
    const one = await pending();
    const held = Promise.withResolvers<void>();
    ground.validator.script.http = async ({ path }) => {
      await held.promise;
      return httpAnswer(`${path?.split("/").at(-1) ?? ""}.${account.key.thumbprint}`);
    };
    await respond(ground.acme, account, one.http.id);
    ground.clock.aheadSeconds += 7 * 86_400;
    held.resolve();
    await validated(ground.acme);
    expect(await statusOf(one)).toEqual({ order: "invalid", authorization: "expired", challenge: "valid" });
  });
});

/** Lets the leases end, whose times are the server's. */
const endLeases = () =>
  ground.acme.database.read((sql) => sql`update acme_challenge set lease_until = now() where lease_until is not null`);

describe("a lease", () => {
  test("of an instance that is dead is taken over, and what that one found later counts for nothing", async () => {
    const one = await pending();
    const held = Promise.withResolvers<void>();
    let first = true;
    ground.validator.script.http = async ({ path }) => {
      if (!first) return httpAnswer(`${path?.split("/").at(-1) ?? ""}.${account.key.thumbprint}`);
      first = false;
      await held.promise;
      return httpAnswer("what the dead one saw");
    };
    await respond(ground.acme, account, one.http.id);
    await pass(20, ground.other);
    expect(askedOf(one)).toHaveLength(1);
    await endLeases();
    // The name of the machine is no lease: it takes over from one of the same name.
    const successor = { ...ground.other, node: ground.acme.node };
    const claims = await Promise.all([validateDue(successor), validateDue(ground.other)]);
    expect(claims).toHaveLength(2);
    await validated(ground.other);
    expect(askedOf(one)).toHaveLength(2);
    held.resolve();
    await validated(ground.acme);
    await setImmediate();
    expect(await statusOf(one)).toEqual({ order: "ready", authorization: "valid", challenge: "valid" });
  });
});

/** How many questions were put for an account. */
const askedFor = ({ id }: Account) => ground.validator.asked.filter(({ tenant }) => tenant === id).length;

describe("an account with hundreds of slow names", () => {
  const slowNames = 300;
  let hog: Account;
  let slow: readonly string[];
  let release: () => void;
  beforeAll(async () => {
    hog = await ground.newAccount();
    const held = Promise.withResolvers<void>();
    release = held.resolve;
    ground.validator.script.http = async ({ tenant, path }) => {
      if (tenant !== hog.id) return noAnswer("connection");
      await held.promise;
      return httpAnswer(`${path?.split("/").at(-1) ?? ""}.${hog.key.thumbprint}`);
    };
    const found: string[] = [];
    for (let from = 0; from < slowNames; from += 100) {
      const many = Array.from({ length: 100 }, (_, index) => `slow${from + index}.example.org`);
      const { order } = await newOrder(ground.acme, ground.directory, hog, asking(...many));
      for (const id of order.authorizations) {
        const authorization = await readAuthorization(ground.acme, hog, id);
        found.push(authorization?.challenges.find(({ type }) => type === "http-01")?.id ?? "");
      }
    }
    slow = found;
  });

  test("has sixteen validated at a time by an instance, and keeps nobody else's second attempt waiting (AV-5)", async () => {
    const answers = await Promise.all(slow.map((id) => respond(ground.acme, hog, id)));
    expect(new Set(answers.map((answer) => answer?.challenge.status))).toEqual(new Set(["processing"]));
    expect(askedFor(hog)).toBe(8);
    const other = await ground.newAccount();
    const { order } = await newOrder(ground.acme, ground.directory, other, asking("patient.example.org"));
    const [challenge] = (await readAuthorization(ground.acme, other, order.authorizations[0] ?? ""))?.challenges ?? [];
    await respond(ground.acme, other, challenge?.id ?? "");
    const failed = async () => (await readChallenge(ground.acme, other, challenge?.id ?? ""))?.challenge.error;
    await vi.waitFor(async () => expect(await failed()).toBeDefined());
    for (let turn = 1; turn <= 3; turn += 1) {
      ground.clock.aheadSeconds += 6;
      await validateDue(ground.acme);
      // It waits between attempts for as long as ever.
      if (turn === 1) await vi.waitFor(() => expect(askedFor(other)).toBe(2));
    }
    expect(askedFor(hog)).toBe(16);
    // Another instance has as many places again, and more than that none.
    await validateDue(ground.other);
    await validateDue(ground.other);
    expect(askedFor(hog)).toBe(24);
  });

  test("gets through them all once they answer, each asked once", async () => {
    release();
    for (let turn = 0; askedFor(hog) < slowNames && turn < 100; turn += 1) {
      await validated(ground.acme, ground.other);
      await validateDue(ground.acme);
    }
    await validated(ground.acme, ground.other);
    expect(askedFor(hog)).toBe(slowNames);
    const statuses = await Promise.all(slow.map(async (id) => (await readChallenge(ground.acme, hog, id))?.challenge.status));
    expect(new Set(statuses)).toEqual(new Set(["valid"]));
    expect(ground.acme.places.taken("response").size + ground.acme.places.taken("due").size).toBe(0);
  });
});

describe("deactivation (RFC 8555 §7.5.2)", () => {
  test("of a valid authorization makes its order invalid; what has ended stays as it is (AO-20)", async () => {
    const one = await pending();
    answerRightly();
    await respond(ground.acme, account, one.http.id);
    await validated(ground.acme);
    expect((await deactivateAuthorization(ground.acme, account, one.authorization, "test"))?.status).toBe("deactivated");
    const order = await standing(ground.other, account, one.order);
    expect([order.status, order.error?.type]).toEqual(["invalid", "urn:ietf:params:acme:error:unauthorized"]);
    const failed = await pending();
    ground.validator.script.http = () => httpAnswer("other");
    await respond(ground.acme, account, failed.http.id);
    await validated(ground.acme);
    expect((await deactivateAuthorization(ground.acme, account, failed.authorization, "test"))?.status).toBe("invalid");
    const late = await pending();
    ground.clock.aheadSeconds += 8 * 86_400;
    expect((await deactivateAuthorization(ground.acme, account, late.authorization, "test"))?.status).toBe("expired");
    expect(await deactivateAuthorization(ground.acme, await ground.newAccount(), one.authorization, "test")).toBeUndefined();
    expect(await recordsOf(one)).toMatchObject([{ operation: "acme.authorization.valid" }, { operation: "acme.authorization.deactivate" }]);
  });
});

test("a wildcard is shown by the record below its base name (AO-41, RFC 8555 §8.4)", async () => {
  const { order } = await newOrder(ground.acme, ground.directory, account, asking("*.wild.example.org"));
  const [challenge] = (await readAuthorization(ground.acme, account, order.authorizations[0] ?? ""))?.challenges ?? [];
  ground.validator.script.txt = () => txtAnswer("something else");
  await respond(ground.acme, account, challenge?.id ?? "");
  await validated(ground.acme);
  expect(askedOf({ order })).toEqual([{ kind: "txt", tenant: account.id, host: "_acme-challenge.wild.example.org" }]);
  expect((await standing(ground.acme, account, order)).status).toBe("invalid");
});

test("a name whose validations failed too often is ordered again when the limit allows, another name at once (AN-3)", async () => {
  const limits = { failedValidations: { count: 2, seconds: 3_600 } };
  const directory = { ...ground.directory, limits };
  const acme = { ...ground.acme, directories: new Map([[directory.name, directory]]) };
  const order = (name: string) => newOrder(acme, directory, account, asking(name));
  ground.validator.script.http = () => httpAnswer("other");
  for (let failure = 1; failure <= 2; failure += 1) {
    const { order: made } = await order("limited.example.org");
    const found = await readAuthorization(acme, account, made.authorizations[0] ?? "");
    await respond(acme, account, found?.challenges[0]?.id ?? "");
    await validated(acme);
  }
  await expect(order("limited.example.org")).rejects.toMatchObject({
    code: "rateLimited",
    detail: expect.stringContaining("limited.example.org"),
    members: { retryAfterSeconds: 600 },
  });
  await expect(order("*.limited.example.org")).rejects.toMatchObject({ code: "rateLimited" });
  expect((await order("unlimited.example.org")).created).toBe(true);
  ground.clock.aheadSeconds += 1_801;
  expect((await order("limited.example.org")).created).toBe(true);
});
