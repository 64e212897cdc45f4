import type { Database } from "../database/connect.ts";
import type { Ca } from "./ca.ts";
import type { AnswerCache } from "./ocsp-answer-cache.ts";
import { readState, readStatusChanges, readStatuses, type StatusChanges } from "./status-store.ts";

/** What this instance learns of revocations, whichever instance recorded them. */
export type StatusFeed = {
  /**
   * Takes note of what changed since it was last called: from then on no kept answer says otherwise. One call at a time. Where it has failed
   * for a minute, and when it succeeds after that, it tells so.
   */
  readonly poll: () => Promise<void>;
  /** Time since the database was last asked with success. Grows while it is away. */
  readonly ageSeconds: () => number;
};

/** Changes that are taken one by one; beyond them the answers that are kept are held against the database instead. */
const mostChanges = 10_000;

/** Age beyond which an operator is told: kept answers may long be superseded, which no other instance can know of this one. */
const staleSeconds = 60;

/** Statuses that one statement reads. */
const pageSize = 1_000;

/** What the feed asks of its world. */
type FeedWorld = Pick<Ca, "database" | "clock" | "events">;

/** Begins with the database as it stands: nothing may have been kept before. */
export async function openStatusFeed({ database, clock, events }: FeedWorld, cache: AnswerCache): Promise<StatusFeed> {
  let since = await database.read(readState);
  let polledAt = clock.elapsedMs();
  let stale = false;
  const ageSeconds = (): number => (clock.elapsedMs() - polledAt) / 1000;
  const catchUp = async (): Promise<void> => {
    const changes = await database.read((sql) => readStatusChanges(sql, { since, limit: mostChanges }));
    for (const { of, status } of changes.changed) cache.change(of, status);
    if (isMore(changes)) await compareKept(database, cache);
    // Behind what was taken note of: a reading that fails half-way is read again from where it began.
    since = changes.state;
  };
  return {
    poll: async () => {
      try {
        await catchUp();
      } catch (cause) {
        if (!stale && ageSeconds() > staleSeconds) {
          stale = true;
          events.tell("error", "status.feed.stale", { ageSeconds: ageSeconds(), cause });
        }
        throw cause;
      }
      if (stale) events.tell("info", "status.feed.fresh", { ageSeconds: ageSeconds() });
      stale = false;
      polledAt = clock.elapsedMs();
    },
    ageSeconds,
  };
}

function isMore({ changed, rewound }: StatusChanges): boolean {
  return rewound || changed.length >= mostChanges;
}

/** The work is bounded by what is kept here, not by how much was revoked. */
async function compareKept(database: Database, cache: AnswerCache): Promise<void> {
  cache.changeWatched();
  const kept = cache.list();
  for (let start = 0; start < kept.length; start += pageSize) {
    const page = kept.slice(start, start + pageSize);
    const statuses = await database.read((sql) => readStatuses(sql, page));
    for (const [index, status] of statuses.entries()) {
      const of = page[index];
      if (of) cache.change(of, status);
    }
  }
}
