import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { calibration, type Machine } from "./machine.ts";
import { type Aim, aimsList, markdown } from "./markdown.ts";
import { medians } from "./median.ts";
import { parts } from "./processes.ts";
import type { Measurement } from "./window.ts";

/** Who takes part, ourselves first. */
export const contestantNames = ["chancery", "pebble", "step-ca", "step-ca on PostgreSQL"] as const;
export type ContestantName = (typeof contestantNames)[number];

/** Everything measured at one number of clients, one entry a round. */
export type AcmeRow = { readonly callers: number; readonly measured: Readonly<Record<ContestantName, Measurement[]>> };

export type AcmeReport = {
  readonly rows: readonly AcmeRow[];
  /** Ourselves at 64 clients for a minute. */
  readonly long: Measurement;
  readonly circumstances: Machine & { readonly rounds: number; readonly windowSeconds: number };
};

/** The figures as Markdown: medians of the rounds, and the ratios within this run, by which runs on other machines compare. */
export function acmeTable({ rows, long, circumstances }: AcmeReport): string {
  const { rounds, windowSeconds, cores } = circumstances;
  return [
    markdown(rows.flatMap(({ callers, measured }) => contestantNames.flatMap((name) => line(callers, name, measured)))),
    "",
    "What one of ours costs; CPU in milliseconds. Commits are transactions that write, those of nonces among them, which nobody has to wait for: their table is unlogged.",
    "",
    markdown(rows.map(({ callers, measured }) => cost(callers, medians(measured.chancery)))),
    "",
    `64 clients for a minute: ${long.perSecond.toFixed(0)}/s, p50 ${long.p50Ms.toFixed(0)} ms, p99 ${long.p99Ms.toFixed(0)} ms, longest ${long.longestMs.toFixed(0)} ms, ${long.errors} errors, ${long.serverErrors} of them 5xx; ${long.cpuMsEach.toFixed(2)} ms of CPU each.`,
    "",
    `Median of ${rounds} windows of ${windowSeconds} s, contestants alternating; ${cores} cores shared with the load client; every key P-256, every request over TLS 1.3 and HTTP/1.1, kept alive; orders are looked at every 5 ms.`,
    "Ours is durable in PostgreSQL and signs in a token; Pebble keeps everything in memory, is started anew for every window and gives up on a window in which it hangs; step-ca signs with a key in memory.",
    aimsList(aims(rows, long)),
    calibration(circumstances),
  ].join("\n");
}

function line(callers: number, name: ContestantName, all: AcmeRow["measured"]): Record<string, string | number>[] {
  if (all[name].length === 0) return [];
  const [one, ours] = [medians(all[name]), medians(all.chancery)];
  return [
    {
      clients: callers,
      server: name,
      "certificates/s": one.perSecond.toFixed(0),
      "p50 ms": one.p50Ms.toFixed(1),
      "p99 ms": one.p99Ms.toFixed(1),
      "CPU ms each": one.cpuMsEach.toFixed(2),
      "HTTP requests each": one.httpRequestsEach.toFixed(1),
      errors: one.errors,
      "ours ÷ it": (ours.perSecond / one.perSecond).toFixed(2),
    },
  ];
}

function cost(callers: number, ours: Measurement): Record<string, string | number> {
  return {
    clients: callers,
    "SQL round trips": ours.roundTripsEach?.toFixed(2) ?? "–",
    commits: ours.commitsEach?.toFixed(2) ?? "–",
    CPU: ours.cpuMsEach.toFixed(2),
    ...Object.fromEntries(parts.map((part) => [part, (ours.cpuMsByPart[part] ?? 0).toFixed(2)])),
  };
}

/** What issuance by ACME is to reach; a machine that is busy with other work misses it without any fault of the code. */
function aims(rows: readonly AcmeRow[], long: Measurement): readonly Aim[] {
  const at = (callers: number, name: ContestantName): Measurement =>
    medians(rows.find((row) => row.callers === callers)?.measured[name] ?? []);
  const pebble = at(8, "chancery").perSecond / at(8, "pebble").perSecond;
  const step = at(8, "chancery").perSecond / at(8, "step-ca on PostgreSQL").perSecond;
  const { cpuMsEach } = at(32, "chancery");
  const { roundTripsEach = Number.NaN, commitsEach = Number.NaN, httpRequestsEach } = at(1, "chancery");
  // With nobody to share it, each request spends its nonce in a transaction of its own.
  const durable = commitsEach - httpRequestsEach;
  const tail = long.p99Ms / long.p50Ms;
  return [
    { aim: "at least 1.3 × Pebble at 8 clients", value: pebble, met: pebble >= 1.3 },
    { aim: "at least 8 × step-ca on PostgreSQL at 8 clients", value: step, met: step >= 8 },
    { aim: "at most 3 ms of CPU each at 32 clients", value: cpuMsEach, met: cpuMsEach <= 3 },
    { aim: "at most 12 SQL round trips each, with nobody to share them", value: roundTripsEach, met: roundTripsEach <= 12 },
    { aim: "at most 6 commits that wait for the disk each, with nobody to share them", value: durable, met: durable <= 6 },
    { aim: "no error in a minute at 64 clients", value: long.errors, met: long.errors === 0 },
    { aim: "p99 of at most 5 × p50 in that minute", value: tail, met: tail <= 5 },
  ];
}

/** Writes `acme.md` and `acme.json` into `directory`. */
export async function writeAcmeReport(directory: string, report: AcmeReport): Promise<void> {
  await mkdir(directory, { recursive: true });
  await writeFile(join(directory, "acme.md"), `# Issuance by ACME\n\n${acmeTable(report)}\n`);
  await writeFile(join(directory, "acme.json"), `${JSON.stringify(report, undefined, 2)}\n`);
}
