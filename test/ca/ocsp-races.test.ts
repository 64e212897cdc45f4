import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type OcspGround, ocspGround, type OcspInstance } from "../support/ocsp-world.ts";

let ground: OcspGround;
beforeAll(async () => {
  ground = await ocspGround();
});
afterAll(() => ground[Symbol.asyncDispose]());

let instance: OcspInstance;
beforeEach(async () => {
  instance = await ground.instance();
});

/** Does something once, at the first of the signatures that follow. */
function once(act: () => Promise<unknown>): () => Promise<void> {
  let done = false;
  return async () => {
    if (done) return;
    done = true;
    await act();
  };
}

describe("after a revocation that the feed has told of, nothing good is kept", () => {
  test.for([
    { name: "between reading and signing", where: "sign" },
    { name: "between signing and keeping", where: "signed" },
  ] as const)("a revocation $name: the answer is made once more, and says revoked", async ({ where }) => {
    const serial = await ground.issued();
    const request = await ground.request(serial);
    instance.on[where] = once(async () => {
      await ground.revoke(serial, 4);
      await instance.ocsp.feed.poll();
    });
    const answer = await instance.answer(request);
    expect(await ground.verdict(answer, serial)).toMatchObject({ verified: true, statuses: ["revoked"] });
    expect([answer.kept?.current, instance.signatures()]).toEqual([true, 2]);
    expect(await instance.answer(request)).toEqual(answer);
  });

  test.for(["sign", "signed"] as const)(
    "the same without the feed: the good answer is given and kept, as any that was asked for before; the feed ends it (negative control, %s)",
    async (where) => {
      const serial = await ground.issued();
      const request = await ground.request(serial);
      instance.on[where] = once(() => ground.revoke(serial, 4));
      const answer = await instance.answer(request);
      expect(await ground.verdict(answer, serial)).toMatchObject({ statuses: ["good"] });
      expect(answer.kept?.current).toBe(true);
      await instance.ocsp.feed.poll();
      expect(answer.kept?.current).toBe(false);
      expect(await ground.verdict(await instance.answer(request), serial)).toMatchObject({ statuses: ["revoked"] });
    },
  );

  test("where the token takes longer than a quarter of a second the status is read again behind the signature, feed or no feed", async () => {
    const serial = await ground.issued();
    instance.on.signed = once(async () => {
      await ground.revoke(serial);
      instance.passed.milliseconds += 251;
    });
    const answer = await instance.answer(await ground.requestWithNonce(serial));
    expect(await ground.verdict(answer, serial)).toMatchObject({ verified: true, statuses: ["revoked"] });
  });

  test("a status that changes at every signature is given up with busy", async () => {
    const serial = await ground.issued();
    instance.on.signed = () => instance.ocsp.cache.change({ authority: "issuing-1", serial }, { status: "good" });
    await expect(instance.answer(await ground.request(serial))).rejects.toMatchObject({ code: "busy" });
    expect(instance.signatures()).toBe(3);
  });
});

describe("one read and one signature", () => {
  test("however many ask for one certificate at once, each CertID for itself (XO-20)", async () => {
    const serial = await ground.issued();
    const request = await ground.request(serial);
    const answers = await Promise.all(Array.from({ length: 50 }, () => instance.answer(request)));
    expect(new Set(answers.map(({ response }) => Buffer.from(response).toString("hex"))).size).toBe(1);
    expect(instance.signatures()).toBe(1);
    expect(await instance.answer(request)).toEqual(answers[0]);
    expect(instance.signatures()).toBe(1);
  });

  test("with a nonce each has a signature of its own, and none of them is kept (XO-15)", async () => {
    const serial = await ground.issued();
    const requests = await Promise.all([1, 2, 3].map(() => ground.requestWithNonce(serial)));
    const answers = await Promise.all(requests.map((request) => instance.answer(request)));
    expect(answers.map(({ kept }) => kept)).toEqual([undefined, undefined, undefined]);
    expect(instance.signatures()).toBe(3);
  });

  test("answers for several certificates are signed live and not kept", async () => {
    const serials = [await ground.issued(), await ground.issued()];
    const request = await ground.request(...serials);
    expect([(await instance.answer(request)).kept, (await instance.answer(request)).kept]).toEqual([undefined, undefined]);
    expect(instance.signatures()).toBe(2);
  });
});

async function keptGood() {
  const serial = await ground.issued();
  const { kept } = await instance.answer(await ground.request(serial));
  if (!kept) throw new Error("nothing is kept");
  return { serial, kept };
}

test("what an instance whose clock is ahead revoked is revoked at thisUpdate until its time has come, as on a CRL (XC-6)", async () => {
  const serial = await ground.issued();
  await ground.revoke(serial);
  const request = await ground.request(serial);
  const timesOf = async () => {
    const { text } = await ground.verdict(await instance.answer(request), serial);
    return ["Revocation Time", "This Update"].map((name) => new Date(new RegExp(`${name}: (.*)`).exec(text)?.[1] ?? "").getTime());
  };
  // This clock has stood since before the revocation; what is told of it is the same once it has gone on.
  instance.clock.advance(-600);
  const [told = Number.NaN, thisUpdate = Number.NaN] = await timesOf();
  expect(told).toBe(thisUpdate);
  const [recorded] = await ground.chancery.service.ca.database.read(
    (sql) => sql<{ at: Date }[]>`select date_trunc('second', revoked_at) as at from revocation where encode(serial, 'hex') = ${serial}`,
  );
  instance.clock.advance(86_400 - 3_600);
  expect((await timesOf())[0]).toBe(recorded?.at.getTime());
});

describe("beyond its budget of answers of its own (XO-15, RFC 9919 §3.2.1)", () => {
  test("a client gets the answer that everybody gets, without its nonce; others are not held up by it", async () => {
    const scarce = await ground.instance({ perSecond: 0.1, atOnce: 256 });
    const serial = await ground.issued();
    const plain = await scarce.answer(await ground.request(serial));
    const [first, second] = [await ground.requestWithNonce(serial), await ground.requestWithNonce(serial)];
    expect((await scarce.answer(first, "192.0.2.1")).kept).toBeUndefined();
    expect(await scarce.answer(second, "192.0.2.1")).toEqual({ ...plain, repeatable: false });
    expect((await scarce.answer(second, "192.0.2.2")).kept).toBeUndefined();
  });

  test("nobody answers it for several certificates: it is told to try later", async () => {
    const none = await ground.instance({ perSecond: 0, atOnce: 256 });
    const request = await ground.request(await ground.issued(), await ground.issued());
    await expect(none.answer(request)).rejects.toMatchObject({ code: "busy" });
  });

  test("of those who ask at once no more are served than may be under way", async () => {
    const narrow = await ground.instance({ perSecond: 1_000, atOnce: 2 });
    const serial = await ground.issued();
    const plain = await narrow.answer(await ground.request(serial));
    const held = Promise.withResolvers<void>();
    narrow.on.sign = () => held.promise;
    const requests = await Promise.all([1, 2, 3].map(() => ground.requestWithNonce(serial)));
    const answers = requests.map((request, index) => narrow.answer(request, `192.0.2.${index}`));
    expect(await answers[2]).toEqual({ ...plain, repeatable: false });
    held.resolve();
    expect((await Promise.all(answers.slice(0, 2))).map(({ kept }) => kept)).toEqual([undefined, undefined]);
  });
});

describe("the feed", () => {
  test("passes over no transaction that ends late (XO-21)", async () => {
    const { serial, kept } = await keptGood();
    const other = await keptGood();
    const { database } = ground.chancery.service.ca;
    const held = Promise.withResolvers<void>();
    const written = Promise.withResolvers<void>();
    const late = database.transact(async ({ sql }) => {
      await sql`
        insert into revocation (authority, serial, revoked_at, reason, not_after)
        select authority, serial, date_trunc('second', now()), 4, not_after from certificate where encode(serial, 'hex') = ${serial}`;
      written.resolve();
      await held.promise;
    });
    try {
      await written.promise;
      // Another transaction that began later ends before it.
      await ground.revoke(other.serial);
      await instance.ocsp.feed.poll();
      await instance.ocsp.feed.poll();
      expect([kept.current, other.kept.current]).toEqual([true, false]);
    } finally {
      held.resolve();
      await late;
    }
    await instance.ocsp.feed.poll();
    expect(kept.current).toBe(false);
  });

  test("takes no more than it must of ten thousand revocations at once: what is kept is held against the database", async () => {
    const [revoked, good] = [await keptGood(), await keptGood()];
    await ground.chancery.service.ca.database.read(
      (sql) => sql`
        insert into revocation (authority, serial, revoked_at, reason, not_after)
        select 'issuing-1', decode('40' || lpad(to_hex(n), 30, '0'), 'hex'), date_trunc('second', now()), 4, now() from generate_series(1, 10000) n`,
    );
    await ground.revoke(revoked.serial);
    await instance.ocsp.feed.poll();
    expect([revoked.kept.current, good.kept.current]).toEqual([false, true]);
    await instance.ocsp.feed.poll();
    expect(good.kept.current).toBe(true);
  });

  test("a reading that fails is read again from where it began", async () => {
    const { serial, kept } = await keptGood();
    await ground.revoke(serial);
    instance.away.database = new Error("away");
    await expect(instance.ocsp.feed.poll()).rejects.toThrow("away");
    expect(kept.current).toBe(true);
    instance.away.database = undefined;
    await instance.ocsp.feed.poll();
    expect(kept.current).toBe(false);
  });

  test("an instance that was opened after a revocation has kept nothing of before it (CVE-2022-41316)", async () => {
    const serial = await ground.issued();
    await ground.revoke(serial);
    const later = await ground.instance();
    expect(await ground.verdict(await later.answer(await ground.request(serial)), serial)).toMatchObject({ statuses: ["revoked"] });
  });
});
