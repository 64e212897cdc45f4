import { setTimeout as pause } from "node:timers/promises";
import type { Ca } from "./ca/ca.ts";
import { isHalfOver } from "./ca/crl-slot.ts";
import { listDueRootCrls, openCrls, publishDueCrls, publishFirstCrls, sweepCrls } from "./ca/publish-due-crls.ts";
import type { CrlHold } from "./ca/crl-hold-store.ts";
import { readCrlHolds, releaseRemedy } from "./ca/restored-crl.ts";
import type { ServedCrl } from "./ca/served-crl.ts";
import { Fault } from "./fault.ts";
import type { Check, Verdict } from "./http/doors.ts";
import { type CrlDirectory, openCrlDirectory } from "./jobs/crl-directory.ts";
import type { Job } from "./jobs/run.ts";
import type { World } from "./world.ts";

/** The CRLs of a running service. */
export type Crls = AsyncDisposable & {
  readonly served: CrlDirectory["crl"];
  readonly jobs: readonly Job[];
  readonly check: Check;
};

/** Sees to it that every CRL of an issuing authority is published and served, before anything names it. */
export async function openCrlService({ config, metrics }: World, ca: Ca): Promise<Crls> {
  await using stack = new AsyncDisposableStack();
  await openCrls(ca);
  const directory = stack.use(await openCrlDirectory(ca, config.crlDir));
  await lookFirst(directory, config.crlDir);
  await publishFirstCrls(ca, "issuing");
  await refreshFirst(ca, directory);
  // Of the last look: readiness is asked while the database is away.
  let waiting: Waiting = { dueRoots: [], holds: await readCrlHolds(ca) };
  const ofEach = (value: (crl: ServedCrl) => number) => () =>
    [...directory.all()].map(([path, crl]) => ({ labels: { crl: path }, value: value(crl) }));
  metrics.measureEach({
    name: "chancery_crl_age_seconds",
    help: "Time since the thisUpdate of the CRL that is served",
    labels: ["crl"],
    read: ofEach(({ thisUpdate }) => (ca.clock.now().getTime() - thisUpdate.getTime()) / 1000),
  });
  metrics.measureEach({
    name: "chancery_crl_left_seconds",
    help: "Time until the nextUpdate of the CRL that is served",
    labels: ["crl"],
    read: ofEach(({ nextUpdate }) => (nextUpdate.getTime() - ca.clock.now().getTime()) / 1000),
  });
  metrics.measureEach({
    name: "chancery_crl_entries",
    help: "Entries of the CRL that is served",
    labels: ["crl"],
    read: ofEach(({ entries }) => entries),
  });
  const opened = stack.move();
  return {
    served: directory.crl,
    jobs: [
      { name: "crl", everySeconds: 5, act: async () => void (await publishDueCrls(ca)) },
      { name: "crl directory", everySeconds: 2, act: directory.refresh },
      {
        name: "root crl",
        everySeconds: 5,
        act: async () => void (waiting = { dueRoots: await listDueRootCrls(ca), holds: await readCrlHolds(ca) }),
      },
      {
        name: "crl age",
        everySeconds: 3_600,
        act: async () => {
          tellLarge(ca, directory);
          await tellStale(ca, directory);
        },
      },
      { name: "crl sweep", everySeconds: 60, act: () => sweepCrls(ca) },
    ],
    check: { name: "crls", run: () => verdict(ca, directory, waiting) },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

/** What waits for a person: paths of roots' CRLs that are to be made, and slots in which nothing is published. */
type Waiting = { readonly dueRoots: readonly string[]; readonly holds: readonly CrlHold[] };

/**
 * What a file has of revocations that the database lost is known before anybody is told that a certificate is good, and before a CRL takes the
 * file's place.
 * @throws Fault `refusedToStart` when that cannot be found out.
 */
async function lookFirst(directory: CrlDirectory, path: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await directory.look();
    } catch (cause) {
      if (attempt < looks) await pause(1_000);
      else throw new Fault("refusedToStart", unseen(path, cause), { cause });
    }
  }
}

/** How often the directory is looked at before a start is refused, a second apart: a database that fails over is back by then. */
const looks = 5;

function unseen(path: string, cause: unknown): string {
  const why = cause instanceof Fault ? cause.detail : cause instanceof Error ? cause.message : "unknown";
  return `a CRL in ${path} may be newer than the database, and that cannot be found out (${why}): let the service's user read what is there, or see to the database; docs/OPERATIONS.md, After a restore`;
}

/** A disk that is full or a directory that may not be written stops no start: what is short is served from memory, and the job tries again. */
async function refreshFirst({ events }: Ca, directory: CrlDirectory): Promise<void> {
  try {
    await directory.refresh();
  } catch (cause) {
    events.tell("error", "job.failed", { job: "crl directory", cause });
  }
}

/**
 * XC-17: the alarm at half of a CRL's life. Those of issuing authorities should have been renewed by then; a root's waits for a person, also
 * where something was revoked that it does not list.
 */
async function tellStale(ca: Ca, directory: CrlDirectory): Promise<void> {
  const now = ca.clock.now();
  const stale = [...directory.all()].filter(([, crl]) => isHalfOver(crl, now)).map(([path]) => path);
  for (const path of new Set([...stale, ...(await listDueRootCrls(ca))])) {
    const nextUpdate = directory.crl(path)?.nextUpdate.toISOString();
    ca.events.tell("warn", "crl.stale", { crl: path, nextUpdate, remedy: remedy(ca, path) });
  }
  for (const { path, authority, number, takenOver } of await readCrlHolds(ca)) {
    const revocations = takenOver ?? 0;
    ca.events.tell("error", "crl.held", { crl: path, number: String(number), revocations, remedy: releaseRemedy(authority) });
  }
}

/** Beyond this a full CRL costs verifiers more than shards would. */
const mostEntries = 10_000;

/** XC-13: full CRLs of authorities without shards that have become long. */
function tellLarge({ events }: Pick<Ca, "events">, directory: CrlDirectory): void {
  const all = [...directory.all()];
  for (const [path, { entries }] of all) {
    const isDivided = path.includes("/") || all.some(([other]) => other.startsWith(`${path}/`));
    if (entries <= mostEntries || isDivided) continue;
    events.tell("warn", "crl.large", { crl: path, entries, remedy: "divide it by CHANCERY_CRL_SHARDS: docs/OPERATIONS.md, Shards" });
  }
}

function remedy({ authorities }: Pick<Ca, "authorities">, path: string): string {
  return authorities.get(path)?.kind === "root"
    ? `npx chancery ca crl ${path}, with the root's token at hand`
    : "see why the job crl fails in the log";
}

/**
 * Not ready without a CRL of use of an issuing authority: another instance may have it. What only a person can mend is told beside.
 */
function verdict(ca: Ca, directory: CrlDirectory, { dueRoots, holds }: Waiting): Verdict {
  const now = ca.clock.now();
  const isOfUse = (path: string): boolean => (directory.crl(path)?.nextUpdate ?? now) > now;
  const issuing = [...ca.authorities.values()].filter(({ kind }) => kind === "issuing");
  const useless = [...ca.authorities.keys()].filter((slug) => !isOfUse(slug));
  const stale = [...directory.all()].filter(([path, crl]) => isOfUse(path) && isHalfOver(crl, now)).map(([path]) => path);
  const held = new Set(holds.map(({ path }) => path));
  const told = new Set([...useless, ...stale]);
  const sentences = [
    ...holds.map(
      ({ path, authority }) => `nothing is published in ${path}: the database is older than its last CRL: ${releaseRemedy(authority)}`,
    ),
    ...useless.filter((slug) => !held.has(slug)).map((slug) => `there is no current one of ${slug}: ${remedy(ca, slug)}`),
    ...stale.filter((path) => !held.has(path)).map((path) => `half of the life of ${path} is over: ${remedy(ca, path)}`),
    ...dueRoots.filter((path) => !told.has(path)).map((path) => `a revocation is not on ${path} yet: ${remedy(ca, path)}`),
  ];
  return {
    ready: issuing.every(({ slug }) => isOfUse(slug)),
    detail: sentences.length > 0 ? sentences.join("; ") : `${directory.all().size} served, all current`,
  };
}
