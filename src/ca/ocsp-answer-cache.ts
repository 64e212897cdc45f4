import { isDeepStrictEqual } from "node:util";
import type { CertStatus } from "../pki/ocsp.ts";
import type { KeptAnswer } from "./kept-answer.ts";
import type { SerialOf } from "./status-store.ts";

/** A kept answer, and until when no newer one is tried for. */
export type CachedAnswer = KeptAnswer & { retryAt: Date | undefined };

/** Tells whether the status of any of some serial numbers changed while it is held. */
export type Watch = Disposable & { readonly changed: boolean };

/**
 * Signed answers of this instance by serial number, those of the longest unasked given up first. An answer that leaves it is not current any more,
 * wherever else it is kept: what is not in here is not told of changes.
 */
export type AnswerCache = {
  /** The current answer to this very CertID. */
  readonly find: (of: SerialOf, certId: Uint8Array) => CachedAnswer | undefined;
  /** Begins before the status is read, and ends when the answer is kept or given. */
  readonly watch: (serials: readonly SerialOf[]) => Watch;
  /** Keeps an answer in place of the one before it. */
  readonly keep: (of: SerialOf, certId: Uint8Array, answer: CachedAnswer) => void;
  /** A serial number has this status now: answers that say another are not current, and whoever is making one learns of it. */
  readonly change: (of: SerialOf, status: CertStatus) => void;
  /** What has changed is not known: whoever is making an answer takes it for changed. */
  readonly changeWatched: () => void;
  /** Every serial number that an answer is kept for. */
  readonly list: () => readonly SerialOf[];
  /** No answer of an authority is current any more; whoever is making one takes it for changed. */
  readonly dropAuthority: (authority: string) => void;
  /** When the oldest current answer was made. */
  readonly oldest: () => Date | undefined;
};

/** @param maximum answers that are kept. A serial number has one for every form of CertID that was asked for, four at most. */
export function openAnswerCache({ maximum }: { readonly maximum: number }): AnswerCache {
  const kept = new Map<string, { readonly of: SerialOf; readonly answers: Map<string, CachedAnswer> }>();
  const watches = new Map<string, Set<{ changed: boolean }>>();

  /** Every kept answer, in the order in which they were made. */
  const made = new Set<CachedAnswer>();

  const supersede = (answer: CachedAnswer): void => {
    answer.current = false;
    made.delete(answer);
  };
  const drop = (key: string): void => {
    for (const answer of kept.get(key)?.answers.values() ?? []) supersede(answer);
    kept.delete(key);
  };

  return {
    find: (of, certId) => {
      const key = keyOf(of);
      const entry = kept.get(key);
      const answer = entry?.answers.get(idOf(certId));
      if (!entry || !answer) return undefined;
      kept.delete(key);
      kept.set(key, entry);
      return answer;
    },
    watch: (serials) => {
      const watch = { changed: false };
      const keys = serials.map(keyOf);
      for (const key of keys) watches.set(key, (watches.get(key) ?? new Set()).add(watch));
      return {
        get changed() {
          return watch.changed;
        },
        [Symbol.dispose]: () => {
          for (const key of keys) {
            const others = watches.get(key);
            others?.delete(watch);
            if (others?.size === 0) watches.delete(key);
          }
        },
      };
    },
    keep: (of, certId, answer) => {
      const key = keyOf(of);
      const { answers } = kept.get(key) ?? { answers: new Map<string, CachedAnswer>() };
      const before = answers.get(idOf(certId));
      if (before) supersede(before);
      answers.set(idOf(certId), answer);
      made.add(answer);
      kept.delete(key);
      kept.set(key, { of, answers });
      for (const [oldest] of kept) {
        if (made.size <= maximum) break;
        drop(oldest);
      }
    },
    change: (of, status) => {
      const key = keyOf(of);
      const answers = [...(kept.get(key)?.answers.values() ?? [])];
      if (answers.some((answer) => !isDeepStrictEqual(answer.status, status))) drop(key);
      for (const watch of watches.get(key) ?? []) watch.changed = true;
    },
    changeWatched: () => {
      for (const each of watches.values()) for (const watch of each) watch.changed = true;
    },
    list: () => [...kept.values()].map(({ of }) => of),
    dropAuthority: (authority) => {
      for (const [key, { of }] of kept) if (of.authority === authority) drop(key);
      for (const [key, each] of watches)
        if (key.startsWith(keyOf({ authority, serial: "" }))) for (const watch of each) watch.changed = true;
    },
    oldest: () => made.values().next().value?.thisUpdate,
  };
}

function keyOf({ authority, serial }: SerialOf): string {
  return `${authority} ${serial}`;
}

function idOf(certId: Uint8Array): string {
  return Buffer.from(certId).toString("latin1");
}
