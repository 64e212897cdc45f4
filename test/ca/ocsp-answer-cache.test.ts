import { describe, expect, test } from "vitest";
import { type CachedAnswer, openAnswerCache } from "../../src/ca/ocsp-answer-cache.ts";

const of = (serial: string) => ({ authority: "issuing-1", serial });
const certId = Buffer.from("certID");
const other = Buffer.from("the same by another hash");

function time(seconds: number): Date {
  return new Date(Date.UTC(2026, 0, 1, 0, 0, seconds));
}

function answerAt(second: number, status: CachedAnswer["status"] = { status: "good" }): CachedAnswer {
  const times = { thisUpdate: time(second), refreshAt: time(second + 10), nextUpdate: time(second + 20) };
  return { response: new Uint8Array([second]), hash: "sha1", ...times, current: true, status, retryAt: undefined };
}

describe("kept answers", () => {
  test("one that leaves the cache is not current any more: whoever else keeps it learns so", () => {
    const cache = openAnswerCache({ maximum: 2 });
    const [first, second, third] = [answerAt(1), answerAt(2), answerAt(3)];
    cache.keep(of("01"), certId, first);
    cache.keep(of("02"), certId, second);
    // Asked for: now the second is the one that was not for longest.
    expect(cache.find(of("01"), certId)).toBe(first);
    cache.keep(of("03"), certId, third);
    expect([first, second, third].map(({ current }) => current)).toEqual([true, false, true]);
    expect(cache.find(of("02"), certId)).toBeUndefined();
  });

  test("a newer one takes the place of the one before it, of the same CertID alone (XO-3)", () => {
    const cache = openAnswerCache({ maximum: 2 });
    const [older, byOther, newer] = [answerAt(1), answerAt(2), answerAt(3)];
    cache.keep(of("01"), certId, older);
    cache.keep(of("01"), other, byOther);
    cache.keep(of("01"), certId, newer);
    expect([older, byOther, newer].map(({ current }) => current)).toEqual([false, true, true]);
    expect([cache.find(of("01"), certId), cache.find(of("01"), other)]).toEqual([newer, byOther]);
  });

  test("are counted one by one, whatever they are about; all of a serial number go together", () => {
    const cache = openAnswerCache({ maximum: 3 });
    const [first, byOther, second, third] = [answerAt(1), answerAt(2), answerAt(3), answerAt(4)];
    cache.keep(of("01"), certId, first);
    cache.keep(of("01"), other, byOther);
    cache.keep(of("02"), certId, second);
    expect([first, byOther, second].map(({ current }) => current)).toEqual([true, true, true]);
    cache.keep(of("02"), other, third);
    expect([first, byOther, second, third].map(({ current }) => current)).toEqual([false, false, true, true]);
  });

  test("a change ends all answers of its serial number that say something else, and no others", () => {
    const cache = openAnswerCache({ maximum: 10 });
    const revoked = { status: "revoked", revokedAt: new Date(0), reason: 4 } as const;
    const [good, sameByOther, saidAlready, another] = [answerAt(1), answerAt(2), answerAt(3, { ...revoked }), answerAt(4)];
    cache.keep(of("01"), certId, good);
    cache.keep(of("01"), other, sameByOther);
    cache.keep(of("02"), certId, saidAlready);
    cache.keep({ authority: "issuing-2", serial: "01" }, certId, another);
    for (const serial of ["01", "02", "03"]) cache.change(of(serial), revoked);
    expect([good, sameByOther, saidAlready, another].map(({ current }) => current)).toEqual([false, false, true, true]);
  });

  test("who makes an answer learns of a change from its beginning to its end, of its own serial numbers", () => {
    const cache = openAnswerCache({ maximum: 10 });
    const good = { status: "good" } as const;
    const [one, two] = [cache.watch([of("01"), of("02")]), cache.watch([of("03")])];
    cache.change(of("02"), good);
    expect([one.changed, two.changed]).toEqual([true, false]);
    cache.changeWatched();
    expect(two.changed).toBe(true);
    one[Symbol.dispose]();
    const later = cache.watch([of("01")]);
    expect(later.changed).toBe(false);
  });

  test("an authority's are ended together, and those that are being made are changed", () => {
    const cache = openAnswerCache({ maximum: 10 });
    const [own, another] = [answerAt(1), answerAt(2)];
    cache.keep(of("01"), certId, own);
    cache.keep({ authority: "issuing-2", serial: "01" }, certId, another);
    const made = [of("02"), { authority: "issuing-2", serial: "02" }, { authority: "issuing-10", serial: "02" }].map((each) =>
      cache.watch([each]),
    );
    cache.dropAuthority("issuing-1");
    expect([own.current, another.current]).toEqual([false, true]);
    expect(made.map(({ changed }) => changed)).toEqual([true, false, false]);
  });

  test("the oldest that is kept is known, whichever were asked for, dropped or made anew", () => {
    const cache = openAnswerCache({ maximum: 10 });
    expect(cache.oldest()).toBeUndefined();
    for (const second of [1, 2, 3]) cache.keep(of(`0${second}`), certId, answerAt(second));
    cache.find(of("01"), certId);
    expect(cache.oldest()?.getUTCSeconds()).toBe(1);
    cache.keep(of("01"), certId, answerAt(4));
    expect(cache.oldest()?.getUTCSeconds()).toBe(2);
    cache.change(of("02"), { status: "unknown" });
    expect(cache.oldest()?.getUTCSeconds()).toBe(3);
  });
});
